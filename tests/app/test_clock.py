"""The clock by which nodes of one storage go."""

import logging

import pytest

from cometd_chat.clock import SLOWEST, TOLERANCE, SharedClock

NOW = 1_700_000_000.0
"""The time of the storage when a test begins."""


class World:
    """A node and its storage; each has a clock."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.passed = 0.0
        self.delay = 0.0

    def time(self) -> float:
        return NOW + self.ahead + self.passed

    def monotonic(self) -> float:
        return 40.0 + self.passed

    async def tell(self) -> float:
        """Answer as the storage, half-way through the delay."""
        self.passed += self.delay
        return NOW + self.passed - self.delay / 2


async def test_a_clock_that_was_never_compared_is_the_own_one() -> None:
    world = World(ahead=60.0)
    assert SharedClock(world).time() == world.time()


@pytest.mark.parametrize("ahead", [-60.0, -0.5, 0.0, 3600.0])
async def test_it_is_that_of_the_storage(ahead: float) -> None:
    world = World(ahead)
    clock = SharedClock(world)
    world.delay = SLOWEST / 2
    await clock.compare(world.tell)
    world.passed += 7.0
    assert clock.time() == pytest.approx(NOW + world.passed)
    assert clock.monotonic() == world.monotonic()


async def test_a_step_of_the_own_clock_moves_nothing() -> None:
    world = World()
    clock = SharedClock(world)
    await clock.compare(world.tell)
    world.ahead = 3600.0
    assert clock.time() == pytest.approx(NOW)


async def test_an_answer_that_took_long_changes_nothing() -> None:
    world = World(ahead=60.0)
    clock = SharedClock(world)
    world.delay = SLOWEST + 0.1
    await clock.compare(world.tell)
    assert clock.time() == world.time()


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (TOLERANCE - 0.5, ""),
        (60.0, "60.0 s ahead of that of the storage"),
        (-60.0, "60.0 s behind that of the storage"),
    ],
)
async def test_a_clock_that_is_far_off_is_told_once(
    ahead: float, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(ahead)
    clock = SharedClock(world)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await clock.compare(world.tell)
    assert len(caplog.records) == bool(told)
    assert told in caplog.text


async def test_it_is_told_again_when_it_was_right_in_between(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    clock = SharedClock(world)
    for ahead in (60.0, 0.0, 60.0):
        world.ahead = ahead
        await clock.compare(world.tell)
    assert len(caplog.records) == 2
