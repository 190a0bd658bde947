"""What waits for each client and has no position in a transcript.

How it works. A mailbox is a list of encoded events. The first of them are the *batch*:
those that went into responses and are not acknowledged yet. `take()` lets the batch
grow, `acknowledge()` removes it, `lost()` makes it shorter again. The batch and what
waits behind it have bounds, so that a client that stopped reading costs a fixed amount
of memory.

Events come *at once* or *lazy*. Every mailbox has one moment from which it deserves a
wake: now, for an event at once; the earliest deadline of its lazy events; or never.
A wake takes everything along, so that events never overtake each other.

Deadlines are alarms (`alarms.py`): one that is no longer true is put right when it
rings.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from msgspec import Raw

from .alarms import NEVER, Alarms, Owner
from .moving import Mail

_AT_ONCE: Final = -math.inf


class Overflow(Enum):
    """What gives way when more waits for a client than its mailbox holds."""

    OLDEST = "oldest"
    """The oldest events are dropped; those of the batch are not touched."""

    RELEASE = "release"
    """The client itself: it has to shake hands again, and so learns of its loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one mailbox holds: `events` and `size` (bytes) of what waits.

    `batch` is the most bytes that may be unacknowledged, and so the size of one
    response; only a single event may be larger.
    """

    events: int = 1000
    size: int = 1_048_576
    batch: int = 262_144
    overflow: Overflow = Overflow.OLDEST


class _Mailbox(Owner):
    """The first `taken` of the events are the batch. `gone` counts those that have left
    for good, in front of it. `size` is of what waits, in bytes."""

    __slots__ = (
        "batch_size",
        "client_id",
        "events",
        "gone",
        "size",
        "taken",
        "wake_at",
    )

    def __init__(self, client_id: str) -> None:
        super().__init__()
        self.client_id = client_id
        self.events: list[Raw] = []
        self.taken = 0
        self.size = 0
        self.batch_size = 0
        self.gone = 0
        self.wake_at = NEVER

    @property
    def batch(self) -> list[Raw]:
        """What was taken, and is not acknowledged."""
        return self.events[: self.taken]

    @property
    def queue(self) -> list[Raw]:
        """What waits."""
        return self.events[self.taken :]

    def fitting(self, room: int) -> int:
        """Return how long the batch may become: with so many bytes, or one event."""
        size, taken = self.batch_size, self.taken
        while taken < len(self.events):
            size += len(self.events[taken])
            if taken and size > room:
                break
            taken += 1
        return taken

    def cut(self, taken: int) -> None:
        """Let the batch end there."""
        if taken < self.taken:
            moved = -sum(map(len, self.events[taken : self.taken]))
        else:
            moved = sum(map(len, self.events[self.taken : taken]))
        self.taken = taken
        self.batch_size += moved
        self.size -= moved

    def drop(self) -> None:
        """Drop the first event that waits."""
        self.size -= len(self.events.pop(self.taken))
        self.gone += not self.taken


class Mailboxes:
    """The mailboxes of all clients of one node; `dropped` counts lost events.

    A mailbox opens with its first event, and closes with `forget()` only. The length
    is the number of open ones. Times are monotonic seconds. `bounds` may be replaced
    at any time, and hold for a mailbox when the next event comes.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._boxes: dict[str, _Mailbox] = {}
        self._overflowed: set[str] = set()
        self._alarms: Alarms[_Mailbox] = Alarms()
        self._wake: Callable[[str], None] = lambda _: None
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._boxes)

    def on_wake(self, wake: Callable[[str], None]) -> None:
        """Call `wake` with a client's id whenever an event at once came for it."""
        self._wake = wake

    def post(
        self, client_id: str, event: Raw, *, lazy_until: float | None = None
    ) -> None:
        """Put an event into the client's mailbox.

        A lazy one wakes nobody: it goes out with what comes at once, with a poll
        that ends anyway, or after `due()` has named the client.
        """
        self.post_all((client_id,), event, lazy_until=lazy_until)

    def post_all(
        self,
        client_ids: Iterable[str],
        event: Raw,
        *,
        lazy_until: float | None = None,
    ) -> None:
        """Put one event into the mailboxes of several clients."""
        if len(event) > self.bounds.size and self._hopeless(event):
            self.dropped += len([*client_ids])
            return
        put = [c for c in client_ids if self._put(c, event, lazy_until)]
        # All mailboxes first: whoever is woken runs the code of a transport.
        if lazy_until is None:
            for client_id in put:
                self._wake(client_id)

    def take(self, client_id: str, *, ending: bool = True) -> list[Raw]:
        """Return the events for one response, in order; they join the batch.

        Lazy ones are among them, but alone they are not worth one, unless it is
        `ending` the poll anyway. Empty while the batch has no room: what does not
        fit keeps the client `waiting()`, and follows after `acknowledge()`.
        """
        box = self._boxes.get(client_id)
        if box is None or not (ending or box.wake_at == _AT_ONCE):
            return []
        begin, room = box.taken, self.bounds.batch
        if box.batch_size + box.size <= room:
            box.taken = len(box.events)
            box.batch_size += box.size
            box.size = 0
        else:
            box.cut(box.fitting(room))
        box.wake_at = _AT_ONCE if box.taken < len(box.events) else NEVER
        return box.events[begin : box.taken]

    def acknowledge(self, client_id: str) -> None:
        """Note that the client got all that was taken for it."""
        box = self._boxes.get(client_id)
        if box is not None and box.taken:
            box.gone += box.taken
            del box.events[: box.taken]
            box.taken = box.batch_size = 0

    def mark(self, client_id: str) -> int:
        """Return what tells `lost()` later how much had been taken until now."""
        box = self._boxes.get(client_id)
        return 0 if box is None else box.gone + box.taken

    def lost(self, client_id: str, since: int = 0) -> None:
        """Put back in front what of the batch was taken since that mark: it did not
        reach the client. What was put back too early, for it did, joins the batch.

        A client with events is `waiting()` from then on, and is not woken: this is
        said by whoever serves its next poll.
        """
        box = self._boxes.get(client_id)
        if box is None:
            return
        kept = max(since - box.gone, 0)
        if kept < box.taken:
            box.wake_at = _AT_ONCE
        box.cut(min(kept, len(box.events)))
        if not box.queue:
            box.wake_at = NEVER
        self._bound(box)

    def move(self, old: str, new: str) -> None:
        """Give the mailbox of a client to the one that goes on in its place, and with
        it what the client still has to learn of its losses."""
        if old in self._overflowed:
            self._overflowed.discard(old)
            self._overflowed.add(new)
        if box := self._boxes.pop(old, None):
            box.client_id = new
            self._boxes[new] = box

    def pack(self, client_id: str, now: float) -> Mail:
        """Return the mailbox as it is, to go on with the client at another node."""
        box = self._boxes.get(client_id, _Mailbox(client_id))
        return Mail(
            queue=[bytes(event) for event in box.queue],
            batch=[bytes(event) for event in box.batch],
            gone=box.gone,
            wakes_in=box.wake_at - now,
            overflowed=client_id in self._overflowed,
        )

    def unpack(self, client_id: str, mail: Mail, now: float) -> None:
        """Go on with the mailbox of a client that comes from another node."""
        if mail.overflowed:
            self._overflowed.add(client_id)
        box = self._boxes[client_id] = _Mailbox(client_id)
        box.events = [*mail.taken, *mail.events]
        box.taken = len(mail.batch)
        box.size = sum(map(len, mail.queue))
        box.batch_size = sum(map(len, mail.batch))
        box.gone = mail.gone
        box.wake_at = now + mail.wakes_in
        if box.wake_at != _AT_ONCE:
            self._alarms.set(box, box.wake_at)

    def forget(self, client_id: str) -> None:
        """Drop everything that is kept for a client that is gone."""
        if box := self._boxes.pop(client_id, None):
            self._alarms.off(box)
        self._overflowed.discard(client_id)

    def waiting(self, client_id: str) -> bool:
        """Tell whether the client's poll should be answered now.

        If not, there may be lazy events all the same: `take()` when it ends.
        """
        box = self._boxes.get(client_id)
        return box is not None and box.wake_at == _AT_ONCE

    def due(self, now: float) -> list[str]:
        """Return the clients to be woken, for a lazy event has waited long enough.

        They are named once and `waiting()` from then on. Call it about as often as
        deadlines shall be exact.
        """
        found = []
        while (box := self._alarms.ring(now)) is not None:
            if self._ring(box, now):
                found.append(box.client_id)
        return found

    def overflowed(self) -> list[str]:
        """Return the clients to be released, until they are forgotten.

        They have lost events, and get no others: advise them to shake hands again.
        """
        return list(self._overflowed)

    def _put(self, client_id: str, event: Raw, lazy_until: float | None) -> bool:
        """Tell whether there was a place for the event."""
        if client_id in self._overflowed:
            self.dropped += 1
            return False
        box = self._boxes.get(client_id)
        if box is None:
            box = self._boxes[client_id] = _Mailbox(client_id)
        box.events.append(event)
        box.size += len(event)
        if lazy_until is None:
            box.wake_at = _AT_ONCE
        elif lazy_until < box.wake_at:
            box.wake_at = lazy_until
            self._alarms.set(box, lazy_until)
        bounds = self.bounds
        if len(box.events) <= bounds.events and box.size <= bounds.size:
            return True
        return self._bound(box)

    def _hopeless(self, event: Raw) -> bool:
        # It would push everything else out of the mailbox and still not fit.
        oldest = self.bounds.overflow is Overflow.OLDEST
        return oldest and len(event) > self.bounds.size

    def _bound(self, box: _Mailbox) -> bool:
        """Keep the mailbox within its bounds; tell whether it is still there."""
        most = self.bounds
        while len(box.events) - box.taken > most.events or box.size > most.size:
            if self.bounds.overflow is Overflow.RELEASE:
                self._give_up(box)
                return False
            box.drop()
            self.dropped += 1
        return True

    def _give_up(self, box: _Mailbox) -> None:
        self.dropped += len(box.queue)
        del self._boxes[box.client_id]
        self._alarms.off(box)
        self._overflowed.add(box.client_id)

    def _ring(self, box: _Mailbox, now: float) -> bool:
        """Tell whether the client's time has come; if it moved, wait for it again."""
        if box.wake_at > now:
            self._alarms.set(box, box.wake_at)
            return False
        news = box.wake_at != _AT_ONCE
        box.wake_at = _AT_ONCE
        return news
