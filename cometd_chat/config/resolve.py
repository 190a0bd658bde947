"""`Config`: the values in force, and how sections that lie over others combine.

Sections with a name lie over more general ones. `Config.layers` keeps what each of
them sets itself; to resolve is to lay them over each other, the most general first,
so that the last word wins.
"""
# ruff: noqa: RUF009  # the defaults are frozen, which ruff cannot see from here

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

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
from cometd_chat.config.sections import (
    DEBUG,
    chat_chain,
    names_in,
    provider_chain,
    service_chain,
)
from cometd_chat.config.service_options import ChatOptions, ServiceOptions

T = TypeVar("T")

Layers: TypeAlias = Mapping[str, Mapping[str, object]]
"""What sections set, by title and field; `debug.<field>` is a debug twin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, checked; made by `load`.

    `layers` holds what the sections set that lie over, or under, others.
    """

    server: ServerOptions = ServerOptions()
    bayeux: BayeuxOptions = BayeuxOptions()
    store: StoreOptions = StoreOptions()
    auth: AuthOptions = AuthOptions()
    agents: AgentOptions = AgentOptions()
    limits: LimitOptions = LimitOptions()
    files: FilesOptions = FilesOptions()
    log: LogOptions = LogOptions()
    chat: ChatOptions = ChatOptions()
    push: PushOptions = PushOptions()
    layers: Layers = field(default_factory=lambda: MappingProxyType({}), repr=False)
    _services: dict[str, ServiceOptions] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    _chats: dict[str, ChatOptions] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def services(self) -> tuple[str, ...]:
        """Return the services that have a section of their own, sorted."""
        return self._names("service")

    @property
    def providers(self) -> tuple[str, ...]:
        """Return the push providers that have a section of their own, sorted."""
        return self._names("name")

    def _names(self, group: str) -> tuple[str, ...]:
        found = map(names_in, self.layers)
        return tuple(sorted({names[group] for names in found if group in names}))

    def service(self, name: str) -> ServiceOptions:
        """Return the options of a service; unknown names get the defaults."""
        # Customers invent names: only those that the file has are remembered.
        if not self.layers.keys() & {f"chat.{name}", f"service.{name}"}:
            name = ""
        if name not in self._services:
            made = _made(ServiceOptions, self.laid(service_chain(name)))
            self._services[name] = made
        return self._services[name]

    def chat_service(self, name: str) -> ChatOptions:
        """Return the options of a service's chats; unknown names get [chat]."""
        if f"chat.{name}" not in self.layers:  # as above
            name = ""
        if name not in self._chats:
            self._chats[name] = _made(ChatOptions, self.laid(chat_chain(name)))
        return self._chats[name]

    def provider(
        self, name: str, event: str = "", *, debug: bool = False
    ) -> ProviderOptions:
        """Return the options of a provider for an event.

        An empty name is `defaultProvider`. With `debug`, an option that has a debug
        twin in any of the sections has its value, as GMS chooses for subscriptions
        whose property `debug` is true.
        """
        laid = self.laid(provider_chain(name or self.push.default_provider, event))
        twins = {k: v for k, v in laid.items() if debug and k.startswith(DEBUG)}
        laid |= {k.removeprefix(DEBUG): v for k, v in twins.items()}
        return _made(ProviderOptions, laid)

    def laid(self, sections: Iterable[str]) -> dict[str, tuple[Any, str]]:
        """Return value and section of every field the sections have, the last wins."""
        found: dict[str, tuple[Any, str]] = {}
        for section in sections:
            base = getattr(self, section, None)
            own = {n: getattr(base, n) for n in base.__slots__} if base else {}
            own |= self.layers.get(section, {})
            found |= {attr: (value, section) for attr, value in own.items()}
        return found


def _made(kind: type[T], laid: Mapping[str, tuple[Any, str]]) -> T:
    attrs = vars(kind)["__slots__"]
    return kind(**{attr: laid[attr][0] for attr in attrs if attr in laid})
