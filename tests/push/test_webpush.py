"""Web Push: what a browser can read, what its push service sees, who is spoken to."""

import json
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import http_ece  # type: ignore[import-untyped]  # no stubs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cometd_chat.model import Device
from cometd_chat.push import (
    MARKER,
    DeadDevice,
    Delivered,
    Dropped,
    Line,
    Outcome,
    Retry,
)
from cometd_chat.push.browsers import SERVICES
from cometd_chat.push.guard import Outbound, Rules
from cometd_chat.push.webpush import LONGEST_TTL, WebPushProvider
from tests.keys import private_pem, tls_pair
from tests.push.facts import NOW, TEXT, SetClock, device, notification, said
from tests.push.fake_webhook import Arrived, FakeDns, FakeHook, answers, hook

SUBJECT = "mailto:push@example.com"
HOST = "updates.push.services.mozilla.com"
ENDPOINT = f"https://{HOST}/wpush/v2/hush"


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass
class Browser:
    """Subscribes, and reads what arrives."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    secret: bytes = b"s" * 16

    def subscription(self, endpoint: str = ENDPOINT) -> Device:
        keys = {
            "p256dh": encoded(point(self.key.public_key())),
            "auth": encoded(self.secret),
        }
        facts = {"endpoint": endpoint, "expirationTime": None, "keys": keys}
        return device(json.dumps(facts), "webpush")

    def read(self, arrived: Arrived) -> object:
        assert arrived.headers["Content-Encoding"] == "aes128gcm"
        plain = http_ece.decrypt(
            arrived.body,
            private_key=self.key,
            auth_secret=self.secret,
            version="aes128gcm",
        )
        return json.loads(plain)


def key_file(folder: Path) -> tuple[Path, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    file = folder / "vapid.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem)
    return file, key


@dataclass
class Bench:
    """A provider, and a push service on loopback that Mozilla's name leads to."""

    provider: WebPushProvider
    service: FakeHook
    key: ec.EllipticCurvePrivateKey


@asynccontextmanager
async def bench(
    folder: Path, hosts: tuple[str, ...] = SERVICES, *, private: bool = True
) -> AsyncIterator[Bench]:
    server, client = tls_pair(HOST)
    async with hook(server) as fake:
        clock = SetClock()
        dns = FakeDns(port=fake.port, **{HOST: [["127.0.0.1"]]})
        rules = Rules(hosts=hosts, private=private)
        out = Outbound(rules, clock=clock, resolver=dns, tls=client)
        file, key = key_file(folder)
        provider = WebPushProvider(file, subject=SUBJECT, out=out, clock=clock)
        fake.handler = answers(201)
        try:
            yield Bench(provider, fake, key)
        finally:
            await provider.close()


async def test_the_browser_can_read_what_was_sent(tmp_path: Path) -> None:
    browser = Browser()
    async with bench(tmp_path) as b:
        outcome = await b.provider.send(browser.subscription(), notification())
        (arrived,) = b.service.arrived
    assert outcome == Delivered()
    assert arrived.path == "/wpush/v2/hush"
    told = browser.read(arrived)
    assert isinstance(told, dict)
    assert told["body"] == TEXT
    assert told[MARKER]["position"] == 4
    assert TEXT.encode() not in arrived.body


async def test_the_push_service_learns_who_sends_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await b.provider.send(Browser().subscription(), notification())
        (arrived,) = b.service.arrived
    scheme, _, proof = arrived.headers["Authorization"].partition(" ")
    parts = dict(part.split("=", 1) for part in proof.split(","))
    assert scheme == "vapid"
    assert parts["k"] == encoded(point(b.key.public_key()))
    claims = jwt.decode(
        parts["t"],
        b.key.public_key(),
        algorithms=["ES256"],
        audience=f"https://{HOST}",
        options={"verify_exp": False},
    )
    assert claims["sub"] == SUBJECT
    assert 0 < claims["exp"] - NOW <= 86_400


async def test_headers_say_how_long_how_urgent_and_what_it_replaces(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        phone = Browser().subscription()
        await b.provider.send(phone, notification(collapse="180-chat"))
        await b.provider.send(phone, notification(collapse="other", expires_at=NOW - 5))
        await b.provider.send(phone, notification(expires_at=NOW + 1e9))
        first, second, third = (each.headers for each in b.service.arrived)
    assert (first["TTL"], first["Urgency"]) == ("600", "high")
    assert len(first["Topic"]) == 32
    assert len(urlsafe_b64decode(first["Topic"])) == 24
    assert (second["TTL"], third["TTL"]) == ("0", str(LONGEST_TTL))
    assert first["Topic"] != second["Topic"]
    assert "Topic" not in third


async def test_a_full_push_fits_a_record(tmp_path: Path) -> None:
    browser = Browser()
    lines = tuple(Line(event="Message.Text", text="ø" * 400) for _ in range(50))
    async with bench(tmp_path) as b:
        await b.provider.send(browser.subscription(), notification(lines=lines))
        (arrived,) = b.service.arrived
    assert 3000 < len(arrived.body) <= 4096
    told = browser.read(arrived)
    assert isinstance(told, dict)
    assert 0 < len(told["lastTranscript"]) < 50


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, Delivered()),
        (201, {}, Delivered()),
        (202, {}, Delivered()),
        (301, {"Location": "/elsewhere"}, Dropped(said(301))),
        (400, {}, Dropped(said(400))),
        (401, {}, DeadDevice(said(401), doubtful=True)),
        (403, {}, DeadDevice(said(403), doubtful=True)),
        (404, {}, DeadDevice(said(404))),
        (408, {}, Retry(said(408))),
        (410, {}, DeadDevice(said(410))),
        (413, {}, Dropped(said(413))),
        (429, {"Retry-After": "30"}, Retry(said(429), 30.0)),
        (500, {}, Retry(said(500))),
        (503, {"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}, Retry(said(503), 60.0)),
    ],
)
async def test_what_a_status_means(
    tmp_path: Path, status: int, headers: Mapping[str, str], outcome: Outcome
) -> None:
    async with bench(tmp_path) as b:
        b.service.handler = answers(status, headers=headers)
        sent = await b.provider.send(Browser().subscription(), notification())
        assert sent == outcome
        assert len(b.service.arrived) == 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "not json",
        "half \ud83d",
        "[]",
        '{"a":' + "[" * 200_000,
        "{}",
        '{"endpoint": "https://x.push.apple.com/"}',
        '{"endpoint": 5, "keys": {"p256dh": "", "auth": ""}}',
        '{"endpoint": "https://x.push.apple.com/", "keys": {"p256dh": "", "auth": ""}}',
        json.dumps(
            {
                "endpoint": "https://x.push.apple.com/",
                "keys": {"p256dh": encoded(b"\x04" + b"1" * 64), "auth": "AAAA"},
            }
        ),
    ],
)
async def test_what_is_no_subscription_is_dead(tmp_path: Path, address: str) -> None:
    async with bench(tmp_path) as b:
        outcome = await b.provider.send(device(address, "webpush"), notification())
        assert outcome == DeadDevice("not a Web Push subscription")
        assert b.service.arrived == []


