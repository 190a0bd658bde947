"""What is sent to each push service for a notification. Pure: no I/O, no clock.

Every payload has the `MARKER` by which the app knows that the push is ours: version,
id for its receipt, chat, newest position, and where they exist the badge and the
sender's `ext`. Texts are JSON in UTF-8 without ASCII escapes, since the services count
encoded bytes.

What is too long is shortened (see `fitting`), but not what passes through (`apns`,
`android`, `webpush`).
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from cometd_chat.model import Device
from cometd_chat.push import MARKER, TAG, Notification
from cometd_chat.push.fitting import Json, PayloadTooLargeError, encode, fitting

__all__ = [
    "PayloadTooLargeError",
    "apns_collapse_id",
    "apns_message",
    "apns_payload",
    "apns_priority",
    "apns_push_type",
    "comet_data",
    "fcm_message",
    "gms_webhook_body",
    "marker",
    "merged",
    "preview",
    "signed_webhook_body",
    "web_push_body",
]

APNS_LIMIT = 4096
FCM_LIMIT = 4096
WEB_PUSH_LIMIT = 3993
"""Plaintext that fits a record of 4096 bytes (RFC 8291 §4, RFC 8188 §2)."""
WEBHOOK_LIMIT = 20_000
"""Standard Webhooks asks senders to stay below 20 kB."""

_HIGH = {"priority": "high"}

LONGEST_TTL = 2_419_200
"""Seconds FCM keeps a message at most: four weeks."""

_RESERVED = re.compile(r"from|message_type|(gcm|google).*", re.DOTALL)
"""Data keys that FCM refuses."""


def apns_payload(notification: Notification, limit: int = APNS_LIMIT) -> bytes:
    """Return the body of `POST /3/device/…`. Raises: PayloadTooLargeError."""
    return encode(apns_message(notification, limit))


def apns_message(notification: Notification, limit: int = APNS_LIMIT) -> Json:
    """Return what `apns_payload` encodes. Raises: PayloadTooLargeError."""
    return fitting(notification, limit, _apns)


def apns_push_type(message: Mapping[str, Any]) -> str:
    """Return `apns-push-type`: "background" only if there is nothing for the user."""
    visible = message["aps"].keys() & {"alert", "badge", "sound"}
    return "alert" if visible else "background"


def apns_priority(notification: Notification) -> int:
    """Return `apns-priority`: 10 is at once, 5 is when the battery allows it."""
    return 5 if notification.silent else 10


def apns_collapse_id(text: str) -> str:
    """Return the text where APNs takes it as `apns-collapse-id`, else its hash.

    The id is a header of at most 64 bytes. Equal texts stay equal ids.
    """
    fine = re.fullmatch(r"[!-~]{0,64}", text)
    return text if fine else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def fcm_message(
    notification: Notification,
    target: Mapping[str, str],
    *,
    now: float,
    limit: int = FCM_LIMIT,
) -> Json:
    """Return `message` of FCM's `messages:send` (HTTP v1).

    `target` is `{"token": …}`, `{"fid": …}` or `{"topic": …}` and does not count;
    all the rest does, which is stricter than FCM. `now` is wall time in seconds.
    `data.message` is the string that apps written for GMS read. iPhones behind FCM
    get the same texts. Raises: PayloadTooLargeError.
    """
    message = fitting(notification, limit, lambda n: _fcm(n, now))
    return {**target, **message}


def gms_webhook_body(
    device: Device, notification: Notification, limit: int = WEBHOOK_LIMIT
) -> bytes:
    """Return the body GMS posts for type `customhttp`. Raises: PayloadTooLargeError."""

    def form(n: Notification) -> Json:
        return {"deviceId": device.id, "message": {**_gms(n), MARKER: marker(n)}}

    return encode(fitting(notification, limit, form))


def signed_webhook_body(
    device: Device, notification: Notification, limit: int = WEBHOOK_LIMIT
) -> bytes:
    """Return the body of a signed webhook, the same on each try.

    `id` is also the header `webhook-id` (Standard Webhooks). Empty fields are left
    out. Raises: PayloadTooLargeError.
    """

    def form(n: Notification) -> Json:
        return _webhook(device, n)

    return encode(fitting(notification, limit, form))


def web_push_body(notification: Notification, limit: int = WEB_PUSH_LIMIT) -> bytes:
    """Return the plaintext that a service worker gets. Raises: PayloadTooLargeError."""
    return encode(fitting(notification, limit, _web_push))


def comet_data(notification: Notification) -> Json:
    """Return the data of the event on CometD: GMS's object, and the marker."""
    return {**_gms(notification), MARKER: marker(notification)}


def preview(
    family: str, device: Device, notification: Notification, *, now: float, signed: bool
) -> bytes:
    """Return what a provider of this family would send.

    `signed` chooses between the two bodies of `customhttp`. Raises:
    PayloadTooLargeError.
    """
    post = signed_webhook_body if signed else gms_webhook_body
    forms: Mapping[str, Callable[[], bytes]] = {
        "apns": lambda: apns_payload(notification),
        "fcm": lambda: encode(fcm_message(notification, {"token": device.id}, now=now)),
        "customhttp": lambda: post(device, notification),
        "httpcb": lambda: notification.body.encode("utf-8", "replace"),
        "webpush": lambda: web_push_body(notification),
        "comet": lambda: encode(comet_data(notification)),
    }
    return forms[family]()


