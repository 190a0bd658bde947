"""A client whose node cannot reach Redis while it lets it go."""

import asyncio

import pytest

from cometd_chat.app import Node
from cometd_chat.nodes.directory import Directory
from cometd_chat.nodes.hub import Asked, Hub, Reply
from cometd_chat.nodes.moves import LARGEST_PARCEL, Moves
from cometd_chat.store import StoreUnavailableError
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient, UnexpectedStatusError
from tests.nodes.test_slow_node import cluster_of
from tests.web.conftest import until

EVENT = b'{"channel":"/news","data":"%s"}'


def moves_of(node: Node) -> Moves:
    return cluster_of(node).moves


class Failing:
    """A directory that cannot park a client so many times."""

    def __init__(self, node: Node, times: int) -> None:
        self._directory: Directory = moves_of(node)._directory
        self.left = times
        moves_of(node)._directory = self  # type: ignore[assignment] # it has all that is asked for

    def __getattr__(self, name: str) -> object:
        return getattr(self._directory, name)

    async def park(self, *args: object) -> bool:
        if self.left:
            self.left -= 1
            raise StoreUnavailableError("not now")
        return await self._directory.park(*args)  # type: ignore[arg-type] # passed on


class Forgetful:
    """An application that cannot read what a client needs, once."""

    def __init__(self, node: Node) -> None:
        self._application = moves_of(node)._application
        self._unread = True
        moves_of(node)._application = self  # type: ignore[assignment] # as above

    def __getattr__(self, name: str) -> object:
        return getattr(self._application, name)

    async def unpack(self, *args: object) -> None:
        if self._unread:
            self._unread = False
            raise StoreUnavailableError("not now")
        await self._application.unpack(*args)  # type: ignore[arg-type] # passed on


class Misled:
    """A hub whose answers go astray."""

    def __init__(self, node: Node) -> None:
        self._hub: Hub = moves_of(node)._hub
        moves_of(node)._hub = self  # type: ignore[assignment] # as above

    def __getattr__(self, name: str) -> object:
        return getattr(self._hub, name)

    def reply(self, asked: Asked, body: bytes) -> Reply:
        return self._hub.reply(asked, body)._replace(channel="nowhere")


class Noting:
    """A directory that notes what it is asked for."""

    def __init__(self, node: Node) -> None:
        self._directory = moves_of(node)._directory
        self.asked: list[str] = []
        moves_of(node)._directory = self  # type: ignore[assignment] # as above

    def __getattr__(self, name: str) -> object:
        method = getattr(self._directory, name)

        def noting(*args: object) -> object:
            self.asked.append(name)
            return method(*args)

        return noting


async def with_mail(node: Node, client: BayeuxClient, text: str = "kept") -> None:
    """Let the client of this node have an event that it has not fetched."""
    await client.handshake()
    await client.connect(advice={"timeout": 0})
    node._chat.application.deliver(client.client_id, EVENT % text.encode())


async def test_a_move_that_redis_does_not_take_at_once_loses_nothing(
    pair: Pair,
) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        failing = Failing(first, 3)
        client.url = f"{second.url}/cometd"
        await client.connect(advice={"timeout": 0})
        assert failing.left == 0
        assert [event["data"] for event in client.events] == ["kept"]


async def test_a_node_that_stops_offers_its_clients_again(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        Failing(first, 3)
        await first.stop()
        client.url = f"{second.url}/cometd"
        await client.connect(advice={"timeout": 0})
        assert [event["data"] for event in client.events] == ["kept"]


async def test_a_node_that_stops_sees_off_who_is_leaving_already(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        failing = Failing(first, 1_000_000)
        client.url = f"{second.url}/cometd"
        polling = asyncio.create_task(client.connect(advice={"timeout": 0}))
        await until(lambda: moves_of(first)._leaving)
        closing = asyncio.create_task(cluster_of(first).close())
        assert not (await asyncio.wait([closing], timeout=0.1))[0]
        failing.left = 0
        await closing
        await polling
        assert [event["data"] for event in client.events] == ["kept"]


async def test_a_client_that_was_taken_meanwhile_is_offered_no_more(
    pair: Pair,
) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        failing = Failing(first, 1_000_000)
        client.url = f"{second.url}/cometd"
        assert (await client.connect(advice={"timeout": 0}))["successful"]
        assert client.client_id in moves_of(first)._leaving
        failing.left = 0
        await until(lambda: not moves_of(first)._leaving)
        assert first._chat.server.client(client.client_id) is None
        assert (await client.connect(advice={"timeout": 0}))["successful"]


@pytest.mark.parametrize("at", [0, 1])
async def test_what_cannot_be_unpacked_goes_on_wherever_it_polls(
    pair: Pair, at: int
) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        Forgetful(second)
        client.url = f"{second.url}/cometd"
        with pytest.raises(UnexpectedStatusError, match="503"):
            await client.connect(advice={"timeout": 0})
        client.url = f"{pair.nodes[at].url}/cometd"
        await client.connect(advice={"timeout": 0})
        assert [event["data"] for event in client.events] == ["kept"]


async def test_an_answer_that_is_lost_costs_time_not_state(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        Misled(first)
        client.url = f"{second.url}/cometd"
        await client.connect(advice={"timeout": 0})
        assert [event["data"] for event in client.events] == ["kept"]


async def test_a_client_that_is_too_large_to_be_told_is_fetched(pair: Pair) -> None:
    first, second = pair.nodes
    text = "x" * LARGEST_PARCEL
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client, text)
        here = Noting(second)
        client.url = f"{second.url}/cometd"
        await client.connect(advice={"timeout": 0})
        assert here.asked[:2] == ["find", "claim"]
        assert [event["data"] for event in client.events] == [text]


async def test_a_move_waits_for_the_directory_once_at_each_node(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd") as client:
        await with_mail(first, client)
        there, here = Noting(first), Noting(second)
        client.url = f"{second.url}/cometd"
        await client.connect(advice={"timeout": 0})
        assert there.asked == ["park"]
        await until(lambda: not moves_of(second)._taking_up)
        assert here.asked == ["find", "take_up"]  # nobody waits for the last
        assert cluster_of(second).custody.certain(client.client_id)
