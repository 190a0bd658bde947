"""What is done to an installation, one fault after the other."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.stand import Layout, Stand
from tests.store.redis_server import RedisServer, until

RESTART = 1.0
"""Seconds until somebody starts again, or promotes, what fell."""


@dataclass(frozen=True)
class Fault:
    """`strike(stand, seconds)` breaks something, and mends it after so long at most."""

    name: str
    what: str
    layout: Layout
    strike: Callable[[Stand, float], Awaitable[None]]


async def _node_killed(stand: Stand, seconds: float) -> None:
    await stand.victim.kill()
    await asyncio.sleep(seconds / 2)
    await stand.victim.start()


async def _node_stopped(stand: Stand, seconds: float) -> None:
    stand.victim.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        stand.victim.signal(signal.SIGCONT)


async def _redis_killed(stand: Stand, seconds: float) -> None:
    await asyncio.to_thread(stand.redis[0].kill)
    await asyncio.sleep(RESTART)
    await asyncio.to_thread(stand.redis[0].start)


async def _replica_promoted(stand: Stand, seconds: float) -> None:
    former, promoted = stand.redis
    await asyncio.to_thread(former.kill)
    await asyncio.sleep(RESTART)
    promoted.ask("REPLICAOF", "NO", "ONE")
    former.options = (*former.options, "--replicaof", "127.0.0.1", str(promoted.port))
    await asyncio.to_thread(former.start)


async def _cluster_failover(stand: Stand, seconds: float) -> None:
    fallen = stand.redis[0]
    left = stand.redis[1:]
    before = _primaries(left)
    await asyncio.to_thread(fallen.kill)
    await asyncio.to_thread(until, lambda: _primaries(left) > before)
    await asyncio.to_thread(fallen.start)


def _primaries(servers: list[RedisServer]) -> int:
    return sum(server.ask("ROLE").startswith("master") for server in servers)


async def _deaf(stand: Stand, seconds: float) -> None:
    assert stand.line is not None
    stand.line.deaf = True
    await asyncio.sleep(seconds)
    stand.line.deaf = False


async def _bad_line(stand: Stand, seconds: float) -> None:
    """Delay everything, cut now and then, and swallow everything for a while."""
    network = stand.network
    assert network is not None
    network.latency = 0.02
    for _ in range(4):
        await asyncio.sleep(seconds / 6)
        network.cut()
    network.freeze()
    await asyncio.sleep(min(2.0, seconds / 6))
    network.thaw()
    network.cut()
    await asyncio.sleep(seconds / 6)
    network.latency = 0.0


FAULTS = [
    Fault("node-killed", "`kill -9` of a node", Layout.SINGLE, _node_killed),
    Fault("node-stopped", "a node stands still", Layout.SINGLE, _node_stopped),
    Fault("redis-killed", "`kill -9` of Redis", Layout.SINGLE, _redis_killed),
    Fault(
        "replica-promoted",
        "the primary dies, its replica is promoted",
        Layout.REPLICATED,
        _replica_promoted,
    ),
    Fault(
        "cluster-failover",
        "a primary of a cluster dies",
        Layout.CLUSTER,
        _cluster_failover,
    ),
    Fault("deaf", "a node hears nothing from Redis", Layout.BAD_LINE, _deaf),
    Fault("bad-line", "delays and cuts to Redis", Layout.BAD_LINE, _bad_line),
]
"""What strikes a node strikes each time another one, by the place in this list."""
