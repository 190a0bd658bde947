"""Pushes on their way, and the number that they show.

A push is due, then announced, then sent. Announcing replaces "this customer must be
told" by one job per device, in one transaction: a crash before it leaves the session
due, a crash after it leaves the jobs, and never both. A job that was lent is deleted
by the sender that had it, or lent again when the lease has run out: it is sent twice
only if the sender fell between sending and saying so, and the same `id` shows it.

While the customer is present, there is no job of his that is not silent: none is
announced (`sqlite_presence.py`), and his return deletes them. What is lent is thus
checked at that moment, without looking at the session.
"""

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import MsgspecError

from cometd_chat.model import Job, NewJob, SentPush
from cometd_chat.store import UNREADABLE, Change, SessionNotFoundError
from cometd_chat.store.codec import from_device, to_device
from cometd_chat.store.sqlite_rows import Row, distinct

log = logging.getLogger(__name__)

EXPIRED_AT_ONCE = 1000
"""Expired jobs deleted with one claim, so that no append waits long for it."""

LARGEST_BADGE = 2**31 - 1

_QUEUE = (
    "INSERT INTO job (id, session, device, type, device_id, provider, position,"
    " content, not_before, expires_at, silent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_CALL_OFF = "DELETE FROM job WHERE session = ? AND NOT silent"
_UNTELL = (
    "UPDATE session SET announced = min(announced, coalesce("
    "(SELECT max(position) FROM sent WHERE session = ?1), 0)) WHERE number = ?1"
)
_TOLD = (
    "UPDATE session SET announced = min(?1, last)"
    " WHERE id = ?2 AND announced < min(?1, last) RETURNING number"
)
TOO_LATE = "SELECT number FROM job WHERE expires_at <= ? LIMIT ?"
_EXPIRE = f"DELETE FROM job WHERE number IN ({TOO_LATE})"  # noqa: S608 - our own text
READY = (
    # As bytes, for a text that is no UTF-8 would cost all that is asked for with it.
    "SELECT j.number, s.id, j.id, CAST(j.device AS BLOB), j.provider, j.position,"
    " j.content,"
    " j.not_before, j.expires_at, j.silent, j.attempts"
    " FROM job j JOIN session s ON s.number = j.session"
    " WHERE j.provider = ?1 AND max(j.not_before, j.lease) <= ?2 AND j.expires_at > ?2"
    " ORDER BY max(j.not_before, j.lease), j.expires_at LIMIT ?3"
)
PROVIDERS = distinct("provider", "job", "true")
_LEND = "UPDATE job SET lease = ? WHERE number = ?"
_DROP = "DELETE FROM job WHERE number = ?"
_OUTDATE = "DELETE FROM job WHERE session = ? AND silent"
_HEAR = """
UPDATE session SET unheard_since = CASE
  WHEN notable > max(acked, announced) THEN max(absent_since, (
    SELECT e.at FROM entry e
    WHERE e.session = session.number AND e.notable
      AND e.position > max(session.acked, session.announced)
    ORDER BY e.position LIMIT 1))
  END
WHERE number = ?
"""
_FINISH = "DELETE FROM job WHERE id = ? AND lease = ?"
_SUPERSEDE = "DELETE FROM job WHERE id = ?"
_REMEMBER = (
    "INSERT INTO sent SELECT number, ?, ?, ?, ?, ?, NULL, NULL FROM session"
    " WHERE id = ? ON CONFLICT DO NOTHING"
)
_BADGE_SHOWN = "UPDATE session SET badged = 1 WHERE id = ?"
SENT = (
    "SELECT p.id, p.device_type, p.provider, p.position, p.sent_at, p.shown_at,"
    " p.opened_at FROM session s JOIN sent p ON p.session = s.number"
    " WHERE s.id = ? ORDER BY p.sent_at, p.id"
)
_CONFIRM = (
    "UPDATE sent SET shown_at = coalesce(shown_at, ?1),"
    " opened_at = iif(?2, coalesce(opened_at, ?1), opened_at)"
    " WHERE session = (SELECT number FROM session WHERE id = ?3) AND id = ?4"
)
_RETRY = (
    "UPDATE job SET attempts = attempts + 1, not_before = ?, lease = 0"
    " WHERE id = ? AND lease = ?"
)
_CANCEL = "DELETE FROM job WHERE session = (SELECT number FROM session WHERE id = ?)"
_BADGE = """
SELECT sum(s.badge_base + (
  SELECT count(*) FROM entry e
  WHERE e.session = s.number AND e.position > s.acked AND e.notable
    AND (e.push = '' OR NOT e.push ->> 'uncounted')
)) FROM session s WHERE s.number IN (
  SELECT number FROM session WHERE id = ?1
  UNION
  SELECT o.number FROM session t JOIN session o ON o.user = t.user
  WHERE t.id = ?1 AND o.user <> '' AND o.state IN ('waiting', 'active')
)
"""
_BASE = (
    "UPDATE session SET badge_base = iif(?1 < badge_at, badge_base, ?2),"
    " badge_at = max(?1, badge_at) WHERE id = ?3"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimJobs:
    """`Store.claim_jobs` as work for the writer."""

    provider: str
    now: float
    lease: float
    limit: int

    def __call__(self, db: sqlite3.Connection, news: list[Change]) -> list[Job]:
        del news  # as everywhere here: no watcher hears of jobs
        db.execute(_EXPIRE, (self.now, EXPIRED_AT_ONCE))
        rows = db.execute(READY, (self.provider, self.now, self.limit)).fetchall()
        lease = self.now + self.lease
        read = [(row[0], _read(row, lease)) for row in rows]
        db.executemany(_LEND, [(lease, number) for number, job in read if job])
        db.executemany(_DROP, [(number,) for number, job in read if not job])
        return [job for _, job in read if job]


def queue(db: sqlite3.Connection, session: int, jobs: Iterable[NewJob]) -> None:
    """Keep new jobs of the session."""
    db.executemany(_QUEUE, [_values(session, job) for job in jobs])


def hear(db: sqlite3.Connection, session: int) -> None:
    """Bring up to date since when the customer has not heard of something."""
    db.execute(_HEAR, (session,))


def call_off(db: sqlite3.Connection, session: int) -> None:
    """Delete what the customer, who is present now, need not be told by push.

    If he vanishes without having read it, he has to be told after all.
    """
    if db.execute(_CALL_OFF, (session,)).rowcount:
        db.execute(_UNTELL, (session,))


def outdate(db: sqlite3.Connection, session: int) -> None:
    """Delete silent jobs, whose badge is no longer true."""
    db.execute(_OUTDATE, (session,))


def finish(
    job: Job, sent_at: float | None, db: sqlite3.Connection, news: list[Change]
) -> bool:
    """`Store.finish_job`."""
    del news
    held = db.execute(_FINISH, (job.id, job.lease)).rowcount == 1
    if sent_at is not None:
        db.execute(_SUPERSEDE, (job.id,))
        facts = (job.id, job.device.type, job.provider, job.position, sent_at)
        db.execute(_REMEMBER, (*facts, job.session_id))
        if not job.silent:
            db.execute(_BADGE_SHOWN, (job.session_id,))
            # The customer may have come and gone while it was sent.
            for (number,) in db.execute(_TOLD, (job.position, job.session_id)):
                hear(db, number)
    return held


def sent(db: sqlite3.Connection, session_id: str) -> list[SentPush]:
    """`Store.sent_pushes`."""
    names = ("id", "device_type", "provider", "position", "sent_at")
    later = ("shown_at", "opened_at")
    return [
        SentPush(**dict(zip((*names, *later), row, strict=True)))
        for row in db.execute(SENT, (session_id,)).fetchall()
    ]


def confirm(
    name: tuple[str, str],
    at: float,
    opened: bool,
    db: sqlite3.Connection,
    news: list[Change],
) -> bool:
    """`Store.confirm_push`; `name` is the ids of its session and its own."""
    del news
    return db.execute(_CONFIRM, (at, opened, *name)).rowcount == 1


def retry(job: Job, at: float, db: sqlite3.Connection, news: list[Change]) -> bool:
    """`Store.retry_job`."""
    del news
    return db.execute(_RETRY, (at, job.id, job.lease)).rowcount == 1


def cancel(session_id: str, db: sqlite3.Connection, news: list[Change]) -> int:
    """`Store.cancel_jobs`."""
    del news
    return db.execute(_CANCEL, (session_id,)).rowcount


def count_badge(db: sqlite3.Connection, session_id: str) -> int:
    """`Store.badge`."""
    count: int | None = db.execute(_BADGE, (session_id,)).fetchone()[0]
    if count is None:
        raise SessionNotFoundError("no such session")
    return count


def set_base(
    session_id: str, count: int, at: float, db: sqlite3.Connection, news: list[Change]
) -> None:
    """`Store.set_badge_base`."""
    del news
    base = max(0, min(count, LARGEST_BADGE))
    if not db.execute(_BASE, (at, base, session_id)).rowcount:
        raise SessionNotFoundError("no such session")


def _values(session: int, job: NewJob) -> Row:
    return (
        job.id,
        session,
        from_device(job.device),
        job.device.type,
        job.device.name,
        job.provider,
        job.position,
        job.content,
        job.not_before,
        job.expires_at,
        job.silent,
    )


def _read(row: Row, lease: float) -> Job | None:
    """Return the job of the row, None if it is damaged."""
    try:
        return _to_job(row, lease)
    except MsgspecError:
        log.error(UNREADABLE, row[1], row[4])
        return None


def _to_job(row: Row, lease: float) -> Job:
    _, session_id, id_, device, provider, position, content, *rest = row
    not_before, expires_at, silent, attempts = rest
    return Job(
        id=id_,
        session_id=session_id,
        device=to_device(device),
        provider=provider,
        position=position,
        content=content,
        not_before=not_before,
        expires_at=expires_at,
        silent=silent == 1,
        attempts=attempts,
        lease=lease,
    )
