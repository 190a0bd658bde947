"""What is sent to APNs, and what its answers mean for the push and the device."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from cometd_chat.push import (
    MARKER,
    DeadDevice,
    Delivered,
    Dropped,
    Line,
    Misconfigured,
    Outcome,
    Retry,
    Scope,
)
from tests.push.apns_world import PUSH, TOKEN, world
from tests.push.facts import NOW
from tests.push.fake_apns import OK, Answer, Push


async def test_a_push_has_everything_apple_asks_for(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert await w.send(title="Ann", badge=3, collapse="chat-1") == Delivered()
        (push,) = w.apns.pushes
        authorization = push.headers.pop("authorization")
        assert authorization.startswith("bearer ey")
        assert push.headers == {
            ":method": "POST",
            ":scheme": "https",
            ":path": f"/3/device/{TOKEN}",
            ":authority": "localhost",
            "apns-id": PUSH.id,
            "apns-topic": "com.example.chat",
            "apns-expiration": "1700003600",
            "apns-priority": "10",
            "apns-push-type": "alert",
            "apns-collapse-id": "chat-1",
        }
        assert push.message == {
            "aps": {
                "alert": {"title": "Ann", "body": "New message from Agent"},
                "badge": 3,
            },
            MARKER: {
                "v": 1,
                "id": PUSH.id,
                "chat": "180-chat",
                "position": 7,
                "badge": 3,
            },
        }
        assert w.apns.connections[0].protocol == "h2"


async def test_a_silent_push_only_sets_the_badge(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.send(silent=True, badge=0)
        await w.send(silent=True)
        badge, background = w.apns.pushes
        assert badge.message["aps"] == {"badge": 0}
        assert badge.headers["apns-push-type"] == "alert"
        assert badge.headers["apns-priority"] == "5"
        assert background.message["aps"] == {"content-available": 1}
        assert background.headers["apns-push-type"] == "background"
        assert background.headers["apns-priority"] == "5"


async def test_what_has_expired_is_not_to_be_stored(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.send(expires_at=NOW - 5)
        assert w.apns.pushes[0].headers["apns-expiration"] == "0"


GONE_AT = 1_699_999_000_123

OUTCOMES: list[tuple[int, str, dict[str, Any], Outcome]] = [
    (200, "", {}, Delivered()),
    (400, "BadDeviceToken", {}, DeadDevice("BadDeviceToken", doubtful=True)),
    (
        400,
        "DeviceTokenNotForTopic",
        {},
        DeadDevice("DeviceTokenNotForTopic", doubtful=True),
    ),
    (400, "TopicDisallowed", {}, DeadDevice("TopicDisallowed", doubtful=True)),
    *(
        (status, reason, {}, Dropped(reason))
        for status, reason in (
            (400, "BadCollapseId"),
            (400, "BadExpirationDate"),
            (400, "BadMessageId"),
            (400, "BadPriority"),
            (400, "BadTopic"),
            (400, "DuplicateHeaders"),
            (400, "InvalidPushType"),
            (400, "MissingDeviceToken"),
            (400, "MissingTopic"),
            (400, "PayloadEmpty"),
            (400, "SomethingNew"),
            (404, "BadPath"),
            (405, "MethodNotAllowed"),
            (413, "PayloadTooLarge"),
        )
    ),
    *(
        (403, reason, {}, Misconfigured(reason))
        for reason in (
            "BadCertificate",
            "BadCertificateEnvironment",
            "BadEnvironmentKeyIdInToken",
            "BadEnvironmentKeyInToken",
            "Forbidden",
            "InvalidProviderToken",
            "MissingProviderToken",
            "UnrelatedKeyIdInToken",
            "SomethingNew",
        )
    ),
    (400, "IdleTimeout", {}, Retry("IdleTimeout")),
    (403, "ExpiredProviderToken", {}, Retry("ExpiredProviderToken")),
    (
        410,
        "Unregistered",
        {"timestamp": GONE_AT},
        DeadDevice("Unregistered", GONE_AT / 1000),
    ),
    (
        410,
        "ExpiredToken",
        {"timestamp": GONE_AT},
        DeadDevice("ExpiredToken", GONE_AT / 1000),
    ),
    (410, "", {}, DeadDevice("status 410")),
    (429, "TooManyRequests", {}, Retry("TooManyRequests", 60, scope=Scope.DEVICE)),
    (
        429,
        "TooManyRequests",
        {"headers": {"retry-after": "90"}},
        Retry("TooManyRequests", 90, scope=Scope.DEVICE),
    ),
    (
        429,
        "TooManyProviderTokenUpdates",
        {},
        Retry("TooManyProviderTokenUpdates", 60, Scope.PROVIDER),
    ),
    (429, "SomethingNew", {}, Retry("SomethingNew", 60)),
    (500, "InternalServerError", {}, Retry("InternalServerError", 10)),
    (
        503,
        "ServiceUnavailable",
        {"headers": {"retry-after": "3"}},
        Retry("ServiceUnavailable", 10),
    ),
    (
        503,
        "Shutdown",
        {"headers": {"retry-after": "Tue, 14 Nov 2023 22:15:20 GMT"}},
        Retry("Shutdown", 120),
    ),
    (503, "", {}, Retry("status 503", 10)),
    (302, "", {}, Retry("status 302", 10)),
]


@pytest.mark.parametrize(
    ("status", "reason", "more", "outcome"),
    OUTCOMES,
    ids=[
        f"{row[0]}-{row[1] or 'none'}-{number}" for number, row in enumerate(OUTCOMES)
    ],
)
async def test_each_answer_has_its_outcome(
    tmp_path: Path, status: int, reason: str, more: dict[str, Any], outcome: Outcome
) -> None:
    async with world(tmp_path) as w:
        w.apns.respond = lambda _: Answer(status=status, reason=reason, **more)
        assert await w.send() == outcome


@pytest.mark.parametrize(
    "token",
    ["", "cafe", "g1" * 32, "a1" * 32 + "\n", "a1\r\nx: y", "a" * 33, "a1" * 999],
)
async def test_what_is_no_token_is_never_sent(tmp_path: Path, token: str) -> None:
    async with world(tmp_path) as w:
        outcome = await w.send(token=token)
        assert outcome == DeadDevice("BadDeviceToken", doubtful=True)
        assert not w.apns.connections


@pytest.mark.parametrize("collapse", ["x" * 65, "a\r\nb", "grüße", "two words"])
async def test_a_collapse_id_apple_would_refuse_becomes_one_it_takes(
    tmp_path: Path, collapse: str
) -> None:
    async with world(tmp_path) as w:
        assert await w.send(collapse=collapse) == Delivered()
        assert await w.send(collapse=collapse) == Delivered()
        first, second = (p.headers["apns-collapse-id"] for p in w.apns.pushes)
        assert first == second
        assert len(first) == 64
        assert first.isalnum()


async def test_an_id_that_is_no_uuid_and_a_giant_are_dropped(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert await w.send(id="x\r\ny: z") == Dropped("BadMessageId")
        assert await w.send(apns={"x": "y" * 5000}) == Dropped("PayloadTooLarge")
        assert not w.apns.connections


async def test_a_payload_apple_finds_too_large_is_sent_once_more_without_transcript(
    tmp_path: Path,
) -> None:
    def respond(push: Push) -> Answer:
        return Answer(status=413, reason="PayloadTooLarge") if large(push) else OK

    def large(push: Push) -> bool:
        return len(push.body) > 2048

    async with world(tmp_path) as w:
        w.apns.respond = respond
        lines = (Line(event="Message.Text", text="y" * 3000),)
        assert await w.send(lines=lines) == Delivered()
        full, short = w.apns.pushes
        assert "lastTranscript" in full.message
        assert "lastTranscript" not in short.message
        assert full.headers["apns-id"] == short.headers["apns-id"]


async def test_neither_tokens_nor_texts_reach_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with world(tmp_path) as w:
        w.apns.respond = lambda _: Answer(status=400, reason="BadDeviceToken")
        shown = [repr(await w.send(body="top secret"))]
        w.apns.respond = lambda _: Answer(status=500)
        shown.append(repr(await w.send(body="top secret")))
        shown += [repr(w.provider), repr(vars(w.provider)), caplog.text]
        bearer = w.apns.pushes[0].headers["authorization"].removeprefix("bearer ")
    for secret in (TOKEN, "top secret", "180-chat", bearer, "PRIVATE KEY"):
        assert secret not in "".join(shown)


async def test_a_closed_provider_sends_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.apns.hold()
        under_way = w.start(3)
        await w.apns.arrived(1)
        await w.provider.close()
        assert await w.send() == Retry("provider is closed")
        for outcome in await asyncio.gather(*under_way):
            assert isinstance(outcome, Retry)
        await w.apns.until(lambda: not w.apns.alive)
        assert len(w.apns.pushes) == 1


async def test_apns_that_cannot_be_reached_is_tried_later(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.apns.__aexit__(None, None, None)
        outcomes = await w.burst(50)
        assert {type(outcome) for outcome in outcomes} == {Retry}
