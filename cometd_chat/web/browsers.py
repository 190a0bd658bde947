"""The cookie that tells browsers apart (Bayeux 1.0, "Multiple clients")."""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cometd_chat import bayeux

COOKIE: Final = "BAYEUX_BROWSER"
"""Name of the cookie that clients of one browser share (Bayeux 1.0)."""

_HANDSHAKE: Final = "/meta/handshake"
_BROWSER: Final = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch


def is_browser(value: str) -> bool:
    """Tell whether the cookie may have been ours."""
    return _BROWSER(value) is not None


def new_browser() -> str:
    """Return a cookie for a browser that has none."""
    return secrets.token_hex(16)


def begins(batch: Iterable[bayeux.Message | bayeux.Reply]) -> bool:
    """Tell whether a request has a handshake."""
    for item in batch:  # noqa: SIM110 - a generator for nearly always one item is dearer
        if item.channel == _HANDSHAKE:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserCookie:
    """Attributes of the cookie that tells browsers apart, nothing else: a clientId
    is enough to speak for a client."""

    same_site: str = "Lax"
    secure: bool = False
    partitioned: bool = False

    def header(self, value: str) -> str:
        """Return `Set-Cookie` with this value."""
        flags = "; Secure" * self.secure + "; Partitioned" * self.partitioned
        return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite={self.same_site}{flags}"

    def browser(
        self, known: str, batch: Sequence[bayeux.Message | bayeux.Reply]
    ) -> str:
        """Return what the browser's cookie says, or will say after a handshake: its
        first client counts as one of those that come later."""
        if is_browser(known):
            return known
        return new_browser() if begins(batch) else ""
