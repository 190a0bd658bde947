"""The newest entries of transcripts, in memory: a replay of them reads no file.

For a store whose storage nobody else writes to. It hears of every change in the order
of the commits, so that what it has of a chat has no hole and ends with the newest entry
that was told. Entries never change, so nothing here grows old. What is older than that,
such as all from before a restart, is read where it is stored, and not kept here then:
whoever comes back reads it once, and afterwards misses only what was told since.
"""

from collections import OrderedDict
from collections.abc import Sequence
from sys import getsizeof
from typing import Final

from msgspec import Struct, field

from cometd_chat.model import Entry
from cometd_chat.store import Change
from cometd_chat.store.codec import from_mapping, from_override

KEPT: Final = 64 * 1024 * 1024
"""Bytes of all entries kept: about 170,000 with 80 letters each."""

SHARES: Final = 16
"""One chat has at most this part of the room, so that a few leave some to the others.

At 80 letters that is more than a transcript may have.
"""

OVERHEAD: Final = 200
"""Bytes of an entry beside its texts, and once more for its chat, rounded up.

By `sys.getsizeof`: the struct 104, its time 24 and position 28, and its place in the
list 8.
"""

MADE_OF_JSON: Final = 4
"""Bytes of objects for one byte of JSON: user data and wishes for a push are rare."""


class _Run(Struct):
    """Entries of one chat without a hole; `size` in bytes."""

    entries: list[Entry] = field(default_factory=list)
    size: int = OVERHEAD

    @property
    def start(self) -> int:
        return self.entries[0].position

    def continued_by(self, entries: Sequence[Entry]) -> bool:
        return self.entries[-1].position + 1 == entries[0].position

    def add(self, entries: Sequence[Entry], share: int) -> None:
        """Take the entries; the older half goes when there are too many."""
        self.entries += entries
        self.size += sum(map(_size, entries))
        while self.size > share and len(self.entries) > 1:
            del self.entries[: len(self.entries) // 2]
            self.size = OVERHEAD + sum(map(_size, self.entries))


class Recent:
    """For each chat its newest entries: `room` bytes in all, chats long unused go."""

    def __init__(self, room: int = KEPT) -> None:
        self._room = room
        self._share = room // SHARES
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._size = 0

    def changed(self, change: Change) -> None:
        """Take the new entries along. To be called with every change."""
        if not change.entries:
            return
        run = self._runs.get(change.session_id)
        # A chat that was purged may have been made again with the same id.
        if run is None or not run.continued_by(change.entries):
            run = self._begin(change.session_id)
        before = run.size
        run.add(change.entries, self._share)
        self._size += run.size - before
        self._runs.move_to_end(change.session_id)
        while self._size > self._room:
            _, unused = self._runs.popitem(last=False)
            self._size -= unused.size

    def read(self, session_id: str, after: int, limit: int) -> list[Entry] | None:
        """Return up to `limit` entries from position `after` + 1 on, in order.

        Fewer than `limit` end with the newest that was told. None if they begin before
        what is here.
        """
        run = self._runs.get(session_id)
        first = max(after, 0) + 1
        if run is None or first < run.start:
            return None
        self._runs.move_to_end(session_id)
        skipped = first - run.start
        return run.entries[skipped : skipped + max(limit, 0)]

    def drop(self, session_id: str) -> None:
        """Forget a chat."""
        if run := self._runs.pop(session_id, None):
            self._size -= run.size

    def clear(self) -> None:
        """Forget all chats."""
        self._runs.clear()
        self._size = 0

    def _begin(self, session_id: str) -> _Run:
        self.drop(session_id)
        run = self._runs[session_id] = _Run()
        self._size += run.size
        return run


def _size(entry: Entry) -> int:
    # As they lie in memory: one emoji makes each letter beside it four bytes, and
    # beyond ASCII, a text has its UTF-8 beside it once it was stored.
    size = OVERHEAD + getsizeof(entry.text) + getsizeof(entry.nickname)
    if entry.user_data or entry.push:
        json = len(from_mapping(entry.user_data)) + len(from_override(entry.push))
        size += MADE_OF_JSON * json
    return size
