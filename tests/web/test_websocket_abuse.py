"""Sockets that break, stall, never read and never go: nothing is lost or kept."""

import asyncio
import logging
from urllib.parse import urlsplit

import pytest

from cometd_chat.app import Node
from tests.clients.agent import AgentClient
from tests.clients.proxy import Proxy
from tests.clients.raw import BayeuxClient, V1App
from tests.clients.ws import SocketClient

from .conftest import Inside, until
from .stand import standing


async def held(client: SocketClient, inside: Inside) -> None:
    """Let the client's connect be held."""
    await client.send(client.message("/meta/connect"))
    await until(lambda: client.client_id in inside.held)


async def test_what_a_broken_network_took_comes_again_on_the_next_socket(
    node: Node, base: str, agent: AgentClient, inside: Inside
) -> None:
    """A proxy confirms all bytes to the server, whatever becomes of them behind."""
    port = urlsplit(node.url).port
    assert port is not None
    async with Proxy(port) as proxy, V1App(base) as app:
        await app.create_service()
        url = f"http://127.0.0.1:{proxy.port}/cometd"
        async with SocketClient(url) as client:
            client.on_event = app._received
            await client.handshake(ext={"serviceId": app.service_id})
            await client.subscribe("/_genesys")
            await client.connect()
            await app.create_chat()
            await client.wait_for(lambda: client.events or client.frames)
            await client.connect(advice={"timeout": 0})
            await held(client, inside)
            proxy.freeze()
            await agent.operate("acceptChat", chatId=app.session_id)
            await agent.operate("sendMessage", chatId=app.session_id, message="one")
            await until(lambda: client.client_id not in inside.held)
            for _ in range(5):
                await node._chat.sweep()
            proxy.cut()
            proxy.thaw()
            await client.closed()
            while "one" not in app.texts:
                await client.connect()
            assert app.positions == [1, 2, 3]


async def test_frames_behind_a_broken_connection_leave_nothing_open() -> None:
    async with standing() as stand, SocketClient(stand.url) as client:
        await client.handshake()
        client.patience = 0.5
        publish = client.message("/x", data={})
        for _ in range(50):
            await client.send(publish)
        client.cut()
        await until(lambda: len(stand.sockets) == 0)


async def test_a_peer_that_never_reads_makes_nobody_gather_responses() -> None:
    async with standing(buffer=8192) as stand, SocketClient(stand.url) as client:
        await client.handshake()
        await client.close()
        client.reads = False
        text = "x" * 50_000
        connect = client.message("/meta/connect", advice={"timeout": 0})

        async def flood() -> None:
            for _ in range(2000):
                stand.shelf.put(client.client_id, text)
                await client.send(connect)

        flooding = asyncio.create_task(flood())
        await asyncio.wait({flooding}, timeout=1)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert stand.queued < 10
        assert stand.open < 10


async def test_connects_that_displace_each_other_leave_one_exchange() -> None:
    async with standing(buffer=8192) as stand, SocketClient(stand.url) as client:
        await client.handshake()
        await client.connect()
        for _ in range(500):
            await client.send(client.message("/meta/connect"))
        await client.publish("/x", {})
        assert stand.open == 1


async def test_a_peer_that_resets_amid_a_large_response_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with standing(buffer=8192) as stand:
        async with SocketClient(stand.url) as client:
            await client.handshake()
            await client.connect()
            client.reads = False
            await client.close()
            stand.shelf.put(client.client_id, "x" * 5_000_000)
            await client.send(client.message("/meta/connect"))
            await until(lambda: not stand.shelf.waiting[client.client_id])
            await asyncio.sleep(0)
            client.cut()
            await until(lambda: len(stand.sockets) == 0)
        assert stand.shelf.lost_by == [client.client_id]
    assert caplog.records == []


async def test_a_poll_survives_that_the_store_failed_for_the_one_before() -> None:
    async with standing() as stand, SocketClient(stand.url) as client:
        await client.handshake()
        await client.connect()
        stand.shelf.away = stand.shelf.broken = True
        await client.send(client.message("/meta/connect"))
        await client.publish("/x", {})
        second = asyncio.create_task(client.connect(advice={"timeout": 300}))
        await client.publish("/x", {})
        stand.shelf.back.set()
        assert (await second)["successful"]


async def test_a_socket_with_a_held_connect_is_not_idle() -> None:
    async with (
        standing(idle=0.1, timeout=1.0) as stand,
        SocketClient(stand.url) as client,
    ):
        await client.handshake()
        await client.connect()
        assert (await client.connect(advice={"timeout": 500}))["successful"]
        assert await client.closed() == 1000


async def test_a_socket_on_which_nothing_comes_is_closed() -> None:
    async with standing(idle=0.1) as stand:
        async with SocketClient(stand.url) as client:
            await client.open()
            assert await client.closed() == 1000
        await until(lambda: len(stand.sockets) == 0)


async def test_many_clients_of_one_socket_are_not_remembered_for_ever() -> None:
    async with standing() as stand, SocketClient(stand.url) as client:
        for _ in range(50):
            await client.handshake()
            await client.connect()
            await client.disconnect()
        (socket,) = stand.sockets._sockets
        assert len(socket._unsure) < 5


@pytest.mark.parametrize("kind", [SocketClient, BayeuxClient])
async def test_clients_that_vanish_leave_nothing_behind(
    kind: type[BayeuxClient],
) -> None:
    async with standing(offline_after=0.05, max_interval=0.1, timeout=0.5) as stand:
        clients = [kind(stand.url) for _ in range(30)]
        for client in clients:
            await client.handshake()
        for client in clients[10:]:
            await client.connect()
        for client in clients[20:]:
            stand.shelf.put(client.client_id, "event")
            client.start_polling()
        await asyncio.gather(*(client.vanish() for client in clients))

        def empty() -> bool:
            kept = (
                stand.endpoint.polls.held,
                stand.endpoint._in_flight.last,
                stand.open,
            )
            return not any((len(stand.server), len(stand.sockets), *kept))

        await until(empty)
        await until(lambda: not stand.endpoint._tasks)
        assert sorted(stand.application.gone) == sorted(c.client_id for c in clients)
