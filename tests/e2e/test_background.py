"""Going away and coming back, with and without a word."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from cometd_chat.app import Node
from tests.clients.agent import AgentClient
from tests.clients.raw import UnexpectedStatusError, V1App, V1Chat

from .conftest import agent_token, new_node, write_config
from .nodes import say

NOTICE = "customer is not online"

FORGOTTEN = 1.5
"""Seconds after which a silent client is certainly forgotten (max_interval is 1 s)."""


@pytest.fixture
async def base(tmp_path: Path) -> AsyncIterator[str]:
    """A server that notices silence soon, and forgets clients soon."""
    path = write_config(tmp_path, offline_after="300ms", max_interval="1s")
    async with new_node(path) as node:
        yield f"{node.url}/genesys"


@pytest.fixture
async def app(base: str, agent: AgentClient) -> AsyncIterator[V1App]:
    """An app in a chat that an agent has accepted."""
    async with V1App(base, user="user-1") as client:
        await client.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=client.session_id)
        await say(agent, client, "hello")
        await client.wait_for_text("hello")
        yield client


async def noticed(agent: AgentClient, app: V1Chat, times: int = 1) -> None:
    """Wait until the agent was told so many times that nobody is there."""
    await agent.wait_for(lambda: len(agent.notices(app.session_id)) == times)
    assert {n["text"] for n in agent.notices(app.session_id)} == {NOTICE}


@pytest.mark.parametrize("position", ["3", 3])
async def test_the_position_of_a_goodbye_may_be_a_string_or_a_number(
    app: V1App, agent: AgentClient, position: str | int
) -> None:
    await app.bayeux.disconnect(ext={"transcriptPosition": position})
    await noticed(agent, app)
    await say(agent, app, "missed")
    await app.foreground()
    await app.wait_for_text("missed")
    assert app.positions == [1, 2, 3, 4]


async def test_the_position_is_the_apps_own_word_even_if_it_had_polled_more(
    app: V1App, agent: AgentClient
) -> None:
    await app.bayeux.disconnect(ext={"transcriptPosition": "1"})
    before = len(app.bayeux.events)
    await app.foreground()
    await app.bayeux.wait_for(lambda: len(app.bayeux.events) > before)
    replayed = app.bayeux.events[before]["data"]["message"]
    assert [entry[0] for entry in replayed["transcriptToShow"]] == [
        "Notice.Joined",
        "Message.Text",
    ]


async def test_silence_is_noticed_without_a_goodbye_and_nothing_is_lost(
    app: V1App, agent: AgentClient
) -> None:
    await app.vanish()
    await noticed(agent, app)
    await say(agent, app, "one")
    await say(agent, app, "two")
    await app.foreground()
    await app.wait_for_text("two")
    assert app.texts == ["hello", "one", "two"]
    assert app.positions == list(range(1, 6))
    await app.vanish()
    await noticed(agent, app, times=2)


async def test_the_same_client_goes_on_after_a_silence(
    app: V1App, agent: AgentClient
) -> None:
    client_id = app.bayeux.client_id
    await app.vanish()
    await noticed(agent, app)
    await say(agent, app, "while silent")
    app.bayeux.start_polling()
    await app.wait_for_text("while silent")
    assert app.bayeux.client_id == client_id


async def test_a_forgotten_client_gets_402_and_comes_back_as_a_new_one(
    app: V1App, agent: AgentClient
) -> None:
    old = app.bayeux.client_id
    await app.vanish()
    await say(agent, app, "long ago")
    await asyncio.sleep(FORGOTTEN)
    app.bayeux.start_polling()
    await app.wait_for_text("long ago")
    assert app.bayeux.client_id != old
    assert app.positions == [1, 2, 3, 4]


async def test_an_app_restored_after_a_kill_says_goodbye_for_its_former_self(
    app: V1App, agent: AgentClient, base: str, tmp_path: Path
) -> None:
    """Its old client has expired; a bare object to `/cometd/disconnect`, then an
    empty refresh, then a new client, as apps in the field do it."""
    old = app.bayeux.client_id
    await app.vanish()
    await noticed(agent, app)
    await say(agent, app, "in between")
    await asyncio.sleep(FORGOTTEN)
    goodbye = {
        "channel": "/meta/disconnect",
        "clientId": old,
        "ext": {"transcriptPosition": "3"},
    }
    async with (
        ClientSession(headers=app.headers) as http,
        http.post(f"{base}/cometd/disconnect", json=goodbye) as response,
    ):
        assert response.status == 200
        (reply,) = await response.json()
    assert reply == {"channel": "/meta/disconnect", "successful": True}
    service = f"/1/service/{app.service_id}/ixn/chat"
    refreshed = await app.post(f"{service}/refresh", {})
    assert refreshed["chatIxnState"] == "TRANSCRIPT"
    await app.foreground()
    await app.wait_for_text("in between")
    assert app.positions == [1, 2, 3, 4]


async def test_a_response_that_was_not_read_is_delivered_again(
    app: V1App, agent: AgentClient, base: str
) -> None:
    """A new connection tells that the last response may not have arrived; only
    proof that it did not makes the server repeat it, or the client's own word."""
    bayeux = app.bayeux
    await bayeux.stop_polling()
    await say(agent, app, "unread")
    message = bayeux.message("/meta/connect", connectionType="long-polling")
    await bayeux.lose([message])
    reply = await bayeux.request(
        "/meta/connect",
        connectionType="long-polling",
        ext={"transcriptPosition": str(app.position)},
    )
    assert reply["successful"]
    assert app.texts == ["hello", "unread"]


