"""Lending out what waits for a time, each to one caller.

What waits is in sorted sets, one of a kind in each partition. The earliest of all
partitions are looked up without a lock, and then claimed one by one: a script makes
sure that the session, or job, may be lent now. Of several callers one gets it; the
others look again, `ROUNDS` times at most, after which the next call goes on.

The answer to a claim may be lost. What was lent by it comes back with its lease.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from msgspec import MsgspecError

from cometd_chat.model import Job, NewJob, SentPush, Session
from cometd_chat.store import UNREADABLE, Due, SessionDamagedError, StoreError
from cometd_chat.store.codec import legible
from cometd_chat.store.redis_devices import Devices
from cometd_chat.store.redis_keys import partition_of
from cometd_chat.store.redis_rows import from_jobs, to_job, to_row, to_sent
from cometd_chat.store.redis_scripts import Scripts
from cometd_chat.store.redis_sessions import Range, Sessions

log = logging.getLogger(__name__)

T = TypeVar("T")

ROUNDS = 8
"""How often one call looks for more when others took what it had found."""

EXPIRED_AT_ONCE = 500
"""Expired jobs deleted by one script, so that no append waits long for it."""

ROUNDING = 1e-6
"""Seconds by which a search for a time goes too far; the script knows exactly."""


class Claims:
    """What is lent to workers, and what they give back."""

    def __init__(self, scripts: Scripts, sessions: Sessions, devices: Devices) -> None:
        self._scripts = scripts
        self._sessions = sessions
        self._devices = devices
        # While somebody holds or awaits them: customers invent names of services.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unused: list[Job] = []

    async def expire(self, now: float, limit: int) -> list[Session]:
        """`Store.expire_presence`."""
        ranges = [("present", "-inf", repr(now))]
        return await self._each(ranges, limit, partial(self._expire, now))

    async def due(
        self, service: str, now: float, delay: float, lease: float, limit: int
    ) -> list[Due]:
        """`Store.claim_due`."""
        ranges = [
            (f"now:{service}", "-inf", repr(now)),
            (f"after:{service}", "-inf", repr(now - delay + ROUNDING)),
        ]
        until = now + lease
        words = (repr(now), repr(delay), repr(until), service)
        return await self._each(
            ranges, limit, lambda name: self._lend("claim", name, until, words)
        )

    async def badges(self, now: float, lease: float, limit: int) -> list[Due]:
        """`Store.claim_badges`."""
        until = now + lease
        words = (repr(now), repr(until))
        return await self._each(
            [("badged", "-inf", repr(now))],
            limit,
            lambda name: self._lend("claim_badge", name, until, words),
        )

    async def jobs(
        self, provider: str, now: float, lease: float, limit: int
    ) -> list[Job]:
        """`Store.claim_jobs`."""
        await self._give_back()
        await self._expire_jobs(now)
        ranges = [(f"jobs:{provider}", "-inf", repr(now))]
        lend = partial(self._lend_job, provider, now, now + lease)
        return await self._each(ranges, limit, lend)

    async def announce(self, due: Due, position: int, jobs: Sequence[NewJob]) -> bool:
        """`Store.announce`."""
        words = (repr(due.lease), position, *from_jobs(jobs))
        return await self._done("announce", due.session.id, *words)

    async def postpone(self, due: Due, until: float) -> bool:
        """`Store.postpone`."""
        words = (repr(due.lease), repr(until))
        return await self._done("postpone", due.session.id, *words)

    async def update_badge(self, due: Due, jobs: Sequence[NewJob]) -> bool:
        """`Store.update_badge`."""
        words = (repr(due.lease), *from_jobs(jobs))
        return await self._done("update_badge", due.session.id, *words)

    async def finish(self, job: Job, sent_at: float | None) -> bool:
        """`Store.finish_job`."""
        moment = "" if sent_at is None else repr(sent_at)
        facts = (job.device.type, job.provider, int(job.silent))
        words = (job.id, repr(job.lease), moment, job.position, *facts)
        return await self._done("finish_job", job.session_id, *words)

    async def retry(self, job: Job, at: float) -> bool:
        """`Store.retry_job`."""
        words = (job.id, repr(job.lease), repr(at))
        return await self._done("retry_job", job.session_id, *words)

    async def confirm(
        self, session_id: str, push_id: str, at: float, *, opened: bool
    ) -> bool:
        """`Store.confirm_push`."""
        words = (push_id, repr(at), int(opened))
        return await self._done("confirm_push", session_id, *words)

    async def sent(self, session_id: str) -> list[SentPush]:
        """`Store.sent_pushes`."""
        key = self._scripts.keys.of(session_id, "sent")
        partition = partition_of(session_id)
        flat = await self._scripts.router.read(partition, "HGETALL", key)
        with legible(session_id):
            return to_sent(flat)

    async def _done(self, script: str, session_id: str, *words: Any) -> bool:
        outcome = await self._scripts.run(script, session_id, *words)
        return bool(outcome[0] == b"ok")

    async def _each(
        self,
        ranges: Sequence[Range],
        limit: int,
        lend: Callable[[str], Awaitable[T | None]],
    ) -> list[T]:
        lent: dict[str, T | None] = {}
        kind = ranges[0][0]
        turn = self._turns.setdefault(kind, asyncio.Lock())
        async with turn:  # else callers of one process find the same ones
            for _ in range(ROUNDS):
                found = await self._sessions.earliest(ranges, limit)
                names = [name for _, name in found if lent.get(name) is None]
                names = names[: limit - _count(lent)]
                if not names:
                    break
                tried = await asyncio.gather(*map(lend, names), return_exceptions=True)
                answers = zip(names, tried, strict=True)
                lent |= {n: a for n, a in answers if not isinstance(a, BaseException)}
                if failed := [one for one in tried if isinstance(one, BaseException)]:
                    # What was lent is of use all the same.
                    if not _count(lent):
                        raise failed[0]
                    break
        return [one for one in lent.values() if one is not None]

    async def _expire(self, now: float, name: str) -> Session | None:
        with suppress(SessionDamagedError):
            outcome, *facts = await self._scripts.run("expire", name, repr(now))
            if outcome == b"ok":
                self._sessions.tell_altered(name, facts[0])
                return _session(name, facts[1])
        return None

    async def _lend(
        self, script: str, name: str, until: float, words: tuple[str, ...]
    ) -> Due | None:
        with suppress(SessionDamagedError):
            outcome, *facts = await self._scripts.run(script, name, *words)
            if outcome == b"ok" and (session := _session(name, facts[0])):
                return Due(session=session, lease=until)
        return None

    async def _lend_job(
        self, provider: str, now: float, until: float, member: str
    ) -> Job | None:
        _, job_id, session_id = member.split("\0", 2)
        words = (job_id, repr(now), repr(until), provider, member)
        lent = await self._scripts.run("claim_job", session_id, *words)
        if lent[0] == b"unreadable":
            log.error(UNREADABLE, session_id, provider)
        if lent[0] != b"ok":
            return None
        try:
            job = to_job(session_id, job_id, provider, lent, until)
        except MsgspecError:
            log.error(UNREADABLE, session_id, provider)
            never = (job_id, repr(until), "", 0, "", provider, 1)
            await self._done("finish_job", session_id, *never)
            return None
        try:
            return job if await self._devices.holds(session_id, job.device) else None
        except StoreError:
            self._unused.append(job)
            raise

    async def _give_back(self) -> None:
        """Give back what was lent although nobody could tell whose the device is."""
        unused, self._unused = self._unused, []
        try:
            while unused:
                job = unused[-1]
                words = (job.id, repr(job.lease))
                await self._scripts.run("return_job", job.session_id, *words)
                unused.pop()
        finally:
            self._unused += unused

    async def _expire_jobs(self, now: float) -> None:
        counts = await self._scripts.router.read_all(
            [
                (partition, ("ZCOUNT", key, "-inf", repr(now)))
                for partition, key in enumerate(self._scripts.keys.everywhere("expiry"))
            ]
        )
        for partition, count in enumerate(counts):
            words = ("", repr(now), EXPIRED_AT_ONCE)
            for _ in range(0, count, EXPIRED_AT_ONCE):
                await self._scripts.run_at("expire_jobs", partition, *words)


def _session(name: str, flat: Sequence[bytes]) -> Session | None:
    """Return the session that was lent, None if it is gone.

    Raises: SessionDamagedError. Nobody gets such a one, but it stays lent, or it would
    be found first again; the scripts take away what they cannot lend.
    """
    row = to_row(name, flat)
    return row.session if row else None


def _count(lent: dict[str, T | None]) -> int:
    return sum(one is not None for one in lent.values())
