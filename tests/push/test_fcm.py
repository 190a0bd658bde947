"""Pushes through Firebase: what Google gets, what its answers mean, who waits."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import firebase_admin  # type: ignore[import-untyped]  # no stubs
import hpack
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Outcome,
    Retry,
    Scope,
)
from cometd_chat.push.fcm import FcmProvider
from cometd_chat.push.fcm_account import LOOK_PERIOD
from cometd_chat.push.fcm_sender import check_library
from tests.keys import private_pem, self_signed
from tests.push.facts import TEXT, device, notification
from tests.push.fake_fcm import (
    PROJECT,
    Answering,
    FakeFcm,
    fault,
    fcm,
    never,
    raw,
    service_account,
)

TOKEN = "dGVzdC10b2tlbg:APA91b" + "x" * 134
FID = "cV1hDlJbSkuN_x-0aBcDeF"
PHONE = device(TOKEN, "fcm")
CURVE = ec.generate_private_key(ec.SECP256R1())
FRESHLY = 0.05
"""Seconds for which a step of the event loop may hold up all others."""


@dataclass
class ShiftedClock:
    """The real clocks, put forward."""

    ahead: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Bench:
    """A provider and the Google it talks to."""

    fake: FakeFcm
    provider: FcmProvider
    clock: ShiftedClock
    file: Path

    async def send(self) -> Outcome:
        sent = notification(expires_at=self.clock.time() + 600)
        return await self.provider.send(PHONE, sent)

    async def sent_with(self, authorization: str) -> None:
        """Send until a push carries this header; the test's time limit ends it."""
        async with asyncio.timeout(5):
            while self.fake.sent[-1].authorization != authorization:
                self.clock.ahead += LOOK_PERIOD
                await self.send()


