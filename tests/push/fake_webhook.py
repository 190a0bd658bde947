"""A web server that others own, a name service that lies, and facts to send."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from socket import AF_INET, AF_INET6, AddressFamily
from tempfile import TemporaryDirectory
from typing import TypeAlias

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from cometd_chat.model import Device
from cometd_chat.push import Line, Notification

TEXT = "your parcel is in Tromsø"
NOW = 1_700_000_000.0

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeClock:
    """Wall and monotonic time that stand still until told."""

    wall: float = NOW
    running: float = 1000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.running


def notification(**more: object) -> Notification:
    """A push that tells one line; `more` overrides its fields."""
    facts: dict[str, object] = {
        "id": "0b5f9f0e-7f0b-4b1e-9a56-2f4e9ed4a001",
        "chat": "180-chat",
        "position": 4,
        "body": TEXT,
        "lines": (Line(event="Message.Text", text=TEXT),),
        "expires_at": NOW + 600,
    }
    return Notification(**(facts | more))  # type: ignore[arg-type]  # test data


def device(address: str, kind: str = "customhttp") -> Device:
    return Device(id=address, type=kind)


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


@cache
def tls_pair(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for `name`, and a client's that trusts it and no other."""
    certificate, key = self_signed(name)
    with TemporaryDirectory() as folder:
        pem = Path(folder, "server.pem")
        pem.write_bytes(key + certificate)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pem)
        return server, ssl.create_default_context(cafile=str(pem))


def self_signed(name: str) -> tuple[bytes, bytes]:
    """Return a certificate and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([x509.DNSName(name), loopback])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), pem
