"""The clocks, and the seam through which tests replace them.

Wall time goes into the store, where other nodes compare it with theirs; monotonic time
measures silence on one node. Mixing them up would let an NTP step expire every client.
"""

import logging
from collections.abc import Awaitable, Callable
from time import monotonic, time
from typing import Protocol

TOLERANCE = 2.0
"""Seconds by which clocks may differ without a warning."""

SLOWEST = 1.0
"""Seconds after which an answer says too little about the time."""

log = logging.getLogger(__name__)


class Clock(Protocol):
    def time(self) -> float:
        """Return wall time: seconds since the epoch, may step."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step, meaningful within this process only."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    time = staticmethod(time)
    monotonic = staticmethod(monotonic)


class SharedClock:
    """The wall time that all nodes share: that of their storage, once compared.

    By its own clock, a node that is fast would end the leases of everybody's customers,
    and push to them although they are there. Between comparisons monotonic time goes
    on, so that no step of the node's own clock counts.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._start: float | None = None
        self._warned = False

    def time(self) -> float:
        if self._start is None:
            return self._own.time()
        return self._start + self._own.monotonic()

    def monotonic(self) -> float:
        return self._own.monotonic()

    async def compare(self, ask: Callable[[], Awaitable[float]]) -> None:
        """Go by the time that `ask` tells from now on, in wall seconds.

        An answer that took long changes nothing. Raises: what `ask` raises.
        """
        asked = self._own.monotonic()
        told = await ask()
        answered = self._own.monotonic()
        if answered - asked > SLOWEST:
            return
        self._start = told - (asked + answered) / 2
        self._warn(self._own.time() - self.time())

    def _warn(self, ahead: float) -> None:
        far = abs(ahead) > TOLERANCE
        if far and not self._warned:
            log.warning(
                "the clock of this machine is %.1f s %s that of the storage, which is"
                " used instead: do they run NTP?",
                abs(ahead),
                "ahead of" if ahead > 0 else "behind",
            )
        self._warned = far
