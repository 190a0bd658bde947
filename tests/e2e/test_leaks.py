"""Ten thousand clients that vanish, in each state, on each transport: nothing stays."""

import asyncio
import base64
import contextlib
import ctypes
import gc
import itertools
import json
import os
import random
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from cometd_chat.app import Node
from cometd_chat.app.parts import Chat
from tests import ways
from tests.clients.pair import Pair
from tests.clients.proxy import RESET_ON_CLOSE
from tests.clients.raw import BayeuxClient, Json, V1Chat
from tests.web.conftest import until

from .conftest import agent_token
from .nodes import chats, configured, make_node

pytestmark = pytest.mark.slow

ROUNDS = {1: 4, 2: 3}
"""By the number of nodes."""

EACH = {1: 171, 2: 86}
"""Clients of each state and transport in each round, by the number of nodes: 10,260 of
one node in all. Two have more to do for each."""

AT_ONCE = 15
"""Clients that come together: so few that each is served before it is forgotten."""

BIG = "/news/big"
SMALL = "/news/small"
CHATS = 5
PAGE = os.sysconf("SC_PAGESIZE")
BLOCKS = {1: 1, 2: 8}
"""Pieces of Python's memory by which the process may grow for each client of a round,
by the number of nodes. One that is not forgotten takes eight or more. Two nodes
remember each other's last 10,000 calls, one for most clients, with four pieces each."""

SLACK = 8 * 1024 * 1024
"""Bytes by which the process may grow in all rounds: less than the answers that could
not be written, if they were kept."""

_ids = itertools.count(1)


