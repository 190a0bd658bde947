"""Clients that publish to each other, on the channels that the configuration opens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cometd_chat.app import Node
from cometd_chat.config import load
from tests.clients.agent import AgentClient
from tests.clients.cometd_js import CometdJs
from tests.clients.faye_js import FayeJs
from tests.clients.raw import BayeuxClient
from tests.clients.ws import SocketClient
from tests.web.conftest import until

from .conftest import agent_token
from .nodes import (
    NEWS,
    chats,
    chatting,
    configured,
    forgotten,
    holding,
    listening,
    make_node,
    publish,
    subscribers,
    texts,
)

LAZY = "/news/lazy"
SECRETS = {"clientId", "id", "ext", "successful"}


@pytest.fixture
def options() -> dict[str, str]:
    """What the node's configuration says in addition; tests replace it."""
    return {}


@pytest.fixture
async def node(tmp_path: Path, options: dict[str, str]) -> AsyncIterator[Node]:
    async with make_node(configured(tmp_path, **options)) as running:
        yield running


@pytest.fixture
async def join(node: Node) -> AsyncIterator[Any]:
    """Let a client in that subscribes to these channels and polls."""
    async with AsyncExitStack() as stack:

        async def joined(*channels: str, polls: bool = True) -> BayeuxClient:
            client = BayeuxClient(f"{node.url}/cometd")
            await stack.enter_async_context(client)
            await client.handshake()
            for channel in channels:
                reply = await client.subscribe(channel)
                assert reply["successful"], reply
            await client.connect()
            if polls:
                client.start_polling()
                await holding(node, client.client_id)
            return client

        yield joined


def heard(client: BayeuxClient) -> list[tuple[str, Any]]:
    return [(event["channel"], event["data"]) for event in client.events]


async def test_every_subscriber_gets_one_copy_whatever_matches(join: Any) -> None:
    ann = await join("/news/today", "/news/*", "/news/**")
    bob = await join("/news/**")
    cy = await join("/news/yesterday")
    dee = await join()
    await publish(dee, "hi")
    await publish(dee, "deep", channel="/news/a/b")
    await publish(dee, "old", channel="/news/yesterday")
    await bob.wait_for(lambda: len(bob.events) == 3)
    await ann.wait_for(lambda: len(ann.events) == 3)
    await cy.wait_for(lambda: cy.events)
    expected = [(NEWS, "hi"), ("/news/a/b", "deep"), ("/news/yesterday", "old")]
    assert heard(ann) == heard(bob) == expected
    assert heard(cy) == expected[2:]
    assert dee.events == []


async def test_an_event_says_nothing_about_its_publisher(join: Any) -> None:
    listener, publisher = await join(NEWS), await join()
    data = {"text": "ü", "nested": [1, None, 1.50]}
    reply = await publisher.publish(
        NEWS, data, ext={"secret": 1}, advice={"reconnect": "none"}
    )
    assert set(reply) == {"channel", "id", "successful"}
    (event,) = await listener.wait_for(lambda: listener.events)
    assert event == {"channel": NEWS, "data": data}
    assert not SECRETS & set(event)


async def test_binary_data_comes_with_what_tells_how_to_read_it(join: Any) -> None:
    listener, publisher = await join(NEWS), await join()
    data = {"data": "HelloWorld", "last": True}
    await publisher.publish(NEWS, data, ext={"binary": {}, "secret": 1})
    (event,) = await listener.wait_for(lambda: listener.events)
    assert event == {"channel": NEWS, "data": data, "ext": {"binary": {}}}


@pytest.mark.parametrize(
    ("options", "echoed"),
    [({}, True), ({"broadcast_to_publisher": "false"}, False)],
)
async def test_publishers_that_are_subscribed_hear_themselves_if_wanted(
    join: Any, echoed: bool
) -> None:
    publisher, other = await join(NEWS), await join(NEWS)
    await publish(publisher, "mine")
    await other.wait_for(lambda: other.events)
    await publish(other, "yours")
    await publisher.wait_for(lambda: (NEWS, "yours") in heard(publisher))
    mine = [(NEWS, "mine")] if echoed else []
    assert heard(publisher) == [*mine, (NEWS, "yours")]


@pytest.mark.parametrize(
    "channel",
    [
        "/_genesys",
        "/_genesys/*",
        "/service/agent",
        "/service/x",
        "/service/**",
        "/meta/connect/x",
        "/meta/*",
        "/*",
        "/**",
        "/newsx",
        "/news",
        "/other",
        "news/today",
        "/news//x",
        "/news/*/x",
    ],
)
async def test_nothing_else_is_open_neither_to_hear_nor_to_speak(
    join: Any, channel: str
) -> None:
    client = await join()
    if channel != "/_genesys":
        assert not (await client.subscribe(channel))["successful"]
    assert not (await client.publish(channel, "x"))["successful"]
    assert not (await client.subscribe([NEWS, channel]))["successful"]
    await publish(client, "to nobody")
    await client.stop_polling()
    await client.connect(advice={"timeout": 50})
    assert client.events == [], "a refused list subscribes to none of it"


