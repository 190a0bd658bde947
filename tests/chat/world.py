"""One node without its sockets, and the people who use it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.bayeux import Client, Message, Peer
from cometd_chat.chat import (
    Agents,
    ChatApplication,
    Customers,
    Desks,
    Presence,
    Readers,
    Sessions,
    TokenAuth,
    make_agent_token,
    new_id,
)
from cometd_chat.config import LiveConfig, loads
from cometd_chat.delivery import Delivery
from cometd_chat.gms import v1
from cometd_chat.model import EntryKind, Profile, Session
from cometd_chat.store import Limits, StoreUnavailableError
from cometd_chat.store.sqlite import SqliteStore

SECRET = "a secret of thirty-two bytes, or more"
CUSTOMERS = "/_genesys"
AGENTS = "/service/agent"
OFFLINE = 10
TIMEOUT = 25


def damage(folder: Path, session: Session) -> None:
    """Make what is stored of the chat unreadable."""
    with closing(sqlite3.connect(folder / "chat.db")) as db, db:
        db.execute("UPDATE session SET profile = '{' WHERE id = ?", (session.id,))


class FakeClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Seam:
    """A store that fails, or keeps its answers back, where a test says so."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.broken: set[str] = set()
        self.calls: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}
        self._arrived: dict[str, asyncio.Event] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return method if name == "watch" else self._passing(name, method)

    def _passing(self, name: str, method: Callable[..., Awaitable[Any]]) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            self._check(name)
            answer = await method(*args, **kwargs)
            if gate := self._gates.get(name):
                self._arrived[name].set()
                await gate.wait()
                self._check(name)
            return answer

        return call

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise StoreUnavailableError("broken by the test")

    @asynccontextmanager
    async def holding(self, name: str, work: Awaitable[Any]) -> AsyncIterator[None]:
        """Run the body while the work waits for its answer from this method."""
        self._gates[name] = asyncio.Event()
        self._arrived[name] = asyncio.Event()
        task = asyncio.ensure_future(work)
        gate = self._gates[name]
        try:
            async with asyncio.timeout(10):
                await self._arrived[name].wait()
                del self._gates[name]
                yield
                gate.set()
                await task
        finally:
            gate.set()  # else who waits there would do so when the test has failed


class World:
    """All parts of a node but the network."""

    def __init__(self, store: SqliteStore, config: str) -> None:
        self.clock = FakeClock()
        self.store = Seam(store)
        self.live = LiveConfig(configured(config))
        seam: Any = self.store
        mailboxes = bayeux.Mailboxes(bayeux.Bounds())
        self.delivery = Delivery(seam, mailboxes)
        self.presence = Presence(seam, self.clock, self.live)
        sessions = Sessions(seam)
        self.readers = Readers(
            seam, self.delivery, self.presence, self.clock, self.live
        )
        self.customers = Customers(
            seam, sessions, self.readers, self.presence, self.clock, self.live
        )
        self.desks = Desks(seam, self.delivery, self.clock, self.live)
        self.agents = Agents(
            seam, sessions, self.desks, self.delivery, self.clock, self.live
        )
        self.server = bayeux.BayeuxServer(bayeux.Options(), new_id)
        auth = TokenAuth(self.live)
        self.application = ChatApplication(
            self.readers,
            self.agents,
            self.delivery,
            bayeux.Broadcast(bayeux.Rules(), mailboxes),
            auth,
            self.clock,
        )

    def configure(self, text: str) -> None:
        self.live.replace(configured(text))

    async def publish(self, client: Client, message: Message) -> None:
        work = self.application.publish(client, message)
        if work is not None:
            await work

    async def told(self) -> None:
        """Wait until agents were told of all that happened until now."""
        await self.desks.close()

    async def session(self, session: Session) -> Session:
        return await self.store.get(session.id)

    async def chat(
        self, user: str = "kim", service: str = "sales", **parameters: str
    ) -> Session:
        """Let a customer ask for a chat."""
        session = await self.customers.create(service, user, Profile())
        known = {"userDisplayName": "Kim", "notify_by": "comet", **parameters}
        return await self.customers.open(session, v1.parse_open(known), user)

    async def entries(self, session: Session) -> list[tuple[EntryKind, str]]:
        found = await self.store.read(session.id, 0)
        return [(entry.kind, entry.text) for entry in found]

    async def texts(self, session: Session) -> list[str]:
        return [t for kind, t in await self.entries(session) if kind == "Message"]

    @property
    def traces(self) -> list[Any]:
        """Return everything that is kept of clients; all of it is falsy when empty."""
        return [
            self.delivery._readers,
            self.delivery._watchers,
            self.delivery._gathering,
            self.presence._leases,
            self.presence._owed,
            self.presence._dirty,
            self.readers._reads,
            self.desks._desks,
            self.desks._lists._followed,
        ]


