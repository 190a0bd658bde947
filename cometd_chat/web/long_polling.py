"""The HTTP transports: long-polling by POST, callback-polling by GET.

Any path suffix and any content type are welcome: clients put the type of a message
behind the path, and send JSON as `text/plain` or in a form to avoid preflights.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import ClientConnectionError, web

from cometd_chat import bayeux

from .cometd import CometdEndpoint, Item
from .exchange import DISPLACED, HttpExchange
from .limits import read_body

CALLBACK = "jsonpcallback"
"""Name of the function where the request gives none (Bayeux 1.0)."""

COOKIE = "BAYEUX_BROWSER"
"""Name of the cookie that clients of one browser share (Bayeux 1.0)."""

_CALLBACK = re.compile(r"[A-Za-z0-9._\-]{1,64}").fullmatch
_BROWSER = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch


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


class HttpTransports:
    """Long-polling and callback-polling for one endpoint.

    `body_timeout` is in seconds, from the head of a request to its last byte.
    `cookie` is set with a handshake; None sets none.
    """

    def __init__(
        self,
        endpoint: CometdEndpoint,
        limits: bayeux.Limits,
        body_timeout: float = 10.0,
        *,
        cookie: BrowserCookie | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._body_timeout = body_timeout
        self._cookie = cookie

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Serve long-polling: JSON, or a form with `message` in it."""
        body = await read_body(request, self._body_timeout)
        try:
            batch = self._parse(body)
        except bayeux.BodyError as exc:
            return _refused(exc)
        return await self._serve(HttpExchange(request), batch, request)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve callback-polling: messages in the query, a script in the response."""
        names = request.query.getall("jsonp", [CALLBACK])
        texts = request.query.getall("message", [])
        if not texts:
            return web.Response(status=400, text="POST Bayeux messages here\n")
        if len(names) > 1 or not _CALLBACK(names[0]):
            return web.Response(status=400, text="jsonp: not a function's name\n")
        try:
            batch = self._parse_all(texts)
        except bayeux.BodyError as exc:
            return _refused(exc)
        return await self._serve(HttpExchange(request, names[0]), batch, request)

    async def _serve(
        self, exchange: HttpExchange, batch: Sequence[Item], request: web.Request
    ) -> web.StreamResponse:
        known = request.cookies.get(COOKIE, "")
        browser = self._browser(known)
        peer = bayeux.Peer(
            headers=request.headers, address=request.remote or "", browser=browser
        )
        try:
            await self._endpoint.serve(exchange, batch, peer)
            if self._cookie is not None and browser != known and exchange.admits:
                exchange.cookie = self._cookie.header(browser)
            return await exchange.respond()
        except (ConnectionError, ClientConnectionError):
            return web.Response(status=DISPLACED)  # nobody will read it
        finally:
            self._endpoint.ended(exchange)

    def _browser(self, known: str) -> str:
        """Return what the browser's cookie says, or will say from now on: its first
        client counts as one of those that come later."""
        if self._cookie is None:
            return ""
        return known if _BROWSER(known) else secrets.token_hex(16)

    def _parse(self, body: bytes) -> list[Item]:
        if not body.startswith(b"message="):
            return bayeux.parse(body, self._limits)
        try:
            form = parse_qsl(body.decode(), errors="strict", max_num_fields=100)
        except ValueError:
            raise bayeux.BodyError(400, "The form is malformed") from None
        return self._parse_all([value for name, value in form if name == "message"])

    def _parse_all(self, texts: Sequence[str]) -> list[Item]:
        parsed = (bayeux.parse(text.encode(), self._limits) for text in texts)
        batch = [item for part in parsed for item in part]
        if len(batch) > self._limits.messages:
            raise bayeux.BodyError(413, "Too many messages in one request")
        return batch


def _refused(exc: bayeux.BodyError) -> web.Response:
    return web.Response(status=exc.status, text=f"{exc}\n")