@pytest.fixture(autouse=True)
def few_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One certificate in place of all the world's: they take 100 ms to read."""
    certificate, _ = self_signed("nobody.test")
    (tmp_path / "authorities.pem").write_bytes(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with fcm() as fake:
        file = service_account(folder / "account.json", fake)
        clock = ShiftedClock()
        provider = FcmProvider(file, clock=clock, endpoint=fake.url + "/")
        try:
            yield Bench(fake, provider, clock, file)
        finally:
            await provider.close()


async def test_a_push_arrives_with_token_project_and_text(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        assert await b.send() == Delivered()
        (sent,) = b.fake.sent
        (claims,) = b.fake.assertions
    assert sent.project == PROJECT
    assert sent.authorization == "Bearer access-1"
    assert sent.message["token"] == TOKEN
    assert sent.message["notification"]["body"] == TEXT
    assert sent.message["android"]["priority"] == "high"
    assert "validate_only" not in sent.body
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"


async def test_an_installation_id_is_not_called_a_token(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        sent = notification(expires_at=b.clock.time() + 600)
        assert await b.provider.send(device(FID, "fcm"), sent) == Delivered()
        assert b.fake.sent[0].message["fid"] == FID
        assert "token" not in b.fake.sent[0].message


async def test_what_an_admin_passes_through_arrives_as_it_was(tmp_path: Path) -> None:
    extra = {"direct_boot_ok": True, "notification": {"color": "#ff0000"}}
    async with bench(tmp_path) as b:
        await b.provider.send(PHONE, notification(android=extra))
        android = b.fake.sent[0].message["android"]
    assert android["direct_boot_ok"] is True
    assert android["notification"]["color"] == "#ff0000"


BLAMED = DeadDevice("FCM: InvalidArgumentError", doubtful=True)
OURS = Dropped("FCM: InvalidArgumentError")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            fault(404, "NOT_FOUND", "UNREGISTERED"),
            DeadDevice("FCM: UnregisteredError"),
        ),
        (
            fault(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            DeadDevice("FCM: SenderIdMismatchError", doubtful=True),
        ),
        (fault(404, "NOT_FOUND"), Misconfigured("FCM: NotFoundError")),
        (fault(403, "PERMISSION_DENIED"), Misconfigured("FCM: PermissionDeniedError")),
        (fault(401, "UNAUTHENTICATED"), Misconfigured("FCM: UnauthenticatedError")),
        (
            fault(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            Misconfigured("FCM: ThirdPartyAuthError", Scope.PUSH),
        ),
        (fault(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), OURS),
        (fault(400, "INVALID_ARGUMENT", fields=("message.token",)), BLAMED),
        (fault(400, "INVALID_ARGUMENT", fields=("message.fid",)), BLAMED),
        (fault(400, "INVALID_ARGUMENT", fields=("message.data[0].value",)), OURS),
        (
            fault(
                400,
                "INVALID_ARGUMENT",
                message="The registration token is not a valid FCM registration token",
            ),
            BLAMED,
        ),
        (raw(400, b"[]"), OURS),
        (fault(400, "FAILED_PRECONDITION"), Dropped("FCM: FailedPreconditionError")),
        (fault(400, "OUT_OF_RANGE"), Dropped("FCM: OutOfRangeError")),
        (
            fault(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
            Retry("FCM: QuotaExceededError", 60.0),
        ),
        (
            fault(
                429,
                "RESOURCE_EXHAUSTED",
                "QUOTA_EXCEEDED",
                headers={"Retry-After": "7"},
            ),
            Retry("FCM: QuotaExceededError", 7.0),
        ),
        (
            fault(503, "UNAVAILABLE", headers={"Retry-After": "120"}),
            Retry("FCM: UnavailableError", 120.0),
        ),
        (fault(503, "UNAVAILABLE"), Retry("FCM: UnavailableError")),
        (fault(500, "INTERNAL", "INTERNAL"), Retry("FCM: InternalError")),
        (raw(502, b"<html>\xff"), Retry("FCM: UnknownError")),
        (raw(200, b"<html>"), Retry("FCM: UnknownError")),
    ],
)
async def test_what_an_answer_means_and_that_one_push_is_one_request(
    tmp_path: Path, answer: Answering, outcome: Outcome
) -> None:
    async with bench(tmp_path) as b:
        b.fake.answer = answer
        assert await b.send() == outcome
        assert len(b.fake.sent) == 1
        assert len(b.fake.assertions) == 1


async def test_a_connection_that_breaks_is_tried_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:

        async def cut() -> web.StreamResponse:
            raise asyncio.CancelledError

        b.fake.answer = cut
        assert isinstance(await b.send(), Retry)
        b.fake.answer = None
        assert await b.send() == Delivered()


async def test_an_address_that_cannot_be_one_is_dead(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        for address in ("", "to ken", "tok\u00e9n", "half \ud83d", "x\r\ny"):
            outcome = await b.provider.send(device(address, "fcm"), notification())
            assert outcome == DeadDevice("not an address of FCM")
        assert b.fake.sent == []


async def test_what_cannot_be_shortened_is_dropped(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        sent = notification(android={"data": {"k": "v" * 5000}})
        outcome = await b.provider.send(PHONE, sent)
        assert outcome == Dropped("the push is too large")


async def test_a_refused_token_is_replaced_for_the_next_push(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.fake.answer = fault(401, "UNAUTHENTICATED")
        await b.send()
        b.fake.answer = None
        assert await b.send() == Delivered()
        assert [s.authorization for s in b.fake.sent] == [
            "Bearer access-1",
            "Bearer access-2",
        ]


async def test_a_refused_apple_key_costs_no_token(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.fake.answer = fault(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")
        await b.send()
        await b.send()
        assert len(b.fake.assertions) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            raw(400, b'{"error": "invalid_grant"}'),
            Misconfigured("FCM: Google gives no access token to the service account"),
        ),
        (
            raw(200, b"{}"),
            Misconfigured("FCM: Google gives no access token to the service account"),
        ),
    ],
)
async def test_what_a_refused_token_means(
    tmp_path: Path, answer: Answering, outcome: Outcome
) -> None:
    async with bench(tmp_path) as b:
        b.fake.token_answer = answer
        assert await b.send() == outcome
        assert b.fake.sent == []
        b.fake.token_answer = None
        assert await b.send() == Delivered()


async def test_a_token_endpoint_that_is_not_there_is_tried_again(
    tmp_path: Path,
) -> None:
    async with fcm() as gone:
        file = service_account(tmp_path / "account.json", gone)
    provider = FcmProvider(file, clock=ShiftedClock(), endpoint=gone.url)
    outcome = await provider.send(PHONE, notification())
    assert outcome == Retry("FCM: no access token, Google does not answer")
    await provider.close()


def account(**wrong: object) -> bytes:
    """A service account in which a thing or two are wrong."""
    right = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key": "",
        "private_key_id": "key-1",
        "client_email": "push@example.com",
        "token_uri": "http://127.0.0.1:1/token",
    }
    return json.dumps(right | wrong).encode()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"type": "authorized_user"}',
        account(project_id=""),
        account(project_id=5),
        account(private_key=None),
        account(private_key="hush"),
        account(private_key=private_pem(CURVE).decode()),
    ],
)
async def test_a_file_that_is_no_service_account_is_misconfigured(
    tmp_path: Path, content: bytes | None
) -> None:
    async with bench(tmp_path) as b:
        good = b.file.read_bytes()
        b.file.unlink()
        if content is not None:
            b.file.write_bytes(content)
        reason = "FCM: the service account file cannot be used"
        assert await b.send() == Misconfigured(reason)
        b.file.write_bytes(good)
        assert await b.send() == Delivered()


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.send()
        service_account(b.file, b.fake, "other-project")
        await b.sent_with("Bearer access-2")
        assert b.fake.sent[0].project == PROJECT
        assert b.fake.sent[-1].project == "other-project"


async def test_a_file_that_breaks_does_not_stop_a_token_that_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path) as b:
        await b.send()
        b.file.write_text("{")
        async with asyncio.timeout(5):
            while "cannot be used" not in caplog.text:
                b.clock.ahead += LOOK_PERIOD
                assert await b.send() == Delivered()
        assert len(b.fake.assertions) == 1


