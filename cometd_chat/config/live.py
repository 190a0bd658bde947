"""A configuration that changes while the server runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from cometd_chat.config.resolve import Config
from cometd_chat.config.sections import FIXED, chain, options_of
from cometd_chat.config.table import Option, Reload


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An option whose value is another one now; secrets are masked."""

    section: str
    option: str
    old: str
    new: str
    reload: Reload

    def __str__(self) -> str:
        was, now = self.old or "none", self.new or "none"
        return f"[{self.section}] {self.option}: {was} -> {now}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """The value an option has in a section; `set_in` tells which section gave it."""

    section: str
    option: Option
    value: object
    set_in: str


class LiveConfig:
    """The configuration in force.

    Ask for `current` at the time of use and keep no part of it: `replace` swaps the
    whole in one assignment.
    """

    def __init__(self, config: Config) -> None:
        self._current = config

    @property
    def current(self) -> Config:
        return self._current

    def replace(self, new: Config) -> None:
        self._current = new


def effective(config: Config, title: str) -> Iterator[Effective]:
    """Yield every option of a section with the value that applies there."""
    laid = config.laid(chain(title))
    for option in options_of(title):
        value, set_in = laid.get(option.attr, (option.default, ""))
        yield Effective(section=title, option=option, value=value, set_in=set_in)


def changes(old: Config, new: Config) -> list[Changed]:
    """Return the options that differ, with when the difference takes effect."""
    titles = dict.fromkeys((*FIXED, *old.layers, *new.layers))
    return [
        _changed(before, after)
        for title in titles
        for before, after in zip(
            effective(old, title), effective(new, title), strict=True
        )
        if before.value != after.value
    ]


def _changed(before: Effective, after: Effective) -> Changed:
    option = before.option
    return Changed(
        section=before.section,
        option=option.name,
        old=option.show(before.value),
        new=option.show(after.value),
        reload=option.reload,
    )
