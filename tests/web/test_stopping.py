"""A server that stops answers whoever waits, says goodbye, and does not dawdle."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests.clients.gfaye import GFaye
from tests.clients.raw import BayeuxClient
from tests.clients.ws import SocketClient, upgrade
from tests.e2e.conftest import new_node

from .conftest import Inside, configured, until
from .stand import standing


@pytest.fixture
async def stopping(tmp_path: Path) -> AsyncIterator[Node]:
    """A node that the test stops itself."""
    node = new_node(configured(tmp_path, server__shutdown_timeout="20s"))
    await node.start()
    yield node
    await node.stop()


async def waits(client: BayeuxClient, node: Node) -> None:
    """Shake hands and let a connect be held, and others after it."""
    await client.handshake()
    await client.connect()
    client.start_polling()
    await until(lambda: client.client_id in Inside(node).held)


async def seconds_to_stop(node: Node) -> float:
    started = asyncio.get_running_loop().time()
    await node.stop()
    return asyncio.get_running_loop().time() - started


async def test_a_held_connect_is_answered_before_its_socket_closes(
    stopping: Node,
) -> None:
    async with SocketClient(f"{stopping.url}/cometd") as client:
        await client.handshake()
        await client.connect()
        await client.send(client.message("/meta/connect"))
        await until(lambda: Inside(stopping).held)
        await stopping.stop()
        assert await client.closed() == 1001
        (reply,) = client.frames[2]
        assert reply["channel"] == "/meta/connect"
        assert reply["successful"] is True


async def test_clients_that_come_back_at_once_do_not_delay_the_end(
    stopping: Node,
) -> None:
    phone = GFaye(f"{stopping.url}/cometd")
    async with (
        BayeuxClient(f"{stopping.url}/cometd") as polling,
        SocketClient(f"{stopping.url}/cometd") as socket,
    ):
        await phone.start()
        await until(lambda: phone.client_id in Inside(stopping).held)
        await waits(polling, stopping)
        await waits(socket, stopping)
        before = len(polling.replies) + len(socket.replies) + phone.connects
        assert await seconds_to_stop(stopping) < 1.5
        after = len(polling.replies) + len(socket.replies) + phone.connects
        assert after - before < 10, "no loops of answers until the end"
    await phone.vanish()


async def test_a_peer_that_reads_nothing_is_cut_off_at_the_end() -> None:
    async with standing(buffer=8192) as stand, SocketClient(stand.url) as frozen:
        await frozen.handshake()
        await frozen.connect()
        await frozen.close()
        frozen.reads = False
        stand.shelf.put(frozen.client_id, "x" * 8_000_000)
        await frozen.send(frozen.message("/meta/connect"))
        await until(lambda: stand.endpoint._in_flight.last)
        started = asyncio.get_running_loop().time()
        await stand.sockets.close()
        await until(lambda: len(stand.sockets) == 0)
        assert asyncio.get_running_loop().time() - started < 4
        assert stand.shelf.lost_by == [frozen.client_id]


async def test_no_new_socket_is_opened_once_they_are_closed() -> None:
    async with standing() as stand:
        await stand.sockets.close()
        assert await upgrade(stand.url) == 503
