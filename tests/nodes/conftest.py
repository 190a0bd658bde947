"""Two nodes of one storage, and what sends each request to the other one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests import ways
from tests.clients.pair import Pair
from tests.clients.spread import Spread
from tests.e2e.conftest import new_node, write_config
from tests.store.redis_server import RedisServer


@pytest.fixture
def config(tmp_path: Path, redis: RedisServer) -> Path:
    """The configuration of a node that keeps its chats in Redis."""
    with ways.by(front=True, redis=f"redis://{redis.address}/0"):
        return write_config(tmp_path)


@pytest.fixture
async def pair(config: Path, redis: RedisServer) -> AsyncIterator[Pair]:
    """Two nodes that run in this process, behind a proxy."""
    with ways.by(front=True, redis=f"redis://{redis.address}/0"):
        made = new_node(config)
    assert isinstance(made, Pair)
    async with made as running:
        yield running


@pytest.fixture
def nodes(pair: Pair) -> list[Node]:
    return pair.nodes


@pytest.fixture
def spread(pair: Pair) -> Spread:
    """The proxy, that never sends a client to the same node twice running."""
    return pair.spread
