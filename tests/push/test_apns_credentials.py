"""How we show APNs who we are, and what happens when that changes."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from cometd_chat.config.push_options import ProviderOptions
from cometd_chat.push import Delivered, Retry
from cometd_chat.push.apns import ApnsProvider
from cometd_chat.push.apns_credentials import CredentialsError
from tests.keys import private_pem
from tests.push.apns_keys import Identity
from tests.push.apns_world import World, key_options, world, write_key
from tests.push.facts import NOW, SetClock
from tests.push.fake_apns import OK, Answer

MINUTE = 60


def tokens(w: World) -> list[str]:
    """Return the provider tokens in the order of the pushes."""
    return [p.headers["authorization"].removeprefix("bearer ") for p in w.apns.pushes]


async def test_the_token_is_signed_with_the_key_of_the_team(tmp_path: Path) -> None:
    options = key_options(tmp_path)
    public = write_key(tmp_path / "key.p8")
    async with world(tmp_path, options) as w:
        await w.send()
        (token,) = tokens(w)
        claims = jwt.decode(
            token, public, algorithms=["ES256"], options={"verify_iat": False}
        )
        assert claims == {"iss": "TEAM000001", "iat": int(NOW)}
        assert jwt.get_unverified_header(token)["kid"] == "KEY0000001"


async def test_a_token_serves_for_fifty_minutes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for minutes in (0, 25, 24, 1):
            w.clock.pass_by(minutes * MINUTE)
            await w.send()
        first, second, third, fourth = tokens(w)
        assert first == second == third != fourth


async def test_a_machine_that_slept_or_set_its_clock_back_takes_a_new_token(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await w.send()
        w.clock.wall += 60 * MINUTE
        await w.send()
        w.clock.wall -= 120 * MINUTE
        await w.send()
        w.clock.running += 60 * MINUTE
        await w.send()
        first, slept, back, later = tokens(w)
        assert first != slept == back != later


@pytest.mark.parametrize(("age", "renewed"), [(19, False), (21, True)])
async def test_a_token_called_expired_is_renewed_as_often_as_apple_allows(
    tmp_path: Path, age: int, renewed: bool
) -> None:
    async with world(tmp_path) as w:
        await w.send()
        w.clock.pass_by(age * MINUTE)
        w.apns.respond = lambda _: Answer(status=403, reason="ExpiredProviderToken")
        assert set(await w.burst(10)) == {Retry("ExpiredProviderToken")}
        w.apns.respond = lambda _: OK
        assert await w.send() == Delivered()
        assert len(set(tokens(w))) == 1 + renewed


async def test_too_many_token_updates_bring_no_new_token(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answer = Answer(status=429, reason="TooManyProviderTokenUpdates")
        w.clock.pass_by(30 * MINUTE)
        w.apns.respond = lambda _: answer
        await w.send()
        await w.send()
        assert len(set(tokens(w))) == 1


async def test_providers_with_the_same_key_share_its_token(tmp_path: Path) -> None:
    options = key_options(tmp_path)
    async with world(tmp_path, options) as w:
        w.clock.pass_by(MINUTE)
        other = replace(w.provider._options, apns_topic="com.example.other")
        second = ApnsProvider(other, w.clock, tls=w.apns.identity.trust)
        await w.send()
        await World(w.apns, second, w.clock).send()
        await second.close()
        assert len(set(tokens(w))) == 1
        assert [p.headers["apns-topic"] for p in w.apns.pushes] == [
            "com.example.chat",
            "com.example.other",
        ]


def rsa_pem() -> bytes:
    key = rsa.generate_private_key(65_537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"",
        lambda: b"s3cret but no key",
        lambda: b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n",
        lambda: private_pem(ec.generate_private_key(ec.SECP384R1())),
        rsa_pem,
    ],
    ids=["empty", "text", "broken", "other curve", "rsa"],
)
def test_a_key_that_cannot_sign_is_found_at_the_start(
    tmp_path: Path, content: Callable[[], bytes]
) -> None:
    options = key_options(tmp_path)
    (tmp_path / "key.p8").write_bytes(content())
    with pytest.raises(CredentialsError, match=r"apns\.key_file") as caught:
        ApnsProvider(options, SetClock())
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"apns_key_file": None}, r"apns\.key_file or apple\.keystore"),
        ({"apns_key_id": ""}, r"apns\.key_id"),
        ({"apns_team_id": ""}, r"apns\.team_id"),
        ({"apns_topic": ""}, r"apns\.topic"),
        ({"apns_topic": "com.x\r\ny: z"}, r"apns\.topic"),
        ({"apns_server": "http://localhost"}, r"apns\.server .* https://"),
        ({"apns_server": "https://"}, r"apns\.server"),
    ],
)
def test_wrong_options_are_found_at_the_start(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    options = replace(key_options(tmp_path), **wrong)
    with pytest.raises(CredentialsError, match=told):
        ApnsProvider(options, SetClock())


def test_a_missing_key_file_is_found_at_the_start(tmp_path: Path) -> None:
    options = key_options(tmp_path)
    (tmp_path / "key.p8").unlink()
    with pytest.raises(FileNotFoundError):
        ApnsProvider(options, SetClock())


def replaced(file: Path, content: bytes) -> None:
    """Put other content into place as admins do, with a time of its own."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    later = time.time() + 60
    os.utime(new, (later, later))
    new.replace(file)


