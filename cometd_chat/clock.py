"""The two clocks, and the seam through which tests replace them.

Wall time is shared between nodes and goes into the store; monotonic time measures
silence on one node. Mixing them up would let an NTP step expire every client.
"""

from time import monotonic, time
from typing import Protocol


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
