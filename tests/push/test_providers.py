"""Providers are made once, made anew when told otherwise, and closed in peace."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from cometd_chat.config import Config, LiveConfig, loads
from cometd_chat.model import Device
from cometd_chat.push import DeadDevice, Delivered, Misconfigured, Retry
from cometd_chat.push.providers import AGAIN, Providers
from tests.keys import private_pem
from tests.push.apns_world import write_key
from tests.push.facts import SetClock, device, notification
from tests.push.fake_apns import Answer, FakeApns
from tests.push.fake_webhook import hook, never
from tests.web.conftest import until

MOZILLA = "webpush/*.push.services.mozilla.com:main"


def config(url: str = "", more: str = "") -> Config:
    line = f"customhttp.url = {url}\n" if url else ""
    loaded = loads(f"[push]\npushEnabled = comet\n[push.provider.main]\n{line}{more}")
    assert loaded.config is not None, loaded.problems
    return loaded.config


async def test_many_pushes_at_once_share_one_provider() -> None:
    """Had each its own, connections would be left open, which fails the test."""
    async with hook() as fake:
        providers = Providers(SetClock(), LiveConfig(config(fake.url())))
        outcomes = await asyncio.gather(
            *(
                providers.send("customhttp:main", device(f"d{n}"), notification())
                for n in range(20)
            )
        )
        assert outcomes == [Delivered()] * 20
        assert len(providers._accounts) == 1
        await providers.close()


async def test_new_options_take_effect_and_cut_nothing_off() -> None:
    go = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await go.wait()
        return web.Response()

    async with hook() as old, hook() as new:
        old.handler = slow
        live = LiveConfig(config(old.url()))
        providers = Providers(SetClock(), live)
        first = asyncio.create_task(
            providers.send("customhttp:main", device("a"), notification())
        )
        await until(lambda: old.arrived)
        live.replace(config(new.url()))
        sent = await providers.send("customhttp:main", device("b"), notification())
        go.set()
        assert [await first, sent] == [Delivered(), Delivered()]
        assert (len(old.arrived), len(new.arrived)) == (1, 1)
        await providers.close()


async def test_a_device_under_test_has_a_provider_of_its_own() -> None:
    async with hook() as real, hook() as test:
        more = f"debug.customhttp.url = {test.url()}\n"
        providers = Providers(SetClock(), LiveConfig(config(real.url(), more)))
        for sender in ("customhttp:main", "customhttp:main:debug"):
            await providers.send(sender, device("a"), notification())
        assert (len(real.arrived), len(test.arrived)) == (1, 1)
        await providers.close()


BAD = Answer(status=400, reason="BadDeviceToken")
PHONE = Device(id="0f" * 32, type="ios")


def apple(folder: Path, real: FakeApns, sandbox: FakeApns) -> str:
    write_key(folder / "key.p8")
    return (
        f"apns.key_file = {folder / 'key.p8'}\n"
        "apns.key_id = KEY0000001\napns.team_id = TEAM000001\n"
        "apns.topic = com.example.chat\n"
        f"apns.server = {real.url}\ndebug.apns.server = {sandbox.url}\n"
    )


@pytest.fixture
async def apples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeApns, FakeApns]]:
    """Apple's two environments, which this process trusts."""
    sandbox = FakeApns(tmp_path)
    real = FakeApns(tmp_path)
    sandbox.identity = real.identity  # whose files the second one has written
    monkeypatch.setenv("SSL_CERT_FILE", str(real.identity.certificate))
    async with real, sandbox:
        yield real, sandbox


@pytest.mark.parametrize("sender", ["apns:main", "apns:main:debug"])
async def test_a_phone_that_apple_does_not_know_is_tried_in_the_other_environment(
    tmp_path: Path, apples: tuple[FakeApns, FakeApns], sender: str
) -> None:
    first, other = apples if sender == "apns:main" else apples[::-1]
    first.respond = lambda _: BAD
    live = LiveConfig(config(more=apple(tmp_path, *apples)))
    providers = Providers(SetClock(), live)
    assert await providers.send(sender, PHONE, notification()) == Delivered()
    assert (len(first.pushes), len(other.pushes)) == (1, 1)
    other.respond = lambda _: BAD
    dead = await providers.send(sender, PHONE, notification())
    assert dead == DeadDevice("BadDeviceToken", doubtful=True)
    for status in (503, 403):  # it is busy, or does not take our key: nobody knows
        other.respond = lambda _, status=status: Answer(status=status)
        later = await providers.send(sender, PHONE, notification())
        assert isinstance(later, Retry)
    await providers.close()


