"""Spreads what comes in bursts, by letting it wait a little.

A server that restarts, and knows nobody, is asked for handshakes by everybody at
once; each unknown client that is told so without delay asks again without delay.
Advice cannot spread them, for some clients read its `interval` in other units.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from cometd_chat.bayeux import Peer

LONGEST: Final = 5.0
"""Seconds that anybody waits at most, less than clients wait for an answer."""


MOST: Final = 10_000
"""Addresses that are remembered; the one that was quiet for the longest makes room."""


class Throttle:
    """Lets `rate` calls a second pass at once; the others wait for their turn.

    As many as pass in a second may come in one moment before any has to wait.
    """

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._free_at = 0.0

    def delay(self, now: float) -> float:
        """Return the seconds that a call which comes now has to wait."""
        free_at = max(self._free_at, now - 1.0) + self._step
        # Who waits longest waits for no turn: he must not delay those after him.
        self._free_at = min(free_at, now + LONGEST)
        return max(self._free_at - now, 0.0)


class Throttles:
    """A throttle for each address, so that one cannot delay the others.

    `address_of` tells the address that a request came from: whoever connects, unless
    something better is known.
    """

    def __init__(
        self, rate: float, address_of: Callable[[Peer], str] = lambda peer: peer.address
    ) -> None:
        self._rate = rate
        self._address_of = address_of
        self._throttles: dict[str, Throttle] = {}

    def set_rate(self, rate: float) -> None:
        """Let so many calls a second of each address pass at once from now on."""
        if rate != self._rate:
            self._rate = rate
            self._throttles.clear()

    def __len__(self) -> int:
        return len(self._throttles)

    async def wait(self, peer: Peer, now: float) -> None:
        """Wait for the turn of a call that came at `now` (monotonic seconds)."""
        address = self._address_of(peer)
        throttle = self._throttles.pop(address, None) or Throttle(self._rate)
        self._throttles[address] = throttle
        if len(self._throttles) > MOST:
            del self._throttles[next(iter(self._throttles))]
        if delay := throttle.delay(now):
            await asyncio.sleep(delay)
