"""Which client reads what, and what goes into its next response."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from msgspec import Raw

from cometd_chat.bayeux import Mail, Mailboxes
from cometd_chat.model import Entry, Session
from cometd_chat.store import Change, SessionNotFoundError, Store

from .catching_up import Each, catch_up, in_turn
from .cursor import Cursor, Form, Reading, cut, runs


@dataclass(slots=True, eq=False)
class _Reader:
    cursors: dict[str, Cursor] = field(default_factory=dict)
    ready: dict[str, Cursor] = field(default_factory=dict)

    @property
    def waiting(self) -> bool:
        return any(cursor.waiting for cursor in self.ready.values())


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment; calling it takes back what was sent to the client afterwards.

    `mail` is what its mailbox gave, `sent` how far its cursors were.
    """

    delivery: "Delivery"
    client_id: str
    mail: int
    sent: Mapping[Cursor, int]

    def __call__(self) -> None:
        self.delivery.rewind(self.client_id, self.mail, self.sent)

    def pack(self) -> tuple[int, dict[str, int]]:
        """Return the arguments of `Delivery.unpack_mark`."""
        return self.mail, {c.session.id: at for c, at in self.sent.items()}


class Delivery:
    """The cursors and mailboxes of all clients of this node.

    `max_reply` bounds the text of the entries in one response, in bytes; the rest
    follows with the next poll; it may be replaced at any time. `each` is how the store
    is read: `at_once` where there is an event loop.
    """

    def __init__(
        self,
        store: Store,
        mailboxes: Mailboxes,
        *,
        max_reply: int = 262_144,
        each: Each = in_turn,
    ) -> None:
        self._store = store
        self._each = each
        self._mailboxes = mailboxes
        self.max_reply = max_reply
        self._readers: dict[str, _Reader] = {}
        self._watchers: dict[str, dict[str, Cursor]] = {}
        self._rendered: tuple[object, Raw] = (None, Raw())
        self._gathering: dict[str, int] = {}
        self._awaken: Callable[[str], None] = lambda _: None
        store.watch(self._changed)

    def on_wake(self, wake: Callable[[str], None]) -> None:
        """Call `wake` with a client's id whenever something waits for it."""
        self._awaken = wake
        self._mailboxes.on_wake(self._wake)

    @contextmanager
    def together(self, client_id: str) -> Iterator[None]:
        """Let what comes for the client meanwhile wait, to go out in one response."""
        self._gathering[client_id] = self._gathering.get(client_id, 0) + 1
        try:
            yield
        finally:
            if others := self._gathering.pop(client_id) - 1:
                self._gathering[client_id] = others
            else:
                self._awaken(client_id)

    def attach(self, client_id: str, session: Session, form: Form, after: int) -> None:
        """Let the client read the session from position `after` + 1 on.

        Attaching again moves the cursor there.
        """
        self.detach(client_id, session.id)
        reader = self._readers.setdefault(client_id, _Reader())
        after = min(max(after, 0), session.last)
        cursor = Cursor(session, form, after, after, session.last)
        reader.cursors[session.id] = cursor
        reader.ready[session.id] = cursor
        self._watchers.setdefault(session.id, {})[client_id] = cursor
        self._wake(client_id)

    def detach(self, client_id: str, session_id: str) -> None:
        """Stop the client's reading of one session."""
        reader = self._readers.get(client_id)
        if reader and reader.cursors.pop(session_id, None):
            reader.ready.pop(session_id, None)
            self._unwatch(session_id, client_id)

    def forget(self, client_id: str) -> None:
        """Drop everything that is kept for a client that is gone."""
        self.detach_all(client_id)
        self._mailboxes.forget(client_id)

    def detach_all(self, client_id: str) -> None:
        """Stop the client's reading of all sessions; its mailbox stays."""
        if reader := self._readers.pop(client_id, None):
            for session_id in reader.cursors:
                self._unwatch(session_id, client_id)

    def move(self, old: str, new: str) -> None:
        """Let a new client go on with everything that an old one had.

        What the old one had not acknowledged is sent again.
        """
        self.lost(old)
        self._mailboxes.move(old, new)
        reader = self._readers.pop(old, None)
        if reader is None:
            return
        self._readers[new] = reader
        for session_id, cursor in reader.cursors.items():
            watchers = self._watchers[session_id]
            del watchers[old]
            watchers[new] = cursor
        self._wake(new)

    def believe(self, client_id: str, position: int) -> None:
        """Take the word of a client, that reads one session, for what it has."""
        reader = self._readers.get(client_id)
        if reader is not None and len(reader.cursors) == 1:
            self._believe(reader, position)

    def cursors(self, client_id: str) -> dict[str, Cursor]:
        """Return the client's cursors by session id."""
        reader = self._readers.get(client_id)
        return dict(reader.cursors) if reader else {}

    def watchers(self, session_id: str) -> dict[str, Cursor]:
        """Return the cursors in this session by client id."""
        return dict(self._watchers.get(session_id, {}))

    def post(self, client_id: str, event: bytes) -> None:
        """Put an event without a position into the client's mailbox."""
        self._mailboxes.post(client_id, Raw(event))

    def acknowledge(
        self, client_id: str, position: int | None = None
    ) -> list[Cursor] | None:
        """Note that the client got the response before this one.

        Only the next poll tells so, for clients without acknowledgements of their
        own (Bayeux has none): never the write to the socket. A client that reads one
        session may say its `position` instead, and is believed, also backwards.
        Returns the cursors that reached the end of an ended session; they are gone.
        None if the client reads no session.
        """
        self._mailboxes.acknowledge(client_id)
        reader = self._readers.get(client_id)
        if reader is None:
            return None
        for cursor in reader.cursors.values():
            cursor.acked = cursor.sent
        if position is not None and len(reader.cursors) == 1:
            self._believe(reader, position)
        finished = [c for c in reader.cursors.values() if c.finished]
        for cursor in finished:
            self.detach(client_id, cursor.session.id)
        return finished

    def lost(self, client_id: str) -> None:
        """Take back what is not acknowledged: it did not reach the client."""
        self.rewind(client_id, 0, {})

    def arrived(self, client_id: str) -> None:
        """Note that the client got the mail that was taken since its last poll came.

        Cursors wait for the next poll, which tells the position.
        """
        self._mailboxes.acknowledge(client_id)

    def mark(self, client_id: str) -> "Mark":
        """Return a call that takes back only what will be taken from now on."""
        mail = self._mailboxes.mark(client_id)
        cursors = self.cursors(client_id).values()
        sent = {cursor: cursor.sent for cursor in cursors}
        return Mark(self, client_id, mail, sent)

    def pack(self, client_id: str) -> list[Reading]:
        """Return how far the client is, to go on at another node."""
        cursors = self.cursors(client_id).items()
        return [Reading(name, c.acked, c.sent) for name, c in cursors]

    def unpack(
        self, client_id: str, session: Session, form: Form, reading: Reading
    ) -> None:
        """Go on with what a client of another node reads."""
        self.attach(client_id, session, form, reading.acked)
        cursor = self._readers[client_id].cursors[session.id]
        cursor.sent = max(cursor.acked, min(reading.sent, session.last))

    def pack_mail(self, client_id: str, now: float) -> Mail:
        """Return the client's mailbox, to go on at another node."""
        return self._mailboxes.pack(client_id, now)

    def unpack_mail(self, client_id: str, mail: Mail, now: float) -> None:
        """Go on with the mailbox of a client of another node."""
        self._mailboxes.unpack(client_id, mail, now)

    def unpack_mark(self, client_id: str, mail: int, sent: Mapping[str, int]) -> "Mark":
        """Make a mark of another node hold here; `sent` is by session id."""
        cursors = self.cursors(client_id)
        known = {cursors[name]: at for name, at in sent.items() if name in cursors}
        return Mark(self, client_id, mail, known)

    def rewind(self, client_id: str, mail: int, sent: Mapping[Cursor, int]) -> None:
        """Take back what went out after a `Mark`."""
        self._mailboxes.lost(client_id, mail)
        reader = self._readers.get(client_id, _NOBODY)
        for session_id, cursor in reader.cursors.items():
            # Cursors that began later are as they were then: at what is confirmed.
            arrived = max(cursor.acked, sent.get(cursor, 0))
            if cursor.sent != arrived:
                cursor.sent = arrived
                cursor.tail.clear()
                reader.ready[session_id] = cursor

    def take(self, client_id: str, *, ending: bool = False) -> list[Raw] | None:
        """Return the events for one response, in order; they stay unacknowledged.

        With nothing but lazy mail there is none, unless the poll is `ending` anyway.
        None asks to wait for `catch_up()` and to try again.
        """
        reader = self._readers.get(client_id, _NOBODY)
        if reader.ready:
            if any(cursor.behind for cursor in reader.ready.values()):
                return None
            if not reader.waiting:
                reader.ready.clear()
        if not reader.ready:
            return self._mailboxes.take(client_id, ending=ending)
        events = self._mailboxes.take(client_id)
        room = self.max_reply
        for cursor in list(reader.ready.values()):
            if room <= 0:
                break
            run, room = cut(cursor.tail, room)
            events += self._send(reader, cursor, run)
        return events

    async def catch_up(self, client_id: str) -> None:
        """Read what the cursors of this client are behind.

        Raises: StoreUnavailableError.
        """
        reader = self._readers.get(client_id, _NOBODY)
        behind = [cursor for cursor in reader.ready.values() if cursor.behind]
        await self._each(partial(self._read, client_id, cursor) for cursor in behind)

    def _wake(self, client_id: str) -> None:
        if client_id not in self._gathering:
            self._awaken(client_id)

    def _believe(self, reader: _Reader, position: int) -> None:
        for session_id, cursor in reader.cursors.items():
            cursor.acked = min(position, cursor.newest)
            if cursor.acked != cursor.sent:
                cursor.sent = cursor.acked
                cursor.tail.clear()
            if cursor.waiting:
                reader.ready[session_id] = cursor

    def _send(
        self, reader: _Reader, cursor: Cursor, entries: Sequence[Entry]
    ) -> list[Raw]:
        events = [self._render(cursor, run) for run in runs(entries)]
        if entries:
            cursor.sent = entries[-1].position
            del cursor.tail[: len(entries)]
        if not cursor.waiting:
            reader.ready.pop(cursor.session.id, None)
        return events

    def _render(self, cursor: Cursor, run: Sequence[Entry]) -> Raw:
        """Render a run once for all who read it now: a change wakes them in turn."""
        positions = run[0].position, run[-1].position
        name = (cursor.form, cursor.session.id, *positions, cursor.session)
        if self._rendered[0] != name:
            self._rendered = (name, Raw(cursor.form(cursor.session, run)))
        return self._rendered[1]

    async def _read(self, client_id: str, cursor: Cursor) -> None:
        try:
            await catch_up(cursor, self._store, self._each)
        except SessionNotFoundError:
            self.detach(client_id, cursor.session.id)

    def _changed(self, change: Change) -> None:
        watchers = dict(self._watchers.get(change.session_id, {}))
        for client_id, cursor in watchers.items():
            cursor.follow(change.entries)
            cursor.alterations += change.altered
            if cursor.waiting:
                self._readers[client_id].ready[change.session_id] = cursor
        # All cursors first: whoever is woken runs the code of a transport.
        for client_id, cursor in watchers.items():
            if cursor.waiting:
                self._wake(client_id)

    def _unwatch(self, session_id: str, client_id: str) -> None:
        watchers = self._watchers[session_id]
        del watchers[client_id]
        if not watchers:
            del self._watchers[session_id]


_NOBODY: Final = _Reader()
