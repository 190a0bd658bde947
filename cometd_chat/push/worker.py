"""The way of a push: who is due, what is said, is it sent, what became of it.

Two loops, and a store between them. `announce()` asks who is absent and has not
heard something, and leaves a job for each of his devices in the same transaction
that marks the entries as announced. `send()` takes jobs that are ready and gives
them to their providers. A job is lent with a lease: if its worker dies, another one
sends it, under the same id. The customer's presence is looked at once more when a
job is taken.

Providers are kept apart: each has its own places in flight and its own breaker, so
that one that hangs or refuses everything takes nothing from the others.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Protocol

from msgspec import json

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.model import Device, Entry, Job, Session
from cometd_chat.store import Due, Store, StoreError

from . import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Notification,
    Outcome,
    Retry,
)
from .compose import (
    Occasion,
    awake_at,
    corrections,
    jobs,
    receivers,
    together_until,
)
from .wording import Texts

log = logging.getLogger(__name__)

LONGEST_SEND = 35.0
"""Seconds after which a provider that should have answered is not waited for."""

LEASE = 45.0
"""Seconds after which a push whose worker died is taken over; more than any send."""

ANNOUNCING = 15.0
"""Seconds after which a customer whose announcing worker died is taken over."""

AT_A_TIME = 20
"""Customers announced together; their writes share a commit."""

LAST_WORDS = 5.0
"""Seconds that pushes under way have when the server stops."""

AT_ONCE = 50
"""Pushes of one provider that may be under way at the same time."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 3600.0
"""Seconds before the second try, and at most between two."""

BREAK = 60.0
"""Seconds for which a provider that refuses our credentials is left alone."""

SPIKE_SAMPLE, SPIKE_SHARE = 50, 0.2
"""Of so many devices so great a share may be dead; more is a fault of our own."""


class Senders(Protocol):
    """What the worker needs of `Providers`."""

    async def send(
        self, sender: str, device: Device, notification: Notification
    ) -> Outcome: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Lane:
    """One provider's pushes under way, and how it has been doing."""

    running: set[asyncio.Task[None]] = field(default_factory=set)
    broken_until: float = 0.0
    verdicts: deque[bool] = field(default_factory=lambda: deque(maxlen=SPIKE_SAMPLE))

    @property
    def room(self) -> int:
        return AT_ONCE - len(self.running)

    def spike(self) -> bool:
        """Tell whether too many devices at once are said to be dead."""
        dead = sum(self.verdicts)
        return len(self.verdicts) >= 10 and dead > SPIKE_SHARE * len(self.verdicts)


