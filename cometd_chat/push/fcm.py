"""Firebase Cloud Messaging, HTTP v1, through firebase-admin.

firebase-admin 7.7 has ways that do not suit a server on one event loop, so that three
of its private parts are touched here and nowhere else; `check_library` looks that
they are still what they were.

* It fetches access tokens where it sends, on the event loop, and stops the loop for
  as long as Google takes. Here `_Account` fetches them in a thread, ahead of time;
  a request takes the token that is there.
* After a 401 it fetches two more tokens that way and sends again; after a 500 or 503
  it sends five times and sleeps in between. Here one push is one request: the queue
  that knows about the other pushes decides when to try again.
* It wants its own message objects, which know a fixed set of fields. Here a message
  is JSON, and what an admin passes through to Android or iOS arrives as it was.
"""

import asyncio
import itertools
import logging
import math
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import firebase_admin  # type: ignore[import-untyped]  # no stubs, as all of it
import httpx
import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from firebase_admin import _http_client, _retry, exceptions, messaging
from google.auth.crypt import RSASigner
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from cometd_chat.clock import Clock
from cometd_chat.model import Device
from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Notification,
    Outcome,
    Retry,
)
from cometd_chat.push.guard import Verdict, outcome, seconds_until
from cometd_chat.push.payloads import PayloadTooLargeError, fcm_message

ENDPOINT = "https://fcm.googleapis.com"

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
"""The one thing our access tokens are good for."""

SEND_TIMEOUT = 15.0
"""Seconds for one push, the wait for an access token included."""

HTTP_TIMEOUT = 10
"""Seconds for each step of one request to Google."""

LOOK_PERIOD = 5.0
"""Seconds between two looks at the credentials file and the age of the token."""

RENEW_AHEAD = 600.0
"""Seconds before its end at which an access token is renewed; they live an hour."""

LAST_USE = 30.0
"""Seconds before its end at which an access token is not used any more."""

QUOTA_PAUSE = 60.0
"""Seconds to wait after QUOTA_EXCEEDED if Google does not say how long."""

_log = logging.getLogger(__name__)

# At DEBUG it writes each header that HTTP/2 packs, our access tokens among them.
logging.getLogger("hpack").setLevel(logging.INFO)

_FID = re.compile(r"[cdef][A-Za-z0-9_-]{21}")
_ADDRESS = re.compile(r"[!-~]{1,4096}")
_names = itertools.count(1)

VERDICTS: Final[tuple[tuple[type[Exception], Verdict], ...]] = (
    (messaging.UnregisteredError, Verdict.DEAD),
    (messaging.SenderIdMismatchError, Verdict.DEAD),
    # Google cannot reach Apple or a browser with the key that Firebase was given.
    (messaging.ThirdPartyAuthError, Verdict.MISCONFIGURED),
    # Without a code of FCM these speak of the project, not of the device.
    (exceptions.PermissionDeniedError, Verdict.MISCONFIGURED),
    (exceptions.NotFoundError, Verdict.MISCONFIGURED),
    (exceptions.UnauthenticatedError, Verdict.MISCONFIGURED),
    (exceptions.InvalidArgumentError, Verdict.DROPPED),
    (exceptions.FailedPreconditionError, Verdict.DROPPED),
    (exceptions.OutOfRangeError, Verdict.DROPPED),
    (exceptions.FirebaseError, Verdict.RETRY),
)
"""What an error means; the first line that fits counts."""


