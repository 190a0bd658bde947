"""Calls of this node that wait for the answer of another one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from cometd_chat.clock import Clock

from .pulse import BEAT, SILENCE, Pulse

PATIENCE = 2.0
"""Seconds within which a node that is there has to answer a call."""

WORK = 8.0
"""Seconds within which it has to answer one for which it works for a client: longer
than a call to Redis is tried again, less than clients wait."""

MOST_CALLS = 10_000
"""Calls of this node that wait for an answer; further ones fail at once."""


class NoAnswerError(Exception):
    """The other node did not answer in time, or is gone."""


class LateError(NoAnswerError):
    """It did not answer in time, and is there: it may still do what it was asked."""


Send: TypeAlias = Callable[[str, bytes], Awaitable[None]]
"""Sends a message to a node."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits for its answer; `message` is what was sent to the node.

    `begun` and `end` (monotonic seconds): a node that is there may answer until then.
    `answer` may be why there is none. It is no exception of the future, of which the
    event loop complains where nobody asks, for sending has failed as well.
    """

    node: str
    message: bytes
    begun: float
    end: float
    answer: "asyncio.Future[bytes | NoAnswerError]"


class Calls:
    """Each ends with its answer, or fails: its time is over, or its node is gone."""

    def __init__(self, pulse: Pulse, clock: Clock, send: Send) -> None:
        self._pulse = pulse
        self._now = clock.monotonic
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}

    async def make(
        self, number: int, node: str, message: bytes, patience: float
    ) -> bytes:
        """Send the message; return what `answered` has for this number.

        A node that is there has `patience` seconds. Raises: NoAnswerError, which is a
        LateError if the node is there; whatever sending raises.
        """
        pulse = self._pulse
        if pulse.deaf or not pulse.alive(node) or len(self._calls) >= MOST_CALLS:
            raise NoAnswerError
        begun, answer = self._now(), self._loop.create_future()
        self._calls[number] = _Call(node, message, begun, begun + patience, answer)
        late = self._loop.call_later(PATIENCE, self._look_after, number)
        try:
            await self._send(node, message)
            answered: bytes | NoAnswerError = await answer
        finally:
            late.cancel()
            del self._calls[number]
        if isinstance(answered, NoAnswerError):
            raise answered
        return answered

    def answered(self, number: int, body: bytes) -> None:
        """Note the answer to a call, which may have ended already."""
        call = self._calls.get(number)
        if call is not None:
            _end(call, body)

    def waiting(self, node: str | None = None) -> list[tuple[str, bytes]]:
        """Return nodes and messages of the calls that wait, all or those to a node."""
        calls = self._calls.values()
        return [(c.node, c.message) for c in calls if node in {c.node, None}]

    def give_up(self) -> None:
        """Fail the calls that nobody will answer."""
        pulse = self._pulse
        for call in self._calls.values():
            if pulse.deaf or (pulse.in_touch and not pulse.alive(call.node)):
                _end(call, NoAnswerError())

    def _look_after(self, number: int) -> None:
        """Give up a call whose time is over, or look again.

        A node that was away itself has heard nobody, and must wait to know better.
        """
        call = self._calls.get(number)
        if call is None:
            return
        now, there = self._now(), self._pulse.in_touch and self._pulse.alive(call.node)
        if there and now >= call.end:
            _end(call, LateError())
        elif not there and now >= call.begun + PATIENCE + SILENCE:
            _end(call, NoAnswerError())
        else:
            self._loop.call_later(BEAT, self._look_after, number)


def _end(call: _Call, answer: bytes | NoAnswerError) -> None:
    if not call.answer.done():
        call.answer.set_result(answer)
