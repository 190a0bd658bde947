"""Firebase Cloud Messaging, HTTP v1, through firebase-admin."""

import asyncio
import re
from pathlib import Path
from typing import Any

from cometd_chat.clock import Clock
from cometd_chat.model import Device
from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Notification,
    Outcome,
    Retry,
)
from cometd_chat.push.fcm_account import Access, Account
from cometd_chat.push.fcm_outcomes import judged, refuses_token
from cometd_chat.push.fcm_sender import Sender, check_library
from cometd_chat.push.payloads import PayloadTooLargeError, fcm_message

ENDPOINT = "https://fcm.googleapis.com"

SEND_TIMEOUT = 15.0
"""Seconds for one push, the wait for an access token included."""

_FID = re.compile(r"[cdef][A-Za-z0-9_-]{21}")
_ADDRESS = re.compile(r"[!-~]{1,4096}")


class FcmProvider:
    """Sends through one Firebase project.

    `credentials_file` is the service account's JSON, which also names the project; a
    changed file is read again. Belongs to the event loop of its first push. Raises
    RuntimeError if firebase-admin is not built the way `fcm_sender` relies on.
    """

    def __init__(
        self,
        credentials_file: Path,
        *,
        clock: Clock,
        endpoint: str = ENDPOINT,
        timeout: float = SEND_TIMEOUT,
    ) -> None:
        check_library()
        self._account = Account(credentials_file, clock)
        self._endpoint = endpoint.rstrip("/")
        self._clock = clock
        self._timeout = timeout
        self._sender: asyncio.Task[Sender] | None = None

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
        if self._sender is None:
            return
        (sender,) = await asyncio.gather(self._sender, return_exceptions=True)
        if isinstance(sender, Sender):
            await sender.aclose()

    async def _sent(self, message: dict[str, Any]) -> Outcome:
        access = await self._account.access()
        if not isinstance(access, Access):
            return access
        sender = await self._open(access)
        sender.aim(self._endpoint, access)
        error = await sender.error_of(message)
        if refuses_token(error):
            self._account.forget(access)
        return Delivered() if error is None else judged(error, self._clock.time())

    async def _open(self, access: Access) -> Sender:
        if self._sender is None:
            # Reading the certificates of all authorities takes 100 ms.
            making = asyncio.to_thread(Sender, access)
            self._sender = asyncio.create_task(making)
        return await asyncio.shield(self._sender)


def target(address: str) -> dict[str, str]:
    """Return what FCM calls the address: a Firebase installation id or a token.

    Such an id is the first 22 characters of 17 bytes in base64url, which begin with
    the bits 0111; a registration token is much longer.
    """
    return {"fid" if _FID.fullmatch(address) else "token": address}