def marker(notification: Notification) -> Json:
    """Return the value of the key `MARKER`, the same in all payloads."""
    return {
        "v": 1,
        "id": notification.id,
        "chat": notification.chat,
        "position": notification.position,
        **_filled({"badge": notification.badge, "ext": notification.ext}),
    }


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Json:
    """Return both; where they differ theirs count, objects are merged."""
    result = dict(ours)
    for key, value in theirs.items():
        mine = result.get(key)
        if isinstance(value, Mapping):
            result[key] = merged(mine if isinstance(mine, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _apns(n: Notification) -> Json:
    if n.silent:
        return {"aps": _badge_only(n), MARKER: marker(n)}
    ours: Json = {"aps": _filled({"alert": _alert(n), **_aps(n)})}
    if n.lines:
        ours["lastTranscript"] = _transcript(n)
    return {**merged(ours, n.apns), MARKER: marker(n)}


def _aps(n: Notification) -> Json:
    return _filled(
        {
            "badge": n.badge,
            "sound": n.sound,
            "category": n.category,
            "thread-id": n.thread,
            "mutable-content": 1 if n.mutable else None,
            "interruption-level": n.interruption,
        }
    )


def _alert(n: Notification) -> Json:
    if n.loc_key:
        return _filled(
            {"title": n.title, "loc-key": n.loc_key, "loc-args": list(n.loc_args)}
        )
    return _filled({"title": n.title, "body": n.body})


def _badge_only(n: Notification) -> Json:
    # Apple takes content-available only without badge as a background push
    return {"content-available": 1} if n.badge is None else {"badge": n.badge}


def _fcm(n: Notification, now: float) -> Json:
    ttl = int(min(max(n.expires_at - now, 0), LONGEST_TTL))
    android = {"ttl": f"{ttl}s", **_filled({"collapse_key": n.collapse})}
    data = {MARKER: _string(marker(n))}
    if n.silent:
        android["priority"] = "normal"
        return {"data": data, "android": android, "apns": _fcm_apns(n)}
    if n.bare:
        return {"data": data, "android": android | _HIGH, "apns": _fcm_apns(n)}
    ours = {**_HIGH, **android, "notification": _android(n)}
    extra = dict(n.android)
    data = {"message": _string(_gms(n)), **_fcm_data(extra.pop("data", None)), **data}
    return {
        "notification": _filled({"title": n.title, "body": n.body}),
        "data": data,
        "android": merged(_filled(ours), extra),
        "apns": _fcm_apns(n),
    }


def _android(n: Notification) -> Json:
    return _filled(
        {
            "channel_id": n.android_channel,
            "tag": n.collapse,
            "sound": n.sound,
            "notification_count": n.badge,
            "body_loc_key": n.loc_key,
            "body_loc_args": list(n.loc_args),
        }
    )


def _fcm_data(extra: object) -> dict[str, str]:
    """Further data: `android.data` would replace all of ours, marker included."""
    return {
        key: value if isinstance(value, str) else _string(value)
        for key, value in (extra.items() if isinstance(extra, Mapping) else ())
        if not _RESERVED.fullmatch(key)
    }


def _fcm_apns(n: Notification) -> Json:
    """What FCM hands to APNs; it adds the texts and the data by itself."""
    if n.silent:
        payload: Json = {"aps": _badge_only(n)}
    else:
        # FCM's own texts would go to APNs, too: without them, the words stand here.
        alert = _alert(n) if n.loc_key or n.bare else {}
        ours = _filled({"aps": _filled({"alert": alert, **_aps(n)})})
        payload = merged(ours, {k: v for k, v in n.apns.items() if k != MARKER})
    visible = not n.silent or n.badge is not None
    headers = {
        "apns-push-type": "alert" if visible else "background",
        "apns-priority": str(apns_priority(n)),
        "apns-expiration": str(max(0, int(n.expires_at))),
        "apns-collapse-id": apns_collapse_id(n.collapse),
    }
    return _filled({"headers": _filled(headers), "payload": payload})


def _gms(n: Notification) -> Json:
    return {
        "message": "" if n.silent else n.body,
        "serviceId": n.chat,
        "lastTranscript": [] if n.silent else _transcript(n),
    }


def _transcript(n: Notification) -> list[Json]:
    return [{line.event: line.text} for line in n.lines]


def _webhook(device: Device, n: Notification) -> Json:
    to = {
        "id": device.id,
        "type": device.type,
        "provider": device.provider,
        "language": device.language,
        "debug": device.debug or None,
    }
    about = {
        "type": TAG,
        "id": n.id,
        "expiresAt": n.expires_at,
        "device": _filled(to),
        "silent": n.silent or None,
        "collapse": n.collapse,
        "badge": n.badge,
    }
    texts = {} if n.silent or n.bare else _texts(n)
    return {**_filled(about), **texts, MARKER: marker(n)}


def _web_push(n: Notification) -> Json:
    if n.silent:
        return {"silent": True, MARKER: marker(n)}
    if n.bare:
        return {MARKER: marker(n)}
    ours = {**_filled({"tag": n.collapse}), **_texts(n)}
    return {**merged(ours, n.webpush), MARKER: marker(n)}


def _texts(n: Notification) -> Json:
    return _filled(
        {
            "title": n.title,
            "body": n.body,
            "locKey": n.loc_key,
            "locArgs": list(n.loc_args),
            "sound": n.sound,
            "category": n.category,
            "thread": n.thread,
            "lastTranscript": _transcript(n),
        }
    )


def _filled(fields: Mapping[str, Any]) -> Json:
    """Return the fields without the empty ones; zero is not empty."""
    return {k: v for k, v in fields.items() if v not in ("", None, [], {})}


def _string(value: object) -> str:
    return encode(value).decode()
