"""A new handshake that goes on where a former client was, and where reading begins."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cometd_chat.app import Node
from cometd_chat.clock import SystemClock
from tests.clients.agent import AgentClient
from tests.clients.raw import BayeuxClient, Json, V1Chat
from tests.clients.ws import SocketClient

from .conftest import agent_token
from .nodes import (
    NEWS,
    chats,
    chatting,
    configured,
    holding,
    known,
    listening,
    make_node,
    positions,
    publish,
    say,
    subscribers,
    texts,
)

CUSTOMERS = "/_genesys"
GONE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with make_node(configured(tmp_path, offline_after="500ms")) as running:
        yield running


@pytest.fixture
async def chat(node: Node) -> AsyncIterator[tuple[V1Chat, AgentClient]]:
    async with chatting(node, "cleo") as found:
        yield found


@pytest.fixture
async def publisher(node: Node) -> AsyncIterator[BayeuxClient]:
    async with BayeuxClient(f"{node.url}/cometd") as client:
        await client.handshake()
        yield client


def phone(node: Node, user: str = "cleo") -> BayeuxClient:
    return BayeuxClient(f"{node.url}/cometd", {"gms_user": user} if user else {})


async def resume(client: BayeuxClient, old: str, **more: Any) -> bool:
    """Shake hands in place of an old client; tell whether the server agreed."""
    reply = await client.handshake(ext={"resume": {"clientId": old, **more}})
    assert reply["successful"], reply
    assert reply["ext"]["resume"]["clientId"] == old
    resumed: bool = reply["ext"]["resume"]["resumed"]
    return resumed


async def read_all(client: BayeuxClient) -> None:
    """Poll until nothing more comes."""
    while True:
        before = len(client.events)
        await client.connect(advice={"timeout": 100})
        if len(client.events) == before:
            return


def heard(client: BayeuxClient, channel: str = NEWS) -> list[Any]:
    return [e["data"] for e in client.events if e["channel"] == channel]


async def test_the_new_client_has_all_that_the_old_one_had(
    node: Node, chat: tuple[V1Chat, AgentClient], publisher: BayeuxClient
) -> None:
    session, agent = chat
    async with phone(node) as old, phone(node) as new:
        await old.handshake()
        await old.subscribe([CUSTOMERS, NEWS])
        await read_all(old)
        await say(agent, session, "confirmed")
        await publish(publisher, "confirmed")
        await read_all(old)
        await say(agent, session, "unconfirmed")
        await publish(publisher, "unconfirmed")
        await old.connect()
        await old.vanish()
        await say(agent, session, "missed")
        await publish(publisher, "missed")
        assert await resume(new, old.client_id)
        await new.connect()
        assert heard(new) == ["unconfirmed", "missed"]
        assert texts(new) == ["unconfirmed", "missed"]
        polling = asyncio.create_task(read_all(new))
        await holding(node, new.client_id)
        await say(agent, session, "live")
        await publish(publisher, "live")
        await polling
        assert heard(new)[-1] == texts(new)[-1] == "live"
        assert positions(new) == [4, 5, 6]
        assert known(node, new.client_id).subscriptions == {CUSTOMERS, NEWS}


async def test_nobody_notices_that_a_phone_became_another_client(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    session, agent = chat
    async with phone(node) as old, phone(node) as new:
        await old.handshake()
        await old.subscribe(CUSTOMERS)
        await read_all(old)
        told = len(agent.notices(session.session_id))
        assert await resume(new, old.client_id)
        new.start_polling()
        await asyncio.sleep(1.0)  # twice as long as silence lasts
        assert len(agent.notices(session.session_id)) == told
        await new.vanish()
        await agent.wait_for(lambda: len(agent.notices(session.session_id)) > told)


async def test_the_held_poll_of_the_old_client_ends_and_tells_it_to_stop(
    node: Node,
) -> None:
    async with phone(node) as old, phone(node) as new:
        await old.handshake()
        await old.connect()
        polling = asyncio.create_task(old.connect())
        await holding(node, old.client_id)
        assert await resume(new, old.client_id)
        reply = await asyncio.wait_for(polling, 1)
        assert reply["successful"] is True
        assert reply["advice"]["reconnect"] == "none"
        late = await old.connect()
        assert late["error"].startswith("402:")


@pytest.mark.parametrize("user", ["eve", ""])
async def test_nobody_else_goes_on_as_a_user(
    node: Node, chat: tuple[V1Chat, AgentClient], user: str
) -> None:
    session, agent = chat
    async with phone(node) as old, phone(node, user) as eve:
        await old.handshake()
        await old.subscribe(CUSTOMERS)
        await read_all(old)
        assert not await resume(eve, old.client_id, transcriptPosition=0)
        await say(agent, session, "private")
        await read_all(eve)
        assert eve.events == []
        await read_all(old)
        assert texts(old) == ["private"]


@pytest.mark.parametrize("gone", [GONE, "", "x" * 1000])
async def test_a_client_that_is_not_known_cannot_be_resumed_and_that_is_no_error(
    node: Node, chat: tuple[V1Chat, AgentClient], gone: str
) -> None:
    session, agent = chat
    async with phone(node) as new:
        assert not await resume(new, gone)
        await new.subscribe(CUSTOMERS)
        await say(agent, session, "hello")
        await read_all(new)
        assert texts(new) == ["hello"]


@pytest.mark.parametrize("asked", [None, "x", 7, [], {}, {"clientId": 7}])
async def test_what_is_no_wish_to_resume_is_a_plain_handshake(
    node: Node, asked: object
) -> None:
    async with phone(node) as new:
        reply = await new.handshake(ext={"resume": asked})
        assert reply["successful"]
        assert "ext" not in reply


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (None, ["c", "d"]),
        (0, ["a", "b", "c", "d"]),
        ("3", ["b", "c", "d"]),
        (5, ["d"]),
        (6, []),
        (1000, []),
        (-1, ["c", "d"]),
        ("x", ["c", "d"]),
    ],
)
async def test_a_client_may_say_what_it_has_for_it_knows_best(
    node: Node,
    chat: tuple[V1Chat, AgentClient],
    position: object,
    expected: list[str],
) -> None:
    """Positions 1 and 2 are joins; up to 4 all is confirmed."""
    session, agent = chat
    async with phone(node) as old, phone(node) as new:
        await old.handshake()
        await old.subscribe(CUSTOMERS)
        await say(agent, session, "a", "b")
        await read_all(old)
        await say(agent, session, "c", "d")
        assert await resume(new, old.client_id, transcriptPosition=position)
        await read_all(new)
        assert texts(new) == expected
        await say(agent, session, "e")
        await read_all(new)
        assert texts(new) == [*expected, "e"]


async def test_of_two_that_want_to_resume_at_once_one_does(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    session, agent = chat
    async with phone(node) as first:
        await first.handshake()
        await first.subscribe([CUSTOMERS, NEWS])
        old = first.client_id
        for number in range(10):
            rivals = [phone(node) for _ in range(4)]
            agreed = await asyncio.gather(*(resume(rival, old) for rival in rivals))
            assert sorted(agreed) == [False, False, False, True]
            winner = rivals[agreed.index(True)]
            await say(agent, session, str(number))
            await read_all(winner)
            assert texts(winner)[-1] == str(number)
            assert subscribers(node, NEWS) == {winner.client_id}
            old = winner.client_id
            await asyncio.gather(*(rival.vanish() for rival in rivals))


async def test_a_chain_of_resumes_leaves_only_the_last_client(
    node: Node, publisher: BayeuxClient
) -> None:
    async with phone(node) as client:
        await client.handshake()
        await client.subscribe(NEWS)
        for number in range(50):
            await publish(publisher, str(number))
            assert await resume(client, client.client_id)
        await read_all(client)
        assert heard(client) == [str(n) for n in range(50)]
        assert sum(len(chat.server) for chat in chats(node)) == 2
        assert sum(len(chat.mailboxes) for chat in chats(node)) == 1


async def test_resuming_over_a_socket_what_was_begun_by_long_polling(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    session, agent = chat
    socket = SocketClient(f"{node.url}/cometd", {"gms_user": "cleo"})
    async with phone(node) as old, socket as new:
        await old.handshake()
        await old.subscribe(CUSTOMERS)
        await read_all(old)
        await say(agent, session, "missed")
        assert await resume(new, old.client_id)
        await new.connect()
        assert texts(new) == ["missed"]


async def test_an_app_that_was_killed_goes_on_in_another_process(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    """Its library wants to subscribe, in order to hear anything: that may be."""
    session, agent = chat
    url, bound = f"{node.url}/cometd", {"serviceId": session.service_id}
    async with listening(url, CUSTOMERS, ext=bound, ack=True) as app:
        await say(agent, session, "read")
        await app.wait_for(lambda: texts(app) == ["read"])
        old = str((await app.call("status"))["clientId"])
        await holding(node, old)
    await say(agent, session, "missed")
    again = {**bound, "resume": {"clientId": old}}
    async with listening(url, CUSTOMERS, ext=again, ack=True) as app:
        await app.wait_for(lambda: texts(app) == ["missed"])
        await say(agent, session, "live")
        await app.wait_for(lambda: texts(app) == ["missed", "live"])


async def test_subscribing_again_brings_nothing_twice(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    """Faye sends again what got no answer; a copy must not rewind the transcript."""
    session, agent = chat
    async with phone(node) as app:
        await app.handshake()
        await app.subscribe(CUSTOMERS)
        await say(agent, session, "a")
        await app.connect()
        await app.connect(advice={"timeout": 0})
        for _ in range(3):
            assert (await app.subscribe(CUSTOMERS))["successful"]
        await read_all(app)
        assert texts(app) == ["a"]
        await app.subscribe(CUSTOMERS, ext={"transcriptPosition": 0})
        await read_all(app)
        assert texts(app) == ["a", "a"], "unless it is asked for"


# Agents


async def test_an_agent_goes_on_with_his_chats_and_his_list(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    session, agent = chat
    await agent.operate("listChats")
    await holding(node, agent.client_id)
    await agent.stop_polling()
    async with AgentClient(agent.url, agent_token()) as new:
        await session.send("missed")
        new.handshake_fields["ext"]["resume"] = {"clientId": agent.client_id}
        reply = await new.handshake()
        assert reply["ext"]["resume"]["resumed"] is True
        new.start_polling()
        await new.wait_for_text(session.session_id, "missed")
        await session.send("live")
        await new.wait_for_text(session.session_id, "live")
        await new.wait_for(
            lambda: new.chats.get(session.session_id, {}).get("lastText") == "live"
        )
        assert new.texts(session.session_id) == ["missed", "live"]


async def test_no_other_agent_goes_on_in_his_place(
    node: Node, chat: tuple[V1Chat, AgentClient]
) -> None:
    _, agent = chat
    async with AgentClient(agent.url, agent_token("bob", "Bob")) as bob:
        bob.handshake_fields["ext"]["resume"] = {"clientId": agent.client_id}
        assert (await bob.handshake())["ext"]["resume"]["resumed"] is False
    async with phone(node) as customer:
        assert not await resume(customer, agent.client_id)


class LaterClock(SystemClock):
    """A server's clock that a test puts forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_an_agent_whose_token_ended_resumes_with_a_new_one(
    tmp_path: Path,
) -> None:
    clock = LaterClock()
    async with (
        make_node(configured(tmp_path), clock) as node,
        AgentClient(f"{node.url}/cometd", agent_token(exp=time.time() + 3600)) as agent,
    ):
        await agent.start()
        await holding(node, agent.client_id)
        await agent.stop_polling()
        clock.ahead = 4000
        assert (await agent.connect())["error"].startswith("402:")
        later = agent_token(exp=time.time() + 9000)
        async with AgentClient(agent.url, later) as new:
            new.handshake_fields["ext"]["resume"] = {"clientId": agent.client_id}
            assert (await new.handshake())["ext"]["resume"]["resumed"] is True


