"""Connections of the front: what waits, what is bounded, and how they end."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from cometd_chat.app import Node
from cometd_chat.web.connection import MOST_WAITING
from cometd_chat.web.plain_head import Headers
from tests.clients.raw import BayeuxClient
from tests.e2e.conftest import new_node, write_config
from tests.keys import self_signed
from tests.web.conftest import until
from tests.web.stand import Anyone, Stand, Times, standing


class Line:
    """One connection to a server, on which a test says every byte."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._address = urlsplit(url)
        self._tls = tls

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            self._address.hostname, self._address.port, ssl=self._tls
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, *messages: dict[str, Any]) -> None:
        self.writer.write(request(*messages))

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, fields and body of the next response."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            fields = {n.lower(): v for n, v in (line.split(": ") for line in lines)}
            body = await self.reader.readexactly(int(fields["content-length"]))
        return int(first.split()[1]), fields, body

    async def closed(self) -> bool:
        """Wait for the end; tell whether nothing came before it."""
        async with asyncio.timeout(5):
            return not await self.reader.read()


def request(*messages: dict[str, Any]) -> bytes:
    body = json.dumps(messages).encode()
    head = f"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ids(body: bytes) -> list[str]:
    return [message["id"] for message in json.loads(body)]


def stray(number: int) -> dict[str, Any]:
    """Return a message that is answered at once."""
    return {"channel": "/x", "id": f"stray {number}", "clientId": "nobody"}


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as running:
        yield running


async def hold(stand: Stand, client: BayeuxClient, line: Line) -> None:
    """Let the client's connect be held on this line."""
    await client.handshake()
    await client.connect()
    line.send({**client.message("/meta/connect"), "id": "held"})
    await until(lambda: client.client_id in stand.endpoint.polls.held)


async def test_what_comes_behind_a_held_poll_is_answered_after_it(
    stand: Stand,
) -> None:
    async with BayeuxClient(stand.url) as client, Line(stand.url) as line:
        await hold(stand, client, line)
        for number in range(3):
            line.send(stray(number))
        await asyncio.sleep(0.05)
        assert client.client_id in stand.endpoint.polls.held
        stand.shelf.put(client.client_id, "one")
        stand.endpoint.polls.wake(client.client_id)
        _, _, body = await line.receive()
        assert [message.get("id") for message in json.loads(body)] == [None, "held"]
        answers = [ids((await line.receive())[2]) for _ in range(3)]
        assert answers == [["stray 0"], ["stray 1"], ["stray 2"]]


async def test_no_more_than_a_bound_is_read_behind_a_held_poll(stand: Stand) -> None:
    async with BayeuxClient(stand.url) as client, Line(stand.url) as line:
        await hold(stand, client, line)
        line.send(stray(0))
        line.writer.write(b"x" * 400 * MOST_WAITING)
        await asyncio.sleep(0.3)
        assert line.writer.transport.get_write_buffer_size() > 0, "it is not read"
        stand.shelf.put(client.client_id, "one")
        stand.endpoint.polls.wake(client.client_id)
        assert (await line.receive())[0] == 200
        assert ids((await line.receive())[2]) == ["stray 0"]
        assert (await line.receive())[0] == 400, "and reading goes on"


async def test_a_connection_may_go_to_aiohttp_behind_a_held_poll(stand: Stand) -> None:
    async with BayeuxClient(stand.url) as client, Line(stand.url) as line:
        await hold(stand, client, line)
        line.writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        stand.shelf.put(client.client_id, "one")
        stand.endpoint.polls.wake(client.client_id)
        assert (await line.receive())[0] == 200
        assert (await line.receive())[0] == 404
        line.send(stray(1))
        assert ids((await line.receive())[2]) == ["stray 1"]


async def test_a_poll_whose_connection_ends_is_let_go_at_once(stand: Stand) -> None:
    async with BayeuxClient(stand.url) as client:
        async with Line(stand.url) as line:
            await hold(stand, client, line)
        await until(lambda: client.client_id not in stand.endpoint.polls.held)
        client_now = stand.server.client(client.client_id)
        assert client_now is not None
        assert client_now.poll is None, "its silence is counted"


