"""Clients whose every request meets another node."""

import asyncio

from tests.clients.agent import AgentClient
from tests.clients.raw import V1App
from tests.clients.spread import Spread
from tests.e2e.conftest import agent_token


async def test_a_chat_goes_on_wherever_each_request_arrives(spread: Spread) -> None:
    base = f"{spread.url}/genesys"
    async with (
        V1App(base, user="cleo") as app,
        AgentClient(f"{spread.url}/cometd", agent_token()) as agent,
    ):
        await app.start(userDisplayName="Cleo")
        await agent.start()
        await agent.operate("acceptChat", chatId=app.session_id)
        for number in range(30):
            await agent.operate(
                "sendMessage", chatId=app.session_id, message=f"agent {number}"
            )
            await app.send(f"customer {number}")
        await app.wait_for_text("customer 29")
        await app.wait_for_text("agent 29")
        assert app.positions == list(range(1, len(app.positions) + 1))
        expected = [f"{who} {n}" for n in range(30) for who in ("agent", "customer")]
        assert app.texts == expected
        handshakes = [
            r for r in app.bayeux.replies if r["channel"] == "/meta/handshake"
        ]
        assert len(handshakes) == 1
        counts = spread.sent.values()
        assert min(counts) > 30


async def test_an_idle_agent_with_a_list_polls_at_the_pace_of_the_hold(
    spread: Spread,
) -> None:
    base = f"{spread.url}/genesys"
    async with (
        V1App(base, user="cleo") as app,
        AgentClient(f"{spread.url}/cometd", agent_token()) as agent,
    ):
        await agent.start()
        await agent.operate("listChats")
        await app.start(userDisplayName="Cleo")
        await agent.wait_for(lambda: app.session_id in agent.chats)
        before = len(agent.replies)
        await asyncio.sleep(2)
        # A poll is held for 5 s; a few more may bring what was under way.
        assert len(agent.replies) - before < 10
