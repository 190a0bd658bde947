"""Which node has a client: one at a time, and the others know."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from cometd_chat.nodes.directory import (
    BURIED,
    PARKED,
    Claimed,
    Directory,
    Handover,
    Place,
)
from cometd_chat.store.redis_keys import Keys
from cometd_chat.store.redis_servers import Router
from cometd_chat.store.redis_topology import Servers
from tests.store.proxy import proxied
from tests.store.redis_server import LOGIN, RedisServer

_prefixes = (f"directory-{number}" for number in count())


@pytest.fixture
async def pair(redis: RedisServer) -> AsyncIterator[list[Directory]]:
    router, keys = Router(redis.servers, 100, None), Keys(next(_prefixes))
    yield [Directory(router, keys, name, 60.0) for name in ("a", "b")]
    await router.close()


async def test_one_node_has_a_client(pair: list[Directory]) -> None:
    a, b = pair
    assert await b.find("c") is None
    assert await a.keep("c", 1, b"record")
    assert await b.find("c") == Place("a", 1, b"record")
    assert not await b.keep("c", 1, b"other")
    assert not await b.remove("c", 1, meant=True)


async def test_what_is_parked_is_taken_once(pair: list[Directory]) -> None:
    a, b = pair
    await a.keep("c", 1, b"old")
    assert await a.park("c", 1, b"record", b"parcel")
    assert await b.find("c") == Place(PARKED, 2, b"record")
    assert await b.claim("c", 2) == Claimed(3, b"record", b"parcel")
    assert await b.claim("c", 2) == Claimed(3, b"record", b"parcel"), "a repeat"
    assert await a.claim("c", 2) is None
    assert not await a.park("c", 1, b"record", b"parcel")


async def test_who_was_away_cannot_touch_what_was_taken_over(
    pair: list[Directory],
) -> None:
    a, b = pair
    await a.keep("c", 1, b"record")
    assert await b.claim("c", 1) == Claimed(2, b"record", b"")
    assert not await a.keep("c", 1, b"stale")
    assert not await a.park("c", 1, b"stale", b"stale")
    assert not await a.remove("c", 1, meant=False)
    assert await a.find("c") == Place("b", 2, b"record")


async def test_a_parcel_is_no_word_about_what_came_later(
    pair: list[Directory],
) -> None:
    a, b = pair
    await a.keep("c", 1, b"record")
    await a.park("c", 1, b"record", b"parcel")
    await b.claim("c", 2)
    assert await b.take_up("c", 3)
    assert await a.claim("c", 3) == Claimed(4, b"record", b"")
    assert not await b.take_up("c", 3)


async def test_a_parcel_that_was_claimed_and_not_taken_up_is_not_lost(
    pair: list[Directory],
) -> None:
    a, b = pair
    await a.keep("c", 1, b"record")
    await a.park("c", 1, b"record", b"parcel")
    await b.claim("c", 2)
    assert await a.claim("c", 3) == Claimed(4, b"record", b"parcel")
    assert await a.keep("c", 4, b"newer")
    assert await b.claim("c", 4) == Claimed(5, b"newer", b"")


async def test_a_client_is_handed_over_to_the_node_that_wants_it(
    pair: list[Directory],
) -> None:
    a, b = pair
    await a.keep("c", 1, b"old")
    assert await a.park("c", 1, b"record", b"parcel", Handover("b", "nobody", b""))
    assert await a.find("c") == Place("b", 2, b"record")
    assert await b.claim("c", 2) == Claimed(3, b"record", b"parcel"), "not heard of it"


@pytest.mark.parametrize("meant", [True, False])
async def test_a_goodbye_is_remembered_if_it_was_meant(
    pair: list[Directory], *, meant: bool
) -> None:
    a, b = pair
    await a.keep("c", 1, b"record")
    assert await a.remove("c", 1, meant=meant)
    expected = Place(BURIED, 1, b"") if meant else None
    assert await b.find("c") == expected
    assert await b.claim("c", 1) is None


@pytest.mark.parametrize("meant", [True, False])
async def test_a_goodbye_whose_reply_is_lost_is_told_again(
    redis: RedisServer, *, meant: bool
) -> None:
    async with proxied(redis.address) as line:
        servers = Servers(addresses=(line.address,), login=LOGIN)
        router, keys = Router(servers, 100, None), Keys(next(_prefixes))
        a = Directory(router, keys, "a", 60.0)
        assert await a.remove("other", 1, meant=meant)  # the server knows the script
        await a.keep("c", 1, b"record")
        line.cut_replies = 1
        assert await a.remove("c", 1, meant=meant)
        assert line.cuts == 1
        await router.close()
