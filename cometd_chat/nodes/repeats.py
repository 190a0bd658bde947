"""What came of others, by its number: so that a repeat is not taken for more.

A line that breaks loses what is on its way. What may be lost is sent again, and comes
twice where it was not: then it is not done again, and has the answer that it had.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from .calls import WORK

REMEMBERED = 10_000
"""Messages by whose number a repeat is known."""


class Number(NamedTuple):
    """Names a message: no node uses a number twice."""

    node: str
    number: int


class Repeats:
    """The messages that came, and for a while the answers that were given."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen: OrderedDict[Number, bytes | None] = OrderedDict()

    def first(self, message: Number) -> bool:
        """Note that the message came; tell whether it did not before."""
        if message in self._seen:
            return False
        self._seen[message] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def answer(self, call: Number) -> bytes | None:
        """Return the answer that the call had, if somebody may still wait for it."""
        return self._seen.get(call)

    def answered(self, call: Number, answer: bytes) -> None:
        """Remember the answer as long as somebody may wait for it."""
        if call in self._seen:
            self._seen[call] = answer
            self._loop.call_later(WORK, self._forget_answer, call)

    def _forget_answer(self, call: Number) -> None:
        if call in self._seen:
            self._seen[call] = None
