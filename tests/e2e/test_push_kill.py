"""`kill -9` with 1,000 pushes due: all are sent, to nobody who has read the message."""

import asyncio
import collections
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cometd_chat.push.lanes import AT_ONCE
from cometd_chat.push.worker import LEASE
from cometd_chat.store import Store
from tests import ways
from tests.clients.raw import BayeuxClient
from tests.clients.watched import Watched
from tests.store.facts import answered, asks, new, phone

from .conftest import free_port, new_server, stored, write_config
from .test_push import PUSH

pytestmark = pytest.mark.slow

PUSHES = 1000
FILLED = 100
"""Chats that are made at a time: so few that none waits too long for the store."""
BEFORE = 300
"""Pushes that the company answers before it hangs, and the server is killed."""
BACK = 20
"""Customers who come back before that."""
NEVER_CLOSED = """\
[chat]
timeout-alert = 0
"""
"""The messages are of 1970, and no push shall tell that the chats are to be closed."""


class Company(Watched):
    """Answers so many posts, then none until it is `open`."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: list[str] = []
        self.hung: list[str] = []
        self.open = asyncio.Event()

    async def post(self, request: web.Request) -> web.Response:
        device = (await request.json())["deviceId"]
        if len(self.answered) >= BEFORE and not self.open.is_set():
            self.hung.append(device)
            self.changed()
            await self.open.wait()
            return web.Response(status=500)  # its sender is dead
        self.answered.append(device)
        self.changed()
        return web.Response()


async def fill(config: Path) -> None:
    """Make 1,000 chats whose customers are away and have missed a message."""
    async with stored(config) as store:
        for first in range(0, PUSHES, FILLED):
            some = range(first, first + FILLED)
            await asyncio.gather(*(missed(store, str(n)) for n in some))


async def missed(store: Store, name: str) -> None:
    device = phone(name, type="customhttp", provider="", debug=False)
    await store.create(new(name, service="at-once"))
    await store.append(name, [], transition=asks(device=device, comet=True))
    await store.mark_present(name, "app", 10.0)
    await store.mark_absent(name, "app", 10.0)
    await store.append(name, [answered("hello", at=11.0)])


async def come_back(url: str, name: str) -> None:
    """Let an app read its chat, and then lose its connection."""
    async with BayeuxClient(f"{url}/cometd") as app:
        await app.handshake(ext={"serviceId": f"key-{name}"})
        await app.subscribe("/_genesys")
        reply: Any = await app.connect()
        assert reply["successful"]
        await app.vanish()


async def test_all_pushes_are_sent_and_none_twice_but_those_in_flight(
    tmp_path: Path,
) -> None:
    app, company = web.Application(), Company()
    app.router.add_post("/push", company.post)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook = f"http://127.0.0.1:{runner.addresses[0][1]}/push"
    config = write_config(
        tmp_path,
        port=free_port(),
        offline_after="60s",
        more=PUSH.format(url=hook) + NEVER_CLOSED,
    )
    await fill(config)
    at_once = AT_ONCE * ways.nodes()
    try:
        async with new_server(config) as server:
            await company.wait_for(lambda: len(company.hung) == at_once, 60)
            told = {*company.answered, *company.hung}
            waiting = [n for n in map(str, range(PUSHES)) if f"phone-{n}" not in told]
            back = waiting[-BACK:]
            await asyncio.gather(*(come_back(server.url, name) for name in back))
            await server.kill()
            before, in_flight = company.answered.copy(), company.hung.copy()
            company.open.set()
            await server.start()
            await company.wait_for(
                lambda: len(set(company.answered)) == PUSHES - BACK, LEASE + 60
            )
    finally:
        await runner.cleanup()
    assert {f"phone-{name}" for name in back}.isdisjoint(company.answered)
    assert len(company.hung) == at_once
    assert set(in_flight) <= set(company.answered[len(before) :])
    twice = [d for d, n in collections.Counter(company.answered).items() if n > 1]
    # Their answers were on the way, or not stored yet, when the server was killed.
    assert len(twice) <= at_once
    assert set(twice) <= set(before[-at_once:])
