"""Two nodes of one storage, which look like one node that is hard on its clients."""

import contextlib
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from cometd_chat.app import Node
from cometd_chat.clock import Clock
from cometd_chat.config import Config
from cometd_chat.store import Store

from .spread import Spread


class Pair:
    """Two nodes behind a proxy that sends no client to the same one twice running."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        anywhere = replace(config, server=replace(config.server, port=0))
        self.nodes = [Node(anywhere, clock), Node(anywhere, clock)]
        self.spread = Spread([], config.server.port)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return self.spread.url

    @property
    def store(self) -> Store:
        return self.nodes[0].store

    async def start(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.spread)
            for node in self.nodes:
                await stack.enter_async_context(node)
                self.spread.ports.append(port_of(node))
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        await self._stack.aclose()

    def replace(self, config: Config) -> None:
        for node in self.nodes:
            node.replace(config)


def port_of(node: Node) -> int:
    """Return the port on which the node listens."""
    port = urlsplit(node.url).port
    assert port is not None
    return port
