"""How a provider has been doing, and how much it is given to do therefore.

Each provider has a lane of its own, so that one that hangs or refuses everything takes
nothing from the others. What is known here is known to this worker alone, and gone
when it ends: nothing may be lost by that.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cometd_chat.model import Job

from . import DeadDevice, Delivered, Misconfigured, Outcome, Retry, Scope

AT_ONCE = 50
"""Pushes of one provider that may be under way at the same time."""

FAILING = 10
"""After so many failures in a row, pushes are sent one at a time until one succeeds."""

SAMPLE, ENOUGH, SPIKE = 50, 10, 0.2
"""Of the last `SAMPLE` devices, at least `ENOUGH`, so great a share may be called dead;
more is a fault of our own: the wrong app, project or environment."""

MOST_HELD = 10_000
"""Devices that wait because their service said so, that are remembered; a forgotten one
is told so again."""

MOST_DOUBTED = 10_000
"""Pushes whose device was called dead, though the fault may be ours, that are
remembered; a forgotten one has to be said twice again."""


@dataclass(slots=True, eq=False)
class Lane:
    """One provider's pushes under way; none is begun before `closed_until`. Times are
    wall seconds."""

    running: set[asyncio.Task[None]] = field(default_factory=set)
    closed_until: float = 0.0
    _failures: int = 0
    _complained_until: float = 0.0
    _doubtful: deque[bool] = field(default_factory=lambda: deque(maxlen=SAMPLE))
    _doubted: dict[str, int] = field(default_factory=dict)
    _held: dict[str, float] = field(default_factory=dict)

    def room(self, now: float) -> int:
        """Return how many more pushes may be begun."""
        if now < self.closed_until:
            return 0
        most = 1 if self._failures >= FAILING else AT_ONCE
        return max(0, most - len(self.running))

    def note(self, jobs: Sequence[Job], outcome: Outcome) -> None:
        """Note what became of jobs that were sent as one push."""
        if not isinstance(outcome, Retry):
            self._failures = 0
        elif outcome.scope is Scope.PUSH:
            self._failures += 1
        match outcome:
            case Delivered():
                self._doubtful.append(False)
                if len(jobs) == 1:  # or more may have gathered than was lent at once
                    self._held.pop(jobs[0].device.name, None)
            case DeadDevice(doubtful=True):
                self._doubt(jobs[-1])
            case DeadDevice():
                self._doubtful.append(False)
            case _:
                pass  # says nothing of the device

    def begins_to_fail(self, retry: Retry) -> bool:
        """Tell whether it is with this outcome, just noted, that the provider fails."""
        return retry.scope is Scope.PUSH and self._failures == FAILING

    def believes(self, job: Job, dead: DeadDevice) -> bool:
        """Tell whether the device is dead indeed, as was noted before.

        Where the fault may be ours, this is said twice, and of few devices only.
        """
        if not dead.doubtful:
            return True
        count = len(self._doubtful)
        known = count >= ENOUGH and sum(self._doubtful) <= SPIKE * count
        return self._doubted.get(job.id, 0) > 1 and known

    def wait(self, retry: Retry, job: Job, until: float, now: float) -> None:
        """Let all that the service spoke of wait: a device until its push is tried
        again, a provider as long as the service said, for many pushes wait with it."""
        match retry.scope:
            case Scope.DEVICE:
                self._hold(job.device.name, until)
            case Scope.PROVIDER:
                closed_until = now + (retry.after or 0.0)
                self.closed_until = max(self.closed_until, closed_until)
            case Scope.PUSH:
                pass

    def refused(self, refusal: Misconfigured, until: float, now: float) -> bool:
        """Leave the provider alone until then, if it refuses all; tell whether an
        admin is to be told, as he was not of late."""
        if refusal.scope is Scope.PROVIDER:
            self.closed_until = max(self.closed_until, until)
        told = now < self._complained_until
        self._complained_until = self._complained_until if told else until
        return not told

    def held_until(self, device_name: str) -> float:
        """Return when something may be sent to this device."""
        return self._held.get(device_name, 0.0)

    def batches(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """Return the jobs by what is sent as one push: each alone, but those of a chat
        together that gathered for a device while it was held.

        The last of a batch speaks for the others: it tells the newest entry.
        """
        found: dict[tuple[str, ...], list[Job]] = {}
        for job in jobs:
            device = job.device.name
            gathers = device in self._held
            name = (job.session_id, device) if gathers else (job.id,)
            found.setdefault(name, []).append(job)
        return [sorted(batch, key=_loudness) for batch in found.values()]

    def _doubt(self, job: Job) -> None:
        said = self._doubted.pop(job.id, 0)
        if not said:  # a device that is tried again is still one device
            self._doubtful.append(True)
        self._doubted[job.id] = said + 1
        if len(self._doubted) > MOST_DOUBTED:
            del self._doubted[next(iter(self._doubted))]

    def _hold(self, device_name: str, until: float) -> None:
        # So that the first is the one that was told earliest.
        self._held.pop(device_name, None)
        self._held[device_name] = until
        if len(self._held) > MOST_HELD:
            del self._held[next(iter(self._held))]


def _loudness(job: Job) -> tuple[bool, int]:
    return not job.silent, job.position
