"""A node that is there, and takes long for what it does for a client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from cometd_chat.chat.luggage import Published
from cometd_chat.nodes.calls import PATIENCE
from tests import ways
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient
from tests.e2e.nodes import NEWS, configured, make_node
from tests.nodes.test_parking import with_mail
from tests.store.redis_server import RedisServer
from tests.web.conftest import until

LONG = PATIENCE + 0.5
"""Seconds, no more than a call to Redis is tried again."""


@pytest.fixture
async def pair(tmp_path: Path, redis: RedisServer) -> AsyncIterator[Pair]:
    """Two nodes with a channel for everybody."""
    with ways.by(front=True, redis=f"redis://{redis.address}/0"):
        made = make_node(configured(tmp_path, timeout="8s"))
    assert isinstance(made, Pair)
    async with made as running:
        yield running


class Slow:
    """Tells all what was published after a while, the first time."""

    def __init__(self, node: Node) -> None:
        self._relay = node._chat.application.relay
        self.begun = 0
        node._chat.application.relay = self

    async def __call__(self, published: Published) -> None:
        self.begun += 1
        if self.begun == 1:
            await asyncio.sleep(LONG)
        assert self._relay is not None
        await self._relay(published)


async def test_a_client_takes_along_what_waits_from_a_node_that_is_slow(
    pair: Pair,
) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        slow = Slow(first)
        publishing = asyncio.create_task(client.publish(NEWS, "long"))
        await until(lambda: slow.begun)
        client.url = f"{second.url}/cometd"
        assert (await client.connect(advice={"timeout": 0}))["successful"]
        assert [event["data"] for event in client.events] == ["kept"]
        assert (await publishing)["successful"]


async def test_what_another_node_takes_long_for_is_done_once(pair: Pair) -> None:
    first, second = pair.nodes
    async with (
        BayeuxClient(f"{first.url}/cometd") as reader,
        BayeuxClient(f"{first.url}/cometd") as writer,
    ):
        await reader.handshake()
        await reader.subscribe(NEWS)
        await reader.connect(advice={"timeout": 0})
        await writer.handshake()
        await writer.connect(advice={"timeout": 0})
        slow = Slow(first)
        writer.url = f"{second.url}/cometd"
        assert (await writer.publish(NEWS, "once"))["successful"]
        assert (await writer.publish(NEWS, "then"))["successful"]
        await until(lambda: slow.begun)
        while [event["data"] for event in reader.events][-1:] != ["then"]:
            await reader.connect()
        assert [event["data"] for event in reader.events] == ["once", "then"]


async def test_a_batch_goes_on_where_its_client_has_gone_meanwhile(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await client.handshake()
        await client.connect(advice={"timeout": 0})
        slow = Slow(first)
        batch = [client.message(NEWS, data=n) for n in range(3)]
        publishing = asyncio.create_task(client.post(batch))
        await until(lambda: slow.begun)
        client.url = f"{second.url}/cometd"
        assert (await client.connect(advice={"timeout": 0}))["successful"]
        assert not publishing.done()
        replies = await publishing
        assert [reply["successful"] for reply in replies] == [True] * 3, replies
        assert [reply["id"] for reply in replies] == [m["id"] for m in batch]
