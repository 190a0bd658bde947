"""Nodes that die, stop and are replaced while everybody talks."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cometd_chat.store import Store
from cometd_chat.store.redis import RedisStore, parse
from tests import ways
from tests.cli.conftest import change
from tests.clients.pair import Pair
from tests.clients.spread import Spread
from tests.e2e.conftest import (
    ServerProcess,
    ServerProcesses,
    free_port,
    stored,
    write_config,
)
from tests.nodes.load import STALLED, handshakes, positions_of, talking
from tests.store.redis_server import RedisServer
from tests.web.conftest import until

pytestmark = pytest.mark.slow

CHANGED = "timeout: 5s -> 1s"
SILENCE = 6
OFFLINE = f"{SILENCE}s"
"""Time after which a client counts as silent: more than a poll comes late by where
many others use the processors."""


@asynccontextmanager
async def cluster(
    folder: Path, redis: RedisServer
) -> AsyncIterator[tuple[list[ServerProcess], Spread, Store]]:
    """Run two processes behind a proxy; also gives their store."""
    url, ports = f"redis://{redis.address}/0", [free_port(), free_port()]
    processes = []
    with ways.by(front=True, redis=url):
        assert ways.Way.store is not None
        prefix = ways.Way.store[1]
        for port in ports:
            (folder / str(port)).mkdir()
            config = write_config(folder / str(port), port=port, offline_after=OFFLINE)
            processes.append(ServerProcess(config))
    store = await RedisStore.open(parse(url), prefix=prefix)
    try:
        async with processes[0], processes[1], Spread(ports) as proxy:
            yield processes, proxy, store
    finally:
        await store.close()


async def test_who_meets_another_node_each_time_gets_everything_once(
    pair: Pair,
) -> None:
    async with talking(pair.url, receipt=STALLED) as talk:
        await talk.more(2000)
        await talk.stop()
        await talk.check(pair.store)
        for app in talk.apps:
            assert positions_of(app) == app.positions
            assert handshakes(app.bayeux) == 1
        assert [handshakes(agent) for agent in talk.agents] == [1] * 4
        assert talk.absences() == {}
        assert talk.failures == 0


async def test_a_node_that_is_killed_costs_nothing(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with (
        cluster(tmp_path, redis) as (processes, proxy, store),
        talking(proxy.url) as talk,
    ):
        for process in processes:
            await talk.more(500)
            await process.kill()
            await talk.more(500)
            await process.start()
        await talk.more(200)
        await talk.stop()
        await talk.check(store)
        assert [handshakes(app.bayeux) for app in talk.apps] == [1] * 12
        assert set(talk.absences().values()) <= {1}


async def test_nodes_that_are_killed_together_cost_no_handshake(
    tmp_path: Path, redis: RedisServer
) -> None:
    with ways.by(front=True, redis=f"redis://{redis.address}/0"):
        config = write_config(tmp_path, port=free_port(), offline_after=OFFLINE)
    async with (
        ServerProcesses(config) as server,
        stored(config) as store,
        talking(server.url) as talk,
    ):
        for _ in range(2):
            await talk.more(300)
            await server.kill()
            await server.start()
        await talk.more(300)
        await talk.stop()
        await talk.check(store)
        clients = [*(app.bayeux for app in talk.apps), *talk.agents]
        assert {handshakes(client) for client in clients} == {1}
        assert set(talk.absences().values()) <= {1}


async def test_a_node_that_slept_knows_that_its_clients_have_gone(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with (
        cluster(tmp_path, redis) as (processes, proxy, store),
        talking(proxy.url) as talk,
    ):
        for process in processes:
            port = int(process.url.rpartition(":")[2])
            await talk.more(300)
            process.signal(signal.SIGSTOP)
            await asyncio.sleep(1)
            proxy.leave_out(port)
            await talk.more(300)
            await asyncio.sleep(SILENCE + 1)
            process.signal(signal.SIGCONT)
            proxy.ports.append(port)
            await talk.more(300)
        await asyncio.sleep(SILENCE + 1)  # longer than who is silent counts as there
        await talk.stop()
        await talk.check(store)
        assert [handshakes(app.bayeux) for app in talk.apps] == [1] * 12
        assert talk.absences() == {}


async def test_nodes_load_another_configuration_one_after_the_other(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with (
        cluster(tmp_path, redis) as (processes, proxy, store),
        talking(proxy.url, receipt=STALLED) as talk,
    ):
        for process in processes:
            await talk.more(200)
            file = tmp_path / process.url.rpartition(":")[2] / "chat.ini"
            change(file, "timeout = 5s", "timeout = 1s")
            process.signal(signal.SIGHUP)
            log = file.with_suffix(".log")
            await until(lambda log=log: CHANGED in log.read_text(), STALLED)
        await talk.more(200)
        assert (talk.failures, proxy.cut) == (0, 0)
        await talk.stop()
        await talk.check(store)


async def test_nodes_are_replaced_one_after_the_other(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with (
        cluster(tmp_path, redis) as (processes, proxy, store),
        talking(proxy.url, receipt=STALLED) as talk,
    ):
        for process in processes:
            await talk.more(300)
            assert await process.kill(signal.SIGTERM) == 0
            await talk.more(300)
            await process.start()
        await talk.more(300)
        assert (talk.failures, proxy.cut) == (0, 0)
        await talk.stop()
        await talk.check(store)
        assert talk.repeated() == 0
        assert [handshakes(app.bayeux) for app in talk.apps] == [1] * 12
        assert [handshakes(agent) for agent in talk.agents] == [1] * 4
        assert talk.absences() == {}
