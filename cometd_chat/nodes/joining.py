"""How a node becomes one of several."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from cometd_chat.chat import new_id
from cometd_chat.clock import Clock
from cometd_chat.store.redis_keys import Keys
from cometd_chat.store.redis_servers import Router
from cometd_chat.store.redis_topology import Servers

from .cluster import Cluster
from .custody import Here
from .directory import Directory
from .hub import Hub

ROOM = 10_000
"""Calls to Redis that may be under way before the next is refused."""

SPARE = 60.0
"""Seconds for which a client is known longer than it is remembered."""


@contextlib.asynccontextmanager
async def joined(
    servers: Servers, prefix: str, here: Here, clock: Clock, headers: Sequence[str]
) -> AsyncIterator[Cluster]:
    """Let a node's endpoint share its clients with other nodes of the same storage.

    `headers` are the names of those that tell who sent a request. In the end, all
    clients are left to the others.
    """
    router = Router(servers, ROOM, None, "by which nodes share clients")
    keys = Keys(prefix)
    lifetime = here.server.options.max_interval + SPARE
    hub = Hub(router, keys, new_id(), clock)
    directory = Directory(router, keys, hub.node, lifetime)
    cluster = Cluster(hub, directory, here, clock, headers)
    try:
        await hub.start()
        here.endpoint.share(cluster)
        here.application.relay = cluster.relay
        yield cluster
        await cluster.close()
    finally:
        await hub.close()
        await router.close()
