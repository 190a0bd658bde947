"""HTTP connections that break at the worst moment: what they carried comes again."""

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.clients.proxy import RESET_ON_CLOSE
from tests.clients.raw import BayeuxClient
from tests.web.conftest import until
from tests.web.stand import Stand, standing

pytestmark = pytest.mark.usefixtures("front")


async def hold(stand: Stand, client: BayeuxClient) -> socket.socket:
    """Let the client's connect be held on a socket of its own."""
    address = urlsplit(stand.url)
    sock = socket.create_connection((address.hostname, address.port))
    body = json.dumps(client.message("/meta/connect")).encode()
    head = f"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    await until(lambda: client.client_id in stand.endpoint.polls.held)
    return sock


@pytest.mark.parametrize("linger", [RESET_ON_CLOSE, None], ids=["reset", "closed"])
async def test_a_response_into_a_connection_that_is_gone_comes_again(
    linger: bytes | None,
) -> None:
    """The kernel knows already that the peer is gone, the server not yet."""
    async with standing() as stand, BayeuxClient(stand.url) as client:
        await client.handshake()
        await client.connect()
        sock = await hold(stand, client)
        if linger:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        sock.close()
        stand.shelf.put(client.client_id, "one")
        stand.endpoint.polls.wake(client.client_id)
        await until(lambda: client.client_id not in stand.endpoint.polls.held)
        await client.connect(advice={"timeout": 0})
        assert [event["data"]["text"] for event in client.events] == ["one"]


async def test_a_response_that_nobody_reads_to_its_end_comes_again() -> None:
    async with standing(buffer=8192) as stand, BayeuxClient(stand.url) as client:
        await client.handshake()
        await client.connect()
        sock = await hold(stand, client)
        stand.shelf.put(client.client_id, "x" * 5_000_000)
        stand.endpoint.polls.wake(client.client_id)
        await until(lambda: stand.endpoint._in_flight.last)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        sock.close()
        await until(lambda: stand.shelf.lost_by == [client.client_id])
        assert stand.endpoint.polls.held == {}
