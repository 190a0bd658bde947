"""Pushes to a customer who is away: the right ones, at the right time, and no other."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from cometd_chat.app import Node
from tests.clients.agent import AgentClient
from tests.clients.raw import BayeuxClient, V1App, V1Chat
from tests.clients.tus import TusClient
from tests.clients.watched import Watched

from .conftest import agent_token, new_node, write_config
from .nodes import say

PUSH = """\
[push]
pushEnabled = comet, customhttp
defaultProvider = main
[push.provider.main]
customhttp.url = {url}
[service.slow]
_client_timeout_notification = 3600
[service.at-once]
_client_timeout_notification = 0
"""

DEVICE = {
    "push_notification_deviceid": "phone-1",
    "push_notification_type": "customhttp",
}


class Company(Watched):
    """The company's own API that pushes are posted to."""

    def __init__(self) -> None:
        super().__init__()
        self.pushes: list[dict[str, Any]] = []
        self.statuses: list[int] = []

    async def post(self, request: web.Request) -> web.Response:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.pushes.append(json.loads(await request.read()))
        self.changed()
        return web.Response(status=status)

    @property
    def told(self) -> list[list[str]]:
        """The texts of each push."""
        return [
            [
                text
                for line in push["message"]["lastTranscript"]
                for text in line.values()
            ]
            for push in self.pushes
        ]

    @property
    def texts(self) -> list[str]:
        """The texts of all pushes."""
        return [text for texts in self.told for text in texts]


@pytest.fixture
async def company() -> AsyncIterator[tuple[Company, str]]:
    app, company = web.Application(), Company()
    app.router.add_post("/push", company.post)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield company, f"http://127.0.0.1:{runner.addresses[0][1]}/push"
    await runner.cleanup()


@pytest.fixture
async def node(tmp_path: Path, company: tuple[Company, str]) -> AsyncIterator[Node]:
    more = f"[files]\nfolder = {tmp_path}/files\n" + PUSH.format(url=company[1])
    async with new_node(write_config(tmp_path, offline_after="1s", more=more)) as node:
        yield node


async def chat(agent: AgentClient, app: V1App, **params: str) -> None:
    await app.start(userDisplayName="Cleo", **{**DEVICE, **params})
    await agent.operate("acceptChat", chatId=app.session_id)
    await say(agent, app, "hello")
    await app.wait_for_text("hello")


async def confirmed(node: Node, app: V1Chat) -> None:
    """Wait until the server knows that the app has all there is."""
    for _ in range(100):
        session = await node.store.get(app.session_id)
        if session.acked == session.last:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the app confirms nothing")


