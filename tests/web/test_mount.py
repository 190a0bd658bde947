"""Bayeux as a library: a server mounted in an application with other routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from cometd_chat.bayeux import (
    CALLBACK_POLLING,
    LONG_POLLING,
    WEBSOCKET,
    Bounds,
    Client,
    Message,
    Options,
    Overflow,
    Peer,
    RefusedError,
)
from cometd_chat.web.mount import Bayeux, mount
from tests.clients.cometd_js import CometdJs
from tests.clients.raw import BayeuxClient, Json
from tests.clients.ws import SocketClient, upgrade
from tests.web.conftest import until

EVERY = (WEBSOCKET, LONG_POLLING, CALLBACK_POLLING)
PAGE = "https://shop.example"


class Shop:
    """An application that has a Bayeux server at `/live`, and a page at `/`."""

    def __init__(self, **options: Any) -> None:
        self.app = web.Application()
        self.app.router.add_get("/", self._page)
        self.bayeux = mount(self.app, "/live", **{"broadcast": ["/news/**"], **options})
        self.server = TestServer(self.app)

    async def __aenter__(self) -> "Shop":
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        return str(self.server.make_url("/live"))

    @asynccontextmanager
    async def client(
        self, kind: type[BayeuxClient] = BayeuxClient, **ext: Any
    ) -> AsyncIterator[BayeuxClient]:
        """Let in a client that listens."""
        async with kind(self.url) as client:
            reply = await client.handshake(ext=ext)
            assert reply["successful"], reply
            await client.connect()
            client.start_polling()
            yield client

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="welcome")


def echoing(bayeux: Bayeux) -> None:
    """Add a service that sends back what it gets."""

    @bayeux.service("/service/echo")
    async def echo(client: Client, data: Any) -> None:
        bayeux.send(client, "/service/echo", {"echo": data})


async def naming(message: Message, peer: Peer) -> object:
    """Shake hands with those who tell their name."""
    if name := (message.ext or {}).get("name"):
        return name
    raise RefusedError(403, "who are you?", reconnect="handshake")


async def event(client: BayeuxClient) -> Json:
    """Wait for the first event."""
    await client.wait_for(lambda: client.events)
    return client.events[0]


@pytest.mark.parametrize("kind", [BayeuxClient, SocketClient])
async def test_a_service_answers_to_one_client_alone(kind: type[BayeuxClient]) -> None:
    async with Shop() as shop, shop.client(kind) as one, shop.client(kind) as other:
        echoing(shop.bayeux)
        reply = await one.publish("/service/echo", {"n": 1})
        assert reply["successful"]
        assert "data" not in reply
        assert await event(one) == {
            "channel": "/service/echo",
            "data": {"echo": {"n": 1}},
        }
        assert other.events == []


@pytest.mark.parametrize("transport", ["websocket", "long-polling"])
async def test_a_remote_call_has_a_result_or_fails(transport: str) -> None:
    async with Shop() as shop, CometdJs() as js:

        @shop.bayeux.procedure("/service/divide")
        async def divide(client: Client, data: Any) -> float:
            if data["by"] == 0:
                raise RefusedError(422, "not by nothing")
            return float(data["what"] / data["by"])

        await js.configure(shop.url, transports=[transport])
        assert (await js.call("handshake"))["successful"]
        fine = await js.call("remoteCall", target="divide", data={"what": 6, "by": 4})
        assert fine["data"] == 1.5
        wrong = await js.call("remoteCall", target="divide", data={"what": 6, "by": 0})
        assert wrong["successful"] is False
        assert wrong["error"] == "422::not by nothing"
        status = await js.call("status")
        assert status["transport"] == transport


async def test_a_call_without_an_id_gets_a_result_without_one() -> None:
    async with Shop() as shop, shop.client() as client:

        @shop.bayeux.procedure("/service/two")
        async def two(client: Client, data: Any) -> int:
            return 2

        message = client.message("/service/two", data={}, id=None)
        await client.post([message])
        assert await event(client) == {"channel": "/service/two", "data": 2}


@pytest.mark.parametrize("kind", [BayeuxClient, SocketClient])
async def test_what_the_application_publishes_reaches_its_subscribers(
    kind: type[BayeuxClient],
) -> None:
    async with Shop() as shop, shop.client(kind) as client:
        assert shop.bayeux.publish("/news/sport", "nobody hears it") == 0
        await client.subscribe("/news/*")
        assert shop.bayeux.publish("/news/sport", {"goals": 3}) == 1
        assert await event(client) == {"channel": "/news/sport", "data": {"goals": 3}}


async def test_clients_may_publish_to_each_other_where_it_is_allowed() -> None:
    async with Shop() as shop, shop.client() as one, shop.client() as other:
        await one.subscribe("/news/**")
        assert (await other.publish("/news/a/b", [1]))["successful"]
        assert await event(one) == {"channel": "/news/a/b", "data": [1]}
        for refused in (
            await other.publish("/weather", {}),
            await other.subscribe("/weather"),
            await other.subscribe("/**"),
        ):
            assert refused["error"].startswith("403:/")
        with pytest.raises(RefusedError, match="403:/weather:Publish denied"):
            shop.bayeux.publish("/weather", {})


async def test_the_hook_of_handshakes_tells_who_a_client_is() -> None:
    seen: list[object] = []
    async with Shop() as shop, BayeuxClient(shop.url) as stranger:
        shop.bayeux.on_handshake(naming)

        @shop.bayeux.service("/service/who")
        async def who(client: Client, data: Any) -> None:
            seen.append(client.identity)

        refused = await stranger.handshake()
        assert refused["error"] == "403::who are you?"
        assert refused["advice"]["reconnect"] == "handshake"
        assert len(shop.bayeux) == 0
        async with shop.client(name="Ann") as ann:
            await ann.publish("/service/who", {})
            assert len(shop.bayeux) == 1
    assert seen == ["Ann"]


async def test_the_hooks_of_channels_may_refuse() -> None:
    async with Shop() as shop, shop.client() as client:

        @shop.bayeux.on_subscribe
        async def no_gossip(client: Client, channel: str) -> None:
            if channel == "/news/gossip":
                raise RefusedError(403, "no gossip", channel)

        @shop.bayeux.on_publish
        async def numbers(client: Client, channel: str, data: Any) -> None:
            if not isinstance(data, int):
                raise RefusedError(422, "numbers only", channel)

        refused = await client.subscribe(["/news/sport", "/news/gossip"])
        assert refused["error"] == "403:/news/gossip:no gossip"
        assert shop.bayeux.publish("/news/sport", 0) == 0
        assert (await client.subscribe("/news/sport"))["successful"]
        wrong = await client.publish("/news/sport", "x")
        assert wrong["error"] == "422:/news/sport:numbers only"
        assert (await client.publish("/news/sport", 1))["successful"]
        assert (await event(client))["data"] == 1


def failing(bayeux: Bayeux, *hooks: str) -> None:
    """Let these hooks and a service fail with a secret in their words."""

    async def fail(*_: Any) -> None:
        raise LookupError("secret")

    for hook in hooks:
        getattr(bayeux, hook)(fail)
    bayeux.service("/service/fail")(fail)


async def test_what_fails_inside_is_told_without_its_reasons() -> None:
    async with Shop() as shop, shop.client() as client:
        failing(shop.bayeux, "on_handshake", "on_subscribe", "on_publish")
        for reply in (
            await client.subscribe("/news/a"),
            await client.publish("/news/a", {}),
            await client.publish("/service/fail", {}),
            await client.handshake(),
        ):
            assert reply["successful"] is False
            assert reply["error"].endswith(":Internal error")
            assert reply["error"].startswith("500:/")
        assert client.advice["reconnect"] == "handshake"


async def test_a_hook_that_fails_keeps_nobody_from_leaving() -> None:
    async with Shop() as shop, shop.client() as client:
        failing(shop.bayeux, "on_left")
        assert (await client.disconnect())["successful"]
        assert len(shop.bayeux) == 0


async def test_wrong_messages_to_services_are_refused() -> None:
    async with Shop() as shop, shop.client() as client:
        echoing(shop.bayeux)
        unknown = await client.publish("/service/unknown", {})
        assert unknown["error"] == "404:/service/unknown:Unknown channel"
        empty = await client.request("/service/echo")
        assert empty["error"] == "400:/service/echo:Data missing"
        broken = b'[{"channel": "/service/echo", "id": "1", "data": 1e999999, %b}]'
        me = f'"clientId": "{client.client_id}"'.encode()
        async with client.http.post(client.url, data=broken % me) as response:
            (reply,) = await response.json()
        assert reply["error"] == "400:/service/echo:Data malformed"


async def test_subscribing_to_a_service_is_granted_and_means_nothing() -> None:
    async with Shop() as shop, shop.client() as one, shop.client() as other:
        echoing(shop.bayeux)
        assert (await one.subscribe("/service/echo"))["successful"]
        await other.publish("/service/echo", 1)
        await event(other)
        assert one.events == []


@pytest.mark.parametrize("kind", [BayeuxClient, SocketClient])
async def test_the_application_is_told_who_left(kind: type[BayeuxClient]) -> None:
    gone: asyncio.Queue[Client] = asyncio.Queue()
    soon = Options(transports=EVERY, offline_after=0.1, max_interval=0.2)
    async with Shop(options=soon) as shop:
        shop.bayeux.on_left(gone.put)
        async with shop.client(kind) as polite:
            await polite.disconnect()
            left = await gone.get()
            assert left.id == polite.client_id
        async with shop.client(kind) as rude:
            await rude.vanish()
            async with asyncio.timeout(5):
                given_up = await gone.get()
            assert given_up.id == rude.client_id
        assert not shop.bayeux.send(left, "/service/echo", 1)
        assert len(shop.bayeux) == 0
        assert len(shop.bayeux._mailboxes) == 0


async def test_who_comes_back_as_the_same_goes_on_and_others_do_not() -> None:
    async with Shop() as shop:
        shop.bayeux.on_handshake(naming)
        async with shop.client(name="Ann") as ann:
            await ann.subscribe("/news/a")
            await ann.stop_polling()
            shop.bayeux.publish("/news/a", 1)
            resume = {"clientId": ann.client_id}
            async with shop.client(name="Ben", resume=resume) as ben:
                assert ben.replies[0]["ext"]["resume"]["resumed"] is False
            async with shop.client(name="Ann", resume=resume) as again:
                assert again.replies[0]["ext"]["resume"]["resumed"] is True
                assert (await event(again))["data"] == 1
                assert shop.bayeux.publish("/news/a", 2) == 1


async def test_what_a_client_did_not_get_comes_again() -> None:
    async with Shop() as shop, BayeuxClient(shop.url) as client:
        await client.handshake(ext={"ack": True})
        first = await client.connect(ext={"ack": 0})
        await client.subscribe("/news/a")
        shop.bayeux.publish("/news/a", 1)
        for _ in range(2):
            await client.connect(ext=first["ext"])
        assert [e["data"] for e in client.events] == [1, 1]


async def test_who_lets_too_much_wait_has_to_start_again() -> None:
    bounds = Bounds(events=2, overflow=Overflow.RELEASE)
    async with Shop(bounds=bounds) as shop, BayeuxClient(shop.url) as client:
        await client.handshake()
        await client.connect()
        await client.subscribe("/news/a")
        for n in range(3):
            shop.bayeux.publish("/news/a", n)
        reply = await client.connect()
        assert client.advice["reconnect"] == "handshake"
        assert reply["successful"] is False


async def test_other_routes_are_as_they_were_whatever_pages_may() -> None:
    async with Shop(origins=[PAGE]) as shop, ClientSession() as http:
        answers = []
        for path in ("/", "/live"):
            for origin in (PAGE, "https://evil.example"):
                url = shop.server.make_url(path)
                async with http.get(url, headers={"Origin": origin}) as response:
                    cors = response.headers.get("Access-Control-Allow-Origin")
                    answers.append((response.status, cors))
        assert answers == [(200, None), (200, None), (400, PAGE), (403, None)]


async def test_pages_may_ask_for_what_they_send() -> None:
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with (
        Shop(origins=[PAGE]) as shop,
        ClientSession() as http,
        http.options(shop.url, headers=asked) as response,
    ):
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Headers"] == "content-type"


async def test_only_transports_that_are_listed_are_served() -> None:
    script = {"jsonp": "f", "message": "[]"}
    async with Shop(options=Options()) as shop, ClientSession() as http:
        assert await upgrade(shop.url) == 400
        async with http.get(shop.url, params=script) as response:
            assert response.status == 400
    async with Shop(options=Options(transports=EVERY)) as shop, ClientSession() as http:
        assert await upgrade(shop.url) == 101
        async with http.get(shop.url, params=script) as response:
            assert await response.text() == "/**/f([]);"


async def test_who_waits_is_answered_when_the_application_stops() -> None:
    async with BayeuxClient("") as client, SocketClient("") as socket:
        async with Shop() as shop:
            for one in (client, socket):
                one.url = shop.url
                await one.handshake()
                await one.connect()
            polling = asyncio.create_task(client.connect())
            held = shop.bayeux._endpoint.polls.held
            await until(lambda: client.client_id in held)
        assert (await polling)["successful"]
        assert await socket.closed() == 1001


@pytest.mark.parametrize(
    "channel", ["/news", "/meta/connect", "service/x", "/service/*", "/service/"]
)
async def test_only_names_of_service_channels_are_services(channel: str) -> None:
    async def serve(client: Client, data: Any) -> None:
        return

    bayeux = mount(web.Application(), "/live")
    with pytest.raises(ValueError, match="not the name of a service channel"):
        bayeux.service(channel)(serve)
    with pytest.raises(ValueError, match="not the name of a service channel"):
        bayeux.procedure(channel)(serve)


async def test_a_service_channel_has_one_owner() -> None:
    bayeux = mount(web.Application(), "/live")
    echoing(bayeux)
    with pytest.raises(ValueError, match="two services on /service/echo"):
        echoing(bayeux)


@pytest.mark.parametrize("channel", ["/meta/connect", "/news/*", "news", ""])
async def test_nothing_can_be_sent_on_channels_of_the_protocol(channel: str) -> None:
    async with Shop() as shop, shop.client() as client:
        known = shop.bayeux._server.client(client.client_id)
        assert known is not None
        with pytest.raises(ValueError, match="nothing can be sent"):
            shop.bayeux.send(known, channel, {})


async def test_data_must_have_a_json_form() -> None:
    async with Shop() as shop, shop.client() as client:
        known = shop.bayeux._server.client(client.client_id)
        assert known is not None
        with pytest.raises(TypeError):
            shop.bayeux.send(known, "/service/x", object())
        with pytest.raises(TypeError):
            shop.bayeux.publish("/news/a", object())


async def test_a_server_needs_a_path_of_its_own() -> None:
    with pytest.raises(ValueError, match="empty"):
        mount(web.Application(), "/")


async def test_two_servers_do_not_know_each_other() -> None:
    async with (
        Shop() as shop,
        Shop() as other,
        shop.client() as client,
        BayeuxClient(other.url) as stranger,
    ):
        stranger.client_id = client.client_id
        assert not (await stranger.publish("/news/a", 1))["successful"]
