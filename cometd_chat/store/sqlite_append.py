"""Growing a transcript: the hot path of the store, two statements per append."""

import sqlite3
from collections.abc import Sequence

from msgspec import Struct

from cometd_chat.model import (
    Draft,
    End,
    Entry,
    Join,
    Open,
    Session,
    Transition,
)
from cometd_chat.store import (
    Appended,
    Change,
    ConflictError,
    Once,
    SessionNotFoundError,
    TranscriptFullError,
)
from cometd_chat.store.codec import (
    STATES,
    from_participants,
    from_profile,
    legible,
)
from cometd_chat.store.growth import author, entry_of, growth
from cometd_chat.store.sqlite_devices import equip, hold
from cometd_chat.store.sqlite_rows import entry_values, find_session, read_entries
from cometd_chat.store.transitions import made_already, moved, refuse_closed

_LOOK = (
    "SELECT s.number, s.state, s.last, s.last_at, s.seats, o.first,"
    " o.last, o.at FROM session s"
    " LEFT JOIN once o ON o.session = s.number AND o.key = ? WHERE s.id = ?"
)
_REMEMBER = "INSERT OR REPLACE INTO once VALUES (?, ?, ?, ?, ?)"
_GROW = "INSERT INTO grown VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_MOVE = (
    "UPDATE session SET state = ?, started_at = ?, ended_at = ?, comet = ?, user = ?,"
    " profile = ?, participants = ?, seats = ?"
    " WHERE number = ?"
)


class Append(Struct, frozen=True, kw_only=True):
    """`Store.append` as work for the writer: everything is decided, then written."""

    session_id: str
    drafts: Sequence[Draft]
    transition: Transition | None
    once: Once | None
    expected: int | None
    limit: int

    def __call__(self, db: sqlite3.Connection, news: list[Change]) -> Appended:
        key = self.once.key if self.once else None
        row = db.execute(_LOOK, (key, self.session_id)).fetchone()
        if row is None:
            raise SessionNotFoundError("no such session")
        number, state, last, last_at, seats, *first_time = row
        if first_time[0] is not None and self._remembered(first_time[2], last_at):
            return self._repeat(db, first_time[0], first_time[1])
        after = self._decide(db, state, seats, last_at)
        if after is None and self.transition is not None:
            return Appended(entries=(), repeated=True)
        self._refuse(last)
        if after is not None:
            seats += isinstance(self.transition, Join)
            self._change(db, number, after, seats, news)
        entries = self._entries(last, last_at, seats)
        once = (key or "", last + 1, self._now(last_at))
        for entry in entries:
            known = growth([entry])
            facts = (*entry_values(number, entry), *once, known.keep, known.more)
            db.execute(_GROW, facts)
        if key is not None and not entries:
            db.execute(_REMEMBER, (number, key, last + 1, last, self._now(last_at)))
        altered = after is not None
        if entries or altered:
            news.append(
                Change(session_id=self.session_id, entries=entries, altered=altered)
            )
        return Appended(entries=entries)

    def _remembered(self, stored_at: float, last_at: float) -> bool:
        window = self.once.window if self.once else None
        return window is None or self._now(last_at) - stored_at < window

    def _now(self, last_at: float) -> float:
        return self.drafts[-1].at if self.drafts else last_at

    def _repeat(self, db: sqlite3.Connection, first: int, last: int) -> Appended:
        entries = read_entries(db, self.session_id, first - 1, last - first + 1)
        return Appended(entries=tuple(entries), repeated=True)

    def _decide(
        self, db: sqlite3.Connection, state: str, seats: int, last_at: float
    ) -> Session | None:
        """Return the session after the transition, None without (another) one."""
        if self.transition is None:
            with legible(self.session_id):
                state = STATES[state]
            refuse_closed(state)
            return None
        session = find_session(db, "id", self.session_id)
        if made_already(session, self.transition):
            return None
        at = max(last_at or session.created_at, self._now(last_at))
        return moved(session, self.transition, seats + 1, at)

    def _change(
        self,
        db: sqlite3.Connection,
        number: int,
        after: Session,
        seats: int,
        news: list[Change],
    ) -> None:
        _move(db, number, after, seats)
        match self.transition:
            case Open():
                hold(db, number, after, news)
            case End(by_customer=True):
                equip(db, number, after.devices)
            case _:
                pass  # no other touches devices

    def _refuse(self, last: int) -> None:
        """A full transcript may be ended, or it would stay open for ever."""
        if self.expected is not None and self.expected != last:
            raise ConflictError("the newest entry is another one")
        full = self.drafts and last + len(self.drafts) > self.limit
        if full and not isinstance(self.transition, End):
            raise TranscriptFullError("the transcript is full")

    def _entries(self, last: int, at: float, seats: int) -> tuple[Entry, ...]:
        joined = seats if isinstance(self.transition, Join) else None
        entries = []
        for position, draft in enumerate(self.drafts, last + 1):
            at = max(at, draft.at)
            entries.append(entry_of(draft, position, at, author(draft, joined)))
        return tuple(entries)


def _move(db: sqlite3.Connection, number: int, session: Session, seats: int) -> None:
    db.execute(
        _MOVE,
        (
            session.state,
            session.started_at,
            session.ended_at,
            session.comet,
            session.user,
            from_profile(session.profile),
            from_participants(session.participants),
            seats,
            number,
        ),
    )
