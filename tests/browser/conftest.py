"""One browser for all tests, and a chat server with a site whose pages it shows."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cometd_chat.app import Node
from tests.clients.proxy import Proxy
from tests.e2e.conftest import free_port
from tests.e2e.nodes import configured, make_node

from .chromium import Chromium, DevTools
from .page import site


@pytest.fixture(autouse=True)
def all_of_these_ways(every_way: bool) -> bool:
    """Run every test here in every way."""
    return every_way


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
async def tools(chromium: Chromium) -> AsyncIterator[DevTools]:
    async with DevTools(chromium.url) as connected:
        yield connected


@pytest.fixture
async def shop() -> AsyncIterator[str]:
    """The origin of a site that is not the chat server, and may talk to it."""
    async with site() as origin:
        yield origin


@pytest.fixture
def starting(tmp_path: Path, shop: str) -> Callable[[], Node]:
    """Makes the node, always on the same port and with the same store."""
    path = configured(tmp_path, port=free_port())
    listed = f"[server]\nallowed_origins = {shop}\n"
    path.write_text(path.read_text().replace("[server]\n", listed))
    return lambda: make_node(path)


@pytest.fixture
async def node(starting: Callable[[], Node]) -> AsyncIterator[Node]:
    async with starting() as running:
        yield running


@pytest.fixture
async def proxy(node: Node) -> AsyncIterator[Proxy]:
    """What lies between the browser and the chat server."""
    port = urlsplit(node.url).port
    assert port is not None
    async with Proxy(port) as running:
        yield running
