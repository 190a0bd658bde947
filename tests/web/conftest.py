"""A node in this process for the tests of transports, and an agent of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests.clients.agent import AgentClient
from tests.clients.watched import Watched
from tests.e2e.conftest import agent_token, new_node, write_config


async def until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Wait until something on the server holds. Raises: TimeoutError."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the server does not tell tests
            await asyncio.sleep(0.01)


def configured(folder: Path, **options: str) -> Path:
    """Write a configuration: `section__option="value"`; return its path."""
    path = write_config(folder)
    text = path.read_text()
    for name, value in options.items():
        section, option = name.split("__")
        text = text.replace(f"[{section}]", f"[{section}]\n{option} = {value}")
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def way_in(front: bool) -> bool:
    """Run every test through the front, and by aiohttp alone."""
    return front


@pytest.fixture
def options() -> dict[str, str]:
    """What the node's configuration says in addition; tests replace it."""
    return {}


@pytest.fixture
async def node(tmp_path: Path, options: dict[str, str]) -> AsyncIterator[Node]:
    """A running node in this process."""
    async with new_node(configured(tmp_path, **options)) as running:
        yield running


@pytest.fixture
def base(node: Node) -> str:
    return f"{node.url}/genesys"


@pytest.fixture
def url(base: str) -> str:
    """The address of the Bayeux endpoint."""
    return f"{base}/cometd"


@pytest.fixture
async def agent(url: str) -> AsyncIterator[AgentClient]:
    """An agent who listens by long-polling."""
    async with AgentClient(url, agent_token()) as client:
        await client.start()
        yield client


class Inside(Watched):
    """What a node keeps of its clients and connections, for those who count it."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._chat = node._chat

    @property
    def held(self) -> list[str]:
        """The ids of the clients whose connect is held."""
        return list(self._chat.endpoint.polls.held)

    @property
    def queued(self) -> int:
        """How many responses wait for their sockets."""
        return sum(s._outgoing.qsize() for s in self._chat.sockets._sockets)

    @property
    def left(self) -> dict[str, int]:
        """Everything that should be gone when all clients are: counts by name."""
        endpoint = self._chat.endpoint
        return {
            "clients": len(self._chat.server),
            "alarms": len(self._chat.server._alarms),
            "held": len(endpoint.polls.held),
            "answered": len(endpoint._in_flight.last),
            "tasks": len(endpoint._tasks),
            "sockets": len(self._chat.sockets),
            "readers": len(self._chat.delivery._readers),
            "customers": len(self._chat.readers._reads),
        }


@pytest.fixture
def inside(node: Node) -> Inside:
    return Inside(node)