async def test_two_phones_of_one_customer_both_see_everything(
    app: V1App, agent: AgentClient, base: str
) -> None:
    async with V1App(base, user="user-1") as tablet:
        tablet.service_id, tablet.session_id = app.service_id, app.session_id
        await tablet.foreground()
        await say(agent, app, "both")
        await app.wait_for_text("both")
        await tablet.wait_for_text("both")
        await app.background()
        await say(agent, app, "one left")
        await tablet.wait_for_text("one left")
        assert agent.notices(app.session_id) == []
        await tablet.background()
        await noticed(agent, app)


async def test_a_chat_that_ended_meanwhile_is_shown_to_its_end(
    app: V1App, agent: AgentClient
) -> None:
    await app.background()
    await say(agent, app, "good bye")
    await agent.operate("endChat", chatId=app.session_id)
    await app.foreground()
    await app.wait_for(lambda: app.state == "DISCONNECTED")
    assert app.texts == ["hello", "good bye"]
    assert app.screen[-1][1][0] == "Notice.Left"


async def test_who_asks_again_for_his_chat_is_told_how_far_he_is(
    app: V1App, agent: AgentClient
) -> None:
    """An app that was started anew has forgotten it, and takes it from there."""
    await app.background()
    chat = await app.create_chat()
    assert (chat["chatIxnState"], chat["transcriptPosition"]) == ("CONNECTED", "3")
    await agent.operate("endChat", chatId=app.session_id)
    chat = await app.create_chat()
    assert (chat["chatIxnState"], chat["transcriptPosition"]) == ("CONNECTED", "3")
    await app.foreground()
    await app.wait_for(lambda: app.state == "DISCONNECTED")
    await app.background()
    chat = await app.create_chat()
    assert (chat["chatIxnState"], chat["transcriptPosition"]) == ("DISCONNECTED", "4")


async def test_pending_messages_sent_twice_are_stored_once(
    app: V1App, agent: AgentClient
) -> None:
    first = await app.send("pending", localId="m-1")
    again = await app.send("pending", localId="m-1")
    assert again["transcriptPosition"] == first["transcriptPosition"]
    other = await app.send("pending", localId="m-2")
    assert int(other["transcriptPosition"]) == int(first["transcriptPosition"]) + 1
    await agent.wait_for(
        lambda: agent.texts(app.session_id) == ["hello", "pending", "pending"]
    )


async def test_idempotency_keys_that_begin_alike_name_different_messages(
    app: V1App, agent: AgentClient
) -> None:
    for key in ("k" * 127 + "1", "k" * 127 + "2", "k" * 127 + "2"):
        app.headers["Idempotency-Key"] = key
        await app.send("pending")
    for key in ("k" * 128 + "1", "k" * 128 + "2"):
        app.headers["Idempotency-Key"] = key
        with pytest.raises(UnexpectedStatusError, match="Idempotency-Key: "):
            await app.send("not taken")
    await agent.wait_for(
        lambda: agent.texts(app.session_id) == ["hello", "pending", "pending"]
    )


async def test_a_publish_that_is_sent_again_is_stored_once(
    app: V1App, agent: AgentClient
) -> None:
    data = {"operation": "sendMessage", "chatId": app.session_id, "message": "again"}
    message = agent.message("/service/agent", data=data)
    for _ in range(3):
        (reply,) = await agent.post([message])
        assert reply["successful"]
    await say(agent, app, "done")
    await app.wait_for_text("done")
    assert app.texts == ["hello", "again", "done"]


async def test_without_gms_user_the_service_id_binds(
    base: str, agent: AgentClient
) -> None:
    async with V1App(base) as app:
        await app.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=app.session_id)
        await say(agent, app, "hello")
        await app.wait_for_text("hello")
        await app.background()
        await noticed(agent, app)
        await say(agent, app, "missed")
        await app.foreground()
        await app.wait_for_text("missed")
        assert app.positions == [1, 2, 3, 4]


async def test_nobody_reads_another_users_chat(base: str, app: V1App) -> None:
    async with V1App(base, user="somebody-else") as thief:
        thief.service_id = app.service_id
        reply = await thief.bayeux.handshake(ext={"serviceId": app.service_id})
        reply = await thief.bayeux.subscribe("/_genesys")
        assert reply["successful"] is False
        thief.bayeux.client_id = app.bayeux.client_id
        reply = await thief.bayeux.connect()
        assert reply["error"] == "402::Unknown client"


async def test_a_restart_of_the_server_is_survived(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    async with new_node(path) as node:
        base = f"{node.url}/genesys"
        app, agent = V1App(base, user="u"), AgentClient(f"{base}/cometd", agent_token())
        await agent.start()
        await app.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=app.session_id)
        await say(agent, app, "before")
        await app.wait_for_text("before")
        await app.vanish()
        await say(agent, app, "unseen")
        await agent.vanish()
    async with new_node(path) as node:
        await comes_back(node, app)


async def comes_back(node: Node, app: V1App) -> None:
    app.base = f"{node.url}/genesys"
    app.bayeux.url = f"{app.base}/cometd"
    await app.foreground()
    await app.wait_for_text("unseen")
    assert app.texts == ["before", "unseen"]
    assert app.positions == [1, 2, 3, 4]
    await app.vanish()
