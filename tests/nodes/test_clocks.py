"""Nodes whose clocks differ."""

import time
from pathlib import Path

import pytest

from cometd_chat.app import Node
from cometd_chat.clock import SystemClock
from cometd_chat.config import load
from cometd_chat.model import Profile
from tests.clients.raw import V1App


class FastClock(SystemClock):
    """A clock that is a minute ahead of the others."""

    def time(self) -> float:
        return super().time() + 60


async def test_a_node_whose_clock_is_fast_takes_nobody_for_absent(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load(config, {}).config
    assert loaded
    async with (
        Node(loaded) as node,
        Node(loaded, FastClock()) as fast,
        V1App(f"{node.url}/genesys", user="cleo") as app,
    ):
        await app.start(userDisplayName="Cleo")
        await fast._chat.sweep()
        (session,) = await fast.store.of_user("cleo")
        assert session.present
        customers = fast._chat.customers
        opened = await customers.create("request-chat", "kim", Profile())
        assert abs(opened.created_at - time.time()) < 30
    assert "60.0 s ahead of that of the storage" in caplog.text