async def test_nobody_publishes_to_a_pattern_or_nothing(join: Any) -> None:
    client = await join("/news/**")
    for channel in ("/news/*", "/news/**"):
        assert not (await client.publish(channel, "x"))["successful"]
    reply = await client.request(NEWS)
    assert reply["error"].startswith("400:")


async def test_a_channel_of_the_chat_stays_one_even_below_an_open_pattern(
    tmp_path: Path,
) -> None:
    loaded = load(configured(tmp_path, broadcast_channels="/service/**"), {})
    assert loaded.config is None
    assert "not open to broadcasts" in " ".join(map(str, loaded.problems))


async def test_agents_and_customers_may_all_use_it(node: Node, join: Any) -> None:
    agent = AgentClient(f"{node.url}/cometd", agent_token())
    async with agent, SocketClient(f"{node.url}/cometd") as socket:
        await agent.handshake()
        await agent.subscribe(["/service/agent", NEWS])
        await agent.connect()
        await socket.handshake()
        await socket.subscribe(NEWS)
        await socket.connect()
        await publish(agent, "from an agent")
        await publish(socket, "by socket")
        for client in (agent, socket):
            await client.connect()
            assert [e["data"] for e in client.events] == ["from an agent", "by socket"]


async def test_after_unsubscribing_and_leaving_nothing_comes(
    node: Node, join: Any
) -> None:
    client, other, publisher = (
        await join(NEWS, "/news/b"),
        await join(NEWS),
        await join(),
    )
    assert (await client.unsubscribe(NEWS))["successful"]
    await other.disconnect()
    await publish(publisher, "unheard")
    await publish(publisher, "heard", channel="/news/b")
    await client.wait_for(lambda: client.events)
    assert heard(client) == [("/news/b", "heard")]
    assert other.events == []
    assert sum(len(chat.broadcast.subscriptions) for chat in chats(node)) == 1


# Order


async def test_twenty_publishers_each_keep_their_order(node: Node, join: Any) -> None:
    listeners = [await join("/news/**") for _ in range(5)]
    publishers = [await join(polls=False) for _ in range(20)]

    async def publish_all(number: int) -> None:
        for n in range(40):
            channel = f"/news/{number % 3}"
            await publish(publishers[number], f"{number} {n}", channel=channel)

    await asyncio.gather(*map(publish_all, range(20)))
    for listener in listeners:
        await listener.wait_for(lambda x=listener: len(x.events) >= 800, 20)
        texts = [text.split() for _, text in heard(listener)]
        assert len(texts) == 800
        for number in range(20):
            own = [int(n) for who, n in texts if int(who) == number]
            assert own == list(range(40))
    orders = {tuple(text for _, text in heard(listener)) for listener in listeners}
    assert len(orders) == 1, "all hear the same in the same order"


# Lazy channels


LAZY_OPTIONS = {"lazy_channels": LAZY, "max_lazy_timeout": "600ms"}


@pytest.mark.parametrize("options", [LAZY_OPTIONS])
async def test_a_lazy_event_waits_for_its_longest_delay(join: Any) -> None:
    listener, publisher = await join("/news/**"), await join()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await publish(publisher, "1", "2", channel=LAZY)
    await listener.wait_for(lambda: listener.events)
    assert 0.5 < loop.time() - begun < 4  # less than the hold
    assert heard(listener) == [(LAZY, "1"), (LAZY, "2")]


@pytest.mark.parametrize("options", [{**LAZY_OPTIONS, "max_lazy_timeout": "60s"}])
async def test_a_lazy_event_travels_with_one_that_is_not_and_before_it(
    node: Node, join: Any
) -> None:
    listener, publisher = await join("/news/**"), await join()
    await publish(publisher, "lazy", channel=LAZY)
    await holding(node, listener.client_id)
    await publish(publisher, "now")
    await listener.wait_for(lambda: len(listener.events) == 2)
    assert heard(listener) == [(LAZY, "lazy"), (NEWS, "now")]


@pytest.mark.parametrize("options", [{**LAZY_OPTIONS, "max_lazy_timeout": "60s"}])
async def test_a_lazy_event_travels_with_a_poll_that_ends_anyway(join: Any) -> None:
    listener = await join("/news/**", polls=False)
    publisher = await join()
    await publish(publisher, "1", channel=LAZY)
    await listener.connect(advice={"timeout": 200})
    assert heard(listener) == [(LAZY, "1")]
    await publish(publisher, "2", channel=LAZY)
    await listener.connect(advice={"timeout": 0})
    assert heard(listener) == [(LAZY, "1"), (LAZY, "2")]


