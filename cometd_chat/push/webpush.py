"""Web Push: browsers, installed web apps, UnifiedPush (RFC 8030, 8291, 8292).

The device's id is the subscription as the browser gives it, JSON with `endpoint` and
`keys`. The endpoint is a URL that a client brought along: `guard` decides whether we
speak to it. pywebpush encrypts; its own HTTP would follow redirects to anywhere.
"""

import hashlib
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from py_vapid import Vapid02, VapidException  # type: ignore[import-untyped]  # no stubs
from pywebpush import WebPusher  # type: ignore[import-untyped]  # no stubs either
from yarl import URL

from cometd_chat.clock import Clock
from cometd_chat.model import Device
from cometd_chat.push import (
    DeadDevice,
    Dropped,
    Notification,
    OptionsError,
    Outcome,
)
from cometd_chat.push.guard import Outbound, judge
from cometd_chat.push.payloads import PayloadTooLargeError, web_push_body
from cometd_chat.push.verdicts import Verdict

LONGEST_TTL = 28 * 86_400
"""Seconds for which a push service keeps a push at most."""

PROOF_TIME = 12 * 3600
"""Seconds for which a proof of our identity is good (RFC 8292 allows a day)."""

TOPIC_BYTES = 24
"""Bytes that make the 32 characters a Topic may have (RFC 8030 §5.4)."""

AUTH_BYTES = 16
"""Bytes of the secret in a subscription (RFC 8291 §3.2)."""

VERDICTS: Final[Mapping[int, Verdict]] = {
    2: Verdict.DELIVERED,
    # That subscription was made for another key, or our own proof is wrong. Taking it
    # for a wrong setting would let one client stop the pushes of all.
    401: Verdict.DOUBTFUL,
    403: Verdict.DOUBTFUL,
    404: Verdict.DEAD,
    408: Verdict.RETRY,
    410: Verdict.DEAD,
    429: Verdict.RETRY,
    4: Verdict.DROPPED,
    5: Verdict.RETRY,
}
"""What a status of a push service means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Keys of a subscription (RFC 8291 §2), base64url."""

    p256dh: str = field(repr=False)
    auth: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a browser hands out for us to reach it (W3C Push API)."""

    endpoint: str = field(repr=False)
    keys: Keys


class WebPushProvider:
    """Sends to browsers through their push services.

    `key_file` holds the private P-256 key in PEM, `subject` is where the services
    reach the admin, `mailto:` or `https:`. Raises OSError or OptionsError if
    they cannot be used.
    """

    def __init__(
        self, key_file: Path, *, subject: str, out: Outbound, clock: Clock
    ) -> None:
        self._vapid = Vapid02(_private_key(key_file))
        self._subject = subject
        self._out = out
        self._clock = clock
        try:
            self._proof("https://push.example")
        except VapidException:
            raise OptionsError(
                "webpush.subject must be a mailto: or https: URL"
            ) from None

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Encrypt and post; see `PushProvider`."""
        if notification.silent:
            return Dropped("browsers take no push that shows nothing")
        try:
            subscription = parsed(device.id)
        except ValueError:
            return DeadDevice("not a Web Push subscription")
        try:
            body = _encrypted(subscription, web_push_body(notification))
        except PayloadTooLargeError:
            return Dropped("the push is too large")
        headers = self._headers(notification) | self._proof(subscription.endpoint)
        reply = await self._out.post(subscription.endpoint, body, headers)
        return judge(reply, VERDICTS)

    async def close(self) -> None:
        """Close the connections."""
        await self._out.close()

    def _headers(self, notification: Notification) -> dict[str, str]:
        ttl = math.ceil(notification.expires_at - self._clock.time())
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(min(max(ttl, 0), LONGEST_TTL)),
            # Apple holds back whatever is less urgent.
            "Urgency": "high",
        }
        if notification.collapse:
            headers["Topic"] = topic(notification.collapse)
        return headers

    def _proof(self, endpoint: str) -> dict[str, str]:
        """Return the header that names us to one push service (RFC 8292 §2)."""
        claims = {
            "aud": str(URL(endpoint).origin()),
            "sub": self._subject,
            "exp": math.floor(self._clock.time()) + PROOF_TIME,
        }
        return dict(self._vapid.sign(claims))


def parsed(text: str) -> Subscription:
    """Return the subscription in `text`; raise ValueError if it cannot be used."""
    try:
        subscription = msgspec.json.decode(text, type=Subscription)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not a subscription") from None
    URL(subscription.endpoint).origin()
    point = _decoded(subscription.keys.p256dh)
    EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    if len(_decoded(subscription.keys.auth)) != AUTH_BYTES:
        raise ValueError("the secret has the wrong length")
    return subscription


def topic(collapse: str) -> str:
    """Return the Topic under which a newer push replaces a waiting one.

    The push service can read it, so that it is a hash.
    """
    text = collapse.encode("utf-8", "replace")
    digest = hashlib.blake2s(text, digest_size=TOPIC_BYTES).digest()
    return urlsafe_b64encode(digest).decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encrypted(subscription: Subscription, body: bytes) -> bytes:
    pusher = WebPusher(msgspec.to_builtins(subscription))
    return bytes(pusher.encode(body, content_encoding="aes128gcm")["body"])


def _private_key(file: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (TypeError, ValueError):
        raise OptionsError(
            "webpush.vapid_key_file holds no private key in PEM"
        ) from None
    if not (isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp256r1"):
        raise OptionsError("webpush.vapid_key_file holds no key of the curve P-256")
    return key
