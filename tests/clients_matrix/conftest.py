"""A node with news for everybody, and what clients say about it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests.clients.raw import V1Chat
from tests.e2e.nodes import configured, make_node


@pytest.fixture(autouse=True)
def all_of_these_ways(every_way: bool) -> bool:
    """Run every test here in every way."""
    return every_way


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with make_node(configured(tmp_path)) as running:
        yield running


@pytest.fixture
async def app(node: Node) -> AsyncIterator[V1Chat]:
    """An app that has asked for a service, by REST."""
    async with V1Chat(f"{node.url}/genesys") as chat:
        await chat.create_service()
        yield chat


@pytest.fixture
def url(app: V1Chat) -> str:
    return f"{app.base}/cometd"
