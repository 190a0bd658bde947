"""`cometd-chat push`: one real push, what became of it, and of those before."""

from pathlib import Path

import pytest

from cometd_chat.model import Device, Open, Profile, Session
from cometd_chat.store.sqlite import SqliteStore
from tests.cli.program import run, says_it_in_one_sentence
from tests.push.fake_webhook import answers, hook
from tests.store.facts import answered, push

CONFIG = """\
[push]
pushEnabled = comet, customhttp, ios, fcm, httpcb, webpush
[push.provider.company]
customhttp.url = {url}
apns.key_file = /dev/null
apns.key_id = KEY
apns.team_id = TEAM
apns.topic = com.example.shop
fcm.credentials_file = /dev/null
httpcb.hosts = push.example.com
webpush.vapid_key_file = /dev/null
webpush.subject = mailto:push@example.com
[service.mute]
push = off
"""


async def tried(folder: Path, url: str, *more: str) -> tuple[int, list[str], list[str]]:
    path = folder / "chat.ini"
    path.write_text(CONFIG.format(url=url))
    status, program = await run(
        folder, "push", "test", "--config", "chat.ini", "--device", "d-1", *more
    )
    if status:
        assert says_it_in_one_sentence(program)
    return status, program.out, program.err


COMPANY = ("--type", "customhttp", "--provider", "company")


async def test_a_push_that_was_taken_is_success(tmp_path: Path) -> None:
    async with hook() as fake:
        status, out, err = await tried(tmp_path, fake.url(), *COMPANY)
    assert (status, err) == (0, [])
    assert out == ["customhttp:company has taken the push"]
    assert b"d-1" in fake.arrived[0].body
    assert b"This is a test." in fake.arrived[0].body


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (("--type", "ios"), '"aps":{"alert":{"body":"New message from Agent"}'),
        (("--type", "fcm"), '"token":"d-1"'),
        (("--type", "gcm"), '"token":"d-1"'),
        (("--type", "customhttp"), '"deviceId":"d-1"'),
        (("--type", "httpcb"), "New message from Agent"),
        (("--type", "webpush"), '"body":"New message from Agent"'),
        (("--type", "comet"), '"message":"New message from Agent"'),
    ],
)
async def test_a_dry_run_prints_the_push_and_sends_nothing(
    tmp_path: Path, more: tuple[str, ...], word: str
) -> None:
    async with hook() as fake:
        status, (out,), err = await tried(
            tmp_path, fake.url(), *more, "--provider", "company", "--dry-run"
        )
    assert (status, err, fake.arrived) == (0, [], [])
    assert word in out


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (500, "would be tried again"),
        (401, "until its options or account are corrected"),
        (410, "knows no such device"),
        (400, "would not be tried again"),
    ],
)
async def test_any_other_outcome_is_a_failure(
    tmp_path: Path, status: int, word: str
) -> None:
    async with hook() as fake:
        fake.handler = answers(status)
        code, out, err = await tried(tmp_path, fake.url(), *COMPANY)
    assert (code, out) == (1, [])
    assert word in err[-1]
    assert err[-1].endswith(f"(answered with status {status})")


async def test_the_provider_without_a_name_is_called_by_its_kind(
    tmp_path: Path,
) -> None:
    nowhere = ("http://127.0.0.1:9/", "--type", "customhttp")
    _, _, err = await tried(tmp_path, *nowhere)
    assert err[-1].startswith("Error: customhttp: nothing can be sent until")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--type", "orscb"), "[push] pushEnabled has no orscb"),
        (
            ("--type", "customhttp", "--provider", "other"),
            "there is no [push.provider.<name>] of the name that it brings",
        ),
    ],
)
async def test_of_a_device_that_nobody_serves_it_is_said_why(
    tmp_path: Path, more: tuple[str, ...], why: str
) -> None:
    code, _, err = await tried(tmp_path, "http://127.0.0.1:9/", *more)
    assert code == 1
    assert f"nobody serves this device: {why}" in err[-1]


async def test_of_a_service_without_pushes_that_is_said(tmp_path: Path) -> None:
    mute = (*COMPANY, "--service", "mute")
    code, _, err = await tried(tmp_path, "http://127.0.0.1:9/", *mute)
    assert code == 1
    assert "nobody serves this device: push is off for the service" in err[-1]


async def test_a_client_of_a_running_server_is_not_reached_from_outside(
    tmp_path: Path,
) -> None:
    code, _, err = await tried(tmp_path, "http://127.0.0.1:9/", "--type", "comet")
    assert code == 1
    assert "reached by its server alone" in err[-1]


async def shown(folder: Path) -> tuple[int, list[str], list[str]]:
    (folder / "chat.ini").write_text(f"[store]\nurl = sqlite:///{folder / 'chat.db'}\n")
    status, program = await run(
        folder, "push", "sent", "--config", "chat.ini", "--chat", "f4a5"
    )
    return status, program.out, program.err


async def test_what_was_sent_and_shown_can_be_looked_at(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "chat.db")
    device = Device(id="d-1", type="ios")
    await store.create(
        Session(id="f4a5", key="k", service="sales", created_at=1.0, devices=(device,))
    )
    await store.append("f4a5", [], transition=Open(profile=Profile()))
    await store.append("f4a5", [answered(at=20.0)])
    await store.mark_absent("f4a5", "phone", 10.0)
    (due,) = await store.claim_due("sales", 30.0, 0.0, 60.0)
    job = push("p-1", device=device, provider="apns:")
    assert await store.announce(due, 1, [job])
    (claimed,) = await store.claim_jobs("apns:", 40.0, 60.0)
    await store.finish_job(claimed, 50.0)
    await store.confirm_push("f4a5", "p-1", 60.0, opened=False)
    await store.close()
    status, out, err = await shown(tmp_path)
    assert (status, err) == (0, [])
    moments = "sent 1970-01-01T00:00:50+00:00, shown 1970-01-01T00:01:00+00:00"
    assert out == [f"p-1  apns  up to position 1  {moments}"]


async def test_of_a_chat_without_pushes_that_is_said(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path / "chat.db")).close()
    status, out, _ = await shown(tmp_path)
    assert (status, out) == (0, ["nothing was sent of this chat"])


async def test_where_there_is_no_database_none_is_made(tmp_path: Path) -> None:
    status, out, err = await shown(tmp_path)
    assert (status, out) == (1, [])
    assert "does not exist" in err[-1]
    assert not (tmp_path / "chat.db").exists()
