"""Where in an aiohttp application the transports of one server are found."""

from aiohttp import web

from cometd_chat.bayeux import CALLBACK_POLLING, WEBSOCKET, BayeuxServer

from .long_polling import HttpTransports
from .websocket import WebSocketTransport


class Addresses:
    """All transports of a server under one path, which clients may continue.

    The server's `options` say which of them are served, at any moment.
    """

    def __init__(
        self, server: BayeuxServer, http: HttpTransports, sockets: WebSocketTransport
    ) -> None:
        self._server = server
        self._http = http
        self._sockets = sockets

    def add_to(self, router: web.UrlDispatcher, base: str) -> None:
        """Serve `base`, and everything behind it."""
        # Clients put the type of a message behind the path; without a redirect, for
        # a redirected POST loses its body.
        for path in (base, f"{base}/{{suffix:.*}}"):
            router.add_post(path, self._http.post)
            router.add_get(path, self._get, allow_head=False)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        allowed = self._server.options.transports
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        if upgrade and WEBSOCKET in allowed:
            return await self._sockets.get(request)
        if CALLBACK_POLLING in allowed:
            return await self._http.get(request)
        return web.Response(status=400, text="POST Bayeux messages here\n")