# Replay


@pytest.mark.parametrize(
    ("replay", "expected", "told"),
    [
        (-1, [], {"from": 4, "tip": 4, "gap": False}),
        ("-1", [], {"from": 4, "tip": 4, "gap": False}),
        (-2, ["a", "b"], {"from": 0, "tip": 4, "gap": False}),
        ("-2", ["a", "b"], {"from": 0, "tip": 4, "gap": False}),
        (0, ["a", "b"], {"from": 0, "tip": 4, "gap": False}),
        (3, ["b"], {"from": 3, "tip": 4, "gap": False}),
        ("3", ["b"], {"from": 3, "tip": 4, "gap": False}),
        (4, [], {"from": 4, "tip": 4, "gap": False}),
        (5, [], {"from": 4, "tip": 4, "gap": True}),
        (10**9, [], {"from": 4, "tip": 4, "gap": True}),
    ],
)
async def test_a_subscription_says_from_where_it_reads_and_is_told_what_there_is(
    node: Node,
    chat: tuple[V1Chat, AgentClient],
    replay: object,
    expected: list[str],
    told: Json,
) -> None:
    session, agent = chat
    await say(agent, session, "a", "b")
    async with phone(node) as app:
        await app.handshake()
        reply = await app.subscribe(CUSTOMERS, ext={"replay": {CUSTOMERS: replay}})
        assert reply["ext"] == {"replay": {CUSTOMERS: told}}
        await read_all(app)
        assert texts(app) == expected
        await say(agent, session, "live")
        await read_all(app)
        assert texts(app) == [*expected, "live"]
        assert positions(app)[-1] == 5


@pytest.mark.parametrize("replay", [-3, "all", None, 1.5, True, [1], {"a": 1}])
async def test_a_replay_that_means_nothing_reads_what_is_not_confirmed(
    node: Node, chat: tuple[V1Chat, AgentClient], replay: object
) -> None:
    session, agent = chat
    await say(agent, session, "a")
    async with phone(node) as app:
        await app.handshake()
        reply = await app.subscribe(CUSTOMERS, ext={"replay": {CUSTOMERS: replay}})
        assert reply["successful"]
        assert "ext" not in reply
        await read_all(app)
        assert texts(app) == ["a"]
