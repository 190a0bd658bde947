"""The Apple Push Notification service (HTTP/2, token or certificate)."""

import asyncio
import logging
import math
import re
import ssl
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from aioapns.common import NotificationRequest, PushType
from aioapns.exceptions import ConnectionClosed

from cometd_chat.clock import Clock
from cometd_chat.config.push_options import ProviderOptions
from cometd_chat.model import Device
from cometd_chat.push import (
    DeadDevice,
    Dropped,
    Misconfigured,
    Notification,
    Outcome,
    Retry,
)
from cometd_chat.push.apns_credentials import (
    CredentialsError,
    TlsContext,
    file_of,
    load,
)
from cometd_chat.push.apns_link import Link
from cometd_chat.push.apns_outcomes import outcome
from cometd_chat.push.apns_route import Patience, Route, server_of
from cometd_chat.push.payloads import (
    APNS_LIMIT,
    PayloadTooLargeError,
    apns_collapse_id,
    apns_message,
    apns_priority,
    apns_push_type,
)

PATIENCE = Patience()

_TOKEN = re.compile(r"([0-9a-fA-F]{2}){8,200}")
"""Apple: hexadecimal, of any length; ours bounds the header."""

log = logging.getLogger(__name__)


class ApnsProvider:
    """Sends to one app of Apple's, in one of its environments (`apns.server`).

    Takes a key (`apns.key_file`, `apns.key_id`, `apns.team_id`, `apns.topic`) or a
    certificate (`apple.keystore`); both are read again when their file has changed.
    `proxy` is the address of an HTTP proxy, `tls` makes the context that says whom to
    trust. Any number may be sent at the same time.

    Raises: CredentialsError; OSError if the file cannot be read.
    """

    def __init__(
        self,
        options: ProviderOptions,
        clock: Clock,
        *,
        proxy: str = "",
        tls: TlsContext = ssl.create_default_context,
        patience: Patience = PATIENCE,
    ) -> None:
        self._options = options
        self._clock = clock
        self._tls = tls
        self._patience = patience
        route = Route(
            server=server_of(options.apns_server, "apns.server", "https", 443),
            proxy=server_of(proxy, "proxy", "http", 8080) if proxy else None,
            patience=patience,
            clock=clock,
        )
        self._file = file_of(options)
        # looked at before it is read: a change in between is seen the next time
        self._seen = _state(self._file)
        self._credentials = load(options, clock, tls)
        self._link = Link(route, self._credentials)
        self._closed = False

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Send one notification to the device whose `id` is the token of the app."""
        if self._closed:
            return Retry("provider is closed")
        self._follow_file()
        try:
            async with asyncio.timeout(self._patience.send):
                return await self._send(device, notification)
        except TimeoutError:
            return Retry("no answer in time")
        except ssl.SSLCertVerificationError as error:
            return Misconfigured(f"server not trusted: {error.verify_message}")
        except ConnectionClosed as error:
            return Retry(str(error))
        except OSError as error:
            return Retry(f"cannot connect: {error.strerror or error}")

    async def close(self) -> None:
        """Close the connection; nothing is sent afterwards."""
        self._closed = True
        await self._link.close()

    async def _send(self, device: Device, notification: Notification) -> Outcome:
        request = self._request(device, notification, APNS_LIMIT)
        if not isinstance(request, NotificationRequest):
            return request
        reply = await self._link.send(request)
        if reply.status == "413":
            short = replace(notification, lines=())
            smaller = self._request(device, short, APNS_LIMIT // 2)
            if isinstance(smaller, NotificationRequest):
                reply = await self._link.send(smaller)
        if reply.description == "ExpiredProviderToken" and self._credentials.signer:
            self._credentials.signer.renew()
        return outcome(reply, self._clock.time())

    def _request(
        self, device: Device, n: Notification, limit: int
    ) -> NotificationRequest | Outcome:
        # One bad header would cost everybody the connection: look before sending.
        if not _TOKEN.fullmatch(device.id):
            return DeadDevice("BadDeviceToken", doubtful=True)
        try:
            message, name = apns_message(n, limit), str(UUID(n.id))
        except PayloadTooLargeError:
            return Dropped("PayloadTooLarge")
        except ValueError:
            return Dropped("BadMessageId")
        return NotificationRequest(
            device_token=device.id,
            message=message,
            notification_id=name,
            time_to_live=max(0, math.ceil(n.expires_at - self._clock.time())),
            priority=apns_priority(n),
            collapse_key=apns_collapse_id(n.collapse),
            push_type=PushType(apns_push_type(message)),
        )

    def _follow_file(self) -> None:
        seen = _state(self._file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._credentials = load(self._options, self._clock, self._tls)
        except (CredentialsError, OSError) as error:
            log.warning("%s: going on with the old credentials: %s", self._file, error)
            return
        self._link.change(self._credentials)
        log.info("%s: new credentials in use", self._file)


def _state(file: Path) -> tuple[int, ...]:
    """Return what changes when the file does; nothing if there is no file."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size
