"""Spreads what comes in bursts, by letting it wait a little.

A server that restarts, and knows nobody, is asked for handshakes by everybody at
once; each unknown client that is told so without delay asks again without delay.
Advice cannot spread them, for some clients read its `interval` in other units.
"""

import asyncio

LONGEST = 5.0
"""Seconds that anybody waits at most, less than clients wait for an answer."""


class Throttle:
    """Lets `rate` calls a second pass at once; the others wait for their turn.

    As many as pass in a second may come in one moment before any has to wait.
    """

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._free_at = 0.0

    def delay(self, now: float) -> float:
        """Return the seconds that a call which comes now has to wait."""
        self._free_at = max(self._free_at, now - 1.0) + self._step
        return min(max(self._free_at - now, 0.0), LONGEST)

    async def wait(self, now: float) -> None:
        """Wait for the turn of a call that came at `now` (monotonic seconds)."""
        if delay := self.delay(now):
            await asyncio.sleep(delay)
