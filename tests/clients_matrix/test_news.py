"""Clients not our own publish, alone and in batches, and receive what they sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from aiocometd_ng.client import Client
from aiocometd_ng.constants import ConnectionType

from cometd_chat.app import Node
from tests.clients.cometd_js import CometdJs
from tests.clients.faye_js import FayeJs
from tests.clients.gfaye import GFaye
from tests.clients.raw import Json, V1Chat
from tests.e2e.nodes import NEWS, listening

pytestmark = pytest.mark.filterwarnings(
    # aiocometd-ng opens its sockets in a way that aiohttp will give up.
    "ignore:(float parameter 'receive_timeout'|ssl=None) is deprecated"
    ":DeprecationWarning"
)

TEXTS = [{"text": text} for text in ("a", "b", "c")]
transports = pytest.mark.parametrize("transport", ["long-polling", "websocket"])


class Tap:
    """Keeps what clients send through it to the server at `port`."""

    def __init__(self, port: int) -> None:
        self.sent = bytearray()
        self._server_port = port

    @property
    def requests(self) -> list[bytes]:
        """The POST requests of all connections, those with publishes in them."""
        return [one for one in bytes(self.sent).split(b"POST ") if b'"data":' in one]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        """Listen; gives the port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answers, to_server = await asyncio.open_connection(
            "127.0.0.1", self._server_port
        )
        await asyncio.gather(
            self._pump(reader, to_server, self.sent),
            self._pump(answers, writer, bytearray()),
        )

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kept: bytearray,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                kept += chunk
                writer.write(chunk)
        writer.close()


@asynccontextmanager
async def faye_at(url: str, app: V1Chat, transport: str) -> AsyncIterator[FayeJs]:
    ext = {"/meta/handshake": {"serviceId": app.service_id}}
    async with FayeJs() as client:
        ways = ["long-polling", transport]
        await client.configure(url, transports=ways, ext=ext)
        assert (await client.call("subscribe", channel=NEWS))["successful"]
        assert (await client.call("status"))["transport"] == transport
        yield client


async def hears(client: CometdJs) -> None:
    await client.wait_for(lambda: len(client.data(NEWS)) == len(TEXTS))
    assert client.data(NEWS) == TEXTS


@transports
async def test_cometd_publishes_a_batch(url: str, app: V1Chat, transport: str) -> None:
    ext = {"serviceId": app.service_id}
    async with listening(url, NEWS, ext=ext, transports=[transport]) as client:
        messages = [{"channel": NEWS, "data": data} for data in TEXTS]
        replies = await client.call("batch", messages=messages)
        assert [reply["successful"] for reply in replies] == [True] * 3
        await hears(client)


@transports
async def test_faye_publishes(url: str, app: V1Chat, transport: str) -> None:
    async with faye_at(url, app, transport) as client:
        for data in TEXTS:
            reply = await client.call("publish", channel=NEWS, data=data)
            assert reply["successful"]
        await hears(client)


async def test_faye_publishes_what_comes_at_once_in_a_batch(
    node: Node, app: V1Chat
) -> None:
    """It gathers by itself what is published in one moment, over HTTP only."""
    tap = Tap(urlsplit(node.url).port or 0)
    async with (
        tap.open() as port,
        faye_at(f"http://127.0.0.1:{port}/cometd", app, "long-polling") as client,
    ):
        messages = [{"channel": NEWS, "data": data} for data in TEXTS]
        replies = await client.call("batch", messages=messages)
        assert [reply["successful"] for reply in replies] == [True] * 3
        await hears(client)
        assert len(tap.requests) == 1


@transports
async def test_aiocometd_publishes(url: str, transport: str) -> None:
    client = Client(url, ConnectionType(transport), connection_timeout=0)
    await client.open()
    try:
        await client.subscribe(NEWS)
        for data in TEXTS:
            assert (await client.publish(NEWS, data))["successful"]
        async with asyncio.timeout(5):
            received: list[Json] = [await client.receive() for _ in TEXTS]
        assert [message["data"] for message in received] == TEXTS
    finally:
        await client.close()


async def test_gfaye_publishes(url: str, app: V1Chat) -> None:
    client = GFaye(url, {"serviceId": app.service_id})
    await client.start(NEWS)
    try:
        for number, data in enumerate(TEXTS):
            await client.publish(NEWS, data, number)
        await client.wait_for(lambda: len(client.delivered) == len(TEXTS))
        assert [event["data"] for event in client.delivered] == TEXTS
    finally:
        await client.vanish()
