"""A directory that has lost the latest numbers, as after a failover."""

from collections.abc import AsyncIterator

import pytest

from cometd_chat.nodes.cluster import Cluster
from cometd_chat.nodes.parcel import Want, to_bytes
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient
from tests.nodes.test_slow_node import cluster_of
from tests.web.conftest import until


async def owner(cluster: Cluster, client_id: str) -> str:
    place = await cluster._directory.find(client_id)
    assert place is not None
    return place.owner


@pytest.fixture
async def client(pair: Pair) -> AsyncIterator[BayeuxClient]:
    """A client of the first node, which knows a higher number than the directory."""
    first = pair.nodes[0]
    async with BayeuxClient(f"{first.url}/cometd") as made:
        await made.handshake()
        await made.connect(advice={"timeout": 0})
        cluster_of(first).custody._owned[made.client_id].number += 5
        yield made


async def test_a_client_moves_all_the_same(pair: Pair, client: BayeuxClient) -> None:
    first, second = pair.nodes
    client.url = f"{second.url}/cometd"
    assert (await client.connect(advice={"timeout": 0}))["successful"]
    assert first._chat.server.client(client.client_id) is None


async def test_a_client_that_was_taken_is_looked_up(
    pair: Pair, client: BayeuxClient
) -> None:
    first, second = map(cluster_of, pair.nodes)
    name = client.client_id
    assert await second._directory.claim(name, 1)
    assert first.custody.certain(name)
    second._hub.hint("taken", to_bytes(Want(client_id=name, number=1)))
    await until(lambda: not first.custody.certain(name))
    assert await owner(first, name) == second._hub.node
    assert (await client.connect(advice={"timeout": 0}))["successful"]
    assert await owner(first, name) == first._hub.node
