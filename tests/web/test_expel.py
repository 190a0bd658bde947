"""A client that has to begin anew is told so, whatever else goes wrong."""

import asyncio

import pytest

from cometd_chat import bayeux
from tests.clients.raw import BayeuxClient

from .conftest import until
from .stand import Stand, standing


@pytest.mark.parametrize("broken", [False, True])
async def test_the_held_poll_of_an_expelled_client_is_answered(broken: bool) -> None:
    async with standing() as stand, BayeuxClient(stand.url) as client:
        await client.handshake()
        await client.connect()
        polling = asyncio.create_task(client.connect())
        await until(lambda: client.client_id in stand.endpoint._held)
        if broken:
            await expel_while_the_store_is_away(stand, client.client_id)
        else:
            await stand.endpoint.expel(client.client_id)
        reply = await asyncio.wait_for(polling, 1)
        assert reply["successful"] is False
        assert reply["advice"]["reconnect"] == "handshake"
        assert len(stand.server) == 0
        assert not stand.endpoint._held


async def expel_while_the_store_is_away(stand: Stand, client_id: str) -> None:
    stand.application.left = away  # type: ignore[method-assign] # this one only
    with pytest.raises(OSError, match="away"):
        await stand.endpoint.expel(client_id)


async def away(client: bayeux.Client, message: bayeux.Message | None) -> None:
    raise OSError("the store is away")


async def test_nobody_is_expelled_who_is_gone_already() -> None:
    async with standing() as stand:
        await stand.endpoint.expel("unknown")
        assert stand.application.gone == []
