"""Two hundred phones on a bad network: each shows its transcript once, in order."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientError

from tests import ways
from tests.clients.agent import AgentClient
from tests.clients.proxy import Link, Proxy
from tests.clients.raw import BayeuxClient, Json, V1App

from .conftest import agent_token, free_port, new_server, write_config

pytestmark = pytest.mark.slow

APPS = 200
SECONDS = 30
"""With one node; with two it is half of both."""

AGENTS = 4

POSTS_PER_SECOND = 120
MISFORTUNES_PER_SECOND = 25


class NewClientEachTime(BayeuxClient):
    """Shakes hands again after each failure, as GMS asks its apps to do."""

    async def connect(self, **fields: Any) -> Json:
        try:
            return await super().connect(**fields)
        except (ClientError, OSError):
            await self._start_again()
            raise


class PositionApp(V1App):
    """Keeps its client, and says with each poll what it has."""

    def show(self, chat: Json) -> None:
        super().show(chat)
        position = str(self.position)
        self.bayeux.connect_fields = {"ext": {"transcriptPosition": position}}


def new_app(base: str, number: int) -> V1App:
    """Make one of the two kinds; both drop positions that they have already."""
    user = f"user-{number}"
    if number % 2:
        return PositionApp(base, user=user)
    app = V1App(base, user=user)
    client = NewClientEachTime(app.bayeux.url, app.bayeux.headers)
    client.on_event, app.bayeux = app.bayeux.on_event, client
    return app


async def misfortune(link: Link) -> None:
    """Cut a connection: at once, or after it took data that nobody will read."""
    if random.random() < 0.5:
        link.freeze()
        await asyncio.sleep(random.uniform(0.1, 3.0))
    link.cut()


async def bad_network(proxy: Proxy, until: float) -> None:
    running = set()
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(1 / MISFORTUNES_PER_SECOND)
        if proxy.links:
            running.add(asyncio.create_task(misfortune(random.choice(proxy.links))))
    await asyncio.gather(*running)


async def post(
    agents: list[AgentClient], chats: list[str], said: list[list[str]], until: float
) -> None:
    """Let agents write into random chats; `said` notes what each chat must show."""
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(1 / POSTS_PER_SECOND)
        number = random.randrange(len(chats))
        text = f"{number}-{len(said[number])}"
        said[number].append(text)
        reply = await agents[number % AGENTS].publish(
            "/service/agent",
            {"operation": "sendMessage", "chatId": chats[number], "message": text},
        )
        assert reply["successful"], reply


async def send_pending(app: V1App, number: int) -> str:
    """Send one message as apps do that keep a queue: again until it is taken."""
    text = f"customer-{number}"
    while True:
        try:
            await app.send(text, localId=text)
        except (ClientError, OSError):
            await asyncio.sleep(0.2)
        else:
            return text


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(20261121)


async def test_phones_whose_connections_break_show_each_entry_once(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, port=free_port(), offline_after="3s")
    async with new_server(config) as server:
        port = urlsplit(server.url).port
        assert port is not None
        agents = await start_agents(server.url)
        async with Proxy(port) as proxy:
            base = f"http://127.0.0.1:{proxy.port}/genesys"
            count = APPS // ways.nodes()
            apps = [new_app(base, number) for number in range(count)]
            chats = await start_chats(apps, agents)
            said: list[list[str]] = [[] for _ in apps]
            until = asyncio.get_running_loop().time() + SECONDS / ways.nodes()
            _, _, *pending = await asyncio.gather(
                bad_network(proxy, until),
                post(agents, chats, said, until),
                *(send_pending(app, i) for i, app in enumerate(apps)),
            )
            for app, expected, own in zip(apps, said, pending, strict=True):
                await app.wait_for(everything(app, expected, own), 30)
                check(app, expected, own)
            await asyncio.gather(*(app.vanish() for app in apps))
        await asyncio.gather(*(agent.vanish() for agent in agents))


async def start_agents(url: str) -> list[AgentClient]:
    agents = []
    for number in range(AGENTS):
        token = agent_token(f"agent-{number}", f"Agent {number}")
        agents.append(AgentClient(f"{url}/genesys/cometd", token))
        await agents[-1].start()
    return agents


async def start_chats(apps: list[V1App], agents: list[AgentClient]) -> list[str]:
    """Start all chats before the network goes bad, and have them accepted."""
    for number, app in enumerate(apps):
        await app.start(userDisplayName=f"Customer {number}")
        await agents[number % AGENTS].operate("acceptChat", chatId=app.session_id)
    return [app.session_id for app in apps]


def everything(app: V1App, expected: list[str], own: str) -> Callable[[], bool]:
    return lambda: len(app.texts) >= len(expected) + 1 and own in app.texts


def check(app: V1App, expected: list[str], own: str) -> None:
    assert [text for text in app.texts if text != own] == expected
    assert app.texts.count(own) == 1
    assert app.positions == list(range(1, len(app.positions) + 1))
