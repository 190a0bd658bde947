"""A TCP proxy that plays bad networks between a client and the server."""

import asyncio
import contextlib
import socket
import struct
from typing import Self

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """One connection through the proxy: a pair of streams and the way between.

    While frozen it forwards nothing in either direction. It takes little more than
    what fits into the buffers of the sockets, as a phone does whose app sleeps: what
    the server writes seems to arrive, and is delivered when the link thaws.
    """

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def run(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: tuple[str, int],
    ) -> None:
        """Forward until both ends have closed, or `cut` is called."""
        self._writers = [writer]
        try:
            upstream, to_server = await asyncio.open_connection(*server)
        except OSError:
            self.cut()
            return
        self._writers.append(to_server)
        try:
            await asyncio.gather(
                self._forward(reader, to_server), self._forward(upstream, writer)
            )
        except OSError:
            self.cut()
        finally:
            to_server.close()
            writer.close()

    def cut(self) -> None:
        """Reset both connections (RST): each end sees an error, not an end."""
        for writer in self._writers:
            if writer.transport.is_closing():
                continue
            peer: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()
        self._open.set()

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(65536):
            if self.latency:
                await asyncio.sleep(self.latency)
            await self._open.wait()
            if writer.is_closing():
                return
            writer.write(chunk)
            await writer.drain()
        await self._open.wait()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


class Proxy:
    """Listens on a free port of the loopback and forwards to one server.

    `links` are the open connections, oldest first, each with `cut`, `freeze`, `thaw`
    and `latency` (seconds per chunk and direction). The same of the proxy work on
    all of them; `freeze` and `latency` also on those to come.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.links: list[Link] = []
        self._server_address = (host, port)
        self._listener: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._latency = 0.0
        self._frozen = False

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        self.cut()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._listener.wait_closed()

    @property
    def port(self) -> int:
        assert self._listener is not None
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def latency(self) -> float:
        return self._latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._latency = seconds
        for link in self.links:
            link.latency = seconds

    def lead_to(self, port: int) -> None:
        """Forward new connections to another port."""
        self._server_address = (self._server_address[0], port)

    def cut(self) -> None:
        """Reset all connections; new ones are accepted."""
        for link in self.links:
            link.cut()

    def freeze(self) -> None:
        """Forward nothing any more, on no connection, old or new."""
        self._frozen = True
        for link in self.links:
            link.freeze()

    def thaw(self) -> None:
        """Go on, beginning with what was held back."""
        self._frozen = False
        for link in self.links:
            link.thaw()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        link = Link(self._latency)
        if self._frozen:
            link.freeze()
        self.links.append(link)
        try:
            await link.run(reader, writer, self._server_address)
        except asyncio.CancelledError:
            pass  # the proxy closes; asyncio's servers would log it as an error
        finally:
            self.links.remove(link)
            self._running.discard(task)
