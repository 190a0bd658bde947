"""The second half of a push: is it sent, and what became of it.

The worker takes the jobs that `announcer.py` has left and that are ready, and gives
them to their providers. A job is lent with a lease: if its worker dies, another one
sends it, under the same id. The customer's presence, what he has read and his devices
are looked at once more when a job is taken.

Providers are kept apart (`lanes.py`): one that hangs or refuses everything takes
nothing from the others.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from msgspec import MsgspecError, json

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.model import Device, Job, Session
from cometd_chat.recurring import Sparing
from cometd_chat.store import (
    UNREADABLE,
    SessionNotFoundError,
    Store,
    StoreError,
    StoreUnavailableError,
)

from . import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Notification,
    Outcome,
    Retry,
    Scope,
)
from .apart import each
from .compose import is_enabled
from .lanes import FAILING, Lane
from .lines import told_together
from .quiet import quiet_until

log = logging.getLogger(__name__)
often = Sparing(log)

LONGEST_SEND = 35.0
"""Seconds after which a provider that should have answered is not waited for."""

LEASE = 45.0
"""Seconds after which a push whose worker died is taken over; more than any send."""

LAST_WORDS = 5.0
"""Seconds that pushes under way have when the server stops."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 3600.0
"""Seconds before the second try, and at most between two unless the service wants more.
"""

DOUBLINGS = 20
"""Tries after which the pause does not double any more; it is the longest by then."""

BREAK = 60.0
"""Seconds for which a provider that refuses our credentials is left alone."""

NOTING = (0.5, 1.0, 2.0, 4.0)
"""Seconds between the tries to note that a push is done with: longer than a store is
away for a moment, and together shorter than what a send leaves of a lease."""


class Senders(Protocol):
    """What the worker needs of `Providers`."""

    async def send(
        self, sender: str, device: Device, notification: Notification
    ) -> Outcome: ...

    async def close(self) -> None: ...