class FcmProvider:
    """Sends through one Firebase project.

    `credentials_file` is the service account's JSON, which also names the project; a
    changed file is read again. Belongs to the event loop of its first push. Raises
    RuntimeError if firebase-admin is not built the way this module relies on.
    """

    def __init__(
        self,
        credentials_file: Path,
        *,
        clock: Clock,
        endpoint: str = ENDPOINT,
        timeout: float = SEND_TIMEOUT,
    ) -> None:
        check_library(messaging._MessagingService)  # noqa: SLF001 - see above
        self._account = _Account(credentials_file, clock)
        self._endpoint = endpoint.rstrip("/")
        self._clock = clock
        self._timeout = timeout
        self._service: asyncio.Task[_Service] | None = None

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Send to a FID or a registration token; see `PushProvider`."""
        if not _ADDRESS.fullmatch(device.id):
            return DeadDevice("not an address of FCM")
        to, now = target(device.id), self._clock.time()
        try:
            message = fcm_message(notification, to, now=now)
            async with asyncio.timeout(self._timeout):
                return await self._sent(message)
        except PayloadTooLargeError:
            return Dropped("the push is too large")
        except TimeoutError:
            return Retry("no answer in time")

    async def close(self) -> None:
        """Close the connections; what is being sent is given up."""
        await self._account.close()
        if self._service is None:
            return
        (service,) = await asyncio.gather(self._service, return_exceptions=True)
        if isinstance(service, _Service):
            await service.aclose()

    async def _sent(self, message: dict[str, Any]) -> Outcome:
        access = await self._account.access()
        if not isinstance(access, _Access):
            return access
        service = await self._open(access)
        service.aim(self._endpoint, access)
        error = await service.error_of(message)
        # The exact type: its subclass is about the key of Apple, not about ours.
        if type(error) is exceptions.UnauthenticatedError:
            self._account.forget(access)
        return Delivered() if error is None else judged(error, self._clock.time())

    async def _open(self, access: "_Access") -> "_Service":
        if self._service is None:
            # Reading the certificates of all authorities takes 100 ms.
            making = asyncio.to_thread(_Service, access)
            self._service = asyncio.create_task(making)
        return await asyncio.shield(self._service)


def target(address: str) -> dict[str, str]:
    """Return what FCM calls the address: a Firebase installation id or a token.

    Such an id is the first 22 characters of 17 bytes in base64url, which begin with
    the bits 0111; a registration token is much longer.
    """
    return {"fid" if _FID.fullmatch(address) else "token": address}


def judged(error: Exception, now: float) -> Outcome:
    """Return the outcome that an error of firebase-admin means; `now` is wall time."""
    verdict = next(verdict for kind, verdict in VERDICTS if isinstance(error, kind))
    response = getattr(error, "http_response", None)
    if verdict is Verdict.DROPPED and _blames_target(response):
        verdict = Verdict.DEAD
    return outcome(verdict, f"FCM: {type(error).__name__}", _pause(error, now))


def _pause(error: Exception, now: float) -> float | None:
    response = getattr(error, "http_response", None)
    said = response.headers.get("retry-after", "") if response is not None else ""
    after = seconds_until(said, now)
    if after is None and isinstance(error, exceptions.ResourceExhaustedError):
        return QUOTA_PAUSE
    return after


class _Violation(msgspec.Struct):
    field: str = ""


class _Detail(msgspec.Struct, rename="camel"):
    field_violations: tuple[_Violation, ...] = ()


class _Fault(msgspec.Struct):
    message: str = ""
    details: tuple[_Detail, ...] = ()


class _Refusal(msgspec.Struct):
    """The body of an error, as far as it is read (google.rpc.BadRequest)."""

    error: _Fault


def _blames_target(response: httpx.Response | None) -> bool:
    """Say whether it is the address that is wrong, and not the rest of the message."""
    if response is None:
        return False
    try:
        fault = msgspec.json.decode(response.content, type=_Refusal).error
    except msgspec.DecodeError:
        return False
    fields = {v.field for detail in fault.details for v in detail.field_violations}
    return bool(fields & {"message.token", "message.fid"}) or (
        "not a valid FCM registration token" in fault.message
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    """A service account that was read from its file, and a token for it.

    `stamp` tells versions of the file apart; `expires_at` is wall time in seconds.
    """

    stamp: tuple[int, int, int]
    credentials: Credentials = field(repr=False)
    project: str
    token: str = field(repr=False)
    expires_at: float


class _Account:
    """Keeps an access token at hand.

    All that takes time, file and network, is done in a thread, by one task that all
    who wait share. While the token is good nobody waits.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._access: _Access | None = None
        self._look_at = 0.0
        self._renewing: asyncio.Task[_Access | Outcome] | None = None

    async def access(self) -> _Access | Outcome:
        """Return a token that can be used, or why there is none."""
        at_hand = self._usable()
        if at_hand is not None and self._clock.monotonic() < self._look_at:
            return at_hand
        renewing = self._start()
        return await asyncio.shield(renewing) if at_hand is None else at_hand

    def forget(self, access: _Access) -> None:
        """Use this token no more: Google refused it."""
        if self._access is access:
            self._access = replace(access, expires_at=0.0)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _usable(self) -> _Access | None:
        access = self._access
        if access is None or access.expires_at - self._clock.time() < LAST_USE:
            return None
        return access

    def _start(self) -> "asyncio.Task[_Access | Outcome]":
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return self._renewing

    async def _renew(self) -> _Access | Outcome:
        now, before = self._clock.time(), self._access
        try:
            access = await asyncio.to_thread(_renewed, self._file, before, now)
        except GoogleAuthError as error:
            return self._failed(_refused(error))
        except (OSError, ValueError, msgspec.DecodeError):
            reason = "FCM: the service account file cannot be used"
            return self._failed(Misconfigured(reason))
        finally:
            self._look_at = self._clock.monotonic() + LOOK_PERIOD
        self._access = access
        return access

    def _failed(self, problem: Retry | Misconfigured) -> Outcome:
        if self._usable() is not None:
            _log.warning("%s; the access token at hand is still used", problem.reason)
        return problem


