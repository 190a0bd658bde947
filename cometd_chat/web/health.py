"""What supervisors and load balancers ask: does the process live, is it ready?"""

from collections.abc import Callable

from aiohttp import web

HEADERS = {"Cache-Control": "no-store"}


class Health:
    """`GET /live` and `GET /ready`, at the root, open to everybody.

    `unready` says why requests should go to another node, empty if there is no reason.
    """

    def __init__(self, unready: Callable[[], str]) -> None:
        self._unready = unready

    def add_routes(self, app: web.Application) -> None:
        """Add both addresses."""
        app.router.add_get("/live", self.live)
        app.router.add_get("/ready", self.ready)

    async def live(self, _: web.Request) -> web.Response:
        """Answer 200: the process serves requests."""
        return web.Response(text="live\n", headers=HEADERS)

    async def ready(self, _: web.Request) -> web.Response:
        """Answer 200, or 503 with the reason."""
        if reason := self._unready():
            return web.Response(status=503, text=f"{reason}\n", headers=HEADERS)
        return web.Response(text="ready\n", headers=HEADERS)
