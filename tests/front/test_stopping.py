"""The last moments of a listening socket: nobody who came in time is turned away."""

import asyncio
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from tests.web.conftest import until
from tests.web.stand import Stand, standing

from .test_front import HANDSHAKE, Line, request, shaken

POLLS = 100


async def stopping(stack: AsyncExitStack, stand: Stand) -> asyncio.Task[None]:
    """Begin to stop the stand, which is all that the stack has."""
    task = asyncio.create_task(stack.pop_all().aclose())
    await until(lambda: stand.endpoint.closing)
    return task


@pytest.mark.usefixtures("front")
async def test_connections_that_are_kept_have_one_more_answer() -> None:
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(standing(linger=10.0))
        async with Line(stand.url) as line:
            await shaken(line)
            stopped = await stopping(stack, stand)
            line.send(HANDSHAKE)
            status, fields, _ = await line.receive()
            assert (status, fields["connection"]) == (200, "close")
            assert await line.closed()
        async with asyncio.timeout(5):  # it does not wait for the sake of waiting
            await stopped


async def test_what_is_not_bayeux_has_one_more_answer_too() -> None:
    get = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(standing(linger=10.0))
        async with Line(stand.url) as line:
            line.writer.write(get)
            assert "connection" not in (await line.receive())[1]
            stopped = await stopping(stack, stand)
            line.writer.write(get)
            status, fields, _ = await line.receive()
            assert (status, fields["connection"]) == (404, "close")
        async with asyncio.timeout(5):
            await stopped


async def test_connections_that_nobody_uses_are_closed_after_a_while() -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(standing(linger=0.3))
        async with Line(stand.url) as line:
            await shaken(line)
            began = loop.time()
            stopped = await stopping(stack, stand)
            assert await line.closed()
            assert loop.time() - began > 0.25
            await stopped


async def test_who_was_not_let_in_yet_is_answered() -> None:
    """The kernel has taken the connections, and the server does not know of them."""
    waiting = []
    async with standing() as stand:
        url = urlsplit(stand.url)
        for _ in range(5):  # without a turn of the loop in between
            waiting.append(socket.create_connection((url.hostname, url.port)))
            waiting[-1].sendall(request(HANDSHAKE))
    for sock in waiting:
        with sock:
            assert sock.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(("within", "left"), [(60.0, True), (0.0, False)])
async def test_polls_are_answered_one_after_the_other(
    within: float, left: bool
) -> None:
    async with standing() as stand, AsyncExitStack() as stack:
        for _ in range(POLLS):
            line = await stack.enter_async_context(Line(stand.url))
            connect = {"channel": "/meta/connect", "connectionType": "long-polling"}
            connect["clientId"] = await shaken(line)
            for _ in range(2):  # the first is answered at once
                line.send(connect)
        await until(lambda: len(stand.endpoint.polls.held) == POLLS)
        closing = asyncio.create_task(stand.endpoint.close(within))
        await asyncio.sleep(0)
        assert bool(stand.endpoint.polls.held) is left
        await closing
        assert not stand.endpoint.polls.held
