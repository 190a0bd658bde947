"""A proxy that brings to clients something else than the server has said, once."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer

Json: TypeAlias = dict[str, Any]
Lie: TypeAlias = Callable[["Liar", str, Json], list[Json]]
"""What a client gets in place of a message."""

NTH = 30
"""The message that is told wrongly."""


class Liar:
    """Forwards all requests, and lies about one of the messages.

    `told` are the messages so far, with the client they went to; `kept` is one that
    waits for the next to the same client.
    """

    def __init__(self, url: str, lie: Lie) -> None:
        self._url, self._lie = url, lie
        self.told: list[tuple[str, Json]] = []
        self.kept: tuple[str, Json] | None = None
        self.lied = False
        self._behind: dict[object, ClientSession] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen; gives the address in place of the server's."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._forward)
        async with AsyncExitStack() as self._stack, TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        names = ("Content-Type", "Cookie")
        headers = {n: request.headers[n] for n in names if n in request.headers}
        address = f"{self._url}{request.path}"
        http = await self._to_server(request.transport)
        async with http.post(address, data=body, headers=headers) as answer:
            text = await answer.text()
            status = answer.status
        if request.path.endswith("/cometd"):
            asked = json.loads(body)[0].get("clientId", "")
            replies = [m for r in json.loads(text) for m in self._tell(asked, r)]
            text = json.dumps(replies)
        return web.Response(text=text, status=status, content_type="application/json")

    def _late(self, kept: Json, message: Json) -> list[Json]:
        """Bring what was kept after the next one of the same sender."""
        if sender(kept) != sender(message):
            return [message]
        self.kept = None
        return [message, kept]

    async def _to_server(self, connection: object) -> ClientSession:
        """Return the connection to the server that belongs to one of a client."""
        if connection not in self._behind:
            jar = DummyCookieJar()
            session = await self._stack.enter_async_context(
                ClientSession(cookie_jar=jar)
            )
            self._behind[connection] = session
        return self._behind[connection]

    def _tell(self, client: str, message: Json) -> list[Json]:
        if "Guten" not in json.dumps(message):
            return [message]
        self.told.append((client, message))
        if self.kept is not None and self.kept[0] == client:
            return self._late(self.kept[1], message)
        if self.lied or len(self.told) < NTH:
            return [message]
        said = self._lie(self, client, message)
        self.lied = said != [message]
        return said


def sender(message: Json) -> list[str]:
    """Return room and side, with which each line of a room begins."""
    return str(message["data"]["line"]).split()[:2]


def loses(_: Liar, __: str, message: Json) -> list[Json]:
    """Lose one, but none of a customer: he says what he has, and gets it again."""
    return [message] if "transcriptPosition" in json.dumps(message) else []


def doubles(_: Liar, __: str, message: Json) -> list[Json]:
    return [message, message]


def changes(_: Liar, __: str, message: Json) -> list[Json]:
    changed: Json = json.loads(json.dumps(message).replace("Guten", "Guden"))
    return [changed]


def swaps(liar: Liar, client: str, message: Json) -> list[Json]:
    liar.kept = (client, message)
    return []


def misdirects(liar: Liar, client: str, message: Json) -> list[Json]:
    """Add what somebody in another room was told."""
    mine = [room_of(m) for c, m in liar.told if c == client]
    others = (m for c, m in liar.told if c != client and room_of(m) not in mine)
    kind = message["channel"][:5]
    return [message, *[m for m in others if m["channel"].startswith(kind)][:1]]


def room_of(message: Json) -> str:
    """Return the channel, or the chat."""
    data = message["data"]
    chat = data.get("message", data)
    return str(chat.get("chatSessionId") or chat.get("chatId") or message["channel"])
