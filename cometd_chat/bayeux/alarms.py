"""When something is due: one alarm for each of many owners.

How it works. Alarms sit in a heap. One that moves later is left where it is, and put
right by its owner when it rings; only one that moves earlier is pushed again. So what
moves with each poll costs next to nothing, and whoever asks what is due looks only at
those whose time has come.

An entry of the heap is true while the `alarm` of its owner says the same. Those that
are not are dropped when their time comes, or cleared away when they are more than the
others: owners that come and go all day would fill the memory.
"""

import heapq
import itertools
import math
from typing import Final, Generic, TypeVar

NEVER: Final = math.inf
"""The alarm of an owner that waits for nothing."""

SPARE: Final = 64
"""Entries that are no longer true, beyond one for each alarm, that are left lying."""

_OFF: Final = -math.inf


class Owner:
    """Has an alarm: the monotonic seconds at which it rings, `NEVER` to begin with.

    It is there to be compared to, before `Alarms.set` is called in vain.
    """

    __slots__ = ("alarm",)

    def __init__(self) -> None:
        self.alarm = NEVER


T = TypeVar("T", bound=Owner)


class Alarms(Generic[T]):
    """The alarms of all owners; the length counts entries that are not true as well."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._set = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, owner: T, at: float) -> None:
        """Let the owner's alarm ring at that time, unless it does so before."""
        if at >= owner.alarm:
            return
        self._set += owner.alarm == NEVER
        owner.alarm = at
        heapq.heappush(self._heap, (at, next(self._order), owner))
        if len(self._heap) > 2 * self._set + SPARE:
            self._clear()

    def off(self, owner: T) -> None:
        """Let no alarm ring any more for an owner that is gone; none can be set."""
        self._set -= _OFF < owner.alarm < NEVER
        owner.alarm = _OFF

    def ring(self, now: float) -> T | None:
        """Return an owner whose time has come, the earliest first; None without one.

        It waits for nothing then, until its alarm is set again.
        """
        while self._heap and self._heap[0][0] <= now:
            at, _, owner = heapq.heappop(self._heap)
            if owner.alarm == at:
                self._set -= 1
                owner.alarm = NEVER
                return owner
        return None

    def _clear(self) -> None:
        """Leave the entries that are true."""
        self._heap = [entry for entry in self._heap if entry[2].alarm == entry[0]]
        heapq.heapify(self._heap)