# Too much


@pytest.mark.parametrize("options", [{"mailbox_messages": "3"}])
async def test_of_what_is_too_much_the_newest_stays(join: Any) -> None:
    listener, publisher = await join(NEWS, polls=False), await join()
    await publish(publisher, *"abcdef")
    await listener.connect()
    assert [data for _, data in heard(listener)] == ["d", "e", "f"]
    await publish(publisher, "g")
    await listener.connect()
    assert heard(listener)[-1] == (NEWS, "g")


RELEASE = {"mailbox_messages": "3", "mailbox_overflow": "release"}


@pytest.mark.parametrize("options", [RELEASE])
async def test_or_the_client_begins_anew_and_so_learns_of_its_loss(
    node: Node, join: Any
) -> None:
    listener, publisher = await join(NEWS, polls=False), await join()
    old = listener.client_id
    await publish(publisher, *"abcd")
    await forgotten(node, old)
    reply = await listener.connect()
    assert reply["error"].startswith("402:")
    assert reply["advice"]["reconnect"] == "handshake"
    listener.start_polling()
    await until(lambda: listener.client_id != old)
    await until(lambda: subscribers(node, NEWS))
    await publish(publisher, "again")
    await listener.wait_for(lambda: listener.events)
    assert heard(listener) == [(NEWS, "again")]
    assert [c for chat in chats(node) for c in chat.mailboxes.overflowed()] == []


@pytest.mark.parametrize("options", [{"mailbox_size": "2KiB"}])
async def test_bytes_count_as_well_as_events(join: Any) -> None:
    listener, publisher = await join(NEWS, polls=False), await join()
    await publish(publisher, "a" * 900, "b" * 900, "c" * 900)
    await publish(publisher, "d" * 3000)
    await listener.connect()
    assert [data[0] for _, data in heard(listener)] == ["b", "c"]


async def test_a_new_configuration_holds_at_once(
    node: Node, join: Any, tmp_path: Path
) -> None:
    listener, publisher = await join(NEWS), await join()
    closed = load(configured(tmp_path, broadcast_channels="/weather"), {})
    assert closed.config is not None
    node.replace(closed.config)
    assert not (await publisher.publish(NEWS, "x"))["successful"]
    assert (await listener.subscribe("/weather"))["successful"]
    await publish(publisher, "rain", channel="/weather")
    await listener.wait_for(lambda: listener.events)
    assert heard(listener) == [("/weather", "rain")]


# Clients of others


async def test_clients_of_all_kinds_hear_each_other(node: Node) -> None:
    url = f"{node.url}/cometd"
    async with (
        listening(url, "/news/**", ack=True) as cometd,
        listening(url, "/news/**", transports=["websocket"]) as cometd_socket,
        fayed(url) as faye,
        fayed(url, transports=["websocket", "long-polling"]) as faye_socket,
    ):
        everybody: list[CometdJs] = [cometd, cometd_socket, faye, faye_socket]
        for number, speaker in enumerate(everybody):
            for n in range(3):
                text = {"from": number, "n": n}
                reply = await speaker.call("publish", channel=NEWS, data=text)
                assert reply["successful"], reply
        expected = [{"from": who, "n": n} for who in range(4) for n in range(3)]
        for listener in everybody:
            await listener.wait_for(lambda x=listener: len(x.data(NEWS)) >= 12)
            assert listener.data(NEWS) == expected


def fayed(url: str, **options: Any) -> "Faye":
    return Faye(url, options)


class Faye(FayeJs):
    """A Faye client that has subscribed to all news."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__()
        self._url, self._options = url, options

    async def __aenter__(self) -> "Faye":
        await super().__aenter__()
        await self.configure(self._url, **self._options)
        assert (await self.call("subscribe", channel="/news/**"))["successful"]
        return self


def news(app: BayeuxClient) -> list[str]:
    return [e["data"] for e in app.events if e["channel"] == NEWS]


async def test_a_chat_and_news_reach_one_client_in_one_loop_of_polls(
    node: Node,
) -> None:
    async with (
        chatting(node, "cleo") as (chat, agent),
        BayeuxClient(f"{node.url}/cometd", {"gms_user": "cleo"}) as app,
    ):
        await app.handshake()
        await app.subscribe(["/_genesys", NEWS])
        app.start_polling()
        for n in range(20):
            await publish(agent, str(n))
            await agent.operate("sendMessage", chatId=chat.session_id, message=str(n))
        await app.wait_for(lambda: texts(app)[-1:] == ["19"] == news(app)[-1:])
        assert news(app) == [str(n) for n in range(20)]
