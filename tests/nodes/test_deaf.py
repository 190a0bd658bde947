"""Nodes whose line to the others is dead, while they live."""

import asyncio

import pytest
from aiohttp import WSCloseCode

from cometd_chat.app import Node
from cometd_chat.nodes.calls import PATIENCE
from cometd_chat.nodes.cluster import Cluster
from cometd_chat.nodes.pulse import BEAT, DEAF, SILENCE
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient, UnexpectedStatusError
from tests.clients.ws import SocketClient
from tests.web.conftest import until


def deafen(node: Node) -> None:
    """Let the node hear nobody any more."""
    cluster = node._chat.endpoint.elsewhere
    assert isinstance(cluster, Cluster)
    link = cluster._hub._link
    assert link is not None
    cluster._hub._tasks[0].cancel()
    link.abort()


async def test_clients_go_on_at_another_node_though_all_are_deaf(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd", {"gms_user": "cleo"}) as client:
        await client.handshake()
        assert (await client.subscribe("/_genesys"))["successful"]
        for node in pair.nodes:
            deafen(node)
        for node in (second, first, second):
            client.url = f"{node.url}/cometd"
            reply = await client.connect(advice={"timeout": 0})
            assert reply["successful"], reply


async def test_a_deaf_node_leaves_its_clients_to_those_who_hear(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd", {"gms_user": "cleo"}) as client:
        await client.handshake()
        assert (await client.subscribe("/_genesys"))["successful"]
        deafen(first)
        await until(lambda: first._chat.server.client(client.client_id) is None)
        with pytest.raises(UnexpectedStatusError, match="503"):
            await client.connect(advice={"timeout": 0})
        client.url = f"{second.url}/cometd"
        async with asyncio.timeout(PATIENCE / 2):
            reply = await client.connect(advice={"timeout": 0})
        assert reply["successful"], reply


async def test_a_deaf_node_closes_the_socket_of_whoever_speaks_there(
    pair: Pair,
) -> None:
    """An answer that never comes would keep him there for long."""
    first, second = pair.nodes
    async with SocketClient(f"{first.url}/cometd") as client:
        await client.handshake()
        assert (await client.connect())["successful"]
        deafen(first)
        await until(lambda: first._chat.server.client(client.client_id) is None)
        await client.send(client.message("/meta/connect", connectionType="websocket"))
        assert await client.closed() == WSCloseCode.TRY_AGAIN_LATER
        client.url = f"{second.url}/cometd"
        assert (await client.connect(advice={"timeout": 0}))["successful"]


async def test_where_nobody_hears_everybody_serves(pair: Pair) -> None:
    async with BayeuxClient(f"{pair.nodes[0].url}/cometd") as client:
        for node in pair.nodes:
            deafen(node)
        await asyncio.sleep(DEAF + SILENCE + 2 * BEAT)
        await client.handshake()
        assert (await client.connect(advice={"timeout": 0}))["successful"]
