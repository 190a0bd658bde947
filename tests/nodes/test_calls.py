"""Calls that wait: none is left behind, whatever becomes of what was sent."""

import asyncio
import gc
from typing import Any

import pytest

from cometd_chat.nodes.calls import Calls
from cometd_chat.nodes.pulse import SILENCE, Pulse
from cometd_chat.store import StoreUnavailableError
from tests.chat.world import FakeClock
from tests.web.conftest import until


class Away:
    """Takes messages, and finds out after a while that Redis is away."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.found_out = asyncio.Event()

    async def send(self, _: str, message: bytes) -> None:
        self.taken.append(message)
        await self.found_out.wait()
        raise StoreUnavailableError("Redis is away")


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What the event loop complains of meanwhile."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: found.append(told))
    return found


async def test_one_that_fails_while_it_is_sent_is_no_complaint(
    complaints: list[dict[str, Any]],
) -> None:
    clock, redis = FakeClock(), Away()
    pulse = Pulse("a", clock)
    pulse.note("b")
    calls = Calls(pulse, clock, redis.send)
    call = asyncio.create_task(calls.make(1, "b", b"x", patience=2))
    await until(lambda: redis.taken == [b"x"])
    for _ in range(2):
        pulse.note("a")
        clock.now += SILENCE / 2
    pulse.note("a")
    calls.give_up()
    redis.found_out.set()
    with pytest.raises(StoreUnavailableError):
        await call
    del call
    await asyncio.sleep(0)  # the event loop holds what woke us until then
    gc.collect()
    assert complaints == []
    assert calls.waiting() == []
