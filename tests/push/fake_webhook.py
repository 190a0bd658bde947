"""A web server that others own, and a name service that lies."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, AddressFamily
from typing import TypeAlias

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Arrived:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class FakeHook:
    """What came, and what is answered: `handler` may be changed at any time."""

    port: int = 0
    arrived: list[Arrived] = field(default_factory=list)
    handler: Handler = field(default_factory=lambda: answers(200))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.arrived.append(Arrived(request.path_qs, dict(request.headers), body))
        return await self.handler(request)

    def url(self, path: str = "/hook", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def hook(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeHook]:
    """Run the server on loopback; handlers that still wait are given up at the end."""
    fake = FakeHook()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    fake.port = runner.addresses[0][1]
    try:
        yield fake
    finally:
        await runner.cleanup()


def answers(
    status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Handler:
    """Answer always the same."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return handler


async def never(_: web.Request) -> web.StreamResponse:
    """Take the request and keep silent."""
    await asyncio.Event().wait()
    raise AssertionError


async def stalls(request: web.Request) -> web.StreamResponse:
    """Answer success, promise a body, send the start of it."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"start")
    await asyncio.Event().wait()
    raise AssertionError


class FakeDns(AbstractResolver):
    """Answers each question for a name with the next of its answers, then with the
    last one. `port` leads all connections to one local port."""

    def __init__(self, *, port: int = 0, **names: Sequence[Sequence[str]]) -> None:
        self._port = port
        self._names = {name.replace("_", "."): [*turn] for name, turn in names.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        turns = self._names.get(host.rstrip("."))
        if turns is None:
            raise OSError(None, "no such name")
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [_result(host, each, self._port or port) for each in addresses]

    async def close(self) -> None:
        """There is nothing to close."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=AF_INET6 if ":" in address else AF_INET,
        proto=0,
        flags=0,
    )
