"""What the REST interface is asked, and answers, whichever way a request comes in:
by aiohttp (`WebCall`), or through the front (`plain_calls.py`)."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeAlias

from aiohttp import web
from yarl import URL

from cometd_chat.bayeux import Peer

from .parameters import read_parameters
from .peers import peer_of


class Reply(NamedTuple):
    """What is answered; `body` is JSON, or empty."""

    status: int
    body: bytes = b""


class Call(Protocol):
    """A request. `service` is what its address names: a service, or the key of one;
    `chat` is the id of a chat, with version 2 of the API."""

    @property
    def service(self) -> str: ...

    @property
    def chat(self) -> str: ...

    @property
    def peer(self) -> Peer:
        """Who sent it."""
        ...

    @property
    def url(self) -> URL:
        """The address of this server, as the caller wrote it."""
        ...

    async def parameters(self, seconds: float) -> dict[str, str]:
        """Return what came along; a body that is under way must arrive in this time.

        Raises: V1Error; HTTPException for what breaks the limits of bodies.
        """
        ...


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]


class WebCall:
    """A request that aiohttp has read."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.service = request.match_info.get("service", "")
        self.chat = request.match_info.get("chat", "")
        self.peer = peer_of(request)

    @property
    def url(self) -> URL:
        return self._request.url

    async def parameters(self, seconds: float) -> dict[str, str]:
        return await read_parameters(self._request, seconds)