def configured(text: str) -> Any:
    loaded = loads(f"[agents]\nsecret = {SECRET}\n{text}")
    assert loaded.config is not None, loaded.problems
    return loaded.config


@asynccontextmanager
async def world(path: Path, config: str) -> AsyncIterator[World]:
    limits = Limits(entries=configured(config).store.max_entries)
    store = await SqliteStore.open(path / "chat.db", pace=0.0, limits=limits)
    try:
        here = World(store, config)
        yield here
        await here.told()
    finally:
        await store.close()


class Somebody:
    """A Bayeux client. `ext` and headers are those of its handshake."""

    def __init__(self, world: World, client: Client, peer: Peer) -> None:
        self.world = world
        self.client = client
        self.peer = peer

    @property
    def id(self) -> str:
        return self.client.id

    async def subscribe(self, *names: str, **ext: object) -> Any:
        message = Message(channel="/meta/subscribe", ext=ext)
        return await self.world.application.subscribe(self.client, names, message)

    async def poll(self, **ext: object) -> list[Any]:
        """Poll, and return the data of what it brings."""
        self.client.silent = False
        message = Message(channel="/meta/connect", ext=ext)
        if later := self.world.application.connect(self.client, message):
            await later
        return await self.take()

    async def take(self) -> list[Any]:
        delivery = self.world.delivery
        while (events := delivery.take(self.id)) is None:
            await delivery.catch_up(self.id)
        return [msgspec.json.decode(event)["data"] for event in events]

    async def disconnect(self, **ext: object) -> None:
        message = Message(channel="/meta/disconnect", ext=ext)
        await self.world.application.left(self.client, message)

    async def fall_silent(self) -> None:
        self.client.silent = True
        await self.world.application.silent(self.client)

    async def resumed(self, by: "Somebody", position: object = None) -> bool:
        """Tell whether another client may go on where this one was."""
        application = self.world.application
        if not application.continues(self.client, by.client):
            return False
        await application.resume(self.client, by.client, position)
        return True

    async def expire(self) -> None:
        await self.world.application.left(self.client, None)


class Phone(Somebody):
    """A customer's app."""

    async def read(self, **ext: object) -> list[tuple[int, str]]:
        """Poll and return position and text of each entry."""
        return seen(await self.poll(**ext))


def seen(events: list[Any]) -> list[tuple[int, str]]:
    found = []
    for event in events:
        chat = event["message"]
        rows = chat["transcriptToShow"]
        first = int(chat["transcriptPosition"]) - len(rows) + 1
        found += [(first + i, row[2]) for i, row in enumerate(rows)]
    return found


class Desk(Somebody):
    """An agent's console."""

    async def do(
        self, operation: str, *, name: str | None = None, **fields: Any
    ) -> None:
        data = msgspec.json.encode({"operation": operation, **fields})
        message = Message(channel=AGENTS, data=Raw(data))
        if name is not None:
            message.id = Raw(msgspec.json.encode(name))
        await self.world.publish(self.client, message)

    async def hear(self) -> list[Any]:
        """Return what has come since the last time."""
        await self.world.told()
        return await self.poll()

    async def notices(self) -> list[tuple[bool, list[str]]]:
        """Return what it heard of customers: online, and the texts with it."""
        return [
            (event["customer"]["online"], [m["text"] for m in event["messages"]])
            for event in await self.hear()
            if "customer" in event
        ]


def headers(**values: str) -> Peer:
    return Peer(headers=values, address="127.0.0.1")


async def phone(
    world: World, user: str = "kim", *, subscribe: bool = True, **ext: object
) -> Phone:
    peer = headers(gms_user=user) if user else headers()
    found = Phone(world, await _client(world, peer, ext), peer)
    if subscribe:
        await found.subscribe(CUSTOMERS)
    return found


async def desk(world: World, name: str = "ann", **claims: object) -> Desk:
    token = make_agent_token(SECRET, {"sub": name, "name": name.title(), **claims})
    ext: dict[str, object] = {"auth": {"token": token}}
    peer = headers()
    found = Desk(world, await _client(world, peer, ext), peer)
    await found.subscribe(AGENTS)
    return found


async def _client(world: World, peer: Peer, ext: dict[str, object]) -> Client:
    message = Message(channel="/meta/handshake", ext=ext)
    identity = await world.application.handshake(message, peer)
    reply = world.server.admit(message, identity, world.clock.now)
    client = world.server.client(reply.client_id or "")
    assert client is not None
    return client
