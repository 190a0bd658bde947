"""Which web pages may talk to the server (Fetch standard, "CORS protocol").

Native apps send no `Origin` and are not concerned. Pages of the server's own host
may always; others must be listed. CORS alone would not do: a page can send simple
POSTs without asking, open WebSockets and load scripts (callback-polling) from
anywhere, so requests are refused, not only answers.
"""

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

ANY = "*"

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Max-Age": "7200",
}

_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Names of header fields (RFC 9110 §5.6.2)."""


class Origins:
    """The rule, and its place in an aiohttp application.

    `allowed` tells which origins are listed at that moment, `*` for all. Pages of
    allowed origins may send any header field.
    """

    def __init__(self, allowed: Callable[[], Collection[str]]) -> None:
        self._allowed = allowed

    def add_to(self, app: web.Application) -> None:
        """Guard every address of the application."""
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(self._answer)

    def allows(self, origin: str, host: str) -> bool:
        """Tell whether pages of this origin may talk to the server called `host`."""
        if self.own(origin, host):
            return True
        allowed = self._allowed()
        return ANY in allowed or origin in allowed

    @staticmethod
    def own(origin: str, host: str) -> bool:
        """Tell whether it is the origin of the server's own pages."""
        return _parts(origin)[1] == host != ""

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        origin = _origin(request)
        if not origin:
            return await handler(request)
        if not self.allows(origin, request.host):
            return web.Response(status=403, text="This origin is not allowed\n")
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=_preflight(request))
        return await handler(request)

    async def _answer(self, request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if origin is None or not self.allows(origin, request.host):
            return
        response.headers.update(cors_headers(origin))


def cors_headers(origin: str) -> dict[str, str]:
    """Return the header fields of a response to a page of an allowed origin."""
    # Clients send credentials always, for which the wildcard is not valid.
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


def _preflight(request: web.Request) -> dict[str, str]:
    """Return what a page may send: as it asks, for apps made for GMS add headers of
    their own, such as `apikey`, and the wildcard is not valid with credentials."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    return {
        **PREFLIGHT,
        "Access-Control-Allow-Headers": ", ".join(_TOKENS.findall(asked)),
    }


def _origin(request: web.Request) -> str:
    """Return the origin of the page that sent this, empty if none is known.

    Scripts are loaded without `Origin`; what else browsers tell must do.
    """
    if origin := request.headers.get("Origin"):
        return origin
    if request.method != "GET" or "message" not in request.query:
        return ""
    scheme, place = _parts(request.headers.get("Referer", ""))
    if place:
        return f"{scheme}://{place}"
    site = request.headers.get("Sec-Fetch-Site", "none")
    return "" if site in {"none", "same-origin"} else "null"


@lru_cache(maxsize=1024)
def _parts(url: str) -> tuple[str, str]:
    """Return the scheme, and host with port; both may be empty."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc
