"""The official CometD client in a web page, scripted like the one under Node."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from tests.clients.cometd_js import DRIVER, CometdJs
from tests.clients.raw import Json

from .chromium import DevTools

PAGE = Path(__file__).parent / "www"
LIBRARY = DRIVER.parent / "node_modules" / "cometd"
PLACE = "/page"


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """Serve the page and the library's modules; gives the origin of the site."""
    app = web.Application()
    app.router.add_static(f"{PLACE}/cometd", LIBRARY)
    app.router.add_static(PLACE, PAGE)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class CometdPage(CometdJs):
    """One page in a browser context (cookies, storage) of its own.

    The browser shows it under `origin`, wherever it comes from: under that of the
    chat server it is a page of that server. While `refusals` is positive, requests
    to the chat server get `refusal` instead, and `refusals` counts down. `sent` are
    the messages that left the page: of each request, and of each frame.
    """

    def __init__(self, tools: DevTools, site_url: str, origin: str = "") -> None:
        super().__init__()
        self._tools = tools
        self._site = site_url
        self._origin = origin or site_url
        self._context = self._session = ""
        self._ready = False
        self._sending: set[asyncio.Task[Json]] = set()
        self.refusals = 0
        self.refusal: Json = {"responseCode": 503}
        self.sent: list[str] = []

    async def __aenter__(self) -> Self:
        made = await self._tools.call("Target.createBrowserContext")
        self._context = made["browserContextId"]
        target = await self._tools.call(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )
        attached = await self._tools.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        self._tools.listeners[self._session] = self._happened
        self._reading = self._tools._reading
        await self._do("Runtime.enable")
        await self._do("Page.enable")
        await self._do("Network.enable")
        await self._do("Runtime.addBinding", name="tellTest")
        patterns = [{"urlPattern": f"*{part}*"} for part in (PLACE, "/cometd")]
        await self._do("Fetch.enable", patterns=patterns)
        await self.visit()
        return self

    async def visit(self) -> None:
        """Load the page, or load it again."""
        self._ready = False
        await self._do("Page.navigate", url=f"{self._origin}{PLACE}/index.html")
        await self.wait_for(lambda: self._ready, 10)

    async def offline(self, *, on: bool) -> None:
        """Take the network away from the browser, or give it back."""
        await self._do(
            "Network.emulateNetworkConditions",
            offline=on,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    async def kill(self) -> None:
        """Close the page's context without a word to the server."""
        if self._tools.listeners.pop(self._session, None) is not None:
            await self._tools.call(
                "Target.disposeBrowserContext", browserContextId=self._context
            )
        for task in self._sending:
            task.cancel()  # a page that is gone answers nothing
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _write(self, line: Json) -> None:
        self._send("Runtime.evaluate", expression=f"void obey({json.dumps(line)})")

    async def _do(self, method: str, **params: Any) -> Json:
        return await self._tools.call(method, self._session, **params)

    def _send(self, method: str, **params: Any) -> None:
        task = asyncio.create_task(self._do(method, **params))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _happened(self, event: str, params: Json) -> None:
        match event:
            case "Runtime.bindingCalled":
                self._take(json.loads(params["payload"]))
            case "Fetch.requestPaused":
                self._pass(params["requestId"], params["request"])
            case "Network.webSocketFrameSent":
                self.sent.append(params["response"]["payloadData"])
            case _:
                pass
        self.changed()

    def _take(self, line: Json) -> None:
        self._ready = self._ready or line["type"] == "ready"
        super()._take(line)

    def _pass(self, request_id: str, request: Json) -> None:
        """Let a request go, send it to the site, or refuse it."""
        _, place, rest = request["url"].partition(f"{PLACE}/")
        if place:
            there = f"{self._site}{place}{rest}"
            self._send("Fetch.continueRequest", requestId=request_id, url=there)
            return
        preflight = request["method"] == "OPTIONS"
        if not preflight:
            query = parse_qs(urlsplit(request["url"]).query)
            self.sent += query.get("message", []) or [request.get("postData", "")]
        if self.refusals and not preflight:
            self.refusals -= 1
            self._send("Fetch.fulfillRequest", requestId=request_id, **self.refusal)
        else:
            self._send("Fetch.continueRequest", requestId=request_id)
