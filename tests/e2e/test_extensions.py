"""CometD's extensions as its own JavaScript client speaks them."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, CookieJar

from cometd_chat.app import Node
from cometd_chat.clock import SystemClock
from cometd_chat.config import load
from tests.clients.cometd_js import CometdJs
from tests.clients.raw import BayeuxClient, Json, UnexpectedStatusError, V1Chat
from tests.web.transports import Mover, Way

from .conftest import agent_token, free_port, new_server
from .nodes import (
    NEWS,
    AgentClient,
    answered,
    behind_proxy,
    chats,
    chatting,
    configured,
    holding,
    known,
    listening,
    make_node,
    positions,
    publish,
    rows,
    say,
    silent,
    texts,
)

LONG_POLLING = ["long-polling"]
WEBSOCKET = ["websocket"]
HOUR = 3600


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with make_node(configured(tmp_path)) as running:
        yield running


@pytest.fixture
async def publisher(node: Node) -> AsyncIterator[BayeuxClient]:
    async with BayeuxClient(f"{node.url}/cometd") as client:
        await client.handshake()
        yield client


def bound(chat: V1Chat) -> Json:
    """Return what an app says to listen to this chat; sockets send no headers."""
    return {"serviceId": chat.service_id}


async def client_id(app: CometdJs) -> str:
    return str((await app.call("status"))["clientId"])


# Acknowledgements


@pytest.mark.parametrize("transports", [LONG_POLLING, WEBSOCKET])
async def test_answers_that_the_network_swallows_come_again_and_only_they(
    node: Node, publisher: BayeuxClient, transports: list[str]
) -> None:
    async with (
        behind_proxy(node) as (proxy, url),
        chatting(node, "cleo") as (chat, agent),
        listening(
            url, "/_genesys", NEWS, ext=bound(chat), ack=True, transports=transports
        ) as app,
    ):
        name = await client_id(app)
        for number in range(5):
            await publish(publisher, f"{number} read")
            await app.wait_for(lambda n=number: f"{n} read" in app.data(NEWS))
            await holding(node, name)
            proxy.freeze()
            await say(agent, chat, f"{number} lost")
            await publish(publisher, f"{number} lost")
            await answered(node, name)
            proxy.cut()
            proxy.thaw()
            await publish(publisher, f"{number} late")
            await say(agent, chat, f"{number} late")
            await app.wait_for(lambda n=number: f"{n} late" in texts(app))
        await app.wait_for(lambda: "4 late" in app.data(NEWS))
        assert await client_id(app) == name
        expected = [f"{n} {t}" for n in range(5) for t in ("read", "lost", "late")]
        assert app.data(NEWS) == expected
        assert texts(app) == [text for text in expected if "read" not in text]
        assert positions(app) == list(range(1, 13))


@pytest.mark.parametrize("transports", [LONG_POLLING, WEBSOCKET])
async def test_what_a_client_got_does_not_come_again_when_its_connection_ends(
    node: Node, publisher: BayeuxClient, transports: list[str]
) -> None:
    """Connections prove nothing where the client counts."""
    async with (
        behind_proxy(node) as (proxy, url),
        listening(url, NEWS, ack=True, transports=transports) as app,
    ):
        name = await client_id(app)
        for number in range(10):
            await holding(node, name)
            await publish(publisher, str(number))
            await app.wait_for(lambda n=number: str(n) in app.data(NEWS))
            proxy.cut()
        await publish(publisher, "end")
        await app.wait_for(lambda: "end" in app.data(NEWS))
        assert app.data(NEWS) == [*map(str, range(10)), "end"]


async def test_an_app_whose_sockets_are_refused_goes_on_by_long_polling(
    tmp_path: Path,
) -> None:
    times = {"timeout": "1s", "max_interval": "1s"}
    async with (
        make_node(configured(tmp_path, **times)) as node,
        behind_proxy(node) as (proxy, url),
        chatting(node, "cleo") as (chat, agent),
        listening(
            url,
            "/_genesys",
            ext=bound(chat),
            ack=True,
            transports=WEBSOCKET + LONG_POLLING,
            stickyReconnect=False,
        ) as app,
    ):
        assert (await app.call("status"))["transport"] == "websocket"
        await say(agent, chat, "by socket")
        await app.wait_for(lambda: texts(app))
        await holding(node, await client_id(app))
        loaded = load(configured(tmp_path, transports="long-polling", **times), {})
        assert loaded.config is not None
        node.replace(loaded.config)
        proxy.cut()
        await say(agent, chat, "meanwhile")
        await app.wait_for(lambda: "meanwhile" in texts(app), 15)
        await say(agent, chat, "by polling")
        await app.wait_for(lambda: "by polling" in texts(app))
        assert (await app.call("status"))["transport"] == "long-polling"
        assert texts(app) == ["by socket", "meanwhile", "by polling"]


@pytest.mark.by_front
@pytest.mark.parametrize("transports", [LONG_POLLING, WEBSOCKET])
async def test_a_server_that_is_killed_in_the_middle_costs_nothing(
    tmp_path: Path, transports: list[str]
) -> None:
    """The new server knows nobody: what was not confirmed may come once more, under
    the same position."""
    path = configured(tmp_path, port=free_port(), max_interval="60s")
    async with (
        new_server(path) as server,
        V1Chat(f"{server.url}/genesys", user="cleo") as chat,
    ):
        await chat.create_service()
        await chat.create_chat(notify_by="comet", userDisplayName="Cleo")
        url = f"{server.url}/cometd"
        async with listening(
            url, "/_genesys", ext=bound(chat), ack=True, transports=transports
        ) as app:
            for number in range(2):
                await say_by_rest(chat, f"{number} before")
                await server.kill()
                await server.start()
                await say_by_rest(chat, f"{number} after")
                await app.wait_for(lambda n=number: f"{n} after" in texts(app), 15)
            shown = dict(rows(app))
            expected = [f"{n} {t}" for n in range(2) for t in ("before", "after")]
            assert sorted(shown) == list(range(1, 6))
            assert [shown[position][2] for position in range(2, 6)] == expected
            assert all(shown[position] == row for position, row in rows(app))


async def say_by_rest(chat: V1Chat, text: str) -> None:
    """Send as apps do that keep what was not taken."""
    while True:
        try:
            await chat.send(text, localId=text)
        except (ClientError, OSError):
            await asyncio.sleep(0.05)
        else:
            return


class CountingMover(Mover):
    """A raw client that counts answers as CometD's extension does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.handshake_fields["ext"] = {"ack": True}
        self.got = 0

    async def connect(self, **fields: Any) -> Json:
        reply = await super().connect(ext={"ack": self.got}, **fields)
        self.got = reply["ext"]["ack"]
        return reply

    async def poll_somehow(self) -> None:
        """Poll by any transport, and let the answer be lost in any way."""
        self.way = random.choice(list(Way))
        polling = asyncio.create_task(self.connect(advice={"timeout": 50}))
        match random.randrange(3):
            case 0 | 1:
                await polling
            case _:
                await asyncio.sleep(random.uniform(0, 0.02))
                before = len(self.events)
                await self.vanish()
                polling.cancel()
                (answer,) = await asyncio.gather(polling, return_exceptions=True)
                if isinstance(answer, BaseException):
                    # It counts as received only as a whole, and so do its events.
                    del self.events[before:]


