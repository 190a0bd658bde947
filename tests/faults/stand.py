"""What is broken: Redis, nodes, a proxy before them, and the company's own server."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from aiohttp import web

from cometd_chat.model import EntryKind
from cometd_chat.store import Store
from cometd_chat.store.redis import RedisStore, parse
from cometd_chat.store.redis_link import Address
from tests.clients.proxy import Proxy as Network
from tests.e2e.conftest import SECRET, ServerProcess, free_port
from tests.faults.people import People
from tests.faults.record import Push, Record, Stored
from tests.store.proxy import Proxy as Line
from tests.store.proxy import proxied
from tests.store.redis_server import SAFE, RedisServer, cluster, running, until

PROXY_STARTS = 10.0
"""Seconds within which the proxy has to be ready."""

CONFIG = """\
[server]
port = {port}
[store]
url = {url}
durability = {durability}
[auth]
gms_user = trusted
[agents]
secret = {secret}
[push]
pushEnabled = comet, customhttp
defaultProvider = company
[push.provider.company]
customhttp.url = {hook}
[service.request-chat]
_client_timeout_notification = 2
"""


class Layout(Enum):
    """Which Redis the nodes share."""

    SINGLE = "one server"
    BAD_LINE = "one server, a bad line to it"
    REPLICATED = "a primary and its replica"
    CLUSTER = "a cluster, 3 primaries and 3 replicas"


@dataclass
class Stand:
    """A running installation.

    `struck` is the number of the node that faults strike, `victim` that node. With a
    bad line, it reaches Redis through `line` and `network`: what they do to it, the
    others do not feel.
    """

    layout: Layout
    struck: int
    url: str = ""
    redis: list[RedisServer] = field(default_factory=list)
    nodes: list[ServerProcess] = field(default_factory=list)
    line: Line | None = None
    network: Network | None = None

    @property
    def victim(self) -> ServerProcess:
        return self.nodes[self.struck]

    @property
    def durability(self) -> str:
        several = self.layout in {Layout.REPLICATED, Layout.CLUSTER}
        return "replicated" if several else "durable"

    def store_url(self, *ports: int) -> str:
        places = ",".join(f"127.0.0.1:{port}" for port in ports)
        kind = "redis+cluster" if self.layout is Layout.CLUSTER else "redis"
        return f"{kind}://{places}"

    @property
    def direct(self) -> str:
        return self.store_url(*(server.port for server in self.redis))


@asynccontextmanager
async def standing(
    stand: Stand, folder: Path, nodes: int, record: Record, people: dict[str, float]
) -> AsyncIterator[People]:
    """Start everything; `people` is what `People` is made with."""
    async with contextlib.AsyncExitStack() as stack:
        await _start_redis(stand, folder, stack)
        company = _Company()
        hook = await stack.enter_async_context(_listening(company))
        ports = [free_port() for _ in range(nodes)]
        for number, port in enumerate(ports):
            where = folder / f"node-{number}.ini"
            url = await _way_to_redis(stand, number, stack)
            where.write_text(
                CONFIG.format(
                    port=port,
                    url=url,
                    durability=stand.durability,
                    secret=SECRET,
                    hook=hook,
                )
            )
            stand.nodes.append(ServerProcess(where))
            await stack.enter_async_context(stand.nodes[-1])
        stand.url = await stack.enter_async_context(_proxy(ports, folder))
        company.people = made = People(stand.url, record, **people)  # type: ignore[arg-type]  # numbers
        yield made


async def _start_redis(
    stand: Stand, folder: Path, stack: contextlib.AsyncExitStack
) -> None:
    def started() -> list[RedisServer]:
        if stand.layout is Layout.CLUSTER:
            return stack.enter_context(cluster(folder / "redis", replicas=1))
        first = stack.enter_context(running(folder / "redis", *SAFE))
        if stand.layout is not Layout.REPLICATED:
            return [first]
        options = (*SAFE, "--replicaof", "127.0.0.1", str(first.port))
        second = stack.enter_context(running(folder / "replica", *options))
        until(lambda: second.linked(0) and first.linked(1))
        return [first, second]

    stand.redis = await asyncio.to_thread(started)


async def _way_to_redis(
    stand: Stand, number: int, stack: contextlib.AsyncExitStack
) -> str:
    if stand.layout is not Layout.BAD_LINE or number != stand.struck:
        return stand.direct
    stand.network = Network(stand.redis[0].port)
    await stack.enter_async_context(stand.network)
    there = Address("127.0.0.1", stand.network.port)
    stand.line = await stack.enter_async_context(proxied(there))
    return stand.store_url(stand.line.address.port)


@asynccontextmanager
async def _proxy(ports: Sequence[int], folder: Path) -> AsyncIterator[str]:
    """Run the proxy in a process of its own; gives its address."""
    command = ["-m", "tests.clients.spread", "--port", "0", "--watch"]
    with (folder / "proxy.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *map(str, ports),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PROXY_STARTS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("ready on "), (folder / "proxy.log").read_text()
        yield line.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class _Company:
    """The company's own server, to which pushes are posted."""

    def __init__(self) -> None:
        self.people: People | None = None

    async def post(self, request: web.Request) -> web.Response:
        body = await request.json()
        message = body["message"]
        lines = [line.get("Message.Text", "") for line in message["lastTranscript"]]
        name, push = body["deviceId"], message["cometd-chat"]["id"]
        texts = tuple(line for line in lines if line.startswith(f"{name} "))
        assert self.people is not None
        self.people.pushed(Push(name, push, texts, time.monotonic()))
        return web.Response()


@asynccontextmanager
async def _listening(company: _Company) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/push", company.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/push"
    finally:
        await runner.cleanup()


async def read_back(stand: Stand, people: People) -> None:
    """Put into the record what the store has."""
    store = await RedisStore.open(parse(stand.direct), allow_volatile=True)
    try:
        for phone in people.phones:
            people.record.stored[phone.name] = await _transcript(
                store, phone.session_id
            )
    finally:
        await store.close()


async def _transcript(store: Store, session: str) -> list[Stored]:
    entries = await store.read(session, 0, 100_000)
    return [
        Stored(e.position, e.text if e.kind is EntryKind.MESSAGE else "")
        for e in entries
    ]
