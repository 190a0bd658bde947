"""Keeps a connection to APNs: opened when there is need, shared by all pushes.

One connection carries more pushes than one process can make. aioapns' pool is not
used: it opens a connection and signs a token after each quiet moment, lets all wait
for a connection one behind the other, and retries by itself.
"""

import asyncio
from contextlib import suppress

from aioapns.common import NotificationRequest
from aioapns.exceptions import ConnectionClosed

from cometd_chat.push.apns_connection import Connection, NotProcessedError
from cometd_chat.push.apns_credentials import Credentials
from cometd_chat.push.apns_outcomes import Reply
from cometd_chat.push.apns_route import Route, tunnel_to


class Link:
    """The way to APNs: one connection at a time, opened when there is need."""

    def __init__(self, route: Route, credentials: Credentials) -> None:
        self._route = route
        self._credentials = credentials
        self._opening: asyncio.Task[Connection] | None = None
        self._alive: set[Connection] = set()
        self._closed = False

    async def send(self, request: NotificationRequest) -> Reply:
        """Send a push, once more where the first surely did not arrive.

        Raises: ConnectionClosed, TimeoutError, OSError.
        """
        with suppress(NotProcessedError):
            return await (await self._connection()).send_notification(request)
        return await (await self._connection()).send_notification(request)

    def change(self, credentials: Credentials) -> None:
        """Use other credentials from now on; what is under way is finished first.

        A connection is bound to the key of its first push, so that it takes a new one.
        """
        self._credentials = credentials
        for connection in list(self._alive):
            connection.retire()

    async def close(self) -> None:
        """Close the connection; calls under way and in the queue fail."""
        self._closed = True
        for connection in list(self._alive):
            connection.close()
        if self._opening:
            self._opening.cancel()
            await asyncio.wait([self._opening])

    async def _connection(self) -> Connection:
        if connection := self._open():
            return connection
        if self._closed:
            raise ConnectionClosed("closed")
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._connect())
        opening = self._opening
        await asyncio.wait([opening])  # it is for all, so that nobody's end stops it
        if opening.cancelled():
            raise ConnectionClosed("closed")
        return opening.result()

    def _open(self) -> Connection | None:
        task = self._opening
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result() if task.result().accepting else None

    async def _connect(self) -> Connection:
        connection = Connection(self._route, self._credentials, self._alive.discard)
        self._alive.add(connection)
        try:
            async with asyncio.timeout(self._route.patience.connect):
                await self._reach(connection)
                await connection.ready()
        except BaseException:
            self._alive.discard(connection)
            connection.abort()
            raise
        return connection

    async def _reach(self, connection: Connection) -> None:
        loop, server, proxy = connection.loop, self._route.server, self._route.proxy
        tls = self._credentials.tls
        if proxy is None:
            await loop.create_connection(
                lambda: connection, server.host, server.port, ssl=tls
            )
            return
        tunnel = await tunnel_to(server, proxy)
        await loop.create_connection(
            lambda: connection, sock=tunnel, ssl=tls, server_hostname=server.host
        )
