"""Clients not our own, over each transport they have: they hear, break, come back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cometd_chat.app import Node
from tests.clients.agent import AgentClient
from tests.clients.proxy import Proxy
from tests.clients.raw import V1Chat
from tests.e2e.conftest import agent_token, free_port, new_node

from .conftest import Inside, configured, until
from .phones import KINDS, Phone

pytestmark = pytest.mark.filterwarnings(
    # aiocometd-ng opens its sockets in a way that aiohttp will give up.
    "ignore:(float parameter 'receive_timeout'|ssl=None) is deprecated"
    ":DeprecationWarning"
)

NOTICE = "customer is not online"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a client and a transport."""
    name: str = request.param
    return name


def phone(kind: str, url: str, app: V1Chat) -> Phone:
    make, transport = KINDS[kind]
    return make(url, app.service_id, transport)


@asynccontextmanager
async def agent_at(node: Node, chat_id: str) -> AsyncIterator[AgentClient]:
    """An agent who takes part in this chat."""
    async with AgentClient(f"{node.url}/cometd", agent_token()) as agent:
        await agent.start()
        await agent.operate("acceptChat", chatId=chat_id)
        yield agent


async def say(agent: AgentClient, app: V1Chat, text: str) -> None:
    await agent.operate(
        "sendMessage", chatId=app.session_id, message=text, localId=text
    )


async def test_it_hears_the_chat_and_says_goodbye(
    node: Node, base: str, inside: Inside, kind: str
) -> None:
    async with V1Chat(base) as app:
        await app.create_service()
        async with phone(kind, f"{base}/cometd", app) as client:
            await app.create_chat(notify_by="comet")
            async with agent_at(node, app.session_id) as agent:
                await say(agent, app, "one")
                await client.shows("one")
                await say(agent, app, "two")
                await client.shows("one", "two")
                position = len(client.screen)
                await client.leave(position)
                await agent.wait_for(lambda: agent.notices(app.session_id))
                assert agent.notices(app.session_id)[0]["text"] == NOTICE
                await until(lambda: len(node._chat.server) == 1)
                session = await node.store.get(app.session_id)
                assert session.acked == position


async def test_a_network_that_breaks_loses_nothing(
    node: Node, base: str, inside: Inside, kind: str
) -> None:
    port = urlsplit(node.url).port
    assert port is not None
    async with V1Chat(base) as app, Proxy(port) as proxy:
        await app.create_service()
        url = f"http://127.0.0.1:{proxy.port}/genesys/cometd"
        async with phone(kind, url, app) as client:
            await app.create_chat(notify_by="comet")
            async with agent_at(node, app.session_id) as agent:
                await say(agent, app, "one")
                await client.shows("one")
                proxy.cut()
                await say(agent, app, "two")
                await client.shows("one", "two")
                await say(agent, app, "three")
                await client.shows("one", "two", "three")


async def test_a_server_that_restarts_is_no_end(tmp_path: Path, kind: str) -> None:
    path = configured(tmp_path, server__host="127.0.0.1")
    text = path.read_text().replace("port = 0", f"port = {free_port()}")
    path.write_text(text)
    async with new_node(path) as first, V1Chat(f"{first.url}/genesys") as app:
        await app.create_service()
        async with phone(kind, f"{first.url}/genesys/cometd", app) as client:
            await app.create_chat(notify_by="comet")
            async with agent_at(first, app.session_id) as agent:
                await say(agent, app, "one")
                await client.shows("one")
            await first.stop()
            async with (
                new_node(path) as second,
                agent_at(second, app.session_id) as agent,
            ):
                await say(agent, app, "two")
                await client.shows("one", "two")
                await say(agent, app, "three")
                await client.shows("one", "two", "three")
