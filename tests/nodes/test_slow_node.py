"""A node looks for a client while that one goes elsewhere."""

import asyncio
import math

import pytest

from cometd_chat.app import Node
from cometd_chat.nodes.cluster import SOON, Cluster
from cometd_chat.nodes.directory import PARKED, Claimed, Directory, Place
from cometd_chat.store import StoreUnavailableError
from tests.clients.agent import AgentClient
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient
from tests.e2e.conftest import agent_token
from tests.web.conftest import until


def cluster_of(node: Node) -> Cluster:
    cluster = node._chat.endpoint.elsewhere
    assert isinstance(cluster, Cluster)
    return cluster


class Slow:
    """A directory whose word that nobody has a client is old when it is heard."""

    def __init__(self, directory: Directory, client: AgentClient, polled: str) -> None:
        self._directory, self._client, self._polled = directory, client, polled
        self._until = asyncio.get_running_loop().time() + SOON
        self.polling: asyncio.Task[object] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._directory, name)

    async def find(self, client_id: str) -> Place | None:
        place = await self._directory.find(client_id)
        late = asyncio.get_running_loop().time() > self._until
        if place and place.owner == PARKED and late and self.polling is None:
            self._client.url = self._polled
            self.polling = asyncio.create_task(
                self._client.connect(advice={"timeout": 3000})
            )
            while place and place.owner == PARKED:
                await asyncio.sleep(0.02)
                place = await self._directory.find(client_id)
            await asyncio.sleep(0.1)  # until the connect is held
            return Place(PARKED, place.number - 1, place.record) if place else None
        return place


class Overtaken:
    """A directory in which a client says goodbye as soon as it was found."""

    def __init__(self, directory: Directory, node: Node) -> None:
        self._directory, self._node = directory, node

    def __getattr__(self, name: str) -> object:
        return getattr(self._directory, name)

    async def find(self, client_id: str) -> Place | None:
        place = await self._directory.find(client_id)
        if place and self._node._chat.server.client(client_id):
            async with BayeuxClient(f"{self._node.url}/cometd") as another:
                another.client_id = client_id
                await another.disconnect()
        return place


class Outdated:
    """A directory in which a client has gone to another node by the time at which it
    says that it is at this one."""

    def __init__(self, directory: Directory, agent: AgentClient, polled: str) -> None:
        self._directory, self._agent, self._polled = directory, agent, polled
        self.polls = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._directory, name)

    async def keep(self, client_id: str, number: int, record: bytes) -> bool:
        kept = await self._directory.keep(client_id, number, record)
        if not self.polls:
            self.polls += 1
            self._agent.url = self._polled
            await self._agent.connect(advice={"timeout": 0})
        return kept


class Unreachable:
    """A directory that cannot be written to until it can."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.reachable = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._directory, name)

    async def keep(self, client_id: str, number: int, record: bytes) -> bool:
        if not self.reachable:
            raise StoreUnavailableError("nothing can be stored now")
        return await self._directory.keep(client_id, number, record)


class Held:
    """A directory that gives no client away until it may."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.may = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._directory, name)

    async def claim(self, client_id: str, number: int) -> Claimed | None:
        await self.may.wait()
        return await self._directory.claim(client_id, number)


async def test_a_node_that_stops_lets_all_go_while_one_still_comes(
    pair: Pair,
) -> None:
    first, second = pair.nodes
    async with (
        BayeuxClient(f"{first.url}/cometd") as comes,
        BayeuxClient(f"{second.url}/cometd") as stays,
    ):
        for client in (comes, stays):
            await client.handshake()
            await client.connect(advice={"timeout": 0})
        await cluster_of(first).moves.retreat()
        moves = cluster_of(second).moves
        directory = moves._directory
        held = Held(directory)
        moves._directory = held  # type: ignore[assignment] # it passes all on
        comes.url = f"{second.url}/cometd"
        polling = asyncio.create_task(comes.connect(advice={"timeout": 0}))
        await until(lambda: moves._coming)
        closing = asyncio.create_task(moves.close())
        await until(lambda: not len(second._chat.server))
        assert moves._coming
        held.may.set()
        await closing
        await asyncio.gather(polling, return_exceptions=True)
        for client in (comes, stays):
            assert client.client_id is not None
            place = await directory.find(client.client_id)
            assert place is not None
            assert place.owner == PARKED


