"""Who reads for the customer, and who must be told by push.

Each client that reads has a lease; `present_until` is the longest of a session's.
`unheard_since` is the one fact that makes a push due. It is always this:

    while the customer is absent, the time of the first notable entry that he has
    neither acknowledged nor been told of by push, but not before his absence began;
    otherwise NULL.

Whatever moves one of these facts ends with `hear()`, which says it in SQL; only an
append, which can but add an entry at the end, has a shorter form. Posting before or
after vanishing therefore comes to the same.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cometd_chat.model import NewJob, Session
from cometd_chat.store import Change, Due, SessionNotFoundError
from cometd_chat.store.sqlite_outbox import call_off, hear, outdate, queue
from cometd_chat.store.sqlite_rows import (
    MOST,
    Row,
    distinct,
    numbered_sessions,
    select_sessions,
)

_ABSENT = "SELECT number, absent_since FROM session WHERE id = ?"
_LEASE = (
    "INSERT INTO reader VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET until = max(until, excluded.until)"
)
_STAY = (
    "UPDATE session SET present_until = max(coalesce(present_until, ?1), ?1),"
    " acked = max(acked, min(?2, last)), badge_base = 0 WHERE number = ?3"
)
_RETURN = (
    "UPDATE session SET absent_since = NULL, unheard_since = NULL, pushes = 0,"
    " lease = 0 WHERE number = ?"
)
_STANDING = "SELECT number, last, acked FROM session WHERE id = ?"
_GOODBYE = "UPDATE reader SET until = min(until, ?) WHERE session = ? AND client_id = ?"
_LONGEST = "SELECT max(until) FROM reader WHERE session = ?"
_LEAVE = "UPDATE session SET present_until = ?, acked = ? WHERE number = ?"
_VANISH = (
    "UPDATE session SET absent_since = ? WHERE number = ? AND absent_since IS NULL"
    " AND (state IN ('waiting', 'active') OR state = 'ended' AND acked < notable)"
)
EXPIRED = (
    "SELECT number, id FROM session INDEXED BY session_present"
    " WHERE absent_since IS NULL"
    " AND state IN ('waiting', 'active') AND present_until <= ?"
    " ORDER BY present_until LIMIT ?"
)
PARTED = (
    "SELECT number, id FROM session INDEXED BY session_parted"
    " WHERE absent_since IS NULL"
    " AND state = 'ended' AND acked < notable AND present_until <= ?"
    " ORDER BY present_until LIMIT ?"
)
_ACKNOWLEDGE = (
    "UPDATE session SET acked = max(acked, min(?, last)) WHERE id = ?"
    " RETURNING number, absent_since"
)
DUE = (
    "WHERE s.service = ? AND s.unheard_since IS NOT NULL AND s.reachable"
    " AND s.lease <= ? AND s.unheard_since + iif(s.pushes > 0, 0, ?) <= ?"
    " ORDER BY s.unheard_since LIMIT ?"
)
SERVICES = distinct("service", "session", "unheard_since IS NOT NULL AND reachable")
_LEND = "UPDATE session SET lease = ? WHERE number = ?"
_LENT = "SELECT number FROM session WHERE id = ? AND lease = ?"
_ANNOUNCE = (
    "UPDATE session SET announced = max(announced, min(?, last)), pushes = pushes + 1,"
    " lease = 0 WHERE number = ?"
)
BADGED = (
    "INDEXED BY session_badged WHERE s.badged AND s.acked >= s.notable"
    " AND s.badge_lease <= ? ORDER BY s.badge_lease LIMIT ?"
)
_LEND_BADGE = "UPDATE session SET badge_lease = ? WHERE number = ?"
_CORRECT = (
    "UPDATE session SET badged = 0, badge_lease = 0 WHERE id = ? AND badge_lease = ?"
    " AND badged AND acked >= notable RETURNING number"
)
_POSTPONE = "UPDATE session SET lease = ? WHERE id = ? AND lease = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """`Store.mark_present` as work for the writer."""

    session_id: str
    client_id: str
    until: float
    acked: int

    def __call__(self, db: sqlite3.Connection, news: list[Change]) -> bool:
        number, absent_since = _standing(db, _ABSENT, self.session_id)
        db.execute(_LEASE, (number, self.client_id, self.until))
        db.execute(_STAY, (self.until, min(self.acked, MOST), number))
        if absent_since is None:
            return False
        db.execute(_RETURN, (number,))
        call_off(db, number)
        news.append(Change(session_id=self.session_id, altered=True))
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """`Store.mark_absent` as work for the writer."""

    session_id: str
    client_id: str
    at: float
    acked: int
    position: int | None

    def __call__(self, db: sqlite3.Connection, news: list[Change]) -> bool:
        row = _standing(db, _STANDING, self.session_id)
        number, last, acked = row
        db.execute(_GOODBYE, (self.at, number, self.client_id))
        until = db.execute(_LONGEST, (number,)).fetchone()[0]
        db.execute(_LEAVE, (until, self._confirmed(acked, last), number))
        others = until is not None and until > self.at
        vanished = not others and db.execute(_VANISH, (self.at, number)).rowcount == 1
        if vanished:
            news.append(Change(session_id=self.session_id, altered=True))
        hear(db, number)
        return vanished

    def _confirmed(self, before: int, last: int) -> int:
        if self.position is not None:
            return max(0, min(self.position, last))
        return max(before, min(self.acked, last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`Store.claim_due` as work for the writer."""

    service: str
    now: float
    delay: float
    lease: float
    limit: int

    def __call__(self, db: sqlite3.Connection, news: list[Change]) -> list[Due]:
        del news  # a loan changes nothing that a watcher could see
        found = numbered_sessions(
            db, DUE, self.service, self.now, self.delay, self.now, self.limit
        )
        lease = self.now + self.lease
        return _lent(db, _LEND, found, lease)


