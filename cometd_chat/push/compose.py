"""What is pushed: unheard entries and options to one job per device. Pure."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import json

from cometd_chat.config import Config, ProviderOptions
from cometd_chat.model import (
    Device,
    Entry,
    NewJob,
    PushOverride,
    Session,
    canonical_type,
)

from . import TAG, Notification
from .browsers import service_of
from .lines import lines_of
from .payloads import merged
from .quiet import quiet_until
from .wording import Texts, Wording, configured, conversation, wanted

LIFE = 86_400.0
"""Seconds from its first moment after which a push is of no interest any more."""

LIFE_OF_BADGE = 3_600.0
"""Seconds for which a number that went down is worth a silent push."""

_NAMESPACE = uuid.UUID("6f6c9a6e-64b1-4c5f-9d0b-0a6c8f6f3f1e")

_FAMILIES = {
    "ios": "apns",
    "fcm": "fcm",
    "customhttp": "customhttp",
    "httpcb": "httpcb",
    "webpush": "webpush",
    "comet": "comet",
}
"""What sends to devices of a type; the other types of GMS get nothing."""

_NO_WISH = PushOverride()


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
    """A device that is to be pushed, by whom (`family[/service]:provider[:debug]`), and
    how."""

    device: Device
    sender: str
    options: ProviderOptions


def receivers(config: Config, session: Session) -> list[Receiver]:
    """Return the devices of the customer that want pushes and can get them."""
    if not config.service(session.service).push:
        return []
    return [one for one in _served(config, session) if not one.device.muted]


def _served(config: Config, session: Session) -> list[Receiver]:
    found = []
    for device in session.devices:
        if not why_unserved(config, device):
            name = _provider(config, session, device)
            options = config.provider(name, TAG, debug=device.debug)
            sender = f"{_queue(device, options)}:{name}"
            sender += ":debug" * device.debug
            found.append(Receiver(device=device, sender=sender, options=options))
    return found


def is_enabled(config: Config, device: Device) -> bool:
    """Tell whether there are pushes to devices of this type."""
    return device.type in map(canonical_type, config.push.push_enabled)


def why_unserved(config: Config, device: Device) -> str:
    """Return why nothing can be sent to the device, empty if something can.

    Without what its customer chose: it is fit for logs.
    """
    if not is_enabled(config, device):
        return f"[push] pushEnabled has no {device.type}"
    if device.type not in _FAMILIES:
        return f"nothing is sent to devices of type {device.type}"
    # Customers name it: what they invent must not become accounts and queues.
    if device.provider not in {"", *config.providers}:
        return "there is no [push.provider.<name>] of the name that it brings"
    return ""


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
    id whoever sends it, however often. Of several entries told together, the newest
    that has a wish of its own is heard.
    """
    session, device, options = occasion.session, receiver.device, receiver.options
    full = options.privacy == "full"
    wish = _wish(occasion.entries) if full else _NO_WISH
    words = _words(config, texts, occasion, receiver, wish)
    bare = options.privacy == "id-only"
    own = {} if words.own else _localised(options)
    return Notification(
        id=_named(session, occasion.position, device),
        chat=_name(session, options),
        service=session.service,
        position=occasion.position,
        title="" if bare else words.title,
        body=words.body,
        lines=lines_of(occasion.entries) if full else (),
        badge=occasion.badge if options.apple_badge is None else options.apple_badge,
        counted=options.apple_badge is None,
        sound=wish.sound or options.apple_sound,
        ext=wish.ext,
        category=options.apple_category,
        thread=options.apple_thread_id or session.id,
        collapse=wish.collapse or options.android_collapse_key,
        mutable=bare or options.apple_mutable_content,
        interruption=_interruption(options),
        android_channel=options.android_channel_id,
        bare=bare,
        expires_at=_begin(device, occasion.now) + LIFE,
        apns=merged(_apple(options) if device.type == "ios" else {}, wish.apns),
        android=wish.android,
        webpush=wish.webpush,
        **own,
    )


def corrections(
    config: Config, session: Session, badge: int, now: float
) -> list[NewJob]:
    """Return the silent pushes that tell devices a badge that went down.

    They go to devices of the types in `badge_update`, muted ones too.
    """
    if not config.service(session.service).push:
        return []
    return [
        _correction(session, receiver, badge, now)
        for receiver in _served(config, session)
        if receiver.device.type in config.push.badge_update
        and _shows_badges(receiver.options, receiver.device.type)
    ]


def _shows_badges(options: ProviderOptions, device_type: str) -> bool:
    # GMS's own form of a post has no room for a push that says nothing.
    signed = device_type != "customhttp" or bool(options.customhttp_secret)
    return signed and options.apple_badge is None


def _correction(session: Session, receiver: Receiver, badge: int, now: float) -> NewJob:
    begin = _begin(receiver.device, now)
    # No two corrections follow the same announcement.
    notification = Notification(
        id=_named(session, session.announced, receiver.device, "badge"),
        chat=_name(session, receiver.options),
        service=session.service,
        position=session.announced,
        body="",
        badge=badge,
        counted=True,
        silent=True,
        expires_at=begin + LIFE_OF_BADGE,
    )
    return NewJob(
        id=notification.id,
        device=receiver.device,
        provider=receiver.sender,
        position=session.announced,
        content=json.encode(notification, enc_hook=dict),
        not_before=begin,
        expires_at=notification.expires_at,
        silent=True,
    )


def _name(session: Session, options: ProviderOptions) -> str:
    """Return how the app knows the chat: its service id opens it, and is not for
    everybody's eyes."""
    return session.key if options.privacy == "full" else session.id


def _named(session: Session, position: int, device: Device, what: str = "") -> str:
    name = f"{session.id}:{position}{what}:{device.type}:{device.id}"
    return str(uuid.uuid5(_NAMESPACE, name))


def _wish(entries: Sequence[Entry]) -> PushOverride:
    return next((e.push for e in reversed(entries) if e.push), _NO_WISH)


def _words(
    config: Config,
    texts: Texts,
    occasion: Occasion,
    receiver: Receiver,
    wish: PushOverride,
) -> Wording:
    session, options = occasion.session, receiver.options
    family = _FAMILIES[receiver.device.type]
    service = config.service(session.service)
    words = configured(texts, receiver.device, family, options, service)
    if options.form == "conversation" and options.privacy == "full":
        words = conversation(session, occasion.entries).over(words)
    return wanted(wish).over(words)


def _localised(options: ProviderOptions) -> dict[str, Any]:
    """Return the keys by which a phone finds the text itself."""
    return {
        "loc_key": options.apple_alert_message_loc_key,
        "loc_args": options.apple_alert_message_loc_args,
    }


def _interruption(options: ProviderOptions) -> str:
    level = options.apple_interruption_level
    return "" if level == "active" else level  # what Apple takes without a word


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


def _queue(device: Device, options: ProviderOptions) -> str:
    """Return the family, and for browsers whose push service it is: one that hangs
    must not keep those of the others."""
    family = _FAMILIES[device.type]
    if family != "webpush":
        return family
    service = service_of(device.id, options.webpush_hosts)
    return f"{family}/{service}" if service else family


def _begin(device: Device, now: float) -> float:
    return quiet_until(device.quiet, device.zone, now)
