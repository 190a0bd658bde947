"""What a node logs while Redis is away."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from tests import ways
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient
from tests.e2e.conftest import new_node, write_config
from tests.store.redis_server import SAFE, RedisServer, running

REQUESTS = 100


@pytest.fixture
async def redis_of_its_own(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A server that may be killed."""
    with running(tmp_path / "redis", *SAFE) as server:
        yield server


async def test_a_redis_that_is_away_floods_no_log(
    tmp_path: Path,
    redis_of_its_own: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ways.by(front=True, redis=f"redis://{redis_of_its_own.address}/0"):
        made = new_node(write_config(tmp_path))
    assert isinstance(made, Pair)
    async with made as pair, ClientSession() as http:
        clients = [BayeuxClient(f"{pair.nodes[0].url}/cometd") for _ in range(20)]
        for client in clients:
            await client.handshake()
        await asyncio.to_thread(redis_of_its_own.kill)

        async def ask(number: int) -> None:
            message = {
                "channel": "/meta/connect",
                "connectionType": "long-polling",
                "clientId": clients[number % len(clients)].client_id,
            }
            url = pair.nodes[number % 2].url
            async with (
                asyncio.timeout(30),
                http.post(f"{url}/cometd", json=[message]) as response,
            ):
                await response.read()

        asking = map(ask, range(REQUESTS))
        for failed in await asyncio.gather(*asking, return_exceptions=True):
            assert failed is None or isinstance(failed, ClientError | TimeoutError)
        for client in clients:
            await client.vanish()
        lines = Counter(record.getMessage() for record in caplog.records)
        await asyncio.to_thread(redis_of_its_own.start)
    assert max(lines.values()) <= len(pair.nodes), lines
    assert any("[store] url" in line for line in lines)
