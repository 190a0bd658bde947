"""Growing a transcript: the hot path of the store, four statements per append."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cometd_chat.model import (
    JOINING,
    Draft,
    End,
    Entry,
    EntryKind,
    Join,
    Open,
    Role,
    Session,
    State,
    Transition,
)
from cometd_chat.store import (
    Appended,
    Change,
    Once,
    SessionNotFoundError,
    TranscriptFullError,
)
from cometd_chat.store.sqlite_devices import hold
from cometd_chat.store.sqlite_rows import (
    find_session,
    from_participants,
    from_profile,
    insert_entry,
    read_entries,
)
from cometd_chat.store.transitions import made_already, moved, refuse_closed

_LOOK = (
    "SELECT s.number, s.state, s.last, s.last_at, s.seats, s.absent_since, o.first,"
    " o.last, o.at FROM session s"
    " LEFT JOIN once o ON o.session = s.number AND o.key = ? WHERE s.id = ?"
)
_REMEMBER = "INSERT OR REPLACE INTO once VALUES (?, ?, ?, ?, ?)"
_GROW = (
    "UPDATE session SET last = ?, last_at = ?, last_text = coalesce(?, last_text),"
    " unread = unread * ? + ?, notable = coalesce(?, notable) WHERE number = ?"
)
_UNHEARD = (
    "UPDATE session SET unheard_since = max(absent_since, ?)"
    " WHERE number = ? AND unheard_since IS NULL"
)
_MOVE = (
    "UPDATE session SET state = ?, started_at = ?, ended_at = ?, comet = ?, user = ?,"
    " profile = ?, participants = ?, seats = ?"
    " WHERE number = ?"
)

_COUNTED = {EntryKind.MESSAGE, EntryKind.FILE_UPLOADED}
_ANSWERS = {EntryKind.MESSAGE, EntryKind.JOINED}
_STAFF = {Role.AGENT, Role.SUPERVISOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """`Store.append` as work for the writer: everything is decided, then written."""

    session_id: str
    drafts: Sequence[Draft]
    transition: Transition | None
    once: Once | None
    limit: int

    def __call__(self, db: sqlite3.Connection, news: list[Change]) -> Appended:
        key = self.once.key if self.once else None
        row = db.execute(_LOOK, (key, self.session_id)).fetchone()
        if row is None:
            raise SessionNotFoundError("no such session")
        number, state, last, last_at, seats, absent_since, *first_time = row
        if first_time[0] is not None and self._remembered(first_time[2], last_at):
            return self._repeat(db, first_time[0], first_time[1])
        after = self._decide(db, state, seats, last_at)
        if after is None and self.transition is not None:
            return Appended(entries=(), repeated=True)
        self._refuse_full(last)
        if after is not None:
            seats += isinstance(self.transition, Join)
            self._change(db, number, after, seats, news)
        if key is not None:
            newest = last + len(self.drafts)
            db.execute(_REMEMBER, (number, key, last + 1, newest, self._now(last_at)))
        entries = self._entries(last, last_at, seats)
        if entries:
            _grow(db, number, entries, absent=absent_since is not None)
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
            refuse_closed(State(state))
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
        if isinstance(self.transition, Open):
            hold(db, number, after, news)

    def _refuse_full(self, last: int) -> None:
        """A full transcript may be ended, or it would stay open for ever."""
        full = self.drafts and last + len(self.drafts) > self.limit
        if full and not isinstance(self.transition, End):
            raise TranscriptFullError("the transcript is full")

    def _entries(self, last: int, at: float, joined: int) -> tuple[Entry, ...]:
        joins = isinstance(self.transition, Join)
        entries = []
        for position, draft in enumerate(self.drafts, last + 1):
            number = draft.participant
            if number == JOINING and joins:
                number = joined
            at = max(at, draft.at)
            entries.append(_entry(draft, position, at, number))
        return tuple(entries)


def _grow(
    db: sqlite3.Connection, number: int, entries: Sequence[Entry], *, absent: bool
) -> None:
    """Write the entries and what the session's row says of them."""
    text = notable = notable_at = None
    keep, more = 1, 0
    for entry in entries:
        insert_entry(db, number, entry)
        if entry.kind is EntryKind.MESSAGE:
            text = entry.text
        if entry.role in _STAFF and entry.kind in _ANSWERS:
            keep = more = 0
        more += entry.role is Role.CUSTOMER and entry.kind in _COUNTED
        if entry.notable:
            notable = entry.position
            notable_at = entry.at if notable_at is None else notable_at
    newest = entries[-1]
    facts = (newest.position, newest.at, text, keep, more, notable)
    db.execute(_GROW, (*facts, number))
    if absent and notable_at is not None:
        db.execute(_UNHEARD, (notable_at, number))


def _entry(draft: Draft, position: int, at: float, participant: int) -> Entry:
    return Entry(
        position=position,
        kind=draft.kind,
        role=draft.role,
        participant=participant,
        nickname=draft.nickname,
        at=at,
        text=draft.text,
        message_type=draft.message_type,
        user_data=draft.user_data,
        notable=draft.notable,
    )


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
