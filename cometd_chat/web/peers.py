"""Who sent a request that aiohttp has read."""

from collections.abc import Iterator, Mapping

from aiohttp import web
from multidict import CIMultiDictProxy

from cometd_chat.bayeux import Peer


def peer_of(request: web.Request, browser: str = "") -> Peer:
    """Return what the server knows of the sender; `browser` is the cookie's value."""
    headers = _Combined(request.headers)
    return Peer(headers=headers, address=request.remote or "", browser=browser)


class _Combined(Mapping[str, str]):
    """Header fields; those of the same name are one list (RFC 9110 §5.3).

    So what a proxy adds to a field counts, and not only what was there before it.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: CIMultiDictProxy[str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._fields.getall(name))

    def __iter__(self) -> Iterator[str]:
        return iter(set(self._fields))

    def __len__(self) -> int:
        return len(set(self._fields))