class PushWorker:
    """Sends the pushes that are queued; any number of workers may share a store."""

    def __init__(
        self,
        store: Store,
        providers: Senders,
        clock: Clock,
        live: LiveConfig,
        *,
        noting: Sequence[float] = NOTING,
    ) -> None:
        self._store = store
        self._providers = providers
        self._clock = clock
        self._live = live
        self._noting = noting
        self._lanes: dict[str, Lane] = {}

    async def send(self) -> None:
        """Begin to send what is ready; call it often. Returns before it is sent."""
        await each(self._send_by, await self._store.job_providers())

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

    async def _send_by(self, sender: str) -> None:
        lane, now = self._lanes.setdefault(sender, Lane()), self._clock.time()
        if not (room := lane.room(now)):
            return
        lent = await self._store.claim_jobs(sender, now, LEASE, room)
        badges = await self._badges(lent)
        jobs = await self._still_due(lent)
        for batch in lane.batches(jobs):
            badge = badges.get(batch[-1].session_id)
            task = asyncio.create_task(self._guarded(lane, batch, badge))
            lane.running.add(task)
            task.add_done_callback(lane.running.discard)

    async def _still_due(self, lent: Sequence[Job]) -> list[Job]:
        """Return the jobs that are due by now, with their devices as they are
        registered by now.

        Since a job was queued, or just lent, its user may have set quiet hours, have
        read what it tells, be back, or have logged out.
        """
        names = list(dict.fromkeys(job.session_id for job in lent))
        found = await asyncio.gather(
            *map(self._store.get, names), return_exceptions=True
        )
        sessions = dict(zip(names, found, strict=True))
        due, over = [], []
        for job in lent:
            if renewed := _renewed(job, sessions[job.session_id]):
                due.append(renewed)
            else:
                over.append(self._store.finish_job(job))
        # What cannot be noted now is lent, and looked at, again.
        await asyncio.gather(*over, return_exceptions=True)
        return due

    async def _badges(self, jobs: Sequence[Job]) -> dict[str, int]:
        """Count the badges of the jobs' sessions, for pushes may have waited long."""
        names = list(dict.fromkeys(job.session_id for job in jobs))
        counts = await asyncio.gather(
            *map(self._store.badge, names), return_exceptions=True
        )
        found = zip(names, counts, strict=True)
        return {name: count for name, count in found if isinstance(count, int)}

    async def _guarded(
        self, lane: Lane, batch: Sequence[Job], badge: int | None
    ) -> None:
        try:
            await self._deliver(lane, batch, badge)
        except StoreError:
            often.warning("the outcome of a push cannot be stored; it may be repeated")

    async def _deliver(
        self, lane: Lane, batch: Sequence[Job], badge: int | None
    ) -> None:
        """Send what is wanted of jobs that are told as one push."""
        read = [(job, told) for job in batch if (told := await self._read(job))]
        if not read:
            return
        jobs = [job for job, _ in read]
        now, device = self._clock.time(), jobs[-1].device
        until = quiet_until(device.quiet, device.zone, now)
        if (until := max(until, lane.held_until(device.name))) > now:
            await self._retry(jobs, until)
            return
        notification = told_together([told for _, told in read])
        if notification.counted and badge is not None:
            notification = replace(notification, badge=badge)
        await self._settle(lane, jobs, await self._send(jobs[-1], notification))

    async def _read(self, job: Job) -> Notification | None:
        """Return what the job tells; None if that is not wanted any more."""
        try:
            notification = json.decode(job.content, type=Notification)
        except MsgspecError:
            log.error(UNREADABLE, job.session_id, job.provider)
        else:
            if self._wanted(job, notification):
                return notification
        await self._finish([job])
        return None

    def _wanted(self, job: Job, notification: Notification) -> bool:
        """Tell whether there still are such pushes: an admin may switch them off."""
        config = self._live.current
        on = is_enabled(config, job.device)
        return on and config.service(notification.service).push

    async def _retry(self, jobs: Sequence[Job], until: float) -> None:
        for job in jobs:
            await self._store.retry_job(job, until)

    async def _finish(self, jobs: Sequence[Job], sent_at: float | None = None) -> None:
        """Note that the jobs are done with, or they will be sent again; the last one
        was sent, and the others told with it."""
        *others, last = jobs
        for job in others:
            await self._finish_one(job, None)
        await self._finish_one(last, sent_at)

    async def _finish_one(self, job: Job, sent_at: float | None) -> None:
        for pause in self._noting:
            try:
                await self._store.finish_job(job, sent_at)
            except StoreUnavailableError:
                await asyncio.sleep(pause)
            else:
                return
        await self._store.finish_job(job, sent_at)

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

    async def _settle(self, lane: Lane, jobs: Sequence[Job], outcome: Outcome) -> None:
        """Do what the outcome means for jobs that were sent as one push."""
        now, sent = self._clock.time(), jobs[-1]
        lane.note(jobs, outcome)
        match outcome:
            case Delivered():
                await self._finish(jobs, now)
            case Retry(after=after):
                if lane.begins_to_fail(outcome):
                    told = "%s has failed %d times in a row: %s"
                    log.error(told, sent.provider, FAILING, outcome.reason)
                until = now + max(after or 0.0, _pause(sent.attempts))
                lane.wait(outcome, sent, until, now)
                await self._retry(jobs, until)
            case DeadDevice():
                await self._bury(lane, jobs, outcome)
            case Dropped(reason=reason):
                log.error("a push to %s cannot be sent: %s", sent.provider, reason)
                await self._finish(jobs)
            case Misconfigured(reason=reason):
                if lane.refused(outcome, now + BREAK, now):
                    log.error("%s refuses our pushes: %s", sent.provider, reason)
                await self._retry(jobs, now + _break(outcome, sent.attempts))

    async def _bury(self, lane: Lane, jobs: Sequence[Job], dead: DeadDevice) -> None:
        """Remove a device that is dead indeed; otherwise the push waits."""
        job = jobs[-1]
        device, removed = job.device, 0
        if lane.believes(job, dead):
            removed = await self._store.forget_device(
                device.type, device.id, dead.since
            )
        if dead.doubtful:
            told = "removed" if removed else "kept"
            log.error("%s: device %s, %s", job.provider, told, dead.reason)
        if removed:
            await self._finish(jobs)
        else:  # it was registered anew, or the fault may be ours
            pause = max(BREAK, _pause(job.attempts))
            await self._retry(jobs, self._clock.time() + pause)


def _renewed(job: Job, session: Session | BaseException) -> Job | None:
    """Return the job with its device as it is registered by now, None if it is not due
    any more; as it is, if that cannot be told."""
    if not isinstance(session, Session):
        return None if isinstance(session, SessionNotFoundError) else job
    name = (job.device.type, job.device.name)
    device = next((d for d in session.devices if (d.type, d.name) == name), None)
    if device is None or not (job.silent or _rings(session, device, job.position)):
        return None
    return replace(job, device=device)


def _rings(session: Session, device: Device, position: int) -> bool:
    """Tell whether this device is to ring for what is at this position."""
    away = session.absent_since is not None
    return away and session.acked < position and not device.muted


def _break(refusal: Misconfigured, attempts: int) -> float:
    """Return the seconds until a push that was refused is tried again: the longer, the
    more often, where it takes the place of others that are not refused."""
    if refusal.scope is Scope.PROVIDER:
        return BREAK
    return max(BREAK, _pause(attempts))


def _pause(attempts: int) -> float:
    """Return the seconds until the next try: doubled each time, and never exact, so
    that what failed together does not come back together."""
    # A provider that refuses us for a day tries a push more often than a float doubles.
    longest = min(FIRST_PAUSE * 2.0 ** min(attempts, DOUBLINGS), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
