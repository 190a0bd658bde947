"""Providers are made once, made anew when told otherwise, and closed in peace."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from cometd_chat.config import Config, LiveConfig, loads
from cometd_chat.push import Delivered, Misconfigured
from cometd_chat.push.providers import AGAIN, Providers
from tests.push.apns_keys import private_pem
from tests.push.fake_webhook import FakeClock, device, hook, never, notification
from tests.web.conftest import until


def config(url: str = "", more: str = "") -> Config:
    line = f"customhttp.url = {url}\n" if url else ""
    loaded = loads(f"[push]\npushEnabled = comet\n[push.provider.main]\n{line}{more}")
    assert loaded.config is not None, loaded.problems
    return loaded.config


async def test_many_pushes_at_once_share_one_provider() -> None:
    """Had each its own, connections would be left open, which fails the test."""
    async with hook() as fake:
        providers = Providers(FakeClock(), LiveConfig(config(fake.url())))
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
        providers = Providers(FakeClock(), live)
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
        providers = Providers(FakeClock(), LiveConfig(config(real.url(), more)))
        for sender in ("customhttp:main", "customhttp:main:debug"):
            await providers.send(sender, device("a"), notification())
        assert (len(real.arrived), len(test.arrived)) == (1, 1)
        await providers.close()


@pytest.mark.parametrize("family", ["apns", "fcm", "customhttp", "webpush"])
async def test_without_options_nothing_is_sent_and_it_is_said(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    providers = Providers(FakeClock(), LiveConfig(config()))
    for _ in range(3):
        outcome = await providers.send(f"{family}:main", device("a"), notification())
        assert isinstance(outcome, Misconfigured)
    assert caplog.text.count(f"pushes by {family}") == 1
    await providers.close()


async def test_a_file_that_was_missing_is_found_later(tmp_path: Path) -> None:
    file, clock = tmp_path / "vapid.pem", FakeClock()
    file.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    more = f"webpush.vapid_key_file = {file}\n"
    providers = Providers(clock, LiveConfig(config(more=more)))
    kept = file.read_bytes()
    file.unlink()

    async def misconfigured() -> bool:
        browser = device("no subscription", "webpush")
        outcome = await providers.send("webpush:main", browser, notification())
        return isinstance(outcome, Misconfigured)

    assert await misconfigured()
    file.write_bytes(kept)
    assert await misconfigured()
    clock.running += AGAIN
    assert not await misconfigured()
    await providers.close()


async def test_closing_lets_what_is_under_way_be_cancelled() -> None:
    async with hook() as fake:
        fake.handler = never
        providers = Providers(FakeClock(), LiveConfig(config(fake.url())))
        task = asyncio.create_task(
            providers.send("customhttp:main", device("a"), notification())
        )
        await until(lambda: fake.arrived)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await providers.close()
    assert task.cancelled()
