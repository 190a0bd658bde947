"""How the table of options is written: one row for each field made by `option`."""

import re
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

from cometd_chat.config.kinds import SECRET, Kind

T = TypeVar("T")

DAY = 86_400
KIB = 1024
MIB = 1024 * KIB


EVENTS = (
    "Notice.TypingStarted",
    "Notice.TypingStopped",
    "Notice.Joined",
    "Notice.Left",
    "Notice.PushUrl",
    "Notice.Custom",
    "Message.Text",
)
"""Events of GMS Chat API v1 that can cause a push."""

TYPING = ("Notice.TypingStarted", "Notice.TypingStopped")


class Reload(StrEnum):
    """When a changed option takes effect."""

    LIVE = "live"
    NEW_SESSIONS = "new-sessions"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One row of the table. `attr` is the field it sets, `name` how it is written.

    `only` names the one section that takes it where its class serves several.
    `useless` says why the option is accepted but has no effect. `twin`: the value
    for devices in debug mode. `example` is a value in the form of the file, for people.
    `used_by` names the push types that look at it, where the option's name does not.
    """

    name: str = ""
    attr: str = ""
    kind: Kind[Any]
    default: Any
    sentence: str
    reload: Reload = Reload.LIVE
    only: str = ""
    useless: str = ""
    twin: bool = False
    example: str = ""
    used_by: str = ""

    @property
    def secret(self) -> bool:
        return self.kind is SECRET

    def show(self, value: object) -> str:
        """Write a value as the file would have it; nothing is shown of a secret."""
        if value in (None, "", ()):
            return ""
        return "***" if self.secret else without_password(self.kind.show(value))


def without_password(text: str) -> str:
    """Return the text without user and password of the addresses in it."""
    return re.sub(r"//[^\s,]*@", "//***@", text)


def option(kind: Kind[Any], default: T, sentence: str, **more: Any) -> T:
    """Describe an option of a section; `more` are further fields of `Option`."""
    row = Option(kind=kind, default=default, sentence=sentence, **more)
    return field(default=default, repr=not row.secret, metadata={_ROW: row})


_ROW = "option"


def rows(kind: type[Any]) -> tuple[Option, ...]:
    """Return the options of a class, in the order they are written."""
    return tuple(
        replace(f.metadata[_ROW], attr=f.name, name=f.metadata[_ROW].name or f.name)
        for f in fields(kind)
    )
