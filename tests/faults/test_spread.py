"""The proxy before the nodes: how it looks at their health, and how it closes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from tests.clients.spread import HOST, Spread
from tests.web.conftest import until


class Sick:
    """A node that takes connections, and answers only while it is well."""

    def __init__(self) -> None:
        self.well = asyncio.Event()
        self.well.set()
        self.port = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await self.well.wait()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@pytest.fixture
async def sick() -> AsyncIterator[Sick]:
    node = Sick()
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    node.port = server.sockets[0].getsockname()[1]
    yield node
    node.well.set()
    server.close()


async def test_a_node_that_does_not_answer_is_left_out_until_it_does(
    sick: Sick,
) -> None:
    async with Spread([sick.port]) as proxy:
        watching = asyncio.create_task(proxy.watch())
        sick.well.clear()
        await until(lambda: proxy.ports == [])
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 502")
        writer.close()
        sick.well.set()
        await until(lambda: proxy.ports == [sick.port])
        watching.cancel()


@pytest.mark.parametrize("steps", range(8))
async def test_whoever_is_being_accepted_when_it_closes_is_cut_off(steps: int) -> None:
    async with Spread([]) as spread:
        client = socket.create_connection((HOST, spread.port))
        for _ in range(steps):
            await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection(sock=client)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