def _lent(
    db: sqlite3.Connection,
    lend: str,
    found: Iterable[tuple[int, Session | None]],
    until: float,
) -> list[Due]:
    """Lend the sessions; a damaged one to nobody, or it would be found first again."""
    known = list(found)
    db.executemany(lend, [(until, number) for number, _ in known])
    return [Due(session=session, lease=until) for _, session in known if session]


def claim_badges(
    now: float, lease: float, limit: int, db: sqlite3.Connection, news: list[Change]
) -> list[Due]:
    """`Store.claim_badges`."""
    del news
    found = numbered_sessions(db, BADGED, now, limit)
    return _lent(db, _LEND_BADGE, found, now + lease)


def update_badge(
    due: Due, jobs: Sequence[NewJob], db: sqlite3.Connection, news: list[Change]
) -> bool:
    """`Store.update_badge`."""
    del news
    row = db.execute(_CORRECT, (due.session.id, due.lease)).fetchone()
    if row is None:
        return False
    outdate(db, row[0])
    queue(db, row[0], jobs)
    return True


def expire(
    now: float, limit: int, db: sqlite3.Connection, news: list[Change]
) -> list[Session]:
    """`Store.expire_presence`: absence begins now, not when the lease ran out.

    After an outage of the server the customers thus have the whole delay to return
    before a push is due.
    """
    gone = db.execute(EXPIRED, (now, limit)).fetchall()
    gone += db.execute(PARTED, (now, limit - len(gone))).fetchall()
    for number, session_id in gone:
        db.execute(_VANISH, (now, number))
        hear(db, number)
        news.append(Change(session_id=session_id, altered=True))
    return [
        session
        for number, _ in gone
        for session in select_sessions(db, "WHERE s.number = ?", number)
    ]


def acknowledge(
    session_id: str, position: int, db: sqlite3.Connection, news: list[Change]
) -> None:
    """`Store.acknowledge`."""
    del news  # how far the customer has read is no news
    row = db.execute(_ACKNOWLEDGE, (min(position, MOST), session_id)).fetchone()
    if row is None:
        raise SessionNotFoundError("no such session")
    number, absent_since = row
    if absent_since is not None:  # nothing is unheard of somebody who is present
        hear(db, number)


def announce(
    due: Due,
    position: int,
    jobs: Sequence[NewJob],
    db: sqlite3.Connection,
    news: list[Change],
) -> bool:
    """`Store.announce`."""
    del news
    row = db.execute(_LENT, (due.session.id, due.lease)).fetchone()
    if row is None:
        return False
    (number,) = row
    db.execute(_ANNOUNCE, (min(position, MOST), number))
    hear(db, number)
    outdate(db, number)
    queue(db, number, jobs)
    return True


def postpone(
    due: Due, until: float, db: sqlite3.Connection, news: list[Change]
) -> bool:
    """`Store.postpone`."""
    del news
    return db.execute(_POSTPONE, (until, due.session.id, due.lease)).rowcount == 1


def _standing(db: sqlite3.Connection, query: str, session_id: str) -> Row:
    row: Row | None = db.execute(query, (session_id,)).fetchone()
    if row is None:
        raise SessionNotFoundError("no such session")
    return row
