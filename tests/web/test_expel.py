"""A client that has to begin anew is told so, whatever else goes wrong."""

import asyncio
import contextlib

import pytest

from tests.clients.raw import BayeuxClient

from .conftest import until
from .stand import standing


@pytest.mark.parametrize("broken", [False, True])
async def test_the_held_poll_of_an_expelled_client_is_answered(broken: bool) -> None:
    async with standing() as stand, BayeuxClient(stand.url) as client:
        await client.handshake()
        await client.connect()
        polling = asyncio.create_task(client.connect())
        await until(lambda: client.client_id in stand.endpoint.polls.held)
        stand.application.broken = broken
        with (
            pytest.raises(OSError, match="away") if broken else contextlib.nullcontext()
        ):
            await stand.endpoint.expel(client.client_id)
        reply = await asyncio.wait_for(polling, 1)
        assert reply["successful"] is False
        assert reply["advice"]["reconnect"] == "handshake"
        assert len(stand.server) == 0
        assert not stand.endpoint.polls.held


async def test_nobody_is_expelled_who_is_gone_already() -> None:
    async with standing() as stand:
        await stand.endpoint.expel("unknown")
        assert stand.application.gone == []
