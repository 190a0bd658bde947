"""How long a move takes: a few round trips, whatever the client has and does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cometd_chat.nodes.custody import BUSY
from tests import ways
from tests.clients.agent import CHANNEL, AgentClient
from tests.clients.pair import Pair
from tests.clients.proxy import Proxy
from tests.clients.raw import V1Chat
from tests.e2e.conftest import agent_token, new_node, write_config
from tests.store.redis_server import RedisServer

CHATS = 30

ONE_WAY = 0.02
"""Seconds that everything takes to Redis, and back again."""


@pytest.fixture
async def line(redis: RedisServer) -> AsyncIterator[Proxy]:
    """The way of both nodes to Redis."""
    async with Proxy(redis.port) as proxy:
        yield proxy


@pytest.fixture
async def far(tmp_path: Path, line: Proxy) -> AsyncIterator[Pair]:
    """Two nodes behind the line."""
    with ways.by(front=True, redis=f"redis://127.0.0.1:{line.port}/0"):
        made = new_node(write_config(tmp_path))
    assert isinstance(made, Pair)
    async with made as running:
        yield running
        line.latency = 0.0


async def test_an_agent_with_many_chats_moves_as_fast_as_one_with_few(
    far: Pair, line: Proxy
) -> None:
    async with AsyncExitStack() as stack:
        agent = AgentClient(f"{far.url}/cometd", agent_token())
        await stack.enter_async_context(agent)
        await agent.handshake()
        apps = [V1Chat(f"{far.url}/genesys", user=f"user-{n}") for n in range(CHATS)]
        for app in apps:
            await stack.enter_async_context(app)
            await app.start(userDisplayName="Cleo")
            data = {"operation": "acceptChat", "chatId": app.session_id}
            await agent.publish(CHANNEL, data)
        await agent.connect(advice={"timeout": 0})
        await asyncio.gather(*(app.send("hello") for app in apps))
        line.latency = ONE_WAY
        async with asyncio.timeout(CHATS * ONE_WAY * 2):
            await agent.connect(advice={"timeout": 0})
        assert {tuple(agent.texts(app.session_id)) for app in apps} == {("hello",)}


async def test_an_agent_who_never_stops_writing_moves_at_once(
    far: Pair, line: Proxy
) -> None:
    here, there = (
        AgentClient(f"{node.url}/cometd", agent_token()) for node in far.nodes
    )
    chat = V1Chat(f"{far.url}/genesys", user="cleo")

    async def write(after: float) -> None:
        data = {"chatId": chat.session_id, "operation": "sendMessage", "message": "x"}
        await asyncio.sleep(after)
        while True:
            assert (await here.publish(CHANNEL, data))["successful"]

    async with here, there, chat:
        await chat.start(userDisplayName="Cleo")
        await here.handshake()
        there.client_id = here.client_id
        accept = {"chatId": chat.session_id, "operation": "acceptChat"}
        await here.publish(CHANNEL, accept)
        line.latency = ONE_WAY
        writing = [asyncio.create_task(write(n * ONE_WAY / 2)) for n in range(8)]
        try:
            await asyncio.sleep(10 * ONE_WAY)
            async with asyncio.timeout(BUSY):
                assert (await there.connect(advice={"timeout": 0}))["successful"]
            assert not any(task.done() for task in writing)
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