async def test_the_first_push_comes_after_the_delay_and_the_others_at_once(
    base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u") as app:
        await chat(agent, app)
        await app.background()
        begun = asyncio.get_running_loop().time()
        await say(agent, app, "one")
        await company[0].wait_for(lambda: len(company[0].pushes) == 1)
        assert asyncio.get_running_loop().time() - begun >= 0.9
        await say(agent, app, "two")
        await company[0].wait_for(lambda: len(company[0].pushes) == 2)
        assert company[0].told == [["one"], ["two"]]
        assert company[0].pushes[0]["deviceId"] == "phone-1"
        assert company[0].pushes[0]["message"]["serviceId"] == app.service_id
        assert company[0].pushes[0]["message"]["message"] == "New message from Agent"


async def test_a_file_of_the_agent_is_pushed(
    node: Node, base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u", service="at-once") as app:
        await chat(agent, app)
        await app.background()
        async with TusClient(node.url, app.session_id, agent_token()) as ann:
            await ann.send(b"abc", "terms.pdf")
        await company[0].wait_for(lambda: company[0].pushes)
        assert company[0].told == [["terms.pdf"]]


async def test_nobody_is_pushed_who_returns_in_time(
    base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u") as app:
        await chat(agent, app)
        await app.background()
        await say(agent, app, "one")
        await app.foreground()
        await app.wait_for_text("one")
        await asyncio.sleep(1.5)  # longer than the delay of the first push
        assert company[0].pushes == []


async def test_silence_is_pushed_like_a_goodbye_and_typing_is_not(
    base: str, node: Node, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u", service="at-once") as app:
        await chat(agent, app)
        await confirmed(node, app)
        await app.vanish()
        await agent.wait_for(lambda: agent.notices(app.session_id))
        await agent.operate("startTyping", chatId=app.session_id)
        await say(agent, app, "quiet", push={"disabled": True})
        await say(agent, app, "loud")
        await company[0].wait_for(lambda: company[0].pushes)
        await asyncio.sleep(0.6)  # two rounds of the worker
        assert company[0].told == [["loud"]]


async def test_a_push_that_fails_is_sent_again(
    base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u", service="at-once") as app:
        await chat(agent, app)
        company[0].statuses = [503]
        await app.background()
        await say(agent, app, "one")
        await company[0].wait_for(lambda: company[0].pushes, 20)
        assert company[0].told == [["one"]]


async def test_a_device_belongs_to_its_last_user_and_to_nobody_once_deregistered(
    base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with (
        V1App(base, user="first", service="at-once") as first,
        V1App(base, user="second", service="at-once") as second,
    ):
        await chat(agent, first)
        await first.background()
        await chat(agent, second)
        await say(agent, first, "for the first")
        await second.background()
        await say(agent, second, "for the second")
        await company[0].wait_for(lambda: company[0].pushes)
        device = f"{base}/1/service/{second.service_id}/device"
        async with (
            ClientSession(headers=second.headers) as http,
            http.delete(device, data={"uuid": "phone-1"}) as response,
        ):
            assert response.status == 204
        await say(agent, second, "for nobody")
        await asyncio.sleep(0.6)  # two rounds of the worker
        assert company[0].told == [["for the second"]]


async def test_a_device_may_be_registered_later_and_be_quiet(
    base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u", service="at-once") as app:
        await app.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=app.session_id)
        await app.wait_for(lambda: app.position >= 2)  # or the push tells of it, too
        device = f"{base}/1/service/{app.service_id}/device"
        async with ClientSession(headers=app.headers) as http:
            form = {"uuid": "opaque", "muted": "true"}
            async with http.put(device, data=form) as response:
                assert response.status == 204
            await app.background()
            await say(agent, app, "muted")
            async with http.put(device, data={"uuid": "opaque"}) as response:
                assert response.status == 204
            async with http.put(
                device, data={"uuid": "o", "quiet": "late"}
            ) as response:
                assert response.status == 400
        await say(agent, app, "aloud")
        # The worker may have looked in between: then these are two pushes.
        await company[0].wait_for(lambda: "aloud" in company[0].texts)
        assert company[0].texts == ["muted", "aloud"]


async def test_devices_have_an_address_in_version_2_too(
    base: str, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u", service="at-once") as app, ClientSession() as http:
        await app.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=app.session_id)
        await app.wait_for(lambda: app.position >= 2)  # or the push tells of it, too
        device = f"{base}/2/chat/at-once/{app.session_id}/device"
        other = f"{base}/2/chat/request-chat/{app.session_id}/device"
        key = {"secureKey": app.service_id, "userId": "u", "alias": "1"}
        for url, form, status in (
            (device, {"uuid": "phone-1"}, 404),
            (device, {"uuid": "phone-1", "secureKey": "wrong"}, 404),
            (other, {"uuid": "phone-1", **key}, 404),
            (device, key, 415),
            (device, {"uuid": "phone-1", **key}, 204),
        ):
            async with http.put(url, data=form) as response:
                assert response.status == status
        await app.background()
        await say(agent, app, "told")
        await company[0].wait_for(lambda: company[0].pushes)
        async with http.delete(device, data={"uuid": "phone-1"}) as response:
            assert response.status == 404
        async with http.delete(device, data={"uuid": "phone-1", **key}) as response:
            assert response.status == 204
        await say(agent, app, "for nobody")
        await asyncio.sleep(0.6)  # two rounds of the worker
        assert company[0].told == [["told"]]


async def test_a_device_is_deregistered_by_the_words_that_registered_it(
    base: str, node: Node, agent: AgentClient
) -> None:
    async with V1App(base, user="u", service="at-once") as app:
        await app.start(userDisplayName="Cleo")
        device = f"{base}/1/service/{app.service_id}/device"
        form = {**DEVICE, "uuid": "opaque"}
        async with ClientSession(headers=app.headers) as http:
            async with http.put(device, data=form) as response:
                assert response.status == 204
            (known,) = (await node.store.get(app.session_id)).devices
            assert known.id == "opaque"
            async with http.delete(device, data=form) as response:
                assert response.status == 204
        assert (await node.store.get(app.session_id)).devices == ()


async def told(url: str, **form: str) -> int:
    async with ClientSession() as http, http.post(url, data=form) as response:
        return response.status


async def test_the_app_says_what_it_has_shown(
    base: str, node: Node, agent: AgentClient, company: tuple[Company, str]
) -> None:
    async with V1App(base, user="u", service="at-once") as app:
        await chat(agent, app)
        await app.background()
        await say(agent, app, "one")
        await company[0].wait_for(lambda: company[0].pushes)
        marker = company[0].pushes[0]["message"]["cometd-chat"]
        known = {"id": marker["id"], "serviceId": marker["chat"]}
        receipt = f"{node.url}/push/receipt"
        for _ in range(100):  # the push arrives before the server notes its success
            if (status := await told(receipt, **known)) == 204:
                break
            await asyncio.sleep(0.05)
        assert status == 204
        assert await told(f"{base}/push/receipt", **known, state="opened") == 204
        assert await told(receipt, **known, state="seen") == 415
        assert await told(receipt, id=known["id"], serviceId="unknown") == 404
        assert await told(receipt, id="unknown", serviceId=known["serviceId"]) == 404
        assert await told(receipt, id=known["id"]) == 400
        (sent,) = await node.store.sent_pushes(app.session_id)
        assert (sent.id, sent.provider) == (known["id"], "customhttp:main")
        assert sent.sent_at <= (sent.shown_at or 0) <= (sent.opened_at or 0)


async def test_an_app_that_reads_no_chat_is_pushed_by_cometd(
    base: str, agent: AgentClient
) -> None:
    async with (
        V1App(base, user="u", service="at-once") as app,
        BayeuxClient(f"{base}/cometd", {"gms_user": "u"}) as other,
    ):
        await other.handshake()
        other.start_polling()
        await chat(
            agent,
            app,
            push_notification_type="comet",
            push_notification_deviceid=other.client_id,
        )
        await app.background()
        await say(agent, app, "one", push={"ext": "order-9"})
        await other.wait_for(lambda: other.events)
        (event,) = other.events
        assert event["channel"] == "/service/push"
        assert event["data"]["lastTranscript"] == [{"Message.Text": "one"}]
        assert event["data"]["cometd-chat"]["ext"] == "order-9"


async def test_a_client_that_is_gone_is_a_device_no_more(
    base: str, node: Node, agent: AgentClient
) -> None:
    gone = {"push_notification_type": "comet", "push_notification_deviceid": "gone"}
    async with V1App(base, user="u", service="at-once") as app:
        await chat(agent, app, **gone)
        await app.background()
        await say(agent, app, "one")
        for _ in range(100):
            if not (await node.store.get(app.session_id)).devices:
                break
            await asyncio.sleep(0.05)
        assert (await node.store.get(app.session_id)).devices == ()
