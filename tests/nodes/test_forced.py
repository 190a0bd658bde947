"""Clients that are taken from a node while it does something for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from cometd_chat.app import Node
from cometd_chat.bayeux import Peer
from cometd_chat.store import Store
from cometd_chat.web.cometd import MOST_MOVES
from cometd_chat.web.elsewhere import Item
from cometd_chat.web.exchange import Exchange
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient, Json, V1App
from tests.web.asking import Sent

CHANNEL = "/_genesys"


class Held:
    """A store that keeps back the answer to `find` until it may go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def find(self, key: str) -> object:
        found = await self._store.find(key)
        self.asked.set()
        await self.go.wait()
        return found


@asynccontextmanager
async def subscribing(app: V1App, node: Node) -> AsyncIterator[asyncio.Task[Json]]:
    """Let the app subscribe, which this node carries out when the block ends."""
    readers = node._chat.readers
    held = Held(readers._store)
    readers._store = held  # type: ignore[assignment] # it passes all on
    work = asyncio.create_task(app.bayeux.subscribe(CHANNEL))
    async with asyncio.timeout(10):
        await held.asked.wait()
    try:
        yield work
    finally:
        held.go.set()


@asynccontextmanager
async def connected(node: Node) -> AsyncIterator[V1App]:
    """An app whose client is at the node."""
    async with V1App(f"{node.url}/genesys") as app:
        await app.create_service()
        await app.bayeux.handshake(ext={"serviceId": app.service_id})
        await app.bayeux.connect(advice={"timeout": 0})
        yield app


async def poll(client: BayeuxClient, node: Node) -> None:
    """Let the client poll at this node, which takes it from where it is."""
    async with BayeuxClient(f"{node.url}/cometd", client.headers) as there:
        there.client_id = client.client_id
        assert (await there.connect(advice={"timeout": 0}))["successful"]


@pytest.mark.parametrize("asked", [0, 1], ids=["there", "elsewhere"])
@pytest.mark.parametrize("back", [False, True], ids=["away", "back"])
async def test_a_subscription_follows_a_client_that_is_taken_meanwhile(
    pair: Pair, asked: int, back: bool
) -> None:
    first, second = pair.nodes
    async with connected(first) as app:
        app.bayeux.url = f"{pair.nodes[asked].url}/cometd"
        async with subscribing(app, first) as subscribed:
            await poll(app.bayeux, second)
            if back:
                await poll(app.bayeux, first)
        reply = await subscribed
        assert reply["successful"], reply
        await app.create_chat()
        async with asyncio.timeout(10):
            while not app.screen:
                await app.bayeux.connect(advice={"timeout": 1000})


async def test_who_says_goodbye_meanwhile_is_unknown(pair: Pair) -> None:
    first, second = pair.nodes
    async with connected(first) as app:
        async with (
            subscribing(app, first) as subscribed,
            BayeuxClient(f"{second.url}/cometd") as there,
        ):
            there.client_id = app.bayeux.client_id
            assert (await there.disconnect())["successful"]
        reply = await subscribed
        assert reply["error"].startswith("402:")
        assert not first._chat.readers._reads


async def test_a_request_follows_its_client_so_often_and_no_more(pair: Pair) -> None:
    class Fleeing:
        """The other nodes, where a client is never found."""

        tries = 0

        async def serve(
            self, exchange: Exchange, items: Sequence[Item], peer: Peer
        ) -> None:
            self.tries += 1
            await endpoint._serve_rest(exchange, items, peer)

    endpoint = pair.nodes[0]._chat.endpoint
    others = Fleeing()
    endpoint.share(others)  # type: ignore[arg-type]  # all it needs
    exchange = Sent(object())
    await endpoint._serve_rest(exchange, [], Peer(headers={}, address=""))
    assert (others.tries, exchange.outcome.result()) == (MOST_MOVES, 503)
