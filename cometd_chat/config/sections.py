"""The sections of the file: what may stand in each, and which lie over which."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from cometd_chat.config.options import (
    AgentOptions,
    AuthOptions,
    BayeuxOptions,
    FilesOptions,
    LimitOptions,
    LogOptions,
    ServerOptions,
    StoreOptions,
)
from cometd_chat.config.push_options import ProviderOptions, PushOptions
from cometd_chat.config.service_options import ChatOptions, ServiceOptions
from cometd_chat.config.table import Option, rows

DEBUG = "debug."
"""What the names of options for devices in debug mode begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A kind of section: its title, where `<name>` stands for any, and its options.

    `own` are the classes of the options that have their home here, `also` those of
    options that may stand here, too. The first own class of a section without a name
    is the type of its field in `Config`.
    """

    title: str
    sentence: str
    own: tuple[type[Any], ...] = ()
    also: tuple[type[Any], ...] = ()

    @property
    def named(self) -> bool:
        return "<" in self.title

    @property
    def base(self) -> type[Any] | None:
        return self.own[0] if self.own and not self.named else None

    @property
    def options(self) -> tuple[Option, ...]:
        """Return what may stand in the section, debug twins included."""
        return _options(self)

    def names(self, title: str) -> dict[str, str] | None:
        """Return the names in a title, or None if it is not of this kind."""
        found = re.fullmatch(_pattern(self.title), title)
        return found.groupdict() if found else None


@cache
def _options(section: Section) -> tuple[Option, ...]:
    classes = (*section.own, *section.also)
    found = [o for c in classes for o in rows(c) if o.only in {"", section.title}]
    if ProviderOptions in classes:
        found += map(_twin, rows(ProviderOptions))
    return tuple(found)


def _twin(option: Option) -> Option:
    return replace(
        option, name=f"{DEBUG}{option.name}", attr=f"{DEBUG}{option.attr}", twin=True
    )


@cache
def _pattern(title: str) -> str:
    # a provider's name ends at the dot before `event`; other names may have dots
    name = r"(?P<name>(?!event(?:\\.|$))[^.]+)"
    pattern = re.sub("<name>", name, title.replace(".", r"\."))
    return re.sub("<(service|event)>", r"(?P<\1>\\S(?:.*\\S)?)", pattern)


SECTIONS = (
    Section(title="server", own=(ServerOptions,), sentence="The HTTP server."),
    Section(
        title="bayeux",
        own=(BayeuxOptions,),
        sentence="CometD: how long polls are held and clients are remembered.",
    ),
    Section(
        title="store",
        own=(StoreOptions,),
        sentence="Where chats are kept, and for how long.",
    ),
    Section(
        title="auth",
        own=(AuthOptions,),
        sentence="How customers prove who they are.",
    ),
    Section(
        title="agents",
        own=(AgentOptions,),
        sentence="How agents prove who they are. Without an option, a secret is made "
        "at the first start and kept beside the database.",
    ),
    Section(
        title="limits",
        own=(LimitOptions,),
        sentence="What one request, client or chat may take.",
    ),
    Section(
        title="files",
        own=(FilesOptions,),
        sentence="Files that customers and agents send each other.",
    ),
    Section(
        title="log",
        own=(LogOptions,),
        sentence="What the server logs, and how.",
    ),
    Section(title="metrics", sentence="Metrics. There are no options yet."),
    Section(
        title="chat",
        own=(ChatOptions,),
        also=(ServiceOptions,),
        sentence="All chats. The options of `service.<service>` may stand here, too, "
        "as the defaults of all services.",
    ),
    Section(
        title="chat.<service>",
        also=(ChatOptions, ServiceOptions),
        sentence="The chats of one service (Chat API v2), with the options of `chat`.",
    ),
    Section(
        title="service.<service>",
        own=(ServiceOptions,),
        sentence="One service (Chat API v1).",
    ),
    Section(
        title="push",
        own=(PushOptions, ProviderOptions),
        sentence="Pushes to customers who are absent. From `coalesce` on, the options "
        "are the defaults of all providers.",
    ),
    Section(
        title="push.provider.<name>",
        also=(ProviderOptions,),
        sentence="One provider, with the options of `push` from `coalesce` on. Its "
        "name has no dots.",
    ),
    Section(
        title="push.provider.event.<event>",
        also=(ProviderOptions,),
        sentence="One event of all providers, with the same options.",
    ),
    Section(
        title="push.provider.<name>.event.<event>",
        also=(ProviderOptions,),
        sentence="One event of one provider, with the same options.",
    ),
)

FIXED: Mapping[str, Section] = MappingProxyType(
    {section.title: section for section in SECTIONS if not section.named}
)
"""The sections without a name, by title."""


def section_of(title: str) -> Section | None:
    """Return the kind of section that has this title."""
    return next((s for s in SECTIONS if s.names(title) is not None), None)


def in_small_letters(title: str) -> str:
    """Return the title with the names in it as they are: GMS's pages, from which it may
    be copied, begin it with a capital letter (`Service.<service>`)."""
    for section in SECTIONS:
        if found := re.fullmatch(_pattern(section.title), title, re.IGNORECASE):
            return re.sub("<(.*?)>", lambda name: found[name[1]], section.title)
    return title


def options_of(title: str) -> tuple[Option, ...]:
    """Return what may stand in the section of this title."""
    section = section_of(title)
    return section.options if section else ()


def names_in(title: str) -> dict[str, str]:
    """Return the names in the title of a section: its service, name or event."""
    section = section_of(title)
    return (section and section.names(title)) or {}


def chat_chain(service: str) -> tuple[str, ...]:
    """Return the sections that speak about chats of a service."""
    return ("chat", f"chat.{service}")


def service_chain(service: str) -> tuple[str, ...]:
    """Return the sections that speak about a service."""
    return ("push", *chat_chain(service), f"service.{service}")


def provider_chain(name: str, event: str) -> tuple[str, ...]:
    """Return the sections that speak about pushes of an event by a provider."""
    provider, of_event = f"push.provider.{name}", f"push.provider.event.{event}"
    return ("push", provider, of_event, f"{provider}.event.{event}")


def chain(title: str) -> tuple[str, ...]:
    """Return the section itself and those it lies over, the most general first."""
    match names_in(title):
        case {"service": service} if title.startswith("chat."):
            return chat_chain(service)
        case {"service": service}:
            return service_chain(service)
        case {"name": name, "event": event}:
            return provider_chain(name, event)
        case {"name": _} | {"event": _}:
            return ("push", title)
        case _:
            return (title,)