async def test_who_the_other_nodes_cannot_know_is_not_let_in(pair: Pair) -> None:
    first, second = pair.nodes
    async with AgentClient(f"{first.url}/cometd", agent_token()) as agent:
        await agent.handshake()
        await agent.connect(advice={"timeout": 0})
        former = agent.client_id
        custody = cluster_of(first).custody
        away = Unreachable(custody._directory)
        custody._directory = away  # type: ignore[assignment] # has all it asks
        ext = {**agent.handshake_fields["ext"], "resume": {"clientId": former}}
        refused = await agent.handshake(ext=ext)
        assert not refused["successful"]
        assert refused["error"] == "503::Try again"
        assert refused["advice"]["reconnect"] == "handshake"
        assert list(custody._owned) == [former]
        assert len(first._chat.server) == 1
        away.reachable = True
        reply = await agent.handshake(ext=ext)
        assert reply["ext"]["resume"] == {"clientId": former, "resumed": True}
        agent.url = f"{second.url}/cometd"
        assert (await agent.connect(advice={"timeout": 0}))["successful"]


async def test_a_connect_that_a_goodbye_overtakes_is_told_to_stop(pair: Pair) -> None:
    first, second = pair.nodes
    async with BayeuxClient(f"{first.url}/cometd", {"gms_user": "cleo"}) as client:
        await client.handshake()
        await client.connect(advice={"timeout": 0})
        here = cluster_of(second).moves
        here._directory = Overtaken(  # type: ignore[assignment] # as above
            here._directory, first
        )
        client.url = f"{second.url}/cometd"
        reply = await client.connect()
        assert reply["error"].startswith("402:")
        assert reply["advice"]["reconnect"] == "none"


async def test_a_publish_leaves_the_client_where_it_polls(pair: Pair) -> None:
    first, second = pair.nodes
    async with AgentClient(f"{first.url}/cometd", agent_token()) as agent:
        await agent.handshake()
        await agent.subscribe("/service/agent")
        await agent.connect(advice={"timeout": 0})
        there, here = cluster_of(first), cluster_of(second)
        client = first._chat.server.client(agent.client_id)
        assert client
        assert await there.moves._park(client)
        slow = Slow(here._directory, agent, agent.url)
        here._directory = here.moves._directory = slow  # type: ignore[assignment] # it has all that is asked for
        agent.url = f"{second.url}/cometd"
        reply = await agent.publish("/service/agent", {"operation": "listChats"})
        assert reply["successful"]
        assert slow.polling
        assert (await slow.polling)["successful"]  # type: ignore[index] # a reply
        assert second._chat.server.client(agent.client_id) is None


@pytest.mark.parametrize("at", [0, 1])
async def test_a_publish_finds_a_client_that_leaves_while_it_is_looked_up(
    pair: Pair, at: int
) -> None:
    first, second = pair.nodes
    async with AgentClient(f"{first.url}/cometd", agent_token()) as agent:
        await agent.handshake()
        await agent.connect(advice={"timeout": 0})
        custody = cluster_of(first).custody
        owned = custody.get(agent.client_id)
        assert owned
        owned.at = -math.inf  # as of one that has just come
        outdated = Outdated(custody._directory, agent, f"{second.url}/cometd")
        custody._directory = outdated  # type: ignore[assignment] # has all it asks
        agent.url = f"{pair.nodes[at].url}/cometd"
        reply = await agent.publish("/service/agent", {"operation": "listChats"})
        assert outdated.polls == 1
        assert reply["successful"], reply
        assert second._chat.server.client(agent.client_id)
