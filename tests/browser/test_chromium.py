"""The official CometD client in Chromium, over each transport and from each origin."""

import json
from collections.abc import AsyncIterator, Callable

import pytest

from cometd_chat.app import Node
from tests.clients.proxy import Proxy
from tests.clients.raw import V1Chat
from tests.e2e.nodes import NEWS, agent_at, known, say
from tests.web.conftest import until
from tests.web.phones import CHANNEL, CometdPhone, NodePhone
from tests.web.story import hears_and_says_goodbye, survives_a_cut, survives_a_restart

from .chromium import DevTools
from .page import CometdPage

OWN, FOREIGN = True, False

KINDS = {
    "long-polling": ("long-polling", OWN),
    "long-polling from another origin": ("long-polling", FOREIGN),
    "websocket": ("websocket", OWN),
    "websocket from another origin": ("websocket", FOREIGN),
    "callback-polling": ("callback-polling", OWN),
    "callback-polling from another origin": ("callback-polling", FOREIGN),
}
MOST = [
    "long-polling",
    "long-polling from another origin",
    "websocket",
    "callback-polling from another origin",
]


class ChromiumPhone(CometdPhone):
    """A page that listens to a chat; `js` is the page."""

    def __init__(self, page: CometdPage, url: str, app: V1Chat, transport: str) -> None:
        NodePhone.__init__(self, page, url, app.service_id, transport)
        self.page = page


Make = Callable[[str], ChromiumPhone]


@pytest.fixture
async def app(node: Node) -> AsyncIterator[V1Chat]:
    """An app that has asked for a chat, by REST."""
    async with V1Chat(f"{node.url}/genesys") as chat:
        await chat.create_service()
        yield chat


@pytest.fixture
def make(tools: DevTools, proxy: Proxy, shop: str, app: V1Chat) -> Make:
    def phone(kind: str) -> ChromiumPhone:
        transport, own = KINDS[kind]
        server = f"http://127.0.0.1:{proxy.port}"
        page = CometdPage(tools, shop, server if own else "")
        return ChromiumPhone(page, f"{server}/genesys/cometd", app, transport)

    return phone


async def notices(page: CometdPage, proxy: Proxy, times: int = 1) -> None:
    """Cut connections until the page has noticed: browsers repeat a request by
    themselves when a connection breaks that they had used before."""

    def cut() -> bool:
        proxy.cut()
        return len(page.failures) >= times

    await until(cut)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_page_hears_the_chat_and_says_goodbye(
    node: Node, make: Make, app: V1Chat, kind: str
) -> None:
    async with make(kind) as client:
        await hears_and_says_goodbye(node, app, client)


@pytest.mark.by_front
@pytest.mark.parametrize("kind", MOST)
async def test_a_page_publishes_a_batch_in_one_request(make: Make, kind: str) -> None:
    async with make(kind) as client:
        page = client.page
        assert (await page.call("subscribe", channel=NEWS))["successful"]
        messages = [{"channel": NEWS, "data": text} for text in ("a", "b", "c")]
        replies = await page.call("batch", messages=messages)
        assert [reply["successful"] for reply in replies] == [True] * 3
        await page.wait_for(lambda: len(page.data(NEWS)) == 3)
        assert page.data(NEWS) == ["a", "b", "c"]
        (batch,) = [body for body in page.sent if '"data":"' in body]
        assert [each["data"] for each in json.loads(batch)] == ["a", "b", "c"]


@pytest.mark.by_front
@pytest.mark.parametrize("kind", MOST)
async def test_a_network_that_breaks_loses_nothing(
    node: Node, make: Make, app: V1Chat, proxy: Proxy, kind: str
) -> None:
    async with make(kind) as client:
        await survives_a_cut(node, app, client, lambda: notices(client.page, proxy))


@pytest.mark.by_front
async def test_a_page_that_was_offline_catches_up(
    node: Node, make: Make, app: V1Chat, proxy: Proxy
) -> None:
    async with make("long-polling") as client:
        await app.create_chat(notify_by="comet")
        async with agent_at(node, app.session_id) as agent:
            await say(agent, app, "one")
            await client.shows("one")
            await client.page.offline(on=True)
            await notices(client.page, proxy, times=2)
            await say(agent, app, "two")
            assert client.texts == ["one"]
            await client.page.offline(on=False)
            await client.shows("one", "two")


