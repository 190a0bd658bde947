"""Every store must pass this suite: adding one means adding one parameter here."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from cometd_chat.store import Limits, Store
from cometd_chat.store.redis import RedisStore
from cometd_chat.store.redis_topology import Servers
from cometd_chat.store.sqlite import SqliteStore
from tests.store.facts import ROOM, ROOM_FOR_NEW
from tests.store.redis_server import (
    SAFE,
    cluster,
    cluster_servers,
    running,
)

LIMITS = Limits(entries=ROOM, new=ROOM_FOR_NEW)

_prefixes = (f"test-{number}" for number in count())


@dataclass(frozen=True)
class Place:
    """Opens the same storage, with the limits of `facts`.

    `examples` is how many stories a test that makes them up shall try here.
    """

    open: Callable[[], Awaitable[Store]]
    examples: int

    def __call__(self) -> Awaitable[Store]:
        return self.open()


@pytest.fixture(scope="session")
def redis_single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One server, for all tests of this process."""
    with running(tmp_path_factory.mktemp("redis"), *SAFE) as server:
        yield server.servers


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Three primaries with a replica each, for all tests of this process."""
    with cluster(tmp_path_factory.mktemp("cluster"), replicas=1) as nodes:
        yield cluster_servers(nodes)


def _redis(servers: Servers, examples: int) -> Place:
    prefix = next(_prefixes)
    return Place(
        lambda: RedisStore.open(servers, prefix=prefix, limits=LIMITS), examples
    )


def _sqlite(path: Path, **options: int) -> Place:
    return Place(lambda: SqliteStore.open(path, limits=LIMITS, pace=0.0, **options), 25)


# One that has the newest entry of a few chats in memory, so that most reads are mixed.
@pytest.fixture(params=["sqlite", "sqlite_forgetful", "redis_single", "redis_cluster"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "sqlite":
            return _sqlite(tmp_path / "chat.db")
        case "sqlite_forgetful":
            return _sqlite(tmp_path / "chat.db", kept=2000)
        case "redis_single":
            return _redis(request.getfixturevalue(request.param), 15)
        case _:
            return _redis(request.getfixturevalue(request.param), 6)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    store = await place()
    yield store
    await store.close()