class Slow(Anyone):
    """An application that grants a subscription when `granted` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.granted = asyncio.Event()

    async def subscribe(self, *_: object) -> None:
        self.asked.set()
        await self.granted.wait()


async def test_a_connection_that_ends_while_its_request_is_served_leaves_nothing() -> (
    None
):
    slow = Slow()
    async with standing(slow) as stand, BayeuxClient(stand.url) as client:
        await client.handshake()
        async with Line(stand.url) as line:
            subscribe = client.message("/meta/subscribe", subscription="/x")
            line.send(subscribe, client.message("/meta/connect"))
            await slow.asked.wait()
            assert len(stand.fronts[0]) == 2
        await until(lambda: len(stand.fronts[0]) == 1)
        slow.granted.set()
        await until(lambda: stand.server.client(client.client_id).subscriptions)
        await until(lambda: stand.server.client(client.client_id).poll is None)
        assert stand.endpoint.polls.held == {}


async def test_an_error_in_the_application_is_answered_and_ends_the_connection() -> (
    None
):
    broken = Anyone()
    broken.broken = True
    async with (
        standing(broken) as stand,
        BayeuxClient(stand.url) as client,
        Line(stand.url) as line,
    ):
        await client.handshake()
        line.send(client.message("/meta/disconnect"))
        status, fields, body = await line.receive()
        assert (status, body, fields["connection"]) == (500, b"", "close")
        assert await line.closed()


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with standing(times=Times(body=0.1)) as stand, Line(stand.url) as line:
        line.writer.write(request(stray(1))[:-1])
        status, fields, body = await line.receive()
        assert (status, fields["connection"]) == (408, "close")
        assert body == b"The body took too long\n"
        assert await line.closed()


async def test_a_body_that_comes_in_time_stops_the_waiting() -> None:
    async with standing(times=Times(body=0.2)) as stand, Line(stand.url) as line:
        data = request(stray(1))
        line.writer.write(data[:-1])
        await asyncio.sleep(0.05)
        line.writer.write(data[-1:])
        assert ids((await line.receive())[2]) == ["stray 1"]
        await asyncio.sleep(0.3)
        line.send(stray(2))
        assert ids((await line.receive())[2]) == ["stray 2"]


@pytest.mark.parametrize("said", [b"", b"POST /cometd HT"])
async def test_a_connection_that_says_nothing_whole_is_closed(said: bytes) -> None:
    async with standing(times=Times(keepalive=0.2)) as stand, Line(stand.url) as line:
        line.send(stray(1))
        await line.receive()
        line.writer.write(said)
        assert await line.closed()


async def test_a_held_poll_is_no_idle_connection() -> None:
    times = Times(keepalive=0.1)
    async with (
        standing(times=times) as stand,
        BayeuxClient(stand.url) as client,
        Line(stand.url) as line,
    ):
        await hold(stand, client, line)
        await asyncio.sleep(2.3)  # more than two looks for idle connections
        stand.shelf.put(client.client_id, "one")
        stand.endpoint.polls.wake(client.client_id)
        assert (await line.receive())[0] == 200


async def test_a_response_that_is_read_slowly_ends_when_all_of_it_has_gone() -> None:
    async with (
        standing(buffer=8192) as stand,
        BayeuxClient(stand.url) as client,
        Line(stand.url) as line,
    ):
        await hold(stand, client, line)
        stand.shelf.put(client.client_id, "x" * 5_000_000)
        stand.endpoint.polls.wake(client.client_id)
        line.send(stray(1))
        await asyncio.sleep(0.05)
        assert stand.server.client(client.client_id).poll is not None
        assert len((await line.receive())[2]) > 5_000_000
        await until(lambda: stand.server.client(client.client_id).poll is None)
        assert ids((await line.receive())[2]) == ["stray 1"]


async def test_who_waits_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    node = new_node(write_config(tmp_path))
    await node.start()
    url = f"{node.url}/cometd"
    async with (
        BayeuxClient(url) as client,
        Line(url) as held,
        Line(url) as idle,
        Line(url) as late,
    ):
        await client.handshake()
        await client.connect()
        held.send(client.message("/meta/connect"))
        late.writer.write(request(stray(1))[:-1])
        await until(lambda: client.client_id in node._chat.endpoint.polls.held)
        stopping = asyncio.create_task(node.stop())
        status, fields, _ = await held.receive()
        assert (status, fields["connection"]) == (200, "close")
        assert await held.closed()
        assert await idle.closed()
        late.writer.write(request(stray(1))[-1:])
        assert ids((await late.receive())[2]) == ["stray 1"]
        assert await late.closed()
        async with asyncio.timeout(5):
            await stopping


async def test_who_does_not_finish_is_cut_off_when_the_server_stops(
    tmp_path: Path,
) -> None:
    path = write_config(tmp_path)
    text = path.read_text().replace("[server]", "[server]\nshutdown_timeout = 100ms")
    path.write_text(text)
    node = new_node(path)
    await node.start()
    async with Line(f"{node.url}/cometd") as late:
        late.writer.write(request(stray(1))[:-1])
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await node.stop()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await late.receive()


HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
}


async def shaken(line: Line) -> str:
    line.send(HANDSHAKE)
    client_id: str = json.loads((await line.receive())[2])[0]["clientId"]
    return client_id


@asynccontextmanager
async def secured(
    folder: Path, *bayeux: str
) -> AsyncIterator[tuple[Node, ssl.SSLContext]]:
    """A node that speaks TLS, and what trusts it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    for path, pem in zip((cert, key), self_signed("localhost"), strict=True):
        path.write_bytes(pem)
    path = write_config(folder)
    lines = f"[server]\ntls_cert = {cert}\ntls_key = {key}"
    text = path.read_text().replace("[server]", lines)
    more = "\n".join(("[bayeux]", "broadcast_channels = /chat/*", *bayeux))
    path.write_text(text.replace("[bayeux]", more))
    async with new_node(path) as node:
        yield node, ssl.create_default_context(cafile=str(cert))