async def test_a_changed_key_is_used_on_a_new_connection(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.send()
        w.apns.hold()
        (under_way,) = w.start()
        await w.apns.arrived(2)
        key = ec.generate_private_key(ec.SECP256R1())
        replaced(tmp_path / "key.p8", private_pem(key))
        (new,) = w.start()
        await w.apns.arrived(3)
        assert not under_way.done()
        w.apns.let_go()
        assert set(await asyncio.gather(under_way, new)) == {Delivered()}
        assert [p.connection for p in w.apns.pushes] == [1, 1, 2]
        jwt.decode(
            tokens(w)[2],
            key.public_key(),
            algorithms=["ES256"],
            options={"verify_iat": False},
        )
        await w.apns.until(lambda: len(w.apns.alive) == 1)


async def test_a_key_that_changes_while_connecting_is_the_one_used(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        early = w.start(3)
        await asyncio.sleep(0)
        replaced(
            tmp_path / "key.p8", private_pem(ec.generate_private_key(ec.SECP256R1()))
        )
        late = w.start(3)
        assert await asyncio.gather(*early, *late) == [Delivered()] * 6
        assert len(set(tokens(w))) == 1


async def test_a_broken_or_missing_key_file_leaves_the_old_key_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as w:
        await w.send()
        replaced(tmp_path / "key.p8", b"half of a s3cret")
        assert await w.burst(3) == [Delivered()] * 3
        (tmp_path / "key.p8").unlink()
        assert await w.send() == Delivered()
        assert len(set(tokens(w))) == 1
        assert len(w.apns.connections) == 1
        told = [r for r in caplog.records if r.name == "cometd_chat.push.apns"]
        assert [record.levelname for record in told] == ["WARNING"] * 2
        assert "s3cret" not in caplog.text


async def test_a_certificate_stands_for_its_topic_and_needs_no_token(
    tmp_path: Path,
) -> None:
    identity = Identity(tmp_path, "client", user="com.example.cert")
    options = ProviderOptions(apple_keystore=identity.pem)
    async with world(tmp_path, options, clients=identity) as w:
        assert await w.burst(5) == [Delivered()] * 5
        headers = w.apns.pushes[0].headers
        assert headers["apns-topic"] == "com.example.cert"
        assert "authorization" not in headers


async def test_a_keystore_is_opened_with_its_password(tmp_path: Path) -> None:
    identity = Identity(tmp_path, "client")
    options = ProviderOptions(
        apple_keystore=identity.keystore(tmp_path / "client.p12", "s3cret"),
        apple_keystore_password="s3cret",
        apns_topic="com.example.chat",
    )
    async with world(tmp_path, options, clients=identity) as w:
        assert await w.send() == Delivered()


@pytest.mark.parametrize("password", ["", "wr0ng"])
def test_a_wrong_password_is_found_at_the_start(tmp_path: Path, password: str) -> None:
    identity = Identity(tmp_path, "client", user="com.example.cert")
    options = ProviderOptions(
        apple_keystore=identity.keystore(tmp_path / "client.p12", "s3cret"),
        apple_keystore_password=password,
    )
    with pytest.raises(CredentialsError, match=r"apple\.keystore") as caught:
        ApnsProvider(options, SetClock())
    assert "wr0ng" not in str(caught.value)


async def test_a_server_that_does_not_know_our_certificate_is_tried_later(
    tmp_path: Path,
) -> None:
    stranger = Identity(tmp_path, "stranger", user="com.example.cert")
    options = ProviderOptions(apple_keystore=stranger.pem)
    known = Identity(tmp_path, "known")
    async with world(tmp_path, options, clients=known) as w:
        assert isinstance(await w.send(), Retry)
        assert not w.apns.pushes