async def test_without_another_environment_there_is_no_second_try(
    tmp_path: Path, apples: tuple[FakeApns, FakeApns]
) -> None:
    real, _ = apples
    real.respond = lambda _: BAD
    live = LiveConfig(config(more=apple(tmp_path, real, real)))
    providers = Providers(SetClock(), live)
    dead = await providers.send("apns:main", PHONE, notification())
    assert isinstance(dead, DeadDevice)
    assert len(real.pushes) == 1
    await providers.close()


async def test_comet_without_a_server_is_misconfigured() -> None:
    providers = Providers(SetClock(), LiveConfig(config()))
    outcome = await providers.send("comet:main", device("a", "comet"), notification())
    assert isinstance(outcome, Misconfigured)


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("apns", "apns.key_file or apple.keystore is needed"),
        ("fcm", "fcm.credentials_file is missing"),
        ("customhttp", "customhttp.url must be an http or https address"),
        ("webpush", "webpush.vapid_key_file is missing"),
    ],
)
async def test_without_options_nothing_is_sent_and_it_is_said(
    family: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    providers = Providers(SetClock(), LiveConfig(config()))
    for _ in range(3):
        outcome = await providers.send(f"{family}:main", device("a"), notification())
        assert isinstance(outcome, Misconfigured)
    assert caplog.text.count(f"pushes by {family}: {told}") == 1
    await providers.close()


@pytest.mark.parametrize(
    ("family", "option"),
    [("apns", "apns.key_file"), ("webpush", "webpush.vapid_key_file")],
)
async def test_of_a_file_that_is_no_key_the_option_is_told_and_no_word_of_it(
    family: str, option: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("hush")
    ids = "apns.key_id = KEY0000001\napns.team_id = TEAM000001\n"
    live = LiveConfig(config(more=f"{ids}{option} = {tmp_path / 'file'}\n"))
    providers = Providers(SetClock(), live)
    outcome = await providers.send(f"{family}:main", device("a"), notification())
    assert isinstance(outcome, Misconfigured)
    assert f"pushes by {family}: {option} holds no private key" in caplog.text
    assert "hush" not in caplog.text
    await providers.close()


async def test_a_file_that_was_missing_is_found_later(tmp_path: Path) -> None:
    file, clock = tmp_path / "key.p8", SetClock()
    write_key(file)
    ids = "apns.key_id = KEY0000001\napns.team_id = TEAM000001\n"
    more = f"apns.key_file = {file}\n{ids}apns.topic = com.example.chat\n"
    providers = Providers(clock, LiveConfig(config(more=more)))
    kept = file.read_bytes()
    file.unlink()

    async def misconfigured() -> bool:
        phone = Device(id="no token", type="ios")
        outcome = await providers.send("apns:main", phone, notification())
        return isinstance(outcome, Misconfigured)

    assert await misconfigured()
    file.write_bytes(kept)
    assert await misconfigured()
    clock.running += AGAIN
    assert not await misconfigured()
    await providers.close()


async def test_a_new_key_for_browsers_is_read(tmp_path: Path) -> None:
    file = tmp_path / "vapid.pem"
    file.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    live = LiveConfig(config(more=f"webpush.vapid_key_file = {file}\n"))
    providers = Providers(SetClock(), live)
    browser = device("no subscription", "webpush")

    async def used() -> object:
        await providers.send(MOZILLA, browser, notification())
        return providers._accounts[MOZILLA].provider

    first = await used()
    assert await used() is first
    file.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())) + b"\n")
    assert await used() is not first
    await providers.close()


async def test_closing_lets_what_is_under_way_be_cancelled() -> None:
    async with hook() as fake:
        fake.handler = never
        providers = Providers(SetClock(), LiveConfig(config(fake.url())))
        task = asyncio.create_task(
            providers.send("customhttp:main", device("a"), notification())
        )
        await until(lambda: fake.arrived)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await providers.close()
    assert task.cancelled()