async def test_a_token_is_renewed_before_it_ends_and_nobody_waits(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        await b.send()
        b.clock.ahead = b.fake.token_life - 300
        b.fake.token_answer = never
        b.fake.asked.clear()
        # The renewal hangs, and the token at hand is still good for five minutes.
        assert await b.send() == Delivered()
        assert b.fake.sent[-1].authorization == "Bearer access-1"
        async with asyncio.timeout(5):
            await b.fake.asked.wait()


async def test_a_token_that_ended_is_not_used(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.send()
        b.clock.ahead = b.fake.token_life + 1
        assert await b.send() == Delivered()
        assert b.fake.sent[-1].authorization == "Bearer access-2"


async def test_many_first_pushes_share_one_token(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        outcomes = await asyncio.gather(*(b.send() for _ in range(20)))
        assert outcomes == [Delivered()] * 20
        assert len(b.fake.assertions) == 1


async def test_a_cancelled_push_does_not_disturb_the_others(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.fake.token_delay = 0.2
        first, second = asyncio.create_task(b.send()), asyncio.create_task(b.send())
        await b.fake.asked.wait()
        first.cancel()
        assert await second == Delivered()
        assert first.cancelled()


async def test_a_slow_token_never_stops_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of three counts: another thread may be stopped by a busy machine while
    it holds what this one needs; a blocking fetch would cost two seconds each time."""
    monkeypatch.delenv("SSL_CERT_FILE")
    worst = []
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        worst.append(await _stop_while_a_token_takes_two_seconds(folder))
        if worst[-1] < FRESHLY:
            break
    assert min(worst) < FRESHLY


async def _stop_while_a_token_takes_two_seconds(folder: Path) -> float:
    async with bench(folder) as b:
        b.fake.token_delay = 2.0
        sending = asyncio.create_task(b.send())
        worst, before = 0.0, _own_time()
        while not sending.done():
            await asyncio.sleep(0.002)
            now = _own_time()
            worst, before = max(worst, now - before - 0.002), now
        assert await sending == Delivered()
        return worst


def _own_time() -> float:
    """Return seconds that pass, but for those in which this thread could have gone on
    and had no processor: a busy machine must not look like a loop that is held up."""
    _, ready, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return time.monotonic() - int(ready) / 1e9


@pytest.mark.parametrize("silent", ["answer", "token_answer"])
async def test_silence_ends_in_time(tmp_path: Path, silent: str) -> None:
    async with fcm() as fake:
        setattr(fake, silent, never)
        file = service_account(tmp_path / "account.json", fake)
        provider = FcmProvider(
            file, clock=ShiftedClock(), endpoint=fake.url, timeout=0.5
        )
        outcome = await provider.send(PHONE, notification())
        await provider.close()
    assert outcome == Retry("no answer in time")


async def test_closing_in_the_running_loop_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    before = set(firebase_admin._apps)
    async with bench(tmp_path) as b:
        assert await b.send() == Delivered()
        assert len(firebase_admin._apps) == len(before) + 1
    assert set(firebase_admin._apps) == before


async def test_closing_before_and_during_the_first_push(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.fake.token_delay = 0.3
        sending = asyncio.create_task(b.send())
        await b.fake.asked.wait()
        await b.provider.close()
        await asyncio.wait([sending])
        assert b.fake.sent == []


async def test_two_accounts_do_not_mix(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with bench(one) as a, bench(two) as b:
        service_account(b.file, b.fake, "other-project")
        await asyncio.gather(a.send(), b.send())
        assert [s.project for s in a.fake.sent] == [PROJECT]
        assert [s.project for s in b.fake.sent] == ["other-project"]


def test_the_installed_library_is_as_expected() -> None:
    check_library()


def test_another_library_is_refused_by_name_of_what_it_lacks() -> None:
    class Renamed:
        def __init__(self) -> None:
            self._async_client = self._client = None

        def send_each_async(self) -> None: ...

    with pytest.raises(RuntimeError, match="has no _fcm_url, _message_data;"):
        check_library(Renamed)


async def test_no_token_no_key_and_no_text_is_logged_or_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with bench(tmp_path) as b:
        outcomes = [await b.send()]
        b.fake.answer = fault(400, "INVALID_ARGUMENT", message=f"{TOKEN} {TEXT}")
        outcomes.append(await b.send())
        shown = [repr(outcomes), repr(b.provider), repr(vars(b.provider))]
        shown += [repr(vars(b.provider._account))]
    # As httpx does over HTTP/2, which the fake does not speak.
    hpack.Encoder().encode([("authorization", "Bearer access-1")], huffman=False)
    shown += [record.getMessage() for record in caplog.records]
    secrets = (TOKEN, TEXT, "access-1", "PRIVATE KEY")
    assert not [text for text in shown for secret in secrets if secret in text]
