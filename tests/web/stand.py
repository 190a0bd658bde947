"""The endpoint on a stand: real sockets in front, and behind it what a test scripts."""

import asyncio
import itertools
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web
from msgspec import Raw, json

from cometd_chat import bayeux
from cometd_chat.clock import SystemClock
from cometd_chat.web.cometd import CometdEndpoint
from cometd_chat.web.front import Fallback, Front
from cometd_chat.web.listener import answering
from cometd_chat.web.long_polling import HttpTransports
from cometd_chat.web.origins import Origins
from cometd_chat.web.plain import PlainPosts
from cometd_chat.web.throttle import Throttles
from cometd_chat.web.websocket import WebSocketTransport
from tests import ways

SWEEP_PERIOD = 0.02

EVERY = (bayeux.WEBSOCKET, bayeux.LONG_POLLING, bayeux.CALLBACK_POLLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds that the front waits for the next request, and both for a body."""

    keepalive: float = 30.0
    body: float = 10.0


PATIENT = Times()


class Anyone:
    """An application that lets everybody in, and takes everything. While `broken`, it
    cannot note that somebody left."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.gone: list[str] = []
        self.broken = False

    async def handshake(self, message: bayeux.Message, peer: bayeux.Peer) -> object:
        return "anyone"

    def allows(self, client: bayeux.Client, peer: bayeux.Peer) -> bool:
        return True

    async def subscribe(
        self, client: bayeux.Client, names: Sequence[str], message: bayeux.Message
    ) -> None:
        """Grant it."""

    async def unsubscribe(self, client: bayeux.Client, names: Sequence[str]) -> None:
        """Keep nothing."""

    def publish(self, client: bayeux.Client, message: bayeux.Message) -> None:
        self.published.append(message.channel)

    def connect(self, client: bayeux.Client, message: bayeux.Message) -> None:
        """Keep nothing."""

    def continues(self, old: bayeux.Client, new: bayeux.Client) -> bool:
        return False

    async def resume(
        self, old: bayeux.Client, new: bayeux.Client, position: object
    ) -> None:
        """Keep nothing."""

    async def silent(self, client: bayeux.Client) -> None:
        """Keep nothing."""

    async def left(self, client: bayeux.Client, message: bayeux.Message | None) -> None:
        if self.broken:
            raise OSError("the store is away")
        self.gone.append(client.id)

    async def farewell(self, message: bayeux.Message, peer: bayeux.Peer) -> bool:
        return False


class Shelf:
    """An outbox of lists. While `away` is set, `take` sends to `catch_up`, which
    waits for `back`, and then fails if `broken`."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Raw]] = defaultdict(list)
        self.taken: dict[str, list[Raw]] = {}
        self.lost_by: list[str] = []
        self.away = False
        self.broken = False
        self.back = asyncio.Event()

    def put(self, client_id: str, text: str) -> None:
        event = {"channel": "/events", "data": {"text": text}}
        self.waiting[client_id].append(Raw(json.encode(event)))

    def take(self, client_id: str, *, ending: bool) -> list[Raw] | None:
        if self.away:
            return None
        taken, self.waiting[client_id] = self.waiting[client_id], []
        self.taken[client_id] = taken
        return taken

    async def catch_up(self, client_id: str) -> None:
        await self.back.wait()
        if self.broken:
            raise OSError("the store is away")

    def lost(self, client_id: str) -> None:
        self.lost_by.append(client_id)
        again = self.taken.pop(client_id, [])
        self.waiting[client_id] = [*again, *self.waiting[client_id]]

    def arrived(self, client_id: str) -> None:
        self.taken.pop(client_id, None)

    def mark(self, client_id: str) -> bayeux.Rewind:
        """Tell nothing apart: no client on a stand counts its answers."""
        return lambda: self.lost(client_id)


@dataclass(slots=True, kw_only=True)
class Stand:
    """A server with one Bayeux endpoint under `url`, and all that it stands on.

    `fronts` has the front, if there is one.
    """

    url: str
    fronts: list[Front]
    server: bayeux.BayeuxServer
    endpoint: CometdEndpoint
    sockets: WebSocketTransport
    application: Anyone = field(default_factory=Anyone)
    shelf: Shelf = field(default_factory=Shelf)

    @property
    def queued(self) -> int:
        """Return how many responses wait for their sockets to take them."""
        return sum(s._outgoing.qsize() for s in self.sockets._sockets)

    @property
    def open(self) -> int:
        """Return how many exchanges of sockets have not ended."""
        return sum(len(s._open) for s in self.sockets._sockets)


@asynccontextmanager
async def standing(
    application: Anyone | None = None,
    *,
    idle: float = 10.0,
    buffer: int = 0,
    times: Times = PATIENT,
    linger: float = 0.0,
    **options: float,
) -> AsyncIterator[Stand]:
    """Run a stand. `buffer`: bytes that the kernel keeps of unread responses; `linger`:
    seconds for which it answers on open connections once it stops."""
    application, shelf = application or Anyone(), Shelf()
    numbers = (f"client{n}" for n in itertools.count(1))
    server = bayeux.BayeuxServer(
        bayeux.Options(transports=EVERY, **options), lambda: next(numbers)
    )
    endpoint = CometdEndpoint(
        server, application, shelf, SystemClock(), Throttles(10_000)
    )
    limits = bayeux.Limits()
    http = HttpTransports(endpoint, limits, times.body)
    sockets = WebSocketTransport(endpoint, limits, 262_144, idle)
    app = web.Application(client_max_size=262_144)
    origins = Origins(lambda: ())
    origins.add_to(app)
    app.router.add_post("/cometd", http.post)
    app.router.add_post("/cometd/{suffix:.*}", http.post)
    app.router.add_get("/cometd", sockets.get, allow_head=False)
    sock = _bound(buffer)
    sweeping = asyncio.create_task(_sweep(endpoint))
    fronts: list[Front] = []
    make = partial(_front, http, origins, times, fronts) if ways.Way.front else None
    async with answering(
        app,
        sock,
        front=make,
        release=endpoint.close,
        linger=linger,
        shutdown_timeout=1,
    ):
        yield Stand(
            url=f"http://127.0.0.1:{sock.getsockname()[1]}/cometd",
            fronts=fronts,
            server=server,
            endpoint=endpoint,
            sockets=sockets,
            application=application,
            shelf=shelf,
        )
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


def _front(
    http: HttpTransports,
    origins: Origins,
    times: Times,
    made: list[Front],
    fallback: Fallback,
) -> Front:
    posts = PlainPosts(http, {"/cometd"}, origins, SystemClock(), headers=["gms_user"])
    front = Front(
        posts,
        fallback,
        keepalive=times.keepalive,
        body_timeout=times.body,
        max_body=262_144,
    )
    made.append(front)
    return front


async def _sweep(endpoint: CometdEndpoint) -> None:
    while True:
        await asyncio.sleep(SWEEP_PERIOD)
        endpoint.sweep()


def _bound(buffer: int) -> socket.socket:
    sock = socket.socket()
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    sock.bind(("127.0.0.1", 0))
    return sock
