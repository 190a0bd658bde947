"""The story of the Genesys document on background state, by clients not our own.

A chat; the app goes to the background at a position; the agent is told and goes on
writing; the app comes back as a new client and shows exactly what it missed.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clients.agent import AgentClient
from tests.clients.aiocometd_app import AiocometdApp
from tests.clients.cometd_js import CometdJs
from tests.clients.raw import Encoding, Json, V1App, V1Chat

from .conftest import agent_token

NOTICE = "customer is not online"


@pytest.fixture
async def agent(base: str) -> AsyncIterator[AgentClient]:
    async with AgentClient(f"{base}/cometd", agent_token()) as client:
        await client.start()
        await client.operate("listChats")
        yield client


async def accepted(agent: AgentClient) -> str:
    """Accept the one chat that waits and return its id."""
    await agent.wait_for(lambda: agent.chats)
    chat_id: str = next(iter(agent.chats))
    await agent.operate("acceptChat", chatId=chat_id)
    return chat_id


async def away(agent: AgentClient, chat_id: str) -> None:
    """Wait until the agent was told that the customer is not there."""
    await agent.wait_for(lambda: agent.notices(chat_id))
    assert [n["text"] for n in agent.notices(chat_id)] == [NOTICE]
    assert [n["type"] for n in agent.notices(chat_id)] == ["CustomNotice"]


def presence(agent: AgentClient) -> list[bool]:
    """Return what the agent was told of the customer's presence, in order."""
    told = [event["data"].get("customer") for event in agent.events]
    return [customer["online"] for customer in told if customer]


def genesys(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e["data"]["message"] for e in events if e["channel"] == "/_genesys"]


async def test_a_raw_http_app_misses_nothing_in_the_background(
    base: str, agent: AgentClient
) -> None:
    async with V1App(base, user="user-1") as app:
        await app.start(userDisplayName="Cleo", subject="Invoice")
        chat_id = await accepted(agent)
        await agent.operate("sendMessage", chatId=chat_id, message="How can I help?")
        await app.wait_for_text("How can I help?")
        await app.send("My invoice is wrong")
        await agent.wait_for_text(chat_id, "My invoice is wrong")
        await app.wait_for_text("My invoice is wrong")
        position = app.position

        reply = await app.background()
        assert reply["successful"] is True
        await away(agent, chat_id)

        await agent.operate("startTyping", chatId=chat_id)
        await agent.operate("sendMessage", chatId=chat_id, message="I am looking")
        await agent.operate("sendMessage", chatId=chat_id, message="Found it")
        before = len(app.bayeux.events)
        await app.foreground()
        await app.wait_for_text("Found it")

        missed = genesys(app.bayeux.events[before:])
        assert len(missed) == 1, "one notification brings everything"
        assert [entry[:3] for entry in missed[0]["transcriptToShow"]] == [
            ["Notice.TypingStarted", "Ann", "is typing"],
            ["Message.Text", "Ann", "I am looking"],
            ["Message.Text", "Ann", "Found it"],
        ]
        assert missed[0]["transcriptPosition"] == str(position + 3)
        await agent.wait_for(lambda: presence(agent)[-1])
        assert presence(agent) == [True, False, True]
        assert app.positions == list(range(1, position + 4))

        await agent.operate("endChat", chatId=chat_id)
        await app.wait_for(lambda: app.state == "DISCONNECTED")
        assert app.screen[-1][1][:2] == ["Notice.Left", "Ann"]


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_an_app_that_polls_sees_each_entry_once(
    base: str, agent: AgentClient, encoding: Encoding
) -> None:
    async with V1Chat(base, user="user-2") as app:
        app.encoding = encoding
        await app.start(userDisplayName="Cleo", message="hi")
        chat_id = await accepted(agent)
        await agent.operate("sendMessage", chatId=chat_id, message="Hello & + % ü €")
        await app.send("100 % = one & only + ünïcödé €")
        await app.refresh()
        await app.start_typing()
        await app.stop_typing()
        await app.refresh()
        await app.refresh(transcriptPosition="0")
        assert app.texts == ["hi", "Hello & + % ü €", "100 % = one & only + ünïcödé €"]
        assert app.positions == list(range(1, len(app.screen) + 1))
        await app.end()
        assert app.state == "DISCONNECTED"


def unexpected(failures: list[Json]) -> list[Json]:
    """Return the failures, but for a connect that the goodbye overtook: it is told to
    stop."""
    return [
        reply
        for reply in failures
        if reply["channel"] != "/meta/connect"
        or reply.get("advice", {}).get("reconnect") != "none"
    ]


async def test_the_official_javascript_client_misses_nothing_in_the_background(
    base: str, agent: AgentClient
) -> None:
    async with V1Chat(base, user="user-3") as rest, CometdJs() as phone:
        await rest.create_service()
        await phone.configure(f"{base}/cometd", user="user-3")
        await phone.call("handshake", subscribe=["/_genesys"])
        await rest.create_chat(notify_by="comet", userDisplayName="Cleo")
        chat_id = await accepted(agent)
        await agent.operate("sendMessage", chatId=chat_id, message="first")
        await phone.wait_for(lambda: _texts(phone) == ["first"])
        position = _position(phone)

        await phone.call("disconnect", ext={"transcriptPosition": str(position)})
        await away(agent, chat_id)
        await agent.operate("sendMessage", chatId=chat_id, message="second")
        await agent.operate("sendMessage", chatId=chat_id, message="third")
        before = len(phone.events)
        await phone.call("handshake", subscribe=["/_genesys"])
        await phone.wait_for(lambda: _texts(phone) == ["first", "second", "third"])

        missed = genesys(phone.events[before:])
        assert len(missed) == 1
        assert missed[0]["transcriptPosition"] == str(position + 2)
        await agent.operate("sendMessage", chatId=chat_id, message="live again")
        await phone.wait_for(lambda: _texts(phone)[3:] == ["live again"])
        assert unexpected(phone.failures) == []


async def test_aiocometd_misses_nothing_in_the_background(
    base: str, agent: AgentClient
) -> None:
    async with AiocometdApp(base, user="user-4") as app:
        await app.start(userDisplayName="Cleo")
        chat_id = await accepted(agent)
        await agent.operate("sendMessage", chatId=chat_id, message="first")
        await app.wait_for_text("first")
        await app.background()
        await away(agent, chat_id)
        await agent.operate("sendMessage", chatId=chat_id, message="second")
        await asyncio.sleep(0)
        await app.foreground()
        await app.wait_for_text("second")
        assert app.texts == ["first", "second"]
        assert app.positions == list(range(1, len(app.screen) + 1))


def _texts(phone: CometdJs) -> list[str]:
    return [
        entry[2]
        for message in genesys(phone.events)
        for entry in message["transcriptToShow"]
        if entry[0] == "Message.Text"
    ]


def _position(phone: CometdJs) -> int:
    return int(genesys(phone.events)[-1]["transcriptPosition"])
