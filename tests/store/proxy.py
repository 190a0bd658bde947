"""A network between a store and its server that delays, cuts and goes deaf."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cometd_chat.store.redis_link import Address


class Proxy:
    """Passes bytes on. Each switch is for what comes from then on.

    `cut_replies`: how many more replies are dropped, with their connections.
    `deaf`: what subscribers would hear is dropped; their connections stay.
    `slow`: seconds by which replies are late; what subscribers hear is not.
    `passing`: requests wait while it is not set, even when their client is gone.
    """

    def __init__(self, server: Address) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut_replies = 0
        self.cuts = 0
        self.deaf = False
        self.slow = 0.0
        self._held = 0
        self._changed = asyncio.Condition()
        self.passing = asyncio.Event()
        self.passing.set()
        self.address = server

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there = await asyncio.open_connection(self._server.host, self._server.port)
        pair = _Pair(self, (reader, writer), there)
        for work in (pair.requests(), pair.replies()):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def hold(self) -> None:
        async with self._changed:
            self._held += 1
            self._changed.notify_all()
        await self.passing.wait()
        self._held -= 1

    async def holds(self, requests: int) -> None:
        """Wait until so many requests wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._held >= requests)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Pair:
    def __init__(self, proxy: Proxy, here: tuple, there: tuple) -> None:  # type: ignore[type-arg]  # reader and writer
        self._proxy = proxy
        self._here = here
        self._there = there
        self._subscriber = False

    async def requests(self) -> None:
        try:
            while data := await self._here[0].read(65_536):
                self._subscriber |= b"SUBSCRIBE" in data
                await self._proxy.hold()
                _write(self._there[1], data)
            await self._proxy.passing.wait()  # nor does an end pass
        except OSError:
            pass
        finally:
            self._there[1].close()

    async def replies(self) -> None:
        try:
            while data := await self._there[0].read(65_536):
                if self._proxy.cut_replies and not self._subscriber:
                    self._proxy.cut_replies -= 1
                    self._proxy.cuts += 1
                    break
                if self._proxy.slow and not self._subscriber:
                    await asyncio.sleep(self._proxy.slow)
                if not (self._subscriber and self._proxy.deaf):
                    _write(self._here[1], data)
        except OSError:
            pass
        finally:
            self._here[1].close()


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write. Raises: ConnectionError if the other way has closed it."""
    if writer.is_closing():
        raise ConnectionResetError
    writer.write(data)


@asynccontextmanager
async def proxied(server: Address) -> AsyncIterator[Proxy]:
    """Listen on a free port for the server."""
    proxy = Proxy(server)
    listener = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    proxy.address = Address(host, port)
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.close()
