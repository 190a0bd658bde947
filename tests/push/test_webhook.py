"""Pushes to a company's server: what it gets, and what its answers mean."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from cometd_chat.push import (
    MARKER,
    DeadDevice,
    Delivered,
    Dropped,
    Line,
    Misconfigured,
    Outcome,
    Retry,
)
from cometd_chat.push.guard import Outbound
from cometd_chat.push.webhook import (
    CustomHttpProvider,
    HttpCallbackProvider,
    callback_rules,
    signature,
)
from tests.keys import tls_pair
from tests.push.facts import NOW, TEXT, SetClock, device, notification, said
from tests.push.fake_webhook import FakeDns, FakeHook, answers, hook

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = base64.b64encode(b"n" * 32).decode()


@asynccontextmanager
async def custom(
    secret: str = "", login: str = ""
) -> AsyncIterator[tuple[CustomHttpProvider, FakeHook]]:
    async with hook() as fake:
        url = fake.url("/hook?key=hush", login)
        provider = CustomHttpProvider(url, secret=secret, clock=SetClock())
        try:
            yield provider, fake
        finally:
            await provider.close()


async def test_customhttp_without_a_secret_posts_the_body_of_gms() -> None:
    async with custom() as (provider, fake):
        assert await provider.send(device("dev-42"), notification()) == Delivered()
        (arrived,) = fake.arrived
    body = json.loads(arrived.body)
    assert body["deviceId"] == "dev-42"
    assert body["message"]["message"] == TEXT
    assert body["message"]["lastTranscript"] == [{"Message.Text": TEXT}]
    assert arrived.path == "/hook?key=hush"
    assert arrived.headers["Content-Type"] == "application/json"
    assert not [name for name in arrived.headers if name.startswith("webhook-")]


async def test_customhttp_with_a_secret_posts_our_body_signed_with_every_key() -> None:
    async with custom(f"{OLD} {NEW}") as (provider, fake):
        sent = notification()
        assert await provider.send(device("dev-42"), sent) == Delivered()
        (arrived,) = fake.arrived
    assert arrived.headers["webhook-id"] == sent.id
    assert arrived.headers["webhook-timestamp"] == str(int(NOW))
    signed = f"{sent.id}.{int(NOW)}.".encode() + arrived.body
    expected = [
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        for key in (b"o" * 24, b"n" * 32)
    ]
    assert arrived.headers["webhook-signature"].split(" ") == expected
    assert json.loads(arrived.body)[MARKER]["position"] == 4


async def test_each_try_has_the_same_id_and_its_own_time() -> None:
    clock = SetClock()
    async with hook() as fake:
        provider = CustomHttpProvider(fake.url(), secret=NEW, clock=clock)
        await provider.send(device("dev-42"), notification())
        clock.wall += 60
        await provider.send(device("dev-42"), notification())
        await provider.close()
        first, second = fake.arrived
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.headers["webhook-timestamp"] == str(int(NOW) + 60)
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    message = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    headers = signature((key,), message, 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": message,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_user_and_password_of_the_url_become_a_header() -> None:
    async with custom(login="me:p%40ss@") as (provider, fake):
        assert await provider.send(device("dev-42"), notification()) == Delivered()
        (arrived,) = fake.arrived
    login = base64.b64encode(b"me:p@ss").decode()
    assert arrived.headers["Authorization"] == f"Basic {login}"


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, Delivered()),
        (202, {}, Delivered()),
        (204, {}, Delivered()),
        (302, {"Location": "/elsewhere"}, Misconfigured(said(302))),
        (400, {}, Dropped(said(400))),
        (401, {}, Misconfigured(said(401))),
        (403, {}, Misconfigured(said(403))),
        (404, {}, Retry(said(404))),
        (405, {}, Misconfigured(said(405))),
        (407, {}, Misconfigured(said(407))),
        (408, {}, Retry(said(408))),
        (410, {}, DeadDevice(said(410))),
        (413, {}, Dropped(said(413))),
        (422, {}, Dropped(said(422))),
        (425, {}, Retry(said(425))),
        (429, {"Retry-After": "120"}, Retry(said(429), 120.0)),
        (500, {}, Retry(said(500))),
        (502, {}, Retry(said(502))),
        (503, {"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}, Retry(said(503), 60.0)),
        (504, {"Retry-After": "whenever"}, Retry(said(504))),
        (999, {}, Dropped(said(999))),
    ],
)
async def test_what_a_status_of_customhttp_means(
    status: int, headers: Mapping[str, str], outcome: Outcome
) -> None:
    async with custom() as (provider, fake):
        fake.handler = answers(status, headers=headers)
        assert await provider.send(device("dev-42"), notification()) == outcome
        assert len(fake.arrived) == 1


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"rejected": ["dev-42"]}', DeadDevice("rejected by the webhook")),
        (b'{"rejected": ["dev-4", 42, null]}', Delivered()),
        (b'{"rejected": "dev-42"}', Delivered()),
        (b'{"rejected": {"dev-42": 1}}', Delivered()),
        (b'["dev-42"]', Delivered()),
        (b'{"rejected": ["dev-42"]', Delivered()),
        (b"\xff\xfe\xfd", Delivered()),
        (b"[" * 60_000, Delivered()),
        (b"", Delivered()),
    ],
)
async def test_an_answer_may_name_dead_devices(body: bytes, outcome: Outcome) -> None:
    async with custom() as (provider, fake):
        fake.handler = answers(200, body)
        assert await provider.send(device("dev-42"), notification()) == outcome


async def test_a_failure_rejects_nobody() -> None:
    async with custom() as (provider, fake):
        fake.handler = answers(503, b'{"rejected": ["dev-42"]}')
        assert await provider.send(device("dev-42"), notification()) == Retry(said(503))


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    async with hook() as fake:
        url = fake.url()
    provider = CustomHttpProvider(url, clock=SetClock())
    outcome = await provider.send(device("dev-42"), notification())
    assert outcome == Retry("no answer (ClientConnectorError)")
    await provider.close()


async def test_a_device_id_that_is_too_long_is_told_not_raised() -> None:
    async with custom() as (provider, fake):
        outcome = await provider.send(device("d" * 30_000), notification())
        assert outcome == Dropped("the push is too large")
        assert fake.arrived == []


async def test_a_redirect_does_not_carry_the_text_away() -> None:
    async with custom() as (provider, fake), hook() as other:
        fake.handler = answers(307, headers={"Location": other.url()})
        await provider.send(device("dev-42"), notification())
        assert other.arrived == []


@pytest.mark.parametrize(
    ("url", "secret", "complaint"),
    [
        ("ftp://hook.test/", "", "customhttp.url must be an http or https address"),
        ("https:///x", "", "customhttp.url must be an http or https address"),
        ("https://hook.test/", "hush!", "customhttp.secret must be base64"),
        ("https://hook.test/", "aHVzaA==", "must have 24 bytes or more"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    url: str, secret: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        CustomHttpProvider(url, secret=secret, clock=SetClock())
    assert not secret or secret not in str(refused.value)


@asynccontextmanager
async def callback(
    *hosts: str, private: bool = True, plain: bool = False
) -> AsyncIterator[tuple[HttpCallbackProvider, FakeHook]]:
    server, client = tls_pair("hook.test")
    async with hook(None if plain else server) as fake:
        out = Outbound(
            callback_rules(hosts, private=private),
            clock=SetClock(),
            resolver=FakeDns(port=fake.port, hook_test=[["127.0.0.1"]]),
            tls=client,
        )
        provider = HttpCallbackProvider(out)
        try:
            yield provider, fake
        finally:
            await provider.close()


CALLBACK = device("https://hook.test/me?key=hush", "httpcb")


async def test_httpcb_posts_the_plain_text_to_the_device() -> None:
    async with callback("hook.test") as (provider, fake):
        assert await provider.send(CALLBACK, notification()) == Delivered()
        (arrived,) = fake.arrived
    assert arrived.path == "/me?key=hush"
    assert arrived.body.decode() == TEXT
    assert arrived.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_httpcb_posts_by_plain_http_as_gms_does() -> None:
    async with callback("hook.test:8080", plain=True) as (provider, fake):
        plain = device("http://hook.test:8080/me", "httpcb")
        assert await provider.send(plain, notification()) == Delivered()
        assert fake.arrived[0].body.decode() == TEXT


async def test_half_a_character_does_not_stop_a_callback() -> None:
    async with callback("hook.test") as (provider, fake):
        sent = notification(body="hm \ud83d")
        assert await provider.send(CALLBACK, sent) == Delivered()
        assert fake.arrived[0].body == b"hm ?"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Delivered()),
        (201, Dropped(said(201))),
        (204, Dropped(said(204))),
        (302, Dropped(said(302))),
        (404, Dropped(said(404))),
        (408, Retry(said(408))),
        (410, DeadDevice(said(410))),
        (429, Retry(said(429))),
        (503, Retry(said(503))),
    ],
)
async def test_only_200_is_success_for_httpcb(status: int, outcome: Outcome) -> None:
    async with callback("hook.test") as (provider, fake):
        fake.handler = answers(status)
        assert await provider.send(CALLBACK, notification()) == outcome


async def test_httpcb_calls_nobody_who_is_not_on_the_list() -> None:
    async with callback() as (provider, fake):
        outcome = await provider.send(CALLBACK, notification())
        assert outcome == Dropped("the host is not on the list")
        assert fake.arrived == []


async def test_httpcb_calls_no_private_address() -> None:
    async with callback("hook.test", private=False) as (provider, fake):
        outcome = await provider.send(CALLBACK, notification())
        assert outcome == Dropped("the address is not public")
        assert fake.arrived == []


async def test_httpcb_has_no_form_for_a_silent_push() -> None:
    async with callback("hook.test") as (provider, fake):
        outcome = await provider.send(CALLBACK, notification(silent=True))
        assert outcome == Dropped("a callback has no form for a push without text")
        assert fake.arrived == []


async def test_no_secret_and_no_text_is_logged_or_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ["hush", TEXT, "p@ss", OLD, NEW]

    async def broken(_: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text=TEXT)

    async with custom(f"{OLD} {NEW}", "me:p%40ss@") as (provider, fake):
        fake.handler = broken
        shown = [repr(provider), repr(await provider.send(CALLBACK, notification()))]
    async with callback("other.test") as (calling, _):
        shown += [repr(calling), repr(await calling.send(CALLBACK, notification()))]
    shown += [
        r.getMessage() for r in caplog.records if not r.name.startswith("aiohttp")
    ]
    assert not [text for text in shown for secret in secrets if secret in text]


async def test_oldest_lines_go_first_when_there_are_too_many() -> None:
    lines = tuple(Line(event="Message.Text", text=f"{n} " * 100) for n in range(200))
    async with custom() as (provider, fake):
        await provider.send(device("dev-42"), notification(lines=lines))
        told = json.loads(fake.arrived[0].body)["message"]["lastTranscript"]
    assert 0 < len(told) < 200
    assert told[-1] == {"Message.Text": "199 " * 100}
