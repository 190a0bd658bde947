"""The words of a push: who says them decides which count. Pure.

The most particular word wins: what the agent wants for this entry, then the
conversation itself where the option `form` asks for it, then the language of the
device, the provider's options, and the service's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cometd_chat.config import ProviderOptions, ServiceOptions
from cometd_chat.model import Device, Entry, EntryKind, PushOverride, Session

Texts = Mapping[str, Mapping[str, str]]
"""Texts by language (`language_tag`) and key, as the localisation file has them."""

_SHOWN = {EntryKind.MESSAGE, EntryKind.PUSH_URL, EntryKind.FILE_UPLOADED}
"""Entries whose text is meant for people; that of a file is its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Title and body of a push; `own` tells that the body is not that of options."""

    title: str = field(default="", repr=False)
    body: str = field(default="", repr=False)
    own: bool = False

    def over(self, other: "Wording") -> "Wording":
        """Return this, with the other's words where it has none."""
        return Wording(
            title=self.title or other.title,
            body=self.body or other.body,
            own=self.own if self.body else other.own,
        )


def wanted(override: PushOverride) -> Wording:
    """Return what an agent asked for."""
    return Wording(title=override.title, body=override.body, own=True)


def conversation(session: Session, entries: Sequence[Entry]) -> Wording:
    """Return the newest entry as messengers show it.

    One to one: who wrote, and what. With several agents it is a group: its title is
    the subject of the chat, and the body also tells who wrote.
    """
    newest = next((e for e in reversed(entries) if e.kind in _SHOWN and e.text), None)
    if newest is None:
        return Wording()
    if len(session.agents) > 1:
        body = f"{newest.nickname}: {newest.text}"
        return Wording(title=session.profile.subject, body=body, own=True)
    return Wording(title=newest.nickname, body=newest.text, own=True)


def configured(
    texts: Texts,
    device: Device,
    family: str,
    options: ProviderOptions,
    service: ServiceOptions,
) -> Wording:
    """Return the texts of the options, in the language of the device if there are
    any; `family` is what sends (`apns`, `fcm` …)."""
    language = language_tag(device.language)
    said = texts.get(language) or texts.get(language.partition("-")[0]) or {}
    title, body = _of_family(family, options)
    return Wording(
        title=said.get("title") or title or service.client_timeout_notification_title,
        body=said.get("message") or body or service.client_timeout_notification_message,
    )


def language_tag(text: str) -> str:
    """Return a language as BCP 47 writes it, in small letters: `pt_BR` is `pt-br`."""
    return text.strip().replace("_", "-").lower()


def _of_family(family: str, options: ProviderOptions) -> tuple[str, str]:
    match family:
        case "apns":
            body = options.apple_alert_message_body or options.apple_alert
            return options.apple_title, body
        case "customhttp":
            return options.fcm_title, options.customhttp_message
        case _:
            return options.fcm_title, options.fcm_body
