"""The way to APNs: addresses, how long to wait, and the tunnel through a proxy."""

import asyncio
import re
import socket
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from cometd_chat.clock import Clock
from cometd_chat.push.apns_credentials import CredentialsError

_LARGEST_PROXY_REPLY = 8192


class ProxyError(OSError):
    """The proxy did not open the tunnel."""


@dataclass(frozen=True, slots=True)
class Server:
    """A host, a port, and for a proxy the login (`user:password`)."""

    host: str
    port: int
    login: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds until something is given up.

    `connect` is for proxy, TCP, TLS and the server's settings together, `reply` for
    the time between a push and its reply, `send` for all of it with the time in the
    queue. A connection closes after `idle` seconds without traffic; Apple wants them
    kept, and takes frequent new ones for an attack.
    """

    connect: float = 10
    reply: float = 10
    send: float = 30
    idle: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How to get to APNs, and the clocks that count on the way."""

    server: Server
    proxy: Server | None = None
    patience: Patience
    clock: Clock


def server_of(url: str, option: str, scheme: str, port: int) -> Server:
    """Read an address such as https://api.push.apple.com. Raises: CredentialsError."""
    parts = urlsplit(url)
    if parts.scheme != scheme or not parts.hostname:
        raise CredentialsError(f"{option} must be an address with {scheme}://")
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return Server(parts.hostname, parts.port or port, login if login != ":" else "")


async def tunnel_to(server: Server, proxy: Server) -> socket.socket:
    """Return a socket that leads through the proxy (RFC 9110 §9.3.6)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    tunnel = socket.socket(family, kind, protocol)
    tunnel.setblocking(False)
    try:
        await loop.sock_connect(tunnel, address)
        await loop.sock_sendall(tunnel, _connect_request(proxy, server))
        _check(await _head(tunnel))
    except BaseException:
        tunnel.close()
        raise
    return tunnel


def _connect_request(proxy: Server, server: Server) -> bytes:
    lines = [f"CONNECT {server.authority} HTTP/1.1", f"Host: {server.authority}"]
    if proxy.login:
        login = b64encode(proxy.login.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    return "\r\n".join([*lines, "", ""]).encode()


async def _head(tunnel: socket.socket) -> bytes:
    """Read the proxy's answer. Behind it comes nothing: in TLS we speak first."""
    loop = asyncio.get_running_loop()
    head = b""
    while b"\r\n\r\n" not in head:
        part = await loop.sock_recv(tunnel, _LARGEST_PROXY_REPLY)
        head += part
        if not part or len(head) > _LARGEST_PROXY_REPLY:
            raise ProxyError("proxy gave no proper answer")
    return head


def _check(head: bytes) -> None:
    status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if not status or status[1] != b"200":
        raise ProxyError(f"proxy answered {status[1].decode() if status else ''}")