@pytest.mark.parametrize("seed", range(4))
async def test_a_client_that_counts_gets_all_once_whatever_its_transports_do(
    node: Node, publisher: BayeuxClient, seed: int
) -> None:
    random.seed(seed)
    async with CountingMover(f"{node.url}/cometd") as client:
        await client.handshake()
        await client.subscribe(NEWS)
        await client.connect()
        expected = [str(n) for n in range(150)]
        publishing = asyncio.create_task(publish(publisher, *expected))
        # A poll that was given up may arrive behind the next one, and take its place.
        lost = suppress(ClientError, OSError, UnexpectedStatusError)
        while not publishing.done():
            with lost:
                await client.poll_somehow()
        await publishing
        client.way = Way.LONG_POLLING
        async with asyncio.timeout(30):
            while len(client.events) < len(expected):
                with lost:
                    await client.connect(advice={"timeout": 1000})
        assert [event["data"] for event in client.events] == expected


async def test_the_numbers_go_by_one_and_redelivery_does_not_wait(
    node: Node, publisher: BayeuxClient
) -> None:
    async with CountingMover(f"{node.url}/cometd") as client:
        await client.handshake()
        await client.subscribe(NEWS)
        first = (await client.connect())["ext"]["ack"]
        empty = await client.connect(advice={"timeout": 1})
        assert empty["ext"] == {"ack": first + 1}
        await publish(publisher, "a", "b")
        full = await client.connect()
        assert full["ext"] == {"ack": first + 2}
        client.got = first + 1  # as if that answer had not come
        async with asyncio.timeout(1):
            again = await client.connect()
        assert again["ext"] == {"ack": first + 3}
        assert [event["data"] for event in client.events] == ["a", "b", "a", "b"]
        known(node, client.client_id)


