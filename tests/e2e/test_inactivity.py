"""Chats that nobody writes in are closed, and everybody in them is told before.

What was set at the start lets them be; a reload shortens their time, so that it is
known what was written before.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from cometd_chat.config import load
from tests.clients.agent import AgentClient
from tests.clients.pair import Pair
from tests.clients.raw import V1App, V1Chat

from .conftest import new_node, write_config
from .test_push import DEVICE, PUSH, Company, company

__all__ = ["company"]

SOON, OVER = "wake up", "good night"
SHORT = f"""
[chat]
timeout-alert = 1
timeout-close = 1
message-alert = {SOON}
message-close = {OVER}
"""
PATIENCE = 60.0
"""Seconds after which a test gives up waiting for the end of a chat."""


class Running:
    """A server that can be given other options."""

    def __init__(self, node: Node | Pair, folder: Path, options: str) -> None:
        self.node = node
        self._folder = folder
        self._options = options

    def shorten(self) -> None:
        path = write_config(self._folder, more=self._options + SHORT)
        config = load(path, {}).config
        assert config is not None
        self.node.replace(config)


@pytest.fixture
async def running(
    tmp_path: Path, company: tuple[Company, str]
) -> AsyncIterator[Running]:
    options = PUSH.format(url=company[1])
    async with new_node(write_config(tmp_path, more=options)) as node:
        yield Running(node, tmp_path, options)


@pytest.fixture
def base(running: Running) -> str:
    return f"{running.node.url}/genesys"


async def test_both_sides_are_warned_and_see_the_end(
    running: Running, base: str, agent: AgentClient
) -> None:
    async with V1App(base, user="u") as app:
        await app.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=app.session_id)
        running.shorten()
        await app.wait_for(lambda: app.state == "DISCONNECTED", PATIENCE)
        assert app.positions == [1, 2, 3, 4, 5]
        assert [(e[:3], e[4]) for _, e in app.screen[2:]] == [
            (["Notice.Custom", "System", SOON], "EXTERNAL"),
            (["Notice.Custom", "System", OVER], "EXTERNAL"),
            (["Notice.Left", "Ann", "has left the session"], "AGENT"),
        ]
        await agent.wait_for(lambda: len(agent.screen(app.session_id)) == 5, PATIENCE)
        messages = agent.screen(app.session_id)[2:]
        assert [(m["type"], m.get("text"), m.get("messageType")) for m in messages] == [
            ("CustomNotice", SOON, "IDLE_CONTROL_ALERT"),
            ("CustomNotice", OVER, "IDLE_CONTROL_CLOSE"),
            ("ParticipantLeft", None, None),
        ]


async def test_who_polls_a_chat_that_no_agent_took_sees_the_end_once(
    running: Running, base: str
) -> None:
    async with V1Chat(base, user="u") as app, asyncio.timeout(PATIENCE):
        await app.start(userDisplayName="Cleo")
        running.shorten()
        while app.state != "DISCONNECTED":
            await asyncio.sleep(0.2)
            await app.refresh()
        assert [entry[2] for _, entry in app.screen[1:]] == [SOON, OVER]
        assert app.positions == [1, 2, 3]


async def test_who_is_away_is_pushed_the_warning_and_the_end(
    running: Running, base: str, company: tuple[Company, str]
) -> None:
    pushed, _ = company
    async with V1App(base, user="u", service="at-once") as app:
        await app.start(userDisplayName="Cleo", **DEVICE)
        await app.wait_for(lambda: app.positions == [1])
        await app.background()
        running.shorten()
        await pushed.wait_for(lambda: len(pushed.texts) == 2, PATIENCE)
        assert pushed.texts == [SOON, OVER]
        await app.foreground()
        await app.wait_for(lambda: app.state == "DISCONNECTED")
        assert [entry[2] for _, entry in app.screen[1:]] == [SOON, OVER]
