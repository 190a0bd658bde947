"""A provider that swallows everything costs the others nothing, on real sockets."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from cometd_chat.push.worker import AT_ONCE
from cometd_chat.store import Store
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
"""
ROUNDS = 5
SOON = 1.5
"""Seconds within which a push comes: two looks of the worker, and a slow machine."""


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


@pytest.mark.one_node
async def test_the_others_are_as_fast_as_ever(tmp_path: Path) -> None:
    app, company = web.Application(), Company()
    app.router.add_post("/good", company.take)
    app.router.add_post("/hole", company.swallow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    more = CONFIG.format(good=f"{base}/good", hole=f"{base}/hole")
    try:
        async with new_node(write_config(tmp_path, more=more)) as node:
            for number in range(2 * AT_ONCE):
                await missed(node.store, f"hole-{number}", "hole")
            await company.wait_for(lambda: company.swallowed >= AT_ONCE)
            for number in range(ROUNDS):
                await missed(node.store, f"good-{number}", "good")
                wanted = f"phone-good-{number}"
                await company.wait_for(lambda w=wanted: w in company.good, SOON)
            assert company.swallowed == AT_ONCE
    finally:
        await runner.cleanup()
