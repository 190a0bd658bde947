"""A provider that swallows everything costs the others nothing, on real sockets."""

import asyncio
from pathlib import Path
from statistics import median

import pytest
from aiohttp import web

from cometd_chat.push.lanes import AT_ONCE, FAILING
from cometd_chat.store import Store
from tests import ways
from tests.clients.watched import Watched
from tests.store.facts import answered, asks, new, phone

from .conftest import new_node, write_config

CONFIG = """\
[push]
pushEnabled = comet, customhttp
[push.provider.good]
customhttp.url = {good}
[push.provider.hole]
customhttp.url = {hole}
[service.at-once]
_client_timeout_notification = 0
[chat]
timeout-alert = 0
"""
"""The messages are of 1970, and no push shall tell that the chats are to be closed."""

BEFORE, SWALLOWED = 8.0, 40.0
"""Seconds for which pushes are timed before one provider swallows all, and while it
does, if there is one node; two nodes share them."""

PERIOD = 0.8
"""Seconds between two pushes; no multiple of the worker's looks."""

SLACK = 0.5
"""Seconds by which the middle of the times may differ: one look of the worker."""

TRIES = 5
"""Pushes that the swallowing provider is given by a node once it is known to fail, at
most: one at a time, and each is waited for."""


class Company(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.good: list[str] = []
        self.swallowed = 0

    async def take(self, request: web.Request) -> web.Response:
        self.good.append((await request.json())["deviceId"])
        self.changed()
        return web.Response()

    async def swallow(self, request: web.Request) -> web.Response:
        self.swallowed += 1
        self.changed()
        await asyncio.Event().wait()
        raise AssertionError


async def missed(store: Store, name: str, provider: str) -> None:
    """Make a chat whose customer is away, and has missed a message."""
    device = phone(name, type="customhttp", provider=provider, debug=False)
    await store.create(new(name, service="at-once"))
    await store.append(name, [], transition=asks(device=device, comet=True))
    await store.mark_present(name, "app", 10.0)
    await store.mark_absent(name, "app", 10.0)
    await store.append(name, [answered("hello", at=11.0)])


@pytest.mark.slow
async def test_the_others_are_as_fast_as_ever(tmp_path: Path) -> None:
    app, company = web.Application(), Company()
    app.router.add_post("/good", company.take)
    app.router.add_post("/hole", company.swallow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    at_once, share = AT_ONCE * ways.nodes(), 1 / ways.nodes()
    lines = CONFIG.format(good=f"{base}/good", hole=f"{base}/hole")
    try:
        async with new_node(write_config(tmp_path, more=lines)) as node:
            before = await timed(node.store, company, "before", BEFORE * share)
            # Together, so that all are under way before the first is given up.
            names = [f"hole-{number}" for number in range(2 * at_once)]
            await asyncio.gather(*(missed(node.store, n, "hole") for n in names))
            await company.wait_for(lambda: company.swallowed >= at_once, 20)
            after = await timed(node.store, company, "after", SWALLOWED * share)
    finally:
        await runner.cleanup()
    assert median(after) < median(before) + SLACK
    # Before it is known to fail, what was given up makes way for others.
    more = (FAILING + TRIES) * ways.nodes()
    assert at_once <= company.swallowed <= at_once + more


async def timed(
    store: Store, company: Company, name: str, seconds: float
) -> list[float]:
    """Let the good provider get a push now and then; return how long each took."""
    loop = asyncio.get_running_loop()
    end, times = loop.time() + seconds, list[float]()
    while (begun := loop.time()) < end:
        wanted = f"{name}-{len(times)}"
        await missed(store, wanted, "good")
        await company.wait_for(lambda w=wanted: f"phone-{w}" in company.good, 20)
        times.append(loop.time() - begun)
        await asyncio.sleep(PERIOD)
    return times
