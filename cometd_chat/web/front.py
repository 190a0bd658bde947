"""The protocol on the listening socket: plain POSTs are answered here, those with
Bayeux messages and calls in a chat.

Every other connection goes to aiohttp, with the bytes that were read already, at the
first request that is not plain, and for good.

Idle connections stand in a row in the order in which they became idle, so that those
whose time is over are the first. Nothing is kept or armed for one that is at work:
a held poll costs no look and no timer.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from .connection import Connection
from .plain import PlainPosts
from .plain_head import Plain

Fallback: TypeAlias = Callable[[], asyncio.Protocol]
"""Makes the protocol that takes over a connection."""


class Front:
    """All connections of one listening socket; makes the protocol of a new one.

    Durations in seconds: a connection may be idle, or send the head of a request, for
    `keepalive`; a body of at most `max_body` bytes must arrive within `body_timeout`.
    `idle` has the connections that are, and the `time` at which each has to go.
    """

    def __init__(
        self,
        posts: PlainPosts,
        fallback: Fallback,
        *,
        keepalive: float,
        body_timeout: float,
        max_body: int,
    ) -> None:
        self.posts = posts
        self.keepalive = keepalive
        self.body_timeout = body_timeout
        self.closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._fallback = fallback
        self._max_body = max_body
        self._connections: set[Connection] = set()
        self.idle: OrderedDict[Connection, float] = OrderedDict()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.time = asyncio.get_running_loop().time

    def __call__(self) -> Connection:
        return Connection(self)

    def __len__(self) -> int:
        """Return how many connections are served here."""
        return len(self._connections)

    def takes(self, plain: Plain) -> bool:
        """Tell whether a request is served here."""
        allowed = plain.form.trusted or self.posts.admits(plain.form)
        return allowed and plain.length <= self._max_body

    def opened(self, connection: Connection) -> None:
        """Note a new connection."""
        self._connections.add(connection)
        self._quiet.clear()
        self.idle[connection] = self.time() + self.keepalive

    def left(self, connection: Connection) -> None:
        """Note that a connection is closed or closing, or not ours any more."""
        self.idle.pop(connection, None)
        self._connections.discard(connection)
        if not self._connections:
            self._quiet.set()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep what goes on serving a request until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def takes_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Let aiohttp go on with a connection, from these bytes on."""
        protocol = self._fallback()
        transport.set_write_buffer_limits()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def sweep(self) -> None:
        """Close connections that are idle for too long; call it about once a second."""
        now = self.time()
        while self.idle and next(iter(self.idle.values())) <= now:
            next(iter(self.idle)).close()

    def retire(self) -> None:
        """Close what is idle, and everything else with its next response."""
        self.closing = True
        for connection in list(self.idle):
            connection.close()

    async def close(self, seconds: float) -> None:
        """Let requests finish for so long, then cut off whoever is still there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(self._quiet.wait(), *self._tasks)
        for connection in list(self._connections):
            connection.transport.abort()
