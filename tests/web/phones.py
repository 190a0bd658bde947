"""Phones with the Bayeux clients of others, all used in the same way."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Self

from aiocometd_ng.constants import ConnectionType

from tests.clients.aiocometd_app import AiocometdApp
from tests.clients.cometd_js import CometdJs
from tests.clients.faye_js import FayeJs
from tests.clients.gfaye import GFaye
from tests.clients.raw import Json
from tests.clients.watched import Watched

CHANNEL = "/_genesys"


class Phone:
    """An app that listens to one chat, known to the server by `ext.serviceId`.

    `open` makes a client that goes on by itself whatever happens to the network;
    `received` holds the data of all events in order. `client_id` may change.
    """

    def __init__(self, url: str, service_id: str) -> None:
        self.url = url
        self.ext: Json = {"serviceId": service_id}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.vanish()

    async def open(self) -> None:
        raise NotImplementedError

    async def leave(self, position: int) -> None:
        """Say goodbye with the position that the app has."""
        raise NotImplementedError

    async def vanish(self) -> None:
        raise NotImplementedError

    @property
    def received(self) -> list[Json]:
        raise NotImplementedError

    @property
    def watched(self) -> Watched:
        raise NotImplementedError

    @property
    def screen(self) -> dict[int, list[str]]:
        """Return the entries by position; what comes again is the same."""
        shown: dict[int, list[str]] = {}
        for data in self.received:
            chat = data["message"]
            entries = chat.get("transcriptToShow") or []
            first = int(chat["transcriptPosition"]) - len(entries) + 1
            for position, entry in enumerate(entries, first):
                assert shown.setdefault(position, entry) == entry
        return shown

    @property
    def texts(self) -> list[str]:
        """Return what was said, in the order of positions without a hole."""
        shown = self.screen
        assert sorted(shown) == list(range(1, len(shown) + 1))
        return [entry[2] for entry in shown.values() if entry[0] == "Message.Text"]

    async def shows(self, *texts: str, within: float = 10.0) -> None:
        """Wait until these texts, and no others, are on the screen."""
        await self.watched.wait_for(lambda: self._last(texts[-1]), within)
        assert self.texts == list(texts)

    def _last(self, text: str) -> bool:
        return any(entry[2] == text for entry in self.screen.values())


class NodePhone(Phone):
    """A phone whose client runs under Node."""

    def __init__(self, js: CometdJs, url: str, service_id: str, transport: str) -> None:
        super().__init__(url, service_id)
        self.js, self.transport = js, transport

    async def vanish(self) -> None:
        await self.js.kill()

    @property
    def received(self) -> list[Json]:
        return [e["data"] for e in self.js.events if e["channel"] == CHANNEL]

    @property
    def watched(self) -> Watched:
        return self.js

    async def leave(self, position: int) -> None:
        ext = {"transcriptPosition": str(position)}
        assert (await self.js.call("disconnect", ext=ext))["successful"]

    async def status(self) -> Json:
        status: Json = await self.js.call("status")
        return status


class CometdPhone(NodePhone):
    """The official CometD client for browsers."""

    def __init__(self, url: str, service_id: str, transport: str) -> None:
        super().__init__(CometdJs(), url, service_id, transport)

    async def open(self) -> None:
        await self.js.__aenter__()
        await self.js.configure(
            self.url, transports=[self.transport], backoffIncrement=100
        )
        reply = await self.js.call("handshake", ext=self.ext, subscribe=[CHANNEL])
        assert reply["subscriptions"] == [True], reply
        assert (await self.status())["transport"] == self.transport


class FayePhone(NodePhone):
    """The official Faye client."""

    def __init__(self, url: str, service_id: str, transport: str) -> None:
        super().__init__(FayeJs(), url, service_id, transport)

    async def open(self) -> None:
        await self.js.__aenter__()
        ways = ["long-polling", self.transport]  # it shakes hands by HTTP always
        ext = {"/meta/handshake": self.ext}
        await self.js.configure(self.url, transports=ways, ext=ext)
        assert (await self.js.call("subscribe", channel=CHANNEL))["successful"]
        assert (await self.status())["transport"] == self.transport


class AiocometdPhone(Phone):
    """aiocometd-ng, the client for Python."""

    def __init__(self, url: str, service_id: str, transport: str) -> None:
        super().__init__(url, service_id)
        kind = ConnectionType(transport)
        self._app = _Recording(url.removesuffix("/cometd"), connection_type=kind)
        self._app.service_id = service_id

    async def open(self) -> None:
        await self._app.foreground()

    async def leave(self, position: int) -> None:
        self._app.position = position
        await self._app.background()

    async def vanish(self) -> None:
        await self._app.vanish()

    @property
    def received(self) -> list[Json]:
        return self._app.received

    @property
    def watched(self) -> Watched:
        return self._app


class _Recording(AiocometdApp):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received: list[Json] = []

    def show(self, chat: Json) -> None:
        self.received.append({"message": chat})
        super().show(chat)


class GFayePhone(Phone):
    """The SDK for iOS, which has WebSockets only."""

    def __init__(self, url: str, service_id: str, transport: str) -> None:
        super().__init__(url, service_id)
        assert transport == "websocket"
        self.app = GFaye(url, self.ext)

    async def open(self) -> None:
        await self.app.start(CHANNEL)

    async def leave(self, position: int) -> None:
        await self.app.disconnect({"transcriptPosition": str(position)})

    async def vanish(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self.app.vanish()
        assert self.app.dropped == [], "nothing before the reply to the subscription"

    @property
    def received(self) -> list[Json]:
        return [event["data"] for event in self.app.delivered]

    @property
    def watched(self) -> Watched:
        return self.app


KINDS: dict[str, tuple[Callable[[str, str, str], Phone], str]] = {
    "CometD, websocket": (CometdPhone, "websocket"),
    "CometD, long-polling": (CometdPhone, "long-polling"),
    "aiocometd, websocket": (AiocometdPhone, "websocket"),
    "aiocometd, long-polling": (AiocometdPhone, "long-polling"),
    "Faye, websocket": (FayePhone, "websocket"),
    "Faye, long-polling": (FayePhone, "long-polling"),
    "GFaye, websocket": (GFayePhone, "websocket"),
}
