"""Pushes to a company's own server: `customhttp` and `httpcb` of GMS.

With `customhttp` the admin names one address for all devices; the body is the one of
GMS, or, where a secret is set, ours, signed as Standard Webhooks 1.0 describe. With
`httpcb` the device's id is the address, which makes it a matter for `guard`.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from typing import Final

from yarl import URL

from cometd_chat.clock import Clock
from cometd_chat.config.check import SHORTEST_SIGNING_KEY
from cometd_chat.model import Device
from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Notification,
    OptionsError,
    Outcome,
)
from cometd_chat.push.guard import Answer, Outbound, Reply, Rules, judge
from cometd_chat.push.payloads import (
    PayloadTooLargeError,
    gms_webhook_body,
    signed_webhook_body,
)
from cometd_chat.push.verdicts import Verdict

ADMIN_TIMEOUT = 15.0
"""Seconds for an exchange with the address the admin named (Standard Webhooks 1.0
advise 15 to 30)."""

VERDICTS: Final[Mapping[int, Verdict]] = {
    2: Verdict.DELIVERED,
    # An address that moved has to be changed by the admin: following a redirect
    # would carry the texts to wherever it points.
    3: Verdict.MISCONFIGURED,
    401: Verdict.MISCONFIGURED,
    403: Verdict.MISCONFIGURED,
    405: Verdict.MISCONFIGURED,
    407: Verdict.MISCONFIGURED,
    # Either the address is wrong, and the push has to wait, or this device is not
    # known there, and then it must not hold up the others.
    404: Verdict.RETRY,
    408: Verdict.RETRY,
    410: Verdict.DEAD,
    425: Verdict.RETRY,
    429: Verdict.RETRY,
    4: Verdict.DROPPED,
    5: Verdict.RETRY,
}
"""What a status of `customhttp.url` means."""

CALLBACK_VERDICTS: Final[Mapping[int, Verdict]] = {
    200: Verdict.DELIVERED,
    408: Verdict.RETRY,
    410: Verdict.DEAD,
    429: Verdict.RETRY,
    5: Verdict.RETRY,
}
"""What a status of a callback means; GMS takes 200 alone for success."""


class CustomHttpProvider:
    """Posts to the one address `customhttp.url` (GMS push type `customhttp`).

    `secret` is base64, with or without `whsec_`; several of them, separated by
    spaces, sign each post several times, so that the receiver can change from one to
    the next. User and password may stand in the URL. Raises OptionsError for a URL or
    secret that cannot be used.
    """

    def __init__(self, url: str, *, secret: str = "", clock: Clock) -> None:
        address = URL(url)
        rules = _own(address)
        self._url = str(address.with_user(None))
        self._login = _login(address)
        self._keys = tuple(_key(each) for each in secret.split())
        self._clock = clock
        self._out = Outbound(rules, clock=clock)

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Post the notification; see `PushProvider`."""
        try:
            body, headers = self._form(device, notification)
        except PayloadTooLargeError:
            return Dropped("the push is too large")
        reply = await self._out.post(self._url, body, self._login | headers)
        result = judge(reply, VERDICTS)
        if result == Delivered() and device.id in _rejected(reply):
            return DeadDevice("rejected by the webhook")
        return result

    async def close(self) -> None:
        """Close the connections."""
        await self._out.close()

    def _form(
        self, device: Device, notification: Notification
    ) -> tuple[bytes, dict[str, str]]:
        json_type = {"Content-Type": "application/json"}
        if not self._keys:
            return gms_webhook_body(device, notification), json_type
        body = signed_webhook_body(device, notification)
        now = math.floor(self._clock.time())
        return body, json_type | signature(self._keys, notification.id, now, body)


class HttpCallbackProvider:
    """Posts the text to the URL that is the device's id (GMS push type `httpcb`).

    Only hosts on the list of the rules are called; an empty list calls nobody.
    """

    def __init__(self, out: Outbound) -> None:
        self._out = out

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Post the plain text; see `PushProvider`."""
        if notification.silent:
            return Dropped("a callback has no form for a push without text")
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        text = notification.body.encode("utf-8", "replace")
        reply = await self._out.post(device.id, text, headers)
        return judge(reply, CALLBACK_VERDICTS)

    async def close(self) -> None:
        """Close the connections."""
        await self._out.close()


def callback_rules(hosts: tuple[str, ...], *, private: bool = False) -> Rules:
    """Return the rules for addresses that apps name; GMS calls them by plain HTTP."""
    return Rules(hosts=hosts, plain=True, private=private)


def signature(
    keys: tuple[bytes, ...], webhook_id: str, at: int, body: bytes
) -> dict[str, str]:
    """Return the headers that sign `body` (Standard Webhooks 1.0).

    `at` is the time of this try in whole wall seconds; `webhook_id` stays the same
    over all tries, so that the receiver can leave out repeats.
    """
    signed = f"{webhook_id}.{at}.".encode() + body
    macs = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(mac).decode()}" for mac in macs
        ),
    }


def _own(address: URL) -> Rules:
    """The rules for the admin's own address: only this one, but wherever it is."""
    authority = address.host_port_subcomponent
    if address.scheme not in {"http", "https"} or not authority:
        raise OptionsError("customhttp.url must be an http or https address")
    return Rules(
        hosts=(authority,),
        plain=True,
        private=True,
        literals=True,
        timeout=ADMIN_TIMEOUT,
    )


def _login(address: URL) -> dict[str, str]:
    if address.user is None:
        return {}
    pair = f"{address.user}:{address.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise OptionsError("customhttp.secret must be base64") from None
    if len(key) < SHORTEST_SIGNING_KEY:
        least = SHORTEST_SIGNING_KEY
        raise OptionsError(f"customhttp.secret must have {least} bytes or more")
    return key


def _rejected(reply: Reply) -> list[object]:
    """Return the devices that the answer calls dead, `{"rejected": [deviceId, …]}`."""
    if not isinstance(reply, Answer):
        return []
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return []
    devices = said.get("rejected") if isinstance(said, dict) else None
    return devices if isinstance(devices, list) else []