async def test_a_connect_that_comes_late_brings_nothing_twice(
    node: Node, publisher: BayeuxClient
) -> None:
    """It repeats an old number, as one does whose answer was lost."""
    async with CountingMover(f"{node.url}/cometd") as client:
        await client.handshake()
        await client.subscribe(NEWS)
        old = (await client.connect())["ext"]["ack"]
        await publish(publisher, "a")
        await client.connect()
        async with BayeuxClient(client.url) as late:
            late.client_id = client.client_id
            await late.connect(ext={"ack": old})
            assert [event["data"] for event in late.events] == ["a"]
        await publish(publisher, "b")
        await client.connect()
        assert [event["data"] for event in client.events] == ["a", "b"]


# Two phones of one customer


async def test_of_two_phones_each_gets_all_and_the_last_one_counts(
    tmp_path: Path,
) -> None:
    async with (
        make_node(configured(tmp_path, offline_after="300ms")) as node,
        chatting(node, "cleo") as (chat, agent),
    ):
        url = f"{node.url}/cometd"
        who = {"ext": bound(chat), "ack": True}
        async with listening(url, "/_genesys", transports=WEBSOCKET, **who) as one:
            async with listening(
                url, "/_genesys", transports=LONG_POLLING, **who
            ) as two:
                await say(agent, chat, "a", "b")
                for phone in (one, two):
                    await phone.wait_for(lambda p=phone: texts(p) == ["a", "b"])
                gone = await client_id(two)
                # The customer was away until the first phone came.
                heard = len(agent.notices(chat.session_id))
            await silent(node, gone)
            await say(agent, chat, "c")
            await one.wait_for(lambda: texts(one) == ["a", "b", "c"])
            assert len(agent.notices(chat.session_id)) == heard
            await holding(node, await client_id(one))
        await agent.wait_for(lambda: len(agent.notices(chat.session_id)) > heard)
        async with listening(url, "/_genesys", transports=LONG_POLLING, **who) as back:
            await say(agent, chat, "d")
            await back.wait_for(lambda: "d" in texts(back))
            assert texts(back) == ["d"]


# Clocks


class FastClock(SystemClock):
    """A server's clock that is an hour ahead of that of its clients."""

    def time(self) -> float:
        return super().time() + HOUR


@pytest.mark.parametrize("transports", [LONG_POLLING, WEBSOCKET])
async def test_a_client_learns_how_far_its_clock_is_off_held_connects_or_not(
    tmp_path: Path, transports: list[str]
) -> None:
    path = configured(tmp_path, timeout="1s", timestamps="true")
    async with (
        make_node(path, FastClock()) as node,
        listening(f"{node.url}/cometd", clocks=True, transports=transports) as app,
    ):
        await app.wait_for(lambda: len(connects(app)) >= 4)
        clock = await app.call("clock")
        assert abs(clock["offset"] - HOUR * 1000) < 250
        assert 0 <= clock["lag"] < 250
        assert all(len(reply["timestamp"]) == 22 for reply in app.meta)
        kept = [
            c["ext"]["timesync"]["p"]
            for c in connects(app)
            if "timesync" in c.get("ext", {})
        ]
        assert all(p < 200 or 900 < p < 1500 for p in kept)


def connects(app: CometdJs) -> list[Json]:
    return [reply for reply in app.meta if reply["channel"] == "/meta/connect"]


def advised(app: CometdJs) -> set[str]:
    """Return how connects were told to go on."""
    return {c["advice"]["reconnect"] for c in connects(app) if "advice" in c}


