"""What a load balancer learns of a node."""

import asyncio

from aiohttp import ClientSession

from cometd_chat.app import Node
from tests.clients.pair import Pair
from tests.web.conftest import until

from .test_deaf import deafen


async def asked(http: ClientSession, node: Node, path: str) -> tuple[int, str]:
    async with http.get(f"{node.url}{path}") as response:
        return response.status, await response.text()


async def test_a_node_that_serves_is_ready(pair: Pair) -> None:
    async with ClientSession() as http:
        for node in pair.nodes:
            assert await asked(http, node, "/live") == (200, "live\n")
            assert await asked(http, node, "/ready") == (200, "ready\n")


async def test_a_node_that_stops_is_not_ready(pair: Pair) -> None:
    node = pair.nodes[0]
    async with ClientSession() as http:
        assert await asked(http, node, "/ready") == (200, "ready\n")  # it is kept
        stopping = asyncio.create_task(node.stop())
        await until(lambda: node._chat.endpoint.closing)
        assert await asked(http, node, "/ready") == (503, "this node stops\n")
        await stopping


async def test_a_deaf_node_is_live_and_not_ready(pair: Pair) -> None:
    first, second = pair.nodes
    deafen(first)
    await until(lambda: first._chat.unready() != "")
    async with ClientSession() as http:
        told = (503, "this node does not hear the others\n")
        assert await asked(http, first, "/ready") == told
        assert await asked(http, first, "/live") == (200, "live\n")
        assert await asked(http, second, "/ready") == (200, "ready\n")
