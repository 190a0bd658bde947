"""The listening socket, and who answers on it: the front and aiohttp, or aiohttp."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from .front import Fallback, Front

BACKLOG = 4096
"""Connections that may wait to be accepted when all phones come back at once."""

LONGEST_LINE = 16_384
"""Bytes of a request's first line: callback-polling has its messages there."""

KEEPALIVE = 30.0
"""Seconds an idle connection, or one that sends its head slowly, stays open."""

UNREAD = 20_000
"""Milliseconds after which a peer that confirms nothing is cut off."""

LINGER = 2.0
"""Seconds for which a server that stops answers on connections that proxies keep, so
that none closes in the moment in which a request is sent on it."""

LINGER_LOOK = 0.05
"""Seconds between two looks whether such connections are left."""

SWEEP_PERIOD = 1.0
"""Seconds between two looks for idle connections."""


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket bound to the address. Raises: OSError.

    `shared`: other sockets may be bound to it, if they are shared as well.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted sockets inherit these: a peer that confirms nothing would otherwise
        # hold memory for a quarter of an hour, and one that is gone for ever.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def url_of(sock: socket.socket, *, tls: bool) -> str:
    """Return the address of a bound socket as clients write it."""
    return _url(*sock.getsockname()[:2], tls=tls)


def _url(host: str, port: int, *, tls: bool) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if tls else ''}://{shown}:{port}"


class SharedPort:
    """A port on which several processes of one server listen.

    Raises: OSError when it cannot be had; also when another server has it and shares
    it, among whose processes connections would be dealt out.
    """

    def __init__(self, host: str, port: int) -> None:
        with listen(host, port) as alone:
            self._address: tuple[str, int] = alone.getsockname()[:2]

    def url(self, *, tls: bool) -> str:
        """Return the address as clients write it."""
        return _url(*self._address, tls=tls)

    def bind(self) -> socket.socket:
        """Return another socket of the port. Raises: OSError."""
        return listen(*self._address, shared=True)


def tls_context(cert: Path, key: Path | None) -> ssl.SSLContext:
    """Return what a server with this certificate needs. Raises: OSError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    return context


class _Parting:
    """Lets aiohttp's connections end with their next response, once it has begun."""

    _begun = False

    def begin(self) -> None:
        self._begun = True

    async def tell(self, _: web.Request, response: web.StreamResponse) -> None:
        if self._begun:
            response.headers["Connection"] = "close"
            response.force_close()


@contextlib.asynccontextmanager
async def answering(  # noqa: PLR0913 - all but two are options
    app: web.Application,
    sock: socket.socket,
    tls: ssl.SSLContext | None = None,
    *,
    front: Callable[[Fallback], Front] | None = None,
    release: Callable[[], Awaitable[None]] | None = None,
    linger: float = 0.0,
    shutdown_timeout: float,
) -> AsyncIterator[None]:
    """Answer requests to the application; `front` makes what answers before it.

    In the end nobody new is let in, and every response is the last on its connection.
    `release` answers whoever waits; after `linger` seconds connections that nobody uses
    are closed, and running requests get `shutdown_timeout` seconds.
    """
    parting = _Parting()
    app.on_response_prepare.append(parting.tell)
    runner = _runner(app, shutdown_timeout)
    async with contextlib.AsyncExitStack() as stack:
        await runner.setup()
        made: Front | None = None
        if front is None:
            stack.push_async_callback(runner.cleanup)
            factory: Fallback = _server(runner)
        else:
            factory = made = front(_server(runner))
            stack.push_async_callback(_together, made, runner, shutdown_timeout)
            stack.callback(made.retire)
            stack.push_async_callback(_stopped, asyncio.create_task(_sweep(made)))
        stack.push_async_callback(_unused, runner, made, linger)
        if release is not None:
            stack.push_async_callback(release)
        stack.callback(parting.begin)
        door = stack.enter_context(sock.dup())
        server = await asyncio.get_running_loop().create_server(
            factory, sock=sock, ssl=tls, backlog=BACKLOG
        )
        stack.push_async_callback(_let_in, door, factory, tls)
        stack.callback(server.close)
        yield


def _runner(app: web.Application, shutdown_timeout: float) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE,
        max_line_size=LONGEST_LINE,
        shutdown_timeout=shutdown_timeout,
    )


async def _let_in(
    door: socket.socket, factory: Fallback, tls: ssl.SSLContext | None
) -> None:
    """Take the connections that nobody has accepted yet, or they would be reset.

    `door` is another handle of the listening socket, which is closed then.
    """
    loop = asyncio.get_running_loop()
    door.setblocking(False)
    taken: list[socket.socket] = []
    with contextlib.suppress(OSError):  # until there is none
        while len(taken) < BACKLOG:
            taken.append(door.accept()[0])
    door.close()
    serving = (loop.connect_accepted_socket(factory, s, ssl=tls) for s in taken)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):  # for those who are slow to speak TLS
            await asyncio.gather(*serving, return_exceptions=True)


async def _unused(runner: web.AppRunner, front: Front | None, seconds: float) -> None:
    """Wait until there are no connections any more, or so long."""
    loop, server = asyncio.get_running_loop(), _server(runner)
    end = loop.time() + seconds
    while loop.time() < end and (front or server.connections):  # noqa: ASYNC110 - aiohttp tells of none
        await asyncio.sleep(LINGER_LOOK)


def _server(runner: web.AppRunner) -> web.Server:
    assert runner.server is not None  # noqa: S101 - it is set up
    return runner.server


async def _together(front: Front, runner: web.AppRunner, seconds: float) -> None:
    """Let both finish what is running, in the same time."""
    await asyncio.gather(front.close(seconds), runner.cleanup())


async def _sweep(front: Front) -> None:
    while True:
        await asyncio.sleep(SWEEP_PERIOD)
        front.sweep()


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
