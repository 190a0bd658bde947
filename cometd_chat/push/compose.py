"""What a push says: unheard entries and options to one notification per device. Pure.

Texts come from the options of the provider and the event, in the language of the
device where there is a localisation file.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import json

from cometd_chat.config import Config, ProviderOptions
from cometd_chat.gms import v1
from cometd_chat.model import Device, Entry, NewJob, Session

from . import TAG, Line, Notification
from .quiet import quiet_until

LIFE = 86_400.0
"""Seconds from its first moment after which a push is of no interest any more."""

LINES = 100
"""Entries that one push tells at most: the newest. No payload has room for more."""

_NAMESPACE = uuid.UUID("6f6c9a6e-64b1-4c5f-9d0b-0a6c8f6f3f1e")

_FAMILIES = {
    "ios": "apns",
    "fcm": "fcm",
    "gcm": "fcm",
    "android": "fcm",
    "customhttp": "customhttp",
    "httpcb": "httpcb",
    "webpush": "webpush",
}
"""What sends to devices of a type; the other types of GMS get nothing."""

Texts = Mapping[str, Mapping[str, str]]
"""Texts by language and key, as the localisation file has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """Why there is a push: the entries its customer has not heard of, at `now`."""

    session: Session
    entries: Sequence[Entry] = field(repr=False)
    badge: int
    now: float

    @property
    def position(self) -> int:
        return self.entries[-1].position


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A device that is to be pushed, by whom (`family:provider[:debug]`), and how."""

    device: Device
    sender: str
    options: ProviderOptions


def receivers(config: Config, session: Session) -> list[Receiver]:
    """Return the devices of the customer that want pushes and can get them."""
    found = []
    for device in session.devices:
        name = _provider(config, session, device)
        sender = _sender(config, device, name)
        if sender and not device.muted:
            options = config.provider(name, TAG, debug=device.debug)
            found.append(Receiver(device=device, sender=sender, options=options))
    return found


def together_until(to: Sequence[Receiver], first: Entry) -> float:
    """Return until when entries after the first unheard one join it in its push."""
    return first.at + min((one.options.coalesce for one in to), default=0.0)


def awake_at(to: Sequence[Receiver], now: float) -> float:
    """Return when the quiet hours of the first device end; `now` if it has none."""
    return min((_begin(one.device, now) for one in to), default=now)


def jobs(
    config: Config, texts: Texts, occasion: Occasion, to: Sequence[Receiver]
) -> list[NewJob]:
    """Return one push for each of the receivers."""
    return [_job(config, texts, occasion, receiver) for receiver in to]


def _job(
    config: Config, texts: Texts, occasion: Occasion, receiver: Receiver
) -> NewJob:
    notification = compose(config, texts, occasion, receiver)
    return NewJob(
        id=notification.id,
        device=receiver.device,
        provider=receiver.sender,
        position=occasion.position,
        content=json.encode(notification, enc_hook=dict),
        not_before=_begin(receiver.device, occasion.now),
        expires_at=notification.expires_at,
    )


def compose(
    config: Config, texts: Texts, occasion: Occasion, receiver: Receiver
) -> Notification:
    """Return what this device is told.

    The id follows from chat, position and device, so that the same push has the same
    id whoever sends it, however often.
    """
    session, device, options = occasion.session, receiver.device, receiver.options
    said = _said(texts, device.language)
    name = f"{session.id}:{occasion.position}:{device.type}:{device.id}"
    body = config.service(session.service).client_timeout_notification_message
    return Notification(
        id=str(uuid.uuid5(_NAMESPACE, name)),
        chat=session.key,
        position=occasion.position,
        title=said.get("title") or _title(options, device),
        body=said.get("message") or _body(options, device) or body,
        loc_key=options.apple_alert_message_loc_key,
        loc_args=options.apple_alert_message_loc_args,
        lines=tuple(
            Line(event=v1.event_name(e.kind), text=e.text)
            for e in occasion.entries[-LINES:]
        ),
        badge=occasion.badge if options.apple_badge is None else options.apple_badge,
        sound=options.apple_sound,
        collapse=options.android_collapse_key,
        thread=session.id,
        expires_at=_begin(device, occasion.now) + LIFE,
        apns=_apple(options) if device.type == "ios" else {},
    )


def _apple(options: ProviderOptions) -> dict[str, Any]:
    """Return what only iPhones know, in Apple's own form."""
    alert = {
        "action-loc-key": options.apple_alert_message_action_loc_key,
        "launch-image": options.apple_alert_message_launch_image,
    }
    alert = {name: value for name, value in alert.items() if value}
    aps: dict[str, Any] = {"alert": alert} if alert else {}
    if options.apple_content_available:
        aps["content-available"] = 1
    return {"aps": aps} if aps else {}


def _provider(config: Config, session: Session, device: Device) -> str:
    named = device.provider or config.service(session.service).provider_name
    return named or config.push.default_provider


def _sender(config: Config, device: Device, name: str) -> str:
    family = _FAMILIES.get(device.type, "")
    if not family or device.type not in config.push.push_enabled:
        return ""
    # Customers name it: what they invent must not become accounts and queues.
    if device.provider and device.provider not in config.providers:
        return ""
    return f"{family}:{name}" + ":debug" * device.debug


def _begin(device: Device, now: float) -> float:
    return quiet_until(device.quiet, device.zone, now)


def _title(options: ProviderOptions, device: Device) -> str:
    return options.apple_title if device.type == "ios" else options.fcm_title


def _body(options: ProviderOptions, device: Device) -> str:
    match _FAMILIES[device.type]:
        case "apns":
            return options.apple_alert_message_body or options.apple_alert
        case "fcm":
            return options.fcm_body
        case "customhttp":
            return options.customhttp_message
        case _:
            return ""


def _said(texts: Texts, language: str) -> Mapping[str, str]:
    """Return the texts of a language: `ru-RU`, else `ru`."""
    return texts.get(language) or texts.get(language.partition("-")[0]) or {}