@pytest.mark.parametrize("secret", [b"", b"s" * 15, b"s" * 17])
async def test_a_secret_of_another_length_is_dead(
    tmp_path: Path, secret: bytes
) -> None:
    async with bench(tmp_path) as b:
        phone = Browser(secret=secret).subscription()
        outcome = await b.provider.send(phone, notification())
        assert outcome == DeadDevice("not a Web Push subscription")


@pytest.mark.parametrize("endpoint", ["", "x", "/x", "http//x", "https://h:99999/"])
async def test_an_endpoint_that_is_no_address_is_dead(
    tmp_path: Path, endpoint: str
) -> None:
    async with bench(tmp_path) as b:
        phone = Browser().subscription(endpoint)
        outcome = await b.provider.send(phone, notification())
        assert outcome == DeadDevice("not a Web Push subscription")


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("https://evil.example/x", "the host is not on the list"),
        ("https://push.apple.com.evil.example/x", "the host is not on the list"),
        ("https://169.254.169.254/x", "the host is not on the list"),
        (f"http://{HOST}/x", "the scheme is not allowed"),
        (f"https://{HOST}:8443/x", "the host is not on the list"),
        (f"https://{HOST}@evil.example/x", "a user in the URL is not allowed"),
    ],
)
async def test_only_push_services_are_spoken_to(
    tmp_path: Path, endpoint: str, reason: str
) -> None:
    async with bench(tmp_path) as b:
        phone = Browser().subscription(endpoint)
        assert await b.provider.send(phone, notification()) == Dropped(reason)
        assert b.service.arrived == []


async def test_a_push_service_that_leads_inside_is_not_spoken_to(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, private=False) as b:
        outcome = await b.provider.send(Browser().subscription(), notification())
        assert outcome == Dropped("the address is not public")
        assert b.service.arrived == []


async def test_a_push_that_shows_nothing_is_not_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        silent = notification(silent=True, badge=0)
        outcome = await b.provider.send(Browser().subscription(), silent)
        assert outcome == Dropped("browsers take no push that shows nothing")
        assert b.service.arrived == []


async def test_what_cannot_be_shortened_is_dropped(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        long = notification(webpush={"icon": "x" * 5000})
        outcome = await b.provider.send(Browser().subscription(), long)
        assert outcome == Dropped("the push is too large")


@pytest.mark.parametrize("kind", ["rsa", "curve", "public", "text"])
def test_a_key_that_cannot_sign_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "vapid.pem"
    match kind:
        case "rsa":
            file.write_bytes(private_pem(rsa.generate_private_key(65537, 2048)))
        case "curve":
            file.write_bytes(private_pem(ec.generate_private_key(ec.SECP384R1())))
        case "public":
            key = ec.generate_private_key(ec.SECP256R1()).public_key()
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            file.write_bytes(pem)
        case _:
            file.write_text("hush")
    with pytest.raises(ValueError, match="key") as refused:
        provider(file)
    assert "hush" not in str(refused.value)


def test_a_missing_key_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "vapid.pem"
    with pytest.raises(FileNotFoundError):
        provider(file)
    assert not file.exists()


@pytest.mark.parametrize("subject", ["", "me", "http://example.com"])
def test_a_subject_that_services_refuse_is_refused_at_once(
    tmp_path: Path, subject: str
) -> None:
    file, _ = key_file(tmp_path)
    with pytest.raises(ValueError, match="subject must be a mailto: or https: URL"):
        provider(file, subject)


def provider(file: Path, subject: str = SUBJECT) -> WebPushProvider:
    out = Outbound(Rules(), clock=SetClock())
    return WebPushProvider(file, subject=subject, out=out, clock=SetClock())


async def test_no_address_and_no_text_is_logged_or_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    phone = Browser().subscription()
    async with bench(tmp_path) as b:
        b.service.handler = answers(400, TEXT.encode())
        outcome = await b.provider.send(phone, notification())
        shown = [repr(outcome), repr(b.provider)]
    ours = [each for each in caplog.records if each.name != "aiohttp.access"]
    shown += [each.getMessage() for each in ours]
    secrets = (TEXT, "hush", json.loads(phone.id)["keys"]["auth"])
    assert not [text for text in shown for secret in secrets if secret in text]