async def test_it_speaks_tls(tmp_path: Path) -> None:
    async with (
        secured(tmp_path) as (node, trusting),
        Line(node.url, trusting) as line,
    ):
        line.send(HANDSHAKE)
        status, fields, body = await line.receive()
        assert (status, json.loads(body)[0]["successful"]) == (200, True)
        assert "; Secure" in fields["set-cookie"]
        line.writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await line.receive())[0] == 404


async def test_over_tls_too_responses_are_known_to_be_written(tmp_path: Path) -> None:
    """Else events come twice, silent clients stay, and connections are never idle."""
    async with (
        secured(tmp_path, "broadcast_to_publisher = off") as (node, trusting),
        Line(node.url, trusting) as one,
        Line(node.url, trusting) as other,
        Line(node.url, trusting) as second,
    ):
        reader, writer = await shaken(one), await shaken(second)
        poll = {"clientId": reader, "connectionType": "long-polling"}
        for message in (
            {"channel": "/meta/subscribe", "subscription": "/chat/x", **poll},
            {"channel": "/meta/connect", **poll},
        ):
            one.send({**message, "id": "s"})
            await one.receive()
        told = []
        for number in range(6):
            line = (one, other)[number % 2]
            data = request({"channel": "/meta/connect", **poll, "id": f"c{number}"})
            line.writer.write(data[:60])
            await asyncio.sleep(0.02)
            line.writer.write(data[60:])
            await asyncio.sleep(0.6)  # longer than the server waits for a proof
            said = {"channel": "/chat/x", "clientId": writer, "data": number}
            second.send({**said, "id": f"p{number}"})
            await second.receive()
            body = json.loads((await line.receive())[2])
            told += [m["data"] for m in body if "data" in m]
        assert told == list(range(6))
        client = node._chat.server.client(reader)
        assert client is not None
        assert client.poll is None  # its silence is counted


def test_header_fields_are_looked_up_in_any_case() -> None:
    headers = Headers({"gms_user": "u"})
    assert headers.get("GMS_User") == headers["gms_user"] == "u"
    assert headers.get("Other", "") == ""
    assert dict(headers) == {"gms_user": "u"}
    assert len(headers) == 1
