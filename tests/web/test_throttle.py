"""Bursts are spread, and nobody waits longer than clients do for an answer."""

import asyncio
import time

import pytest

from cometd_chat.bayeux import Peer
from cometd_chat.web.throttle import LONGEST, MOST, Throttle, Throttles


def delays(throttle: Throttle, count: int, now: float = 100.0) -> list[float]:
    return [throttle.delay(now) for _ in range(count)]


def test_what_one_second_holds_may_come_in_one_moment() -> None:
    throttle = Throttle(50)
    assert delays(throttle, 50) == [0.0] * 50
    assert throttle.delay(100.0) > 0


def test_the_others_come_one_after_the_other_at_the_rate() -> None:
    throttle = Throttle(50)
    delays(throttle, 50)
    assert delays(throttle, 3) == pytest.approx([0.02, 0.04, 0.06])


def test_at_the_rate_nobody_ever_waits() -> None:
    throttle = Throttle(50)
    assert all(throttle.delay(100 + n / 50) < 1e-6 for n in range(5000))


def test_after_a_pause_there_is_room_for_one_second_again_and_not_for_more() -> None:
    throttle = Throttle(50)
    delays(throttle, 60)
    assert max(delays(throttle, 50, 1e6)) < 1e-6
    assert throttle.delay(1e6) > 0.01


def test_nobody_waits_longer_than_clients_do() -> None:
    throttle = Throttle(10)
    assert max(delays(throttle, 10_000)) == LONGEST


def test_a_flood_costs_those_who_come_after_it_no_more_than_that() -> None:
    """What was let through early is not made up for by others."""
    throttle = Throttle(10)
    delays(throttle, 10_000, 100.0)
    assert throttle.delay(100.0 + LONGEST + 1) == 0.0


def test_a_rate_below_one_per_second_works_too() -> None:
    throttle = Throttle(0.5)
    assert delays(throttle, 3) == [1.0, 3.0, LONGEST]


def peer(address: str) -> Peer:
    return Peer(headers={}, address=address)


async def test_a_call_waits_for_its_turn() -> None:
    throttle = Throttles(20)
    begun = time.monotonic()
    await asyncio.gather(*(throttle.wait(peer("a"), begun) for _ in range(24)))
    assert 0.2 <= time.monotonic() - begun < 2.0


async def test_one_address_does_not_delay_another() -> None:
    throttles = Throttles(1)
    now = asyncio.get_running_loop().time()
    for address in range(MOST):
        await throttles.wait(peer(str(address)), now)
    assert asyncio.get_running_loop().time() - now < LONGEST


async def test_the_address_that_was_quiet_for_the_longest_makes_room() -> None:
    throttles = Throttles(2)
    for address in ["steady", *map(str, range(MOST - 1)), "steady", "one more"]:
        await throttles.wait(peer(address), 100.0)
    assert len(throttles) == MOST
    begun = time.monotonic()
    await throttles.wait(peer("0"), 100.0)
    await throttles.wait(peer("steady"), 100.0)
    assert time.monotonic() - begun > 0.4, "it is remembered that it came twice"
