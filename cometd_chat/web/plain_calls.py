"""Plain calls of the REST interface: what the front answers beside Bayeux messages.

Of the forms that aiohttp takes, those that apps really send; whatever else comes to
these addresses is left to it.
"""

import re
from collections.abc import Mapping

from msgspec import Struct
from yarl import URL

from cometd_chat.bayeux import Peer

from .calls import Handler
from .parameters import FORM, MEDIA, parameters_in

_SERVICE = r"([A-Za-z0-9_\-]++)"
"""A service, or the key of one, as it stands in an address without escapes."""

_TYPE = re.compile(
    rf"({'|'.join(map(re.escape, MEDIA))})(?:; ?charset=utf-8)?", re.IGNORECASE
).fullmatch


class Target(Struct, frozen=True):
    """What the head of a call tells: who answers, for which service, and what `media`
    the body is."""

    handler: Handler
    service: str
    media: str


class PlainCall(Struct, frozen=True):
    """A call whose body is there. `host` is the address that it was sent to."""

    service: str
    peer: Peer
    media: str
    body: bytes
    host: str
    secure: bool
    chat: str = ""

    @property
    def url(self) -> URL:
        scheme = "https" if self.secure else "http"
        return URL.build(scheme=scheme, authority=self.host)

    async def parameters(self, _: float) -> dict[str, str]:
        return parameters_in(self.body, self.media)


class PlainCalls:
    """Calls by POST; `handlers` are named by their addresses, with `{service}` in it.

    `patterns` are those of the addresses.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = {_pattern(name): serve for name, serve in handlers.items()}
        self.patterns = tuple(self._handlers)

    def find(self, path: str, content_type: str | None) -> Target | None:
        """Return who answers, None if the call is not plain."""
        media = _TYPE(FORM if content_type is None else content_type)
        for pattern, handler in self._handlers.items():
            if media and (found := re.fullmatch(pattern, path)):
                return Target(handler, found[1], media[1].lower())
        return None


def _pattern(address: str) -> str:
    before, after = address.split("{service}")
    return f"{re.escape(before)}{_SERVICE}{re.escape(after)}"