async def test_nobody_is_told_a_time_who_did_not_ask(node: Node) -> None:
    async with BayeuxClient(f"{node.url}/cometd") as client:
        await client.handshake()
        await client.connect()
        assert not [r for r in client.replies if "timestamp" in r or "ext" in r]


# Activity


@pytest.mark.parametrize("transports", [LONG_POLLING, WEBSOCKET])
async def test_an_app_whose_user_does_nothing_is_disconnected_for_good(
    tmp_path: Path, transports: list[str]
) -> None:
    path = configured(tmp_path, timeout="1s", max_inactivity="1500ms")
    async with (
        make_node(path) as node,
        listening(f"{node.url}/cometd", NEWS, transports=transports) as app,
    ):
        await app.wait_for(lambda: "none" in advised(app))
        assert (await app.call("status"))["status"] == "disconnected"
        assert sum(len(chat.server) for chat in chats(node)) == 0
        handshakes = [m for m in app.meta if m["channel"] == "/meta/handshake"]
        assert len(handshakes) == 1


# Several clients of one browser


async def test_one_browser_holds_so_many_polls_and_the_others_wait_in_between(
    tmp_path: Path,
) -> None:
    path = configured(tmp_path, max_sessions_per_browser="2", timeout="1s")
    async with (
        make_node(path) as node,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser,
    ):
        tabs = [BayeuxClient(f"{node.url}/cometd") for _ in range(4)]
        for tab in tabs:
            tab._http = browser
            await tab.handshake()
            await tab.connect()
        # Of two nodes, the same one is asked by all: each counts what it holds itself.
        replies = await asyncio.gather(*(tab.connect() for tab in tabs))
        surplus = [reply["advice"] for reply in replies if "advice" in reply]
        assert len(surplus) == 2, replies
        assert {advice["multiple-clients"] for advice in surplus} == {True}
        assert {advice["interval"] for advice in surplus} == {2000}
        assert not any(chat.server._holds for chat in chats(node))


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, {"SameSite=Lax"}),
        ({"browser_cookie": "strict"}, {"SameSite=Strict"}),
        ({"browser_cookie": "off"}, None),
    ],
)
async def test_a_browser_gets_its_cookie_with_the_first_handshake_only(
    tmp_path: Path, options: dict[str, str], flags: set[str] | None
) -> None:
    hello = {
        "channel": "/meta/handshake",
        "id": "1",
        "supportedConnectionTypes": ["long-polling"],
    }
    async with (
        make_node(configured(tmp_path, **options)) as node,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser,
    ):
        url = f"{node.url}/cometd"
        for body in ({**hello, "supportedConnectionTypes": []}, hello, hello):
            async with browser.post(url, json=[body]) as response:
                set_cookies = response.headers.getall("Set-Cookie", [])
            if flags is None or not body["supportedConnectionTypes"]:
                assert set_cookies == []
            elif flags:
                (line,) = set_cookies
                name, *rest = line.split("; ")
                assert name.startswith("BAYEUX_BROWSER=")
                assert set(rest) == {"Path=/", "HttpOnly"} | flags
                flags = set()
            else:
                assert set_cookies == []


@pytest.mark.parametrize("value", ["x" * 65, "a b", "../../etc", "%00"])
async def test_a_cookie_that_is_none_of_ours_is_replaced(
    node: Node, value: str
) -> None:
    async with BayeuxClient(
        f"{node.url}/cometd", {"Cookie": f'BAYEUX_BROWSER="{value}"'}
    ) as client:
        await client.handshake()
        browser = known(node, client.client_id).browser
        assert browser != value
        assert len(browser) == 32


async def test_agents_count_too(node: Node) -> None:
    """The acknowledgement is Bayeux's, whoever the client is."""
    async with (
        AgentClient(f"{node.url}/cometd", agent_token()) as agent,
        V1Chat(f"{node.url}/genesys", user="cleo") as chat,
    ):
        agent.handshake_fields["ext"]["ack"] = True
        await agent.start()
        await chat.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=chat.session_id)
        await chat.send("hello")
        # It never says a number: all that came comes again, with each poll.
        await agent.wait_for(
            lambda: len([e for e in agent.events if "hello" in str(e)]) > 1
        )
        assert agent.texts(chat.session_id) == ["hello"]
