"""Chats that go on while their workers die, and what happens once for all of them."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cli.program import Server
from tests.clients.agent import AgentClient
from tests.clients.raw import V1App
from tests.e2e.conftest import agent_token, stored
from tests.e2e.test_push import DEVICE, PUSH, Company, company
from tests.nodes.load import handshakes, talking
from tests.store.redis_server import RedisServer
from tests.web.conftest import until

from .conftest import COUNT, workers_of, write

__all__ = ["company"]  # a fixture

APPS = 12
QUESTION = "are you there?"


@pytest.mark.slow
async def test_workers_that_are_killed_cost_nothing(
    server: Server, config: Path
) -> None:
    async with stored(config) as store, talking(server.url) as talk:
        for pid in workers_of(server):
            await talk.more(300)
            os.kill(pid, signal.SIGKILL)
            await talk.more(300)
            await until(lambda: len(workers_of(server)) == COUNT)
        await talk.stop()
        await talk.check(store)
        assert [handshakes(app.bayeux) for app in talk.apps] == [1] * APPS
        assert set(talk.absences().values()) <= {1}
        assert talk.failures > 0


@pytest.mark.slow
async def test_workers_that_are_replaced_fail_no_request(
    server: Server, config: Path
) -> None:
    async with stored(config) as store, talking(server.url) as talk:
        for pid in workers_of(server):
            await talk.more(200)
            os.kill(pid, signal.SIGTERM)
            await until(lambda pid=pid: pid not in workers_of(server), 10.0)
            await until(lambda: len(workers_of(server)) == COUNT)
        await talk.more(200)
        await talk.stop()
        await talk.check(store)
        assert talk.failures == talk.repeated() == 0
        assert talk.absences() == {}


async def test_an_absence_is_told_once_and_pushed_once(
    tmp_path: Path, redis: RedisServer, company: tuple[Company, str]
) -> None:
    told, url = company
    config = write(tmp_path, redis, PUSH.format(url=url))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(config))
        base = f"{server.url}/genesys"
        agent = await stack.enter_async_context(
            AgentClient(f"{base}/cometd", agent_token())
        )
        await agent.start()
        apps = [V1App(base, user=f"u{n}", service="at-once") for n in range(APPS)]
        for number, app in enumerate(apps):
            await stack.enter_async_context(app)
            device = {**DEVICE, "push_notification_deviceid": f"phone-{number}"}
            await app.start(userDisplayName="Cleo", **device)
            await agent.operate("acceptChat", chatId=app.session_id)
        for app in apps:
            await app.vanish()
        await until(lambda: all(agent.notices(app.session_id) for app in apps), 10.0)
        for app in apps:
            chat = app.session_id
            await agent.operate("sendMessage", chatId=chat, message=QUESTION)
        await told.wait_for(lambda: told.texts.count(QUESTION) >= APPS, 10.0)
        await asyncio.sleep(1.0)  # several looks of every worker
        # An app that vanished before it had confirmed that the agent came in is pushed
        # that, too.
        assert sorted(
            push["deviceId"]
            for push, texts in zip(told.pushes, told.told, strict=True)
            if QUESTION in texts
        ) == sorted(f"phone-{number}" for number in range(APPS))
        assert [len(agent.notices(app.session_id)) for app in apps] == [1] * APPS
