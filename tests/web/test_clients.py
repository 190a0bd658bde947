"""Clients not our own, over each transport they have: they hear, break, come back."""

from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests.clients.raw import V1Chat
from tests.e2e.conftest import free_port, new_node
from tests.e2e.nodes import behind_proxy

from .conftest import configured
from .phones import KINDS, Phone
from .story import hears_and_says_goodbye, survives_a_cut, survives_a_restart

pytestmark = [
    pytest.mark.usefixtures("every_way"),
    pytest.mark.filterwarnings(
        # aiocometd-ng opens its sockets in a way that aiohttp will give up.
        "ignore:(float parameter 'receive_timeout'|ssl=None) is deprecated"
        ":DeprecationWarning"
    ),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a client and a transport."""
    name: str = request.param
    return name


def phone(kind: str, url: str, app: V1Chat) -> Phone:
    make, transport = KINDS[kind]
    return make(url, app.service_id, transport)


async def test_it_hears_the_chat_and_says_goodbye(
    node: Node, base: str, kind: str
) -> None:
    async with V1Chat(base) as app:
        await app.create_service()
        async with phone(kind, f"{base}/cometd", app) as client:
            await hears_and_says_goodbye(node, app, client)


async def test_a_network_that_breaks_loses_nothing(
    node: Node, base: str, kind: str
) -> None:
    async with V1Chat(base) as app, behind_proxy(node) as (proxy, _):
        await app.create_service()
        url = f"http://127.0.0.1:{proxy.port}/genesys/cometd"

        async def cut() -> None:
            proxy.cut()

        async with phone(kind, url, app) as client:
            await survives_a_cut(node, app, client, cut)


async def test_a_server_that_restarts_is_no_end(tmp_path: Path, kind: str) -> None:
    path = configured(tmp_path, server__host="127.0.0.1")
    text = path.read_text().replace("port = 0", f"port = {free_port()}")
    path.write_text(text)

    def starting() -> Node:
        return new_node(path)

    async with starting() as first, V1Chat(f"{first.url}/genesys") as app:
        await app.create_service()
        async with phone(kind, f"{first.url}/genesys/cometd", app) as client:
            await survives_a_restart(first, starting, app, client)