class PushWorker:
    """Sends the pushes that are due; any number of workers may share a store."""

    def __init__(
        self, store: Store, providers: Senders, clock: Clock, live: LiveConfig
    ) -> None:
        self._store = store
        self._providers = providers
        self._clock = clock
        self._live = live
        self._lanes: dict[str, _Lane] = {}
        self.texts: Texts = {}

    async def announce(self) -> None:
        """Leave jobs for everybody who is due; call it often."""
        for service in await self._store.unheard_services():
            delay = self._live.current.service(service).client_timeout_notification
            now = self._clock.time()
            more = True
            while more:
                found = await self._store.claim_due(
                    service, now, delay, ANNOUNCING, AT_A_TIME
                )
                work = (self._tried(self._announce(due, now)) for due in found)
                await asyncio.gather(*work)
                more = len(found) == AT_A_TIME

    async def correct(self) -> None:
        """Leave silent jobs where a badge went down; call it about once a second."""
        more = True
        while more:
            now = self._clock.time()
            found = await self._store.claim_badges(now, ANNOUNCING, AT_A_TIME)
            work = (self._tried(self._correct(due, now)) for due in found)
            await asyncio.gather(*work)
            more = len(found) == AT_A_TIME

    async def send(self) -> None:
        """Begin to send what is ready; call it often. Returns before it is sent."""
        now = self._clock.time()
        for sender in await self._store.job_providers():
            lane = self._lanes.setdefault(sender, _Lane())
            if lane.room <= 0 or now < lane.broken_until:
                continue
            for job in await self._store.claim_jobs(sender, now, LEASE, lane.room):
                task = asyncio.create_task(self._guarded(lane, job))
                lane.running.add(task)
                task.add_done_callback(lane.running.discard)

    async def close(self) -> None:
        """Give what is under way a few seconds, then close the providers.

        What has no outcome then is sent again, under its id, by the next worker.
        """
        running = [task for lane in self._lanes.values() for task in lane.running]
        if running:
            _, late = await asyncio.wait(running, timeout=LAST_WORDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._providers.close()

    async def _tried(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as exc:  # noqa: BLE001 - one must not keep the others waiting
            # Without its words, which may be those of the chat.
            log.error("a push could not be announced: %s", type(exc).__name__)

    async def _correct(self, due: Due, now: float) -> None:
        badge = await self._store.badge(due.session.id)
        made = corrections(self._live.current, due.session, badge, now)
        await self._store.update_badge(due, made)

    async def _announce(self, due: Due, now: float) -> None:
        session, config = due.session, self._live.current
        entries = await self._unheard(session)
        if not entries:
            await self._store.announce(due, session.last, ())
            return
        to = receivers(config, session)
        if not to and config.service(session.service).push:
            log.info("a push is due, but no provider serves the device")
        until = awake_at(to, now)
        if session.pushes:  # the first push of an absence is never late
            until = max(until, together_until(to, entries[0]))
        if until > now:
            await self._store.postpone(due, until)
            return
        badge = await self._store.badge(session.id)
        occasion = Occasion(session=session, entries=entries, badge=badge, now=now)
        made = jobs(config, self.texts, occasion, to)
        await self._store.announce(due, occasion.position, made)

    async def _unheard(self, session: Session) -> list[Entry]:
        """Return the entries to tell about."""
        heard = max(session.acked, session.announced)
        found: list[Entry] = []
        while heard < session.last:
            page = await self._store.read(session.id, heard)
            if not page:
                break
            found += [entry for entry in page if entry.notable]
            heard = page[-1].position
        return found

    async def _guarded(self, lane: _Lane, job: Job) -> None:
        try:
            notification = json.decode(job.content, type=Notification)
            if self._wanted(notification):
                await self._settle(lane, job, await self._send(job, notification))
            else:
                await self._store.finish_job(job)
        except StoreError:
            log.warning("the outcome of a push cannot be stored; it may be repeated")

    def _wanted(self, notification: Notification) -> bool:
        """Tell whether the service still has pushes: an admin may switch them off."""
        return self._live.current.service(notification.service).push

    async def _send(self, job: Job, notification: Notification) -> Outcome:
        try:
            async with asyncio.timeout(LONGEST_SEND):
                outcome = await self._given(job, notification)
                plain = replace(notification, apns={}, android={}, webpush={})
                if isinstance(outcome, Dropped) and plain != notification:
                    # What an agent or admin added for the service may be the fault.
                    outcome = await self._given(job, plain)
                return outcome
        except TimeoutError:
            return Retry("no answer in time")
        except Exception as exc:  # noqa: BLE001 - a driver's fault is not the push's
            # Without its words, which may be those of the chat.
            log.error("a push by %s failed: %s", job.provider, type(exc).__name__)
            return Retry(type(exc).__name__)

    async def _given(self, job: Job, notification: Notification) -> Outcome:
        return await self._providers.send(job.provider, job.device, notification)

    async def _settle(self, lane: _Lane, job: Job, outcome: Outcome) -> None:
        now = self._clock.time()
        if not job.attempts:  # a device that is tried again is still one device
            lane.verdicts.append(isinstance(outcome, DeadDevice) and outcome.doubtful)
        match outcome:
            case Delivered():
                await self._store.finish_job(job, now)
            case Retry(after=after):
                pause = max(min(after or 0.0, LONGEST_PAUSE), _pause(job.attempts))
                await self._store.retry_job(job, now + pause)
            case DeadDevice():
                await self._bury(lane, job, outcome)
            case Dropped(reason=reason):
                log.error("a push to %s cannot be sent: %s", job.provider, reason)
                await self._store.finish_job(job)
            case Misconfigured(reason=reason):
                if now >= lane.broken_until:
                    log.error("%s refuses our pushes: %s", job.provider, reason)
                    lane.broken_until = now + BREAK
                await self._store.retry_job(job, lane.broken_until)

    async def _bury(self, lane: _Lane, job: Job, dead: DeadDevice) -> None:
        """Remove a dead device, unless so many are called dead that it must be our
        own fault, such as the wrong app or environment: then it waits."""
        if dead.doubtful and lane.spike():
            log.error("%s refuses many devices: %s", job.provider, dead.reason)
            pause = max(BREAK, _pause(job.attempts))
            await self._store.retry_job(job, self._clock.time() + pause)
            return
        device = job.device
        await self._store.forget_device(device.type, device.id, dead.since)
        await self._store.finish_job(job)


def _pause(attempts: int) -> float:
    """Return the seconds until the next try: doubled each time, and never exact, so
    that what failed together does not come back together."""
    longest = min(FIRST_PAUSE * 2.0**attempts, LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
