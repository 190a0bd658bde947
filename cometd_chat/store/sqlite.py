"""The store in one SQLite file: enough for one node, and never less than durable.

Writes go to the one thread of `sqlite_writer` and are synced before they are
answered (write-ahead log, `synchronous = FULL`). Reads run beside it on connections
of their own; the log lets them see the newest commit without waiting for a writer,
and each ends its transaction with its rows, so that none holds the log back. Nobody
else writes to the file, so the newest entries are read from memory (`recent.py`).
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

import msgspec

from cometd_chat.model import (
    Device,
    Draft,
    Entry,
    Job,
    NewJob,
    SentPush,
    Session,
    State,
    Transition,
    device_name,
)
from cometd_chat.store import (
    DEFAULT_LIMITS,
    Appended,
    Change,
    Due,
    Limits,
    Once,
    Quiet,
    StoreError,
    StoreUnavailableError,
    Watcher,
)
from cometd_chat.store.recent import KEPT, Recent
from cometd_chat.store.sqlite_append import Append
from cometd_chat.store.sqlite_devices import deregister, forget, hold, register
from cometd_chat.store.sqlite_outbox import (
    PROVIDERS,
    ClaimJobs,
    cancel,
    confirm,
    count_badge,
    finish,
    retry,
    sent,
    set_base,
)
from cometd_chat.store.sqlite_presence import (
    SERVICES,
    Absent,
    Claim,
    Present,
    acknowledge,
    announce,
    claim_badges,
    expire,
    postpone,
    update_badge,
)
from cometd_chat.store.sqlite_quiet import quiet
from cometd_chat.store.sqlite_rows import (
    find_session,
    insert_session,
    read_entries,
    select_sessions,
)
from cometd_chat.store.sqlite_schema import connect_reader, prepare
from cometd_chat.store.sqlite_writer import Workers, read, write

READERS = 2

PACE = 0.004
"""Seconds from one commit to the next, when there are many."""

PURGE_AT_ONCE = 20
"""Sessions forgotten in one piece of work, so that no append waits long for it."""

COUNTED_AFTER = 10
"""Sessions created between two counts of the new ones: fewer than go at once."""

_OF_USER = (
    "WHERE s.user = ? AND s.user <> '' AND (s.state IN ('waiting', 'active')"
    " OR s.state = 'ended' AND s.acked < s.last)"
    " ORDER BY s.started_at, s.id"
)
_OF_CLIENT = (
    "JOIN reader r ON r.session = s.number WHERE r.client_id = ?"
    " ORDER BY s.created_at, s.id"
)
_IN_STATE = (
    "WHERE s.state = ?1"
    " AND (?2 = '[]' OR s.service IN (SELECT value FROM json_each(?2)))"
    " ORDER BY s.started_at, s.id LIMIT ?3"
)
NEVER_OPENED = (
    "SELECT number, id FROM session WHERE state = 'new' AND created_at < ? LIMIT ?"
)
_TOO_MANY_NEW = (
    "SELECT number, id FROM session WHERE state = 'new'"
    " ORDER BY created_at DESC LIMIT ? OFFSET ?"
)
LONG_OVER = (
    "SELECT number, id FROM session WHERE state = 'ended' AND ended_at < ? LIMIT ?"
)
_FORGET = (
    "DELETE FROM entry WHERE session = ?",
    "DELETE FROM once WHERE session = ?",
    "DELETE FROM reader WHERE session = ?",
    "DELETE FROM device WHERE session = ?",
    "DELETE FROM job WHERE session = ?",
    "DELETE FROM sent WHERE session = ?",
    "DELETE FROM session WHERE number = ?",
)


class SqliteStore:
    """A `Store` in a file. Of one event loop; made by `open`."""

    def __init__(
        self,
        writer: Workers,
        readers: Workers,
        recent: Recent,
        limits: Limits,
        room: int,
    ) -> None:
        self._writer = writer
        self._readers = readers
        # The first to hear of a change: whoever is told of it may read at once.
        self._recent = recent
        writer.watch(recent.changed)
        self._limits = limits
        self._created = 0
        self._room = room
        self._reading = 0
        # Two threads that fetch rows take turns at the interpreter with each row: two
        # transcripts read at a time cost twice as much as one after the other.
        self._transcripts = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        room: int = 10_000,
        pace: float = PACE,
        kept: int = KEPT,
    ) -> Self:
        """Open the file, made with its folder if need be.

        `room` is how many calls may wait at one time before the next is refused,
        `pace` the seconds from one commit to the next at least, `kept` the bytes of
        entries in memory.

        Raises: NewerSchemaError; StoreUnavailableError when it cannot be opened.
        """
        db, *readers = await asyncio.to_thread(_connect, Path(path))
        return cls(
            Workers(partial(write, pace), [db], room),
            Workers(read, readers, room),
            Recent(kept),
            limits,
            room,
        )

    async def create(self, session: Session) -> None:
        await self._writer.submit(partial(_create, session))
        self._created += 1
        if self._created % COUNTED_AFTER == 0:
            # Can wait for others that come: this one is kept already.
            with suppress(StoreUnavailableError):
                await asyncio.shield(self._forget(partial(_displace, self._limits.new)))

    async def get(self, session_id: str) -> Session:
        return await self._readers.submit(lambda db: find_session(db, "id", session_id))

    async def find(self, key: str) -> Session:
        return await self._readers.submit(lambda db: find_session(db, "key", key))

    async def of_user(self, user: str) -> list[Session]:
        return await self._readers.submit(
            lambda db: select_sessions(db, _OF_USER, user)
        )

    async def of_client(self, client_id: str) -> list[Session]:
        return await self._readers.submit(
            lambda db: select_sessions(db, _OF_CLIENT, client_id)
        )

    async def sessions(
        self, states: Collection[State], services: Collection[str], limit: int
    ) -> list[Session]:
        return await self._readers.submit(
            lambda db: _sessions(db, set(states), services, limit)
        )

    async def append(
        self,
        session_id: str,
        drafts: Sequence[Draft],
        *,
        transition: Transition | None = None,
        once: Once | None = None,
        expected: int | None = None,
    ) -> Appended:
        return await self._writer.submit(
            Append(
                session_id=session_id,
                drafts=drafts,
                transition=transition,
                once=once,
                expected=expected,
                limit=self._limits.entries,
            )
        )

    async def read(self, session_id: str, after: int, limit: int = 500) -> list[Entry]:
        recent = self._recent.read(session_id, after, limit)
        # Of what is still to be told, somebody may know already who looked in the file.
        if recent is None or (len(recent) < limit and self._writer.coming(session_id)):
            return await self._read(session_id, after, limit)
        return recent

    async def _read(self, session_id: str, after: int, limit: int) -> list[Entry]:
        if self._reading >= self._room:
            raise StoreUnavailableError("too much work is waiting for the database")
        self._reading += 1
        try:
            async with self._transcripts:
                return await self._readers.submit(
                    lambda db: read_entries(db, session_id, after, limit)
                )
        finally:
            self._reading -= 1

    async def quiet(
        self, before: float, cursor: str, limit: int
    ) -> tuple[list[Quiet], str]:
        return await self._readers.submit(lambda db: quiet(db, before, cursor, limit))

    async def mark_present(
        self, session_id: str, client_id: str, until: float, acked: int = 0
    ) -> bool:
        return await self._writer.submit(
            Present(
                session_id=session_id, client_id=client_id, until=until, acked=acked
            )
        )

    async def mark_absent(
        self,
        session_id: str,
        client_id: str,
        at: float,
        *,
        acked: int = 0,
        position: int | None = None,
    ) -> bool:
        return await self._writer.submit(
            Absent(
                session_id=session_id,
                client_id=client_id,
                at=at,
                acked=acked,
                position=position,
            )
        )

    async def expire_presence(self, now: float, limit: int = 100) -> list[Session]:
        return await self._writer.submit(partial(expire, now, limit))

    async def acknowledge(self, session_id: str, position: int) -> None:
        await self._writer.submit(partial(acknowledge, session_id, position))

    async def unheard_services(self) -> list[str]:
        return await self._readers.submit(lambda db: _column(db, SERVICES))

    async def claim_due(
        self, service: str, now: float, delay: float, lease: float, limit: int = 20
    ) -> list[Due]:
        return await self._writer.submit(
            Claim(service=service, now=now, delay=delay, lease=lease, limit=limit)
        )

    async def announce(self, due: Due, position: int, jobs: Sequence[NewJob]) -> bool:
        return await self._writer.submit(partial(announce, due, position, jobs))

    async def postpone(self, due: Due, until: float) -> bool:
        return await self._writer.submit(partial(postpone, due, until))

    async def claim_badges(
        self, now: float, lease: float, limit: int = 20
    ) -> list[Due]:
        return await self._writer.submit(partial(claim_badges, now, lease, limit))

    async def update_badge(self, due: Due, jobs: Sequence[NewJob]) -> bool:
        return await self._writer.submit(partial(update_badge, due, jobs))

    async def job_providers(self) -> list[str]:
        return await self._readers.submit(lambda db: _column(db, PROVIDERS))

    async def claim_jobs(
        self, provider: str, now: float, lease: float, limit: int = 20
    ) -> list[Job]:
        return await self._writer.submit(
            ClaimJobs(provider=provider, now=now, lease=lease, limit=limit)
        )

    async def finish_job(self, job: Job, sent_at: float | None = None) -> bool:
        return await self._writer.submit(partial(finish, job, sent_at))

    async def retry_job(self, job: Job, at: float) -> bool:
        return await self._writer.submit(partial(retry, job, at))

    async def cancel_jobs(self, session_id: str) -> int:
        return await self._writer.submit(partial(cancel, session_id))

    async def sent_pushes(self, session_id: str) -> list[SentPush]:
        return await self._readers.submit(lambda db: sent(db, session_id))

    async def confirm_push(
        self, session_id: str, push_id: str, at: float, *, opened: bool
    ) -> bool:
        name = (session_id, push_id)
        return await self._writer.submit(partial(confirm, name, at, opened))

    async def register_device(self, session_id: str, device: Device, at: float) -> None:
        await self._writer.submit(partial(register, session_id, device, at))

    async def deregister_device(self, session_id: str, device_id: str | None) -> int:
        return await self._writer.submit(partial(deregister, session_id, device_id))

    async def forget_device(
        self, device_type: str, device_id: str, since: float | None
    ) -> int:
        name = (device_type, device_name(device_type, device_id))
        return await self._writer.submit(partial(forget, name, since))

    async def badge(self, session_id: str) -> int:
        return await self._readers.submit(lambda db: count_badge(db, session_id))

    async def set_badge_base(self, session_id: str, count: int, at: float) -> None:
        await self._writer.submit(partial(set_base, session_id, count, at))

    async def purge(self, new_before: float, ended_before: float) -> int:
        work = partial(_purge, new_before, ended_before)
        gone = 0
        # Shielded: what has left the file must leave the memory as well.
        while some := await asyncio.shield(self._forget(work)):
            gone += some
        return gone

    async def _forget(self, purge: Callable[..., list[str]]) -> int:
        gone = await self._writer.submit(purge)
        for session_id in gone:
            self._recent.drop(session_id)
        return len(gone)

    def watch(self, watcher: Watcher) -> None:
        self._writer.watch(watcher)

    async def close(self) -> None:
        await self._readers.close()
        await self._writer.close()
        self._recent.clear()


def _connect(path: Path) -> list[sqlite3.Connection]:
    """Return the connection that writes and those that read."""
    try:
        with ExitStack() as opened:
            connections = [prepare(path)]
            opened.callback(connections[0].close)
            for _ in range(READERS):
                connections.append(connect_reader(path))
                opened.callback(connections[-1].close)
            opened.pop_all()
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreUnavailableError(f"{path} cannot be opened: {reason}") from error
    return connections


def _create(session: Session, db: sqlite3.Connection, news: list[Change]) -> None:
    number = insert_session(db, session)
    if number is None:
        raise StoreError("the id or key of a new session has been used before")
    hold(db, number, session, news)
    news.append(Change(session_id=session.id, altered=True))


def _sessions(
    db: sqlite3.Connection, states: set[State], services: Collection[str], limit: int
) -> list[Session]:
    """State by state, so that each comes from its index in order and ends early."""
    wanted = msgspec.json.encode(list(services)).decode()
    found = [
        session
        for state in states
        for session in select_sessions(db, _IN_STATE, state, wanted, limit)
    ]
    found.sort(key=lambda session: (session.started_at, session.id))
    return found[:limit]


def _column(db: sqlite3.Connection, query: str) -> list[str]:
    return [value for (value,) in db.execute(query).fetchall()]


def _purge(
    new_before: float, ended_before: float, db: sqlite3.Connection, news: list[Change]
) -> list[str]:
    gone = db.execute(NEVER_OPENED, (new_before, PURGE_AT_ONCE)).fetchall()
    gone += db.execute(LONG_OVER, (ended_before, PURGE_AT_ONCE)).fetchall()
    return _forgotten(gone, db, news)


def _displace(most: int, db: sqlite3.Connection, news: list[Change]) -> list[str]:
    gone = db.execute(_TOO_MANY_NEW, (PURGE_AT_ONCE, most)).fetchall()
    return _forgotten(gone, db, news)


def _forgotten(
    gone: list[tuple[int, str]], db: sqlite3.Connection, news: list[Change]
) -> list[str]:
    for number, session_id in gone:
        for statement in _FORGET:
            db.execute(statement, (number,))
        news.append(Change(session_id=session_id, altered=True))
    return [session_id for _, session_id in gone]
