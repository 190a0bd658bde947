"""The service account of a Firebase project, and the access token it has from Google.

google-auth fetches a token where it is needed, and would stop the event loop for as
long as Google takes: here that is done in a thread, ahead of time.
"""

import asyncio
import logging
import math
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.auth.crypt import RSASigner
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from cometd_chat.clock import Clock
from cometd_chat.push import Misconfigured, Outcome, Retry

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
"""The one thing our access tokens are good for."""

HTTP_TIMEOUT = 10
"""Seconds for each step of one request to Google."""

LOOK_PERIOD = 5.0
"""Seconds between two looks at the credentials file and the age of the token."""

RENEW_AHEAD = 600.0
"""Seconds before its end at which an access token is renewed; they live an hour."""

LAST_USE = 30.0
"""Seconds before its end at which an access token is not used any more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A service account that was read from its file, and a token for it.

    `stamp` tells versions of the file apart; `expires_at` is wall time in seconds.
    """

    stamp: tuple[int, int, int]
    credentials: Credentials = field(repr=False)
    project: str
    token: str = field(repr=False)
    expires_at: float


class Account:
    """Keeps an access token at hand.

    All that takes time, file and network, is done in a thread, by one task that all
    who wait share. While the token is good nobody waits.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._access: Access | None = None
        self._look_at = 0.0
        self._renewing: asyncio.Task[Access | Outcome] | None = None

    async def access(self) -> Access | Outcome:
        """Return a token that can be used, or why there is none."""
        at_hand = self._usable()
        if at_hand is not None and self._clock.monotonic() < self._look_at:
            return at_hand
        renewing = self._start()
        return await asyncio.shield(renewing) if at_hand is None else at_hand

    def forget(self, access: Access) -> None:
        """Use this token no more: Google refused it."""
        if self._access is access:
            self._access = replace(access, expires_at=0.0)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _usable(self) -> Access | None:
        access = self._access
        if access is None or access.expires_at - self._clock.time() < LAST_USE:
            return None
        return access

    def _start(self) -> "asyncio.Task[Access | Outcome]":
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return self._renewing

    async def _renew(self) -> Access | Outcome:
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


def _renewed(file: Path, before: Access | None, now: float) -> Access:
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
    return Access(
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
