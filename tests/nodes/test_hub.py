"""Calls between nodes: answered soon, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from cometd_chat.clock import SystemClock
from cometd_chat.nodes.calls import PATIENCE, WORK, LateError, NoAnswerError
from cometd_chat.nodes.hub import MOST_BYTES, Asked, Hub
from cometd_chat.nodes.pulse import BEAT, SILENCE
from cometd_chat.store.redis_keys import Keys
from cometd_chat.store.redis_link import Address
from cometd_chat.store.redis_servers import Router
from cometd_chat.store.redis_topology import Servers
from tests.store.proxy import proxied
from tests.store.redis_server import (
    LOGIN,
    RedisServer,
    cluster,
    cluster_servers,
)
from tests.web.conftest import until

_prefixes = (f"hub-{number}" for number in count())


@pytest.fixture
async def hubs(redis: RedisServer) -> AsyncIterator[list[Hub]]:
    router, keys = Router(redis.servers, 1000, None), Keys(next(_prefixes))
    made = [Hub(router, keys, name, SystemClock()) for name in ("a", "b")]
    for hub in made:
        await hub.start()
    await until(lambda: all(hub.pulse.in_touch for hub in made))
    yield made
    for hub in made:
        await hub.close()
    await router.close()


async def test_a_call_is_answered(hubs: list[Hub]) -> None:
    a, b = hubs

    async def double(asked: Asked) -> bytes:
        return asked.body * 2

    b.answer("double", double)
    calls = [a.call("b", "double", str(n).encode()) for n in range(100)]
    answers = await asyncio.gather(*calls)
    assert answers == [str(n).encode() * 2 for n in range(100)]


async def test_a_node_that_is_there_has_the_time_that_it_is_given(
    hubs: list[Hub],
) -> None:
    a, b = hubs
    done = asyncio.Event()

    async def slowly(asked: Asked) -> bytes:
        await done.wait()
        return asked.body

    b.answer("slow", slowly)
    patient = asyncio.create_task(a.call("b", "slow", b"patient", WORK))
    with pytest.raises(LateError):
        await a.call("b", "slow", b"hasty")
    done.set()
    assert await patient == b"patient"


async def test_a_node_that_has_left_fails_calls_at_once(hubs: list[Hub]) -> None:
    a, b = hubs
    await until(lambda: a.pulse.alive("b"))
    await b.close()
    await until(lambda: not a.pulse.alive("b"))
    with pytest.raises(NoAnswerError):
        await a.call("b", "double", b"")


async def test_a_node_that_leaves_answers_what_it_was_asked(hubs: list[Hub]) -> None:
    a, b = hubs
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slowly(_: Asked) -> bytes:
        asked.set()
        await answered.wait()
        return b"at last"

    b.answer("slowly", slowly)
    call = asyncio.create_task(a.call("b", "slowly", b""))
    await asked.wait()
    closing = asyncio.create_task(b.close())
    assert not (await asyncio.wait([closing], timeout=0.1))[0]
    answered.set()
    assert await call == b"at last"
    await closing


async def test_a_call_that_fails_there_and_one_too_large_have_no_answer(
    hubs: list[Hub],
) -> None:
    a, b = hubs

    async def fail(_: Asked) -> bytes:
        raise ValueError

    b.answer("fail", fail)
    with pytest.raises(NoAnswerError):
        await a.call("b", "fail", b"")
    with pytest.raises(NoAnswerError):
        await a.call("b", "fail", bytes(MOST_BYTES + 1))


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_a_call_outlives_the_line_of_either_side(
    hubs: list[Hub], broken: str
) -> None:
    a, b = hubs
    line = {"a": a, "b": b}[broken]._link
    assert line is not None
    calls = 0

    async def count(asked: Asked) -> bytes:
        nonlocal calls
        calls += 1
        return asked.body

    b.answer("count", count)
    line.abort()
    async with asyncio.timeout(PATIENCE / 2):
        assert await a.call("b", "count", b"x") == b"x"
    assert calls == 1


async def test_a_line_that_broke_ends_what_was_certain(hubs: list[Hub]) -> None:
    a = hubs[0]
    assert a._link is not None
    before = a.pulse.since
    a._link.abort()
    await until(lambda: a.pulse.in_touch and a.pulse.since > before)


async def test_all_hear_what_is_told_in_order(hubs: list[Hub]) -> None:
    heard: dict[str, list[bytes]] = {"a": [], "b": []}
    for hub in hubs:
        hub.hear("news", lambda _, __, body, n=hub.node: heard[n].append(body))
    told = [str(n).encode() for n in range(50)]
    for body in told:
        await hubs[0].tell("news", body)
    await until(lambda: heard == {"a": told, "b": told})


async def test_a_deaf_node_asks_nobody_is_not_asked_and_hears_again(
    redis: RedisServer,
) -> None:
    keys, clock = Keys(next(_prefixes)), SystemClock()
    async with proxied(redis.address) as line:
        routers = [
            Router(Servers(addresses=(at,), login=LOGIN), 100, None)
            for at in (line.address, redis.address)
        ]
        a, b = (Hub(r, keys, n, clock) for r, n in zip(routers, "ab", strict=True))
        for hub in (a, b):
            hub.answer("echo", echo)
            await hub.start()
        await until(
            lambda: a.pulse.alive("b") and b.pulse.in_touch and a.pulse.in_touch
        )
        line.deaf = True
        await until(lambda: a.pulse.deaf and not b.pulse.alive("a"))
        for caller, other in ((a, "b"), (b, "a")):
            async with asyncio.timeout(PATIENCE / 4):
                with pytest.raises(NoAnswerError):
                    await caller.call(other, "echo", b"x")
        line.deaf = False
        await until(lambda: a.pulse.in_touch and not a.pulse.deaf)
        await asyncio.sleep(2 * BEAT)
        assert await a.call("b", "echo", b"x") == b"x"
        assert await b.call("a", "echo", b"y") == b"y"
        for hub in (a, b):
            await hub.close()
        for router in routers:
            await router.close()


class FirstFirst(Router):
    """Gives the first server, unless that is to be avoided."""

    async def any_server(self, *, avoid: Address | None = None) -> Address:
        return next(one for one in self.servers.addresses if one != avoid)


async def test_a_server_that_never_answers_a_subscription_is_left(
    redis: RedisServer,
) -> None:
    async with proxied(redis.address) as line:
        line.deaf = True
        both = Servers(addresses=(line.address, redis.address), login=LOGIN)
        router = FirstFirst(both, 100, None)
        hub = Hub(router, Keys(next(_prefixes)), "a", SystemClock())
        await hub.start()
        await until(lambda: hub.pulse.in_touch)
        await hub.close()
        await router.close()


async def echo(asked: Asked) -> bytes:
    return asked.body


async def test_in_a_cluster_no_primary_is_missed(tmp_path: Path) -> None:
    clock = SystemClock()
    with cluster(tmp_path) as servers:
        routers = [Router(cluster_servers(servers), 100, None) for _ in "ab"]
        a, b = (
            Hub(router, Keys("chat"), name, clock)
            for router, name in zip(routers, "ab", strict=True)
        )
        for hub in (a, b):
            hub.answer("echo", echo)
            await hub.start()
        await until(
            lambda: a.pulse.alive("b") and b.pulse.alive("a") and a.pulse.in_touch
        )
        first = await routers[0].primaries()
        fallen = next(s for s in servers if s.address == first[0])
        await asyncio.to_thread(fallen.kill)
        await asyncio.sleep(SILENCE)
        end = clock.monotonic() + SILENCE
        while clock.monotonic() < end:
            assert a.pulse.alive("b")
            assert b.pulse.alive("a")
            assert await a.call("b", "echo", b"x") == b"x"
            await asyncio.sleep(BEAT)
        for hub in (a, b):
            await hub.close()
        for router in routers:
            await router.close()
