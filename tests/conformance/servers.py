"""Our servers as targets: the chat, and Bayeux as a library; in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from cometd_chat.bayeux import (
    CALLBACK_POLLING,
    LONG_POLLING,
    WEBSOCKET,
    Client,
    Options,
)
from cometd_chat.web.cometd import CometdEndpoint
from cometd_chat.web.mount import mount
from tests import ways
from tests.clients.pair import Pair
from tests.conformance.targets import Held
from tests.e2e.conftest import new_node, store_of
from tests.web.conftest import until

CHAT_WORDS = {"ext": {}, "channel": "/conformance"}
LIBRARY_WORDS = CHAT_WORDS | {"service": "/service/echo"}

CONFIG = """\
[server]
port = 0
front = {front}
[store]
{store}
[agents]
secret = a secret of the tests, long enough for HS256
[bayeux]
broadcast_channels = /conformance/**
transports = websocket, long-polling, callback-polling
"""


@asynccontextmanager
async def chat(folder: Path) -> AsyncIterator[tuple[str, Held]]:
    """Run the chat server; yield its address, and how to know that a connect is held.

    It has no service that echoes.
    """
    path = folder / "chat.ini"
    path.write_text(CONFIG.format(store=store_of(folder), front=ways.Way.front))
    async with new_node(path) as node:
        nodes = node.nodes if isinstance(node, Pair) else [node]
        endpoints = (one._chat.endpoint for one in nodes)
        yield f"{node.url}/cometd", looking_into(*endpoints)


@asynccontextmanager
async def library() -> AsyncIterator[tuple[str, Held]]:
    """Run an aiohttp application with a Bayeux server of its own, as `chat()` does."""
    app = web.Application()
    transports = (WEBSOCKET, LONG_POLLING, CALLBACK_POLLING)
    bayeux = mount(
        app,
        "/cometd",
        broadcast=["/conformance/**"],
        options=Options(transports=transports),
    )

    @bayeux.service("/service/echo")
    async def echo(client: Client, data: Any) -> None:
        bayeux.send(client, "/service/echo", data)

    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/cometd", looking_into(bayeux._endpoint)
    finally:
        await runner.cleanup()


def looking_into(*endpoints: CometdEndpoint) -> Held:
    """Return what waits until one of them holds the connect of a client."""

    async def held(client_id: str) -> None:
        await until(lambda: any(client_id in one.polls.held for one in endpoints))

    return held
