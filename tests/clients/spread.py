"""A proxy before several nodes that sends each request of a client to the next one.

The worst that a load balancer can do: no two requests of a client that follow each
other meet the same node. What names no client goes around, too. A node that cannot be
reached is left out for this request; one that dies in the middle of it is answered
for with 502, as nginx does for a POST.

    python -m tests.clients.spread --port 8080 8081 8082
"""

import argparse
import asyncio
import contextlib
import itertools
import re
from collections.abc import Sequence
from typing import Self, TypeAlias

import uvloop

HOST = "127.0.0.1"
LIMIT = 2**22

LOOK = 0.5
"""Seconds between two looks at the health of a node."""

HEALTHY = 1.0
"""Seconds within which a node that is well answers; who fails twice is left out."""

BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"

_CLIENT = re.compile(rb'"clientId"\s*:\s*"(\w+)"')
_FILE = re.compile(rb"/files/(\w+)")
_NO_BODY = re.compile(rb"HTTP/1.1 (?:204|304) ")
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)

Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Spread:
    """Listens on the loopback; `ports` are those of the nodes, and may be changed.

    `sent` counts requests by port, `cut` those that a node took and did not answer:
    most proxies make an error of that, where this one tries again if it may.
    """

    def __init__(self, ports: Sequence[int], port: int = 0) -> None:
        self.ports = list(ports)
        self.sent = dict.fromkeys(ports, 0)
        self.cut = 0
        self.port = port
        self._turn = itertools.count()
        self._last: dict[bytes, int] = {}
        self._listener: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._upstream: dict[asyncio.StreamWriter, int] = {}

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(
            self._accept, HOST, self.port, limit=LIMIT
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        # asyncio forgets to close what it accepts while a listener is closed.
        for sock in self._listener.sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
        await asyncio.sleep(0)
        self._listener.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._listener.wait_closed()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def leave_out(self, port: int) -> None:
        """Send nothing to this node any more, as when a health check has failed;
        requests that wait for it are answered with 502."""
        self.ports.remove(port)
        for writer, to in list(self._upstream.items()):
            if to == port:
                writer.transport.abort()

    async def watch(self) -> None:
        """Leave out nodes that do not answer until they do, as balancers do which
        look at the health of what is behind them. Runs until it is cancelled."""
        await asyncio.gather(*(self._watch(port) for port in list(self.ports)))

    async def _watch(self, port: int) -> None:
        failures = 0
        while True:
            failures = 0 if await _healthy(port) else failures + 1
            if not failures and port not in self.ports:
                self.ports.append(port)
            elif failures == 2 and port in self.ports:
                self.leave_out(port)
            await asyncio.sleep(LOOK)

    async def _open(self, port: int) -> Stream:
        reader, writer = await asyncio.open_connection(HOST, port, limit=LIMIT)
        self._upstream[writer] = port
        return reader, writer

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._upstream.pop(writer, None)
        writer.close()

    def choose(self, body: bytes, line: bytes = b"") -> list[int]:
        """Return the nodes to try, in this order; `line` is the first of the head."""
        if not self.ports:
            return []
        found = _CLIENT.search(body) or _FILE.search(line)
        turn = next(self._turn)
        if found:
            turn = self._last.get(found[1], turn) + 1
            self._last[found[1]] = turn
        at = turn % len(self.ports)
        return self.ports[at:] + self.ports[:at]

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert self._listener is not None
        if not self._listener.is_serving():
            writer.close()  # it was on its way when the proxy closed
            return
        task = asyncio.create_task(self._converse(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # Not at the end of the task, which may be cancelled before it begins.
        task.add_done_callback(lambda _: writer.close())

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nodes: dict[int, Stream] = {}
        try:
            await self._serve(reader, writer, nodes)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            for _, upstream in nodes.values():
                self._close(upstream)

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        nodes: dict[int, Stream],
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        while True:
            body = await _body(reader, head)
            if _UPGRADE.search(head):
                await self._tunnel(reader, writer, head)
                return
            following = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
            answering = asyncio.create_task(self._exchange(head, body, nodes))
            try:
                await asyncio.wait(
                    {following, answering}, return_when=asyncio.FIRST_COMPLETED
                )
                if following.done() and following.exception():
                    return  # the client has gone
                response = await answering
                writer.write(response)
                await writer.drain()
                if _says_close(response):
                    return
                head = await following
            finally:
                for task in (following, answering):
                    task.cancel()
                await asyncio.gather(following, answering, return_exceptions=True)

    async def _exchange(
        self, head: bytes, body: bytes, nodes: dict[int, Stream]
    ) -> bytes:
        request = head + body
        for port in self.choose(body, head.partition(b"\r\n")[0]):
            if port in nodes and _has_ended(nodes[port][0]):
                self._close(nodes.pop(port)[1])
            fresh = port not in nodes
            try:
                if fresh:
                    nodes[port] = await self._open(port)
            except OSError:
                continue
            self.sent[port] = self.sent.get(port, 0) + 1
            try:
                return await self._ask(port, request, nodes)
            except (OSError, asyncio.IncompleteReadError) as exc:
                self.cut += 1
                self._close(nodes.pop(port)[1])
                silent = (
                    isinstance(exc, asyncio.IncompleteReadError) and not exc.partial
                )
                if fresh or not silent or port not in self.ports:
                    return BAD_GATEWAY
                # A connection that was closed while nobody used it: once more.
                again = await self._exchange_with(port, request, nodes)
                if again:
                    return again
        return BAD_GATEWAY

    async def _exchange_with(
        self, port: int, request: bytes, nodes: dict[int, Stream]
    ) -> bytes:
        try:
            nodes[port] = await self._open(port)
        except OSError:
            return b""
        try:
            return await self._ask(port, request, nodes)
        except (OSError, asyncio.IncompleteReadError):
            self._close(nodes.pop(port)[1])
            return BAD_GATEWAY

    async def _ask(self, port: int, request: bytes, nodes: dict[int, Stream]) -> bytes:
        reader, writer = nodes[port]
        writer.write(request)
        response = await _response(reader, request)
        if _says_close(response):
            self._close(nodes.pop(port)[1])
        return response

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes
    ) -> None:
        for port in self.choose(b""):
            with contextlib.suppress(OSError):
                back, to_node = await asyncio.open_connection(HOST, port)
                break
        else:
            writer.write(BAD_GATEWAY)
            return
        to_node.write(head)
        ways = [
            asyncio.create_task(_forward(reader, to_node)),
            asyncio.create_task(_forward(back, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_node.close()


async def _healthy(port: int) -> bool:
    """Tell whether the node answers, whatever it says."""
    try:
        async with asyncio.timeout(HEALTHY):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 ")
            finally:
                writer.close()
    except OSError:
        return False


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


async def _response(reader: asyncio.StreamReader, request: bytes) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if request.startswith(b"HEAD ") or _NO_BODY.match(head):
        return head
    return head + await _body(reader, head)


def _has_ended(reader: asyncio.StreamReader) -> bool:
    """Tell whether the node has closed a connection that nobody used."""
    return reader.at_eof() or reader.exception() is not None


def _says_close(response: bytes) -> bool:
    return bool(_CLOSE.search(response.partition(b"\r\n\r\n")[0]))


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if found := _LENGTH.search(head):
        return await reader.readexactly(int(found[1]))
    body = b""
    while _CHUNKED.search(head):
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            break
    return body


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--watch", action="store_true", help="leave out sick nodes")
    parser.add_argument("nodes", type=int, nargs="+")
    args = parser.parse_args()
    async with Spread(args.nodes, args.port) as proxy:
        print(f"ready on {proxy.url}", flush=True)  # noqa: T201 - its purpose
        if args.watch:
            await proxy.watch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_main())
