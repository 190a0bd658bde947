"""Whoever knows a clientId but is somebody else gets nothing, by no transport."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.clients.agent import AgentClient
from tests.clients.raw import V1App
from tests.e2e.conftest import agent_token

from .conftest import Inside, until
from .transports import Mover, Way


@pytest.fixture
async def owner(base: str, url: str, inside: Inside) -> AsyncIterator[V1App]:
    """A customer in a chat, proved by `gms_user`, whose connect is held."""
    async with V1App(base, user="cleo") as app:
        await app.start(userDisplayName="Cleo")
        await app.wait_for(lambda: app.positions == [1])
        await until(lambda: app.bayeux.client_id in inside.held)
        yield app


@pytest.fixture
async def thief(url: str, owner: V1App) -> AsyncIterator[Mover]:
    """Another customer who has got hold of the clientId."""
    async with Mover(url, {"gms_user": "mallory"}) as client:
        client.client_id = owner.bayeux.client_id
        yield client


@pytest.mark.parametrize("way", list(Way))
async def test_a_clientid_of_another_user_is_unknown(
    owner: V1App, thief: Mover, inside: Inside, way: Way
) -> None:
    thief.way = way
    replies = [
        await thief.connect(advice={"timeout": 0}),
        await thief.subscribe("/_genesys"),
        await thief.unsubscribe("/_genesys"),
        await thief.publish("/_genesys", {"message": "x"}),
    ]
    assert {reply["error"] for reply in replies} == {"402::Unknown client"}
    assert replies[0]["advice"]["reconnect"] == "handshake"
    assert owner.bayeux.client_id in inside.held, "its owner is not disturbed"


@pytest.mark.parametrize("way", list(Way))
async def test_a_clientid_of_another_user_cannot_be_disconnected(
    owner: V1App, thief: Mover, inside: Inside, agent: AgentClient, way: Way
) -> None:
    thief.way = way
    reply = await thief.disconnect(ext={"transcriptPosition": "0"})
    assert reply["successful"] is False
    await agent.operate("acceptChat", chatId=owner.session_id)
    await agent.operate("sendMessage", chatId=owner.session_id, message="still there")
    await owner.wait_for_text("still there")
    assert thief.events == []
    assert agent.notices(owner.session_id) == []


@pytest.mark.parametrize("way", list(Way))
async def test_a_thief_does_not_hear_what_the_owner_hears(
    owner: V1App, thief: Mover, agent: AgentClient, way: Way
) -> None:
    thief.way = way
    stealing = asyncio.create_task(thief.connect())
    await agent.operate("acceptChat", chatId=owner.session_id)
    await agent.operate("sendMessage", chatId=owner.session_id, message="secret")
    await owner.wait_for_text("secret")
    assert (await stealing)["successful"] is False
    assert thief.events == []


@pytest.mark.parametrize("way", list(Way))
async def test_a_customer_hears_no_agents_and_an_agent_no_customers(
    url: str, agent: AgentClient, way: Way
) -> None:
    async with Mover(url, {"gms_user": "mallory"}, way=way) as client:
        await client.handshake()
        for name in ("/service/agent", "/service/*", "/**", "/*", "/meta/**"):
            reply = await client.subscribe(name)
            assert reply["error"].startswith("403"), name
        reply = await client.publish("/service/agent", {"operation": "listChats"})
        assert reply["successful"] is False
        reply = await client.handshake(ext={"auth": {"token": agent_token() + "x"}})
        assert reply["error"].startswith("403")
        assert reply["advice"]["reconnect"] == "none"
        assert "clientId" not in reply
