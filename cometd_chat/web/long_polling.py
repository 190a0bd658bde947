"""The HTTP transports: long-polling by POST, callback-polling by GET.

Any path suffix and any content type are welcome: clients put the type of a message
behind the path, and send JSON as `text/plain` or in a form to avoid preflights.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import ClientConnectionError, web

from cometd_chat import bayeux

from .browsers import COOKIE, BrowserCookie
from .cometd import CometdEndpoint
from .elsewhere import Item
from .exchange import DISPLACED, HttpExchange
from .limits import read_body
from .peers import peer_of

CALLBACK: Final = "jsonpcallback"
"""Name of the function where the request gives none (Bayeux 1.0)."""

_CALLBACK: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}").fullmatch


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
        self.endpoint = endpoint
        self.limits = limits
        self._body_timeout = body_timeout
        self.cookie = cookie

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Serve long-polling: JSON, or a form with `message` in it."""
        body = await read_body(request, self._body_timeout)
        try:
            batch = read_batch(body, self.limits)
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
            batch = _read_all(texts, self.limits)
        except bayeux.BodyError as exc:
            return _refused(exc)
        return await self._serve(HttpExchange(request, names[0]), batch, request)

    async def _serve(
        self, exchange: HttpExchange, batch: Sequence[Item], request: web.Request
    ) -> web.StreamResponse:
        known = request.cookies.get(COOKIE, "")
        browser = "" if self.cookie is None else self.cookie.browser(known, batch)
        peer = peer_of(request, browser)
        self.endpoint.polls.watch(exchange)
        try:
            if (work := self.endpoint.serve(exchange, batch, peer)) is not None:
                await work
            if self.cookie is not None and browser != known and exchange.admits:
                exchange.cookie = self.cookie.header(browser)
            return await exchange.respond()
        except (ConnectionError, ClientConnectionError):
            return web.Response(status=DISPLACED)  # nobody will read it
        finally:
            self.endpoint.polls.ended(exchange)


def read_batch(body: bytes, limits: bayeux.Limits) -> list[Item]:
    """Return the messages of a request's body: JSON, or a form with `message` in it.

    Raises: bayeux.BodyError.
    """
    if not body.startswith(b"message="):
        return bayeux.parse(body, limits)
    try:
        form = parse_qsl(body.decode(), errors="strict", max_num_fields=100)
    except ValueError:
        raise bayeux.BodyError(400, "The form is malformed") from None
    return _read_all([value for name, value in form if name == "message"], limits)


def _read_all(texts: Sequence[str], limits: bayeux.Limits) -> list[Item]:
    parsed = (bayeux.parse(text.encode(), limits) for text in texts)
    batch = [item for part in parsed for item in part]
    if len(batch) > limits.messages:
        raise bayeux.BodyError(413, "Too many messages in one request")
    return batch


def _refused(exc: bayeux.BodyError) -> web.Response:
    return web.Response(status=exc.status, text=f"{exc}\n")
