"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from cometd_chat.web import cometd
from tests import ways
from tests.store.redis_server import SAFE, RedisServer, running

# A change must not fail on a case that has nothing to do with it: new examples are
# looked for where somebody can look into them.
settings.register_profile("ci", derandomize=True, deadline=None)
if "CI" in os.environ:
    settings.load_profile("ci")


COMPILED = "TEST_COMPILED"
"""Variable of the environment that demands that the compiled package is tested."""


def pytest_configure(config: pytest.Config) -> None:
    if COMPILED in os.environ and not str(cometd.__file__).endswith(".so"):
        raise pytest.UsageError(f"{cometd.__file__} is not compiled")


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server, for all nodes of this process's tests."""
    with running(tmp_path_factory.mktemp("redis"), *SAFE) as server:
        yield server


@pytest.fixture
def front(request: pytest.FixtureRequest) -> Iterator[bool]:
    """The way into the servers of the test; dear tests leave one out."""
    redis = None
    if request.param == "nodes":
        redis = f"redis://{request.getfixturevalue('redis').address}/0"
    with ways.by(front=request.param != "aiohttp", redis=redis):
        yield request.param != "aiohttp"


@pytest.fixture
def every_way(front: bool) -> bool:
    """Run a test through the front, by aiohttp alone, and through two nodes."""
    return front


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "front" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker
        dear = marked("slow") or marked("by_front")
        ways_in = ["front"] if dear else ["front", "aiohttp"]
        if "every_way" in metafunc.fixturenames and not marked("one_node"):
            ways_in.append("nodes")
        metafunc.parametrize("front", ways_in, indirect=True)