class Wire:
    """A client on one bare connection. `vanish` resets it."""

    kind = "long-polling"

    def __init__(self) -> None:
        self.client_id = ""
        self.ext: Json = {}
        self.user = ""

    async def open(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(
            sock, (parts.hostname, parts.port)
        )
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=4096)

    async def hello(self) -> None:
        (reply,) = await self.ask(
            "/meta/handshake",
            supportedConnectionTypes=[self.kind],
            ext=self.ext,
        )
        self.client_id = reply["clientId"]

    async def ask(self, channel: str, **fields: Any) -> list[Json]:
        self.send(channel, **fields)
        return [m for m in await self.receive() if "successful" in m]

    def send(self, channel: str, **fields: Any) -> None:
        """Send a message and wait for nothing."""
        message = {"channel": channel, "id": str(next(_ids)), **fields}
        if self.client_id:
            message["clientId"] = self.client_id
        self.write(json.dumps([message]))

    def poll(self) -> None:
        self.send("/meta/connect", connectionType=self.kind, ext={"ack": 0})

    def write(self, text: str) -> None:
        head = f"POST /cometd HTTP/1.1\r\nHost: {self.host}\r\ngms_user: {self.user}"
        body = text.encode()
        head += f"\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    async def receive(self) -> list[Json]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        assert " 200 " in head, head
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        return self.decode(await self.reader.readexactly(length))

    def decode(self, body: bytes) -> list[Json]:
        messages: list[Json] = json.loads(body)
        return messages

    def vanish(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()


class ScriptWire(Wire):
    kind = "callback-polling"

    def write(self, text: str) -> None:
        self.writer.write(
            f"GET /cometd?jsonp=f&message={quote(text)} HTTP/1.1\r\n"
            f"Host: {self.host}\r\ngms_user: {self.user}\r\n\r\n".encode()
        )

    def decode(self, body: bytes) -> list[Json]:
        return super().decode(body.removeprefix(b"/**/f(").removesuffix(b");"))


class SocketWire(Wire):
    kind = "websocket"

    async def open(self, url: str) -> None:
        await super().open(url)
        key = base64.b64encode(random.randbytes(16)).decode()
        self.writer.write(
            f"GET /cometd HTTP/1.1\r\nHost: {self.host}\r\ngms_user: {self.user}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
            f"\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert b" 101 " in await self.reader.readuntil(b"\r\n\r\n")

    def write(self, text: str) -> None:
        body = text.encode()
        size = bytes([0x80 | 126]) + struct.pack(">H", len(body))
        if len(body) <= 125:
            size = bytes([0x80 | len(body)])
        # A mask of zeros leaves the text as it is (RFC 6455, "Client-to-Server
        # Masking").
        self.writer.write(b"\x81" + size + bytes(4) + body)

    async def receive(self) -> list[Json]:
        _, size = await self.reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        return self.decode(await self.reader.readexactly(size))


async def greeted(wire: Wire) -> None:
    """Vanish before the first connect."""


async def connected(wire: Wire) -> None:
    wire.poll()
    await wire.receive()


async def held(wire: Wire) -> None:
    await connected(wire)
    wire.poll()


async def subscribed(wire: Wire) -> None:
    """Listen to everything there is; a part of them in chats, as both parties."""
    if "auth" in wire.ext:
        await operate(wire, "listChats")
    else:
        names = [SMALL, "/news/**"] + ["/_genesys"] * bool(wire.user)
        (reply,) = await wire.ask("/meta/subscribe", subscription=names)
        assert reply["successful"], reply
    await held(wire)


async def operate(wire: Wire, operation: str, **fields: Any) -> None:
    data = {"operation": operation, **fields}
    (reply,) = await wire.ask("/service/agent", data=data)
    assert reply["successful"], reply


async def answering(wire: Wire) -> None:
    """Be sent more than fits into the buffers, and read none of it."""
    await wire.ask("/meta/subscribe", subscription=BIG)
    await held(wire)


STATES = [greeted, connected, held, subscribed, answering]
KINDS = [Wire, ScriptWire, SocketWire]


class Crowd:
    """Clients of one round."""

    def __init__(self, node: Node | Pair, publisher: BayeuxClient) -> None:
        self._node = node
        self._publisher = publisher
        self.count = 0

    async def come_and_vanish(
        self, kind: type[Wire], state: Callable[[Wire], Any]
    ) -> None:
        each = EACH[ways.nodes()]
        for number in range(0, each, AT_ONCE):
            size = min(AT_ONCE, each - number)
            wires = [kind() for _ in range(size)]
            await asyncio.gather(
                *(self._come(w, i, state) for i, w in enumerate(wires))
            )
            self.count += size
            if state in {held, answering}:
                await self._all_held(wires)
            if state is answering:
                reply = await self._publisher.publish(BIG, "x" * 100_000)
                assert reply["successful"]
                await until(lambda w=wires: not self._held(w))
            for wire in wires:
                wire.vanish()

    async def _come(
        self, wire: Wire, number: int, state: Callable[[Wire], Any]
    ) -> None:
        wire.ext = {"ack": True} if number % 2 else {}
        if number % 5 == 0:
            wire.user = f"user-{number % CHATS}"
        if number % 10 == 1:
            wire.ext["auth"] = {"token": agent_token(f"agent-{number}")}
        await wire.open(self._node.url)
        await wire.hello()
        await state(wire)

    async def _all_held(self, wires: list[Wire]) -> None:
        await until(lambda: self._held(wires) == len(wires))

    def _held(self, wires: list[Wire]) -> int:
        held = [chat.endpoint.polls.held for chat in chats(self._node)]
        return sum(wire.client_id in polls for wire in wires for polls in held)


def tables(chat: Chat) -> dict[str, int]:
    """Return everything that the parts of a node keep of clients, by name."""
    cluster: Any = chat.endpoint.elsewhere
    parts: list[Any] = [
        chat.server,
        chat.endpoint,
        chat.sockets,
        chat.delivery,
        chat.mailboxes,
        chat.broadcast.subscriptions,
        chat.presence,
        chat.readers,
        chat.desks,
        *([cluster] if cluster else []),
    ]
    return {
        f"{type(part).__name__}.{name}": len(value)
        for part in parts
        for name, value in kept(part)
        if isinstance(value, dict | set | list | deque) and len(value)
    }


def kept(part: object) -> Iterator[tuple[str, object]]:
    """Yield the attributes of an object; those of compiled classes have no `vars`."""
    for name in dir(part):
        if not name.startswith("__"):
            yield name, getattr(part, name)


async def emptied(node: Node | Pair, within: float = 30) -> None:
    """Wait until nothing is kept any more. Raises: AssertionError with the rest."""
    for chat in chats(node):
        with contextlib.suppress(TimeoutError):
            await until(lambda c=chat: not tables(c), within)
        assert tables(chat) == {}
    assert await directory(node) == []


async def directory(node: Node | Pair) -> list[bytes]:
    """Return the keys of what nodes let each other know of clients."""
    if ways.Way.store is None:
        return []
    _, prefix = ways.Way.store
    cluster: Any = chats(node)[0].endpoint.elsewhere
    keys = cluster._directory._router.read(0, "KEYS", f"{prefix}:*:bayeux:*")
    return list(await keys)


def resident() -> int:
    """Return the bytes of memory that this process has and uses."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node | Pair]:
    path = configured(
        tmp_path,
        timeout="3s",
        offline_after="200ms",
        max_interval="5s",
        handshakes_per_second="1000000",
    )
    async with make_node(path) as running:
        yield running


async def start_chats(node: Node | Pair) -> None:
    """Begin the chats of some users, who then stay away."""
    for number in range(CHATS):
        async with V1Chat(f"{node.url}/genesys", user=f"user-{number}") as chat:
            await chat.create_service()
            await chat.create_chat(notify_by="comet", userDisplayName="Cleo")


async def test_nothing_is_left_of_ten_thousand_clients_that_vanished(
    node: Node | Pair,
) -> None:
    await start_chats(node)
    await emptied(node)
    blocks, sizes = [], []
    files = descriptors()
    rounds = ROUNDS[ways.nodes()]
    for _ in range(rounds):
        async with BayeuxClient(f"{node.url}/cometd") as publisher:
            await publisher.handshake()
            publisher.start_polling()
            crowd = Crowd(node, publisher)
            for kind, state in itertools.product(KINDS, STATES):
                await crowd.come_and_vanish(kind, state)
        await emptied(node)
        await until(lambda: descriptors() <= files)
        sizes.append(resident())
        blocks.append(sys.getallocatedblocks())
    assert crowd.count == len(KINDS) * len(STATES) * EACH[ways.nodes()]
    # What is forgotten in no round makes each of them grow.
    growths = [after - before for before, after in itertools.pairwise(blocks)]
    assert min(growths) < BLOCKS[ways.nodes()] * crowd.count, blocks
    assert max(sizes) - sizes[0] < SLACK, sizes