def _renewed(file: Path, before: _Access | None, now: float) -> _Access:
    """Return a token good for a while; reads the file if it changed. Blocks."""
    stat = file.stat()
    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    if before is None or before.stamp != stamp:
        account = _read(file)
    elif before.expires_at - now > RENEW_AHEAD:
        return before
    else:
        account = before.credentials
    token, expires_at = _fetched(account)
    return _Access(
        stamp=stamp,
        credentials=account,
        project=account.project_id,
        token=token,
        expires_at=expires_at,
    )


class _ServiceAccount(msgspec.Struct, tag_field="type", tag="service_account"):
    """The file that Google hands out, as far as it is read."""

    project_id: Annotated[str, msgspec.Meta(min_length=1)]
    private_key: str
    private_key_id: str
    client_email: str
    token_uri: str


def _read(file: Path) -> Credentials:
    info = msgspec.json.decode(file.read_bytes(), type=_ServiceAccount)
    # Checking the key's numbers would stop all threads for 40 ms, which is why
    # google-auth's own way is not taken. A wrong key signs nothing that Google takes.
    key = load_pem_private_key(
        info.private_key.encode(), None, unsafe_skip_rsa_key_validation=True
    )
    signer = RSASigner(key, info.private_key_id)  # type: ignore[no-untyped-call]  # half
    return Credentials(  # type: ignore[no-untyped-call]  # of google-auth has no types
        signer,
        info.client_email,
        info.token_uri,
        scopes=[SCOPE],
        project_id=info.project_id,
    )


def _fetched(account: Any) -> tuple[str, float]:
    """Return a new token and its end in wall seconds. Any: google-auth lacks types."""
    account.refresh(partial(Request(), timeout=HTTP_TIMEOUT))
    if account.expiry is None:
        return account.token, math.inf
    # It says UTC without saying so.
    return account.token, account.expiry.replace(tzinfo=UTC).timestamp()


def _refused(error: GoogleAuthError) -> Retry | Misconfigured:
    if isinstance(error, TransportError) or error.retryable:
        return Retry("FCM: no access token, Google does not answer")
    return Misconfigured("FCM: Google gives no access token to the service account")


class _Bearer(httpx.Auth):
    """Authorizes requests with the token of the moment, and leaves it at that."""

    token = ""

    def auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


class _Service(messaging._MessagingService):  # type: ignore[misc]  # noqa: SLF001
    """firebase-admin's sender: one request for each push, messages are JSON."""

    def __init__(self, access: _Access) -> None:
        self._app = firebase_admin.initialize_app(
            access.credentials,
            {"projectId": access.project, "httpTimeout": HTTP_TIMEOUT},
            f"cometd-chat-{next(_names)}",
        )
        super().__init__(self._app)
        self._bearer = _Bearer()
        self._async_client = _http_client.HttpxAsyncClient(
            retry_config=_retry.HttpxRetry(max_retries=0), timeout=HTTP_TIMEOUT
        )
        self._async_client.async_client.auth = self._bearer

    def aim(self, endpoint: str, access: _Access) -> None:
        """Send with this token to the project it belongs to, from now on."""
        self._fcm_url = f"{endpoint}/v1/projects/{access.project}/messages:send"
        self._bearer.token = access.token

    async def error_of(self, message: Mapping[str, Any]) -> Exception | None:
        """Send; return the error, or None if Google took it."""
        failed: Exception | None
        try:
            batch = await self.send_each_async([message], dry_run=False)
            failed = batch.responses[0].exception
        except exceptions.FirebaseError as error:
            failed = error
        return failed

    async def aclose(self) -> None:
        await self._async_client.aclose()
        self._client.close()
        # It knows of no service, and so does not start an event loop to close one.
        firebase_admin.delete_app(self._app)

    def _message_data(
        self, message: Mapping[str, Any], dry_run: bool
    ) -> dict[str, Mapping[str, Any]]:
        return {"message": message}


_RELIED_ON = {
    "_async_client",
    "_client",
    "_fcm_url",
    "_message_data",
    "send_each_async",
}


def check_library(service: type) -> None:
    """Raise RuntimeError if firebase-admin's sender lost what `_Service` replaces.

    Without this a renamed part would just not be replaced any more, and pushes would
    go out with the library's retries, or to Google instead of the test's server.
    """
    names = {*dir(service), *vars(service)["__init__"].__code__.co_names}
    missing = sorted(_RELIED_ON - names)
    if missing:
        raise RuntimeError(
            f"firebase-admin {firebase_admin.__version__} has no {', '.join(missing)}; "
            "install the version that cometd-chat names"
        )