@pytest.mark.by_front
@pytest.mark.parametrize("kind", MOST)
async def test_a_server_that_restarts_is_no_end(
    node: Node, starting: Callable[[], Node], make: Make, app: V1Chat, kind: str
) -> None:
    async with make(kind) as client:
        await survives_a_restart(node, starting, app, client)


@pytest.mark.by_front
@pytest.mark.parametrize("kind", MOST)
async def test_a_page_goes_on_where_one_that_vanished_was(
    node: Node, make: Make, app: V1Chat, kind: str
) -> None:
    async with make(kind) as old:
        await app.create_chat(notify_by="comet")
        async with agent_at(node, app.session_id) as agent:
            await say(agent, app, "one")
            await old.shows("one")
            former = {
                "clientId": (await old.status())["clientId"],
                "transcriptPosition": len(old.screen),
            }
            await old.vanish()
            await say(agent, app, "two")
            new = make(kind)
            new.ext = {**new.ext, "resume": former}
            async with new:
                await new.watched.wait_for(lambda: new.screen)
                assert [entry[2] for entry in new.screen.values()] == ["two"]
                (shaken, *_) = new.js.meta
                assert shaken["ext"]["resume"]["resumed"] is True


RELOADING = ["long-polling", "websocket", "callback-polling from another origin"]


@pytest.mark.by_front
@pytest.mark.parametrize("kind", RELOADING)
async def test_a_page_that_is_loaded_again_is_the_same_client(
    node: Node, make: Make, app: V1Chat, kind: str
) -> None:
    client = make(kind)
    page = client.page
    async with page:
        await app.create_chat(notify_by="comet")
        before = await reloadable(client)
        async with agent_at(node, app.session_id) as agent:
            await say(agent, app, "one")
            await client.shows("one")
            await page.visit()
            await say(agent, app, "two")
            assert await reloadable(client) == before
            await client.shows("one", "two")
        assert sum("/meta/handshake" in body for body in page.sent) == 1


async def reloadable(client: ChromiumPhone) -> str:
    """Shake hands as a page that keeps its client when it is loaded again."""
    transports = [client.transport]
    await client.page.configure(client.url, transports=transports, reload=True)
    call = client.page.call
    reply = await call("handshake", ext=client.ext, subscribe=[CHANNEL])
    assert reply["subscriptions"] == [True]
    return str(reply["clientId"])


@pytest.mark.by_front
@pytest.mark.parametrize("readable", [True, False])
async def test_a_page_whose_handshake_fails_once_goes_on_by_callback_polling(
    node: Node, make: Make, app: V1Chat, shop: str, readable: bool
) -> None:
    """The library takes any failure for a server that knows no other origins."""
    client = make("long-polling from another origin")
    page = client.page
    page.refusals = 1
    if readable:
        page.refusal["responseHeaders"] = [
            {"name": "Access-Control-Allow-Origin", "value": shop},
            {"name": "Access-Control-Allow-Credentials", "value": "true"},
        ]
    async with page:
        ways = ["long-polling", "callback-polling"]
        await page.configure(client.url, transports=ways, backoffIncrement=100)
        await page.call("handshake", ext=client.ext, subscribe=[CHANNEL])
        assert page.failures[0]["failure"]["httpCode"] == (503 if readable else 0)
        assert (await client.status())["transport"] == "callback-polling"
        await app.create_chat(notify_by="comet")
        async with agent_at(node, app.session_id) as agent:
            await say(agent, app, "one")
            await client.shows("one")
            await say(agent, app, "two")
            await client.shows("one", "two")
            await client.leave(len(client.screen))
            await agent.wait_for(lambda: agent.notices(app.session_id))


async def test_a_page_of_another_origin_sends_the_cookie_of_its_browser(
    node: Node, make: Make
) -> None:
    client = make("long-polling from another origin")
    async with client.page as page:
        browsers = []
        for _ in range(2):
            await page.visit()
            await page.configure(client.url, transports=["long-polling"])
            reply = await page.call("handshake", ext=client.ext)
            browsers.append(known(node, reply["clientId"]).browser)
        assert browsers[0]
        assert browsers[0] == browsers[1]
