"""Ways to a Bayeux server at some URL: over HTTP, and over WebSocket."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import (
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    CookieJar,
    DummyCookieJar,
    WSMsgType,
)

from tests.conformance.case import Json, Way
from tests.conformance.judge import DifferenceError, is_event
from tests.conformance.run import Answer

PATIENCE = 6.0
"""Seconds after which an answer counts as none; no case waits for so long."""

_SCRIPT = re.compile(r"(/\*\*/)?\s*([\w.$]+)\((.*)\);?\s*", re.DOTALL)

Held = Callable[[str], Awaitable[None]]
"""Waits until the connect of a client is held."""


async def surely_held(client_id: str) -> None:
    """Wait for so long that a connect must have arrived: for servers of others, into
    which nobody can look."""
    await asyncio.sleep(0.25)


class _Sessions:
    """One browser for each client, for they are told apart by their cookies."""

    def __init__(self) -> None:
        self._sessions: dict[str, ClientSession] = {}
        self._others: list[ClientSession] = []

    def of(self, client_id: str) -> ClientSession:
        """Return the browser of a client, a new one for nobody."""
        return self._sessions.get(client_id) or self._new(CookieJar(unsafe=True))

    def without_cookies(self) -> ClientSession:
        return self._new(DummyCookieJar())

    def keep(self, client_id: str, session: ClientSession) -> None:
        self._sessions[client_id] = session

    async def close(self) -> None:
        for session in self._others:
            await session.close()

    def _new(self, jar: Any) -> ClientSession:
        session = ClientSession(timeout=ClientTimeout(total=PATIENCE), cookie_jar=jar)
        self._others.append(session)
        return session


class HttpTarget:
    """A server at a URL, over long-polling and whatever else a case asks for."""

    def __init__(
        self, url: str, words: Mapping[str, Json], held: Held = surely_held
    ) -> None:
        self.words = words
        self._held = held
        self._url = url
        self._sessions = _Sessions()

    async def __aenter__(self) -> "HttpTarget":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sessions.close()

    async def exchange(self, body: Json, way: Way, client_id: str) -> Answer:
        session = (
            self._sessions.of(client_id)
            if way.cookies
            else self._sessions.without_cookies()
        )
        async with session.request(**self._request(body, way)) as response:
            answer = await _answer(response)
        for message in answer.messages:
            if isinstance(message, dict) and message.get("channel") == _HANDSHAKE:
                self._sessions.keep(str(message.get("clientId")), session)
        return answer

    async def held(self, client_id: str) -> None:
        await self._held(client_id)

    def _request(self, body: Json, way: Way) -> dict[str, Any]:
        url = self._url + way.path
        if way.callback is not None:
            query = {"message": json.dumps(body)}
            if way.callback:
                query["jsonp"] = way.callback
            return {"method": "GET", "url": url, "params": query}
        if way.form:
            parts = body if isinstance(body[0], list) else [body]
            form = [("message", json.dumps(part)) for part in parts]
            return {"method": way.method, "url": url, "data": form}
        headers = {"Content-Type": "application/json"} | dict(way.headers)
        return {
            "method": way.method,
            "url": url,
            "data": body if isinstance(body, bytes) else json.dumps(body).encode(),
            "headers": headers,
        }


_HANDSHAKE = "/meta/handshake"


async def _answer(response: ClientResponse) -> Answer:
    text = await response.text()
    headers = dict(response.headers)
    if response.status != 200:
        return Answer(status=response.status, headers=headers)
    script = _SCRIPT.fullmatch(text)
    if script is not None:
        headers |= {"beginning": script[1] or "", "callback": script[2]}
        text = script[3]
    try:
        messages = json.loads(text)
    except ValueError:
        raise DifferenceError("the response is no JSON") from None
    if not isinstance(messages, list):
        raise DifferenceError("the response is no array")
    return Answer(messages=messages, headers=headers)


class SocketTarget:
    """A server at a URL, over one WebSocket for each client."""

    def __init__(
        self, url: str, words: Mapping[str, Json], held: Held = surely_held
    ) -> None:
        self.words = words
        self._held = held
        self._url = url
        self._http = ClientSession()
        self._sockets: dict[str, _Socket] = {}
        self._opened: list[_Socket] = []

    async def __aenter__(self) -> "SocketTarget":
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in self._opened:
            await socket.close()
        await self._http.close()

    async def exchange(self, body: Json, way: Way, client_id: str) -> Answer:
        socket = self._sockets.get(client_id) or await self._open()
        answer = await socket.exchange(body)
        for message in answer.messages:
            if isinstance(message, dict) and message.get("channel") == _HANDSHAKE:
                self._sockets[str(message.get("clientId"))] = socket
        return answer

    async def held(self, client_id: str) -> None:
        await self._held(client_id)

    async def _open(self) -> "_Socket":
        socket = _Socket(await self._http.ws_connect(self._url))
        self._opened.append(socket)
        return socket


class _Socket:
    """One WebSocket: who sends gets the replies that its messages are owed."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self._ws = ws
        self._waiting: list[_Waiting] = []
        self._unasked: list[Json] = []
        self._reading = asyncio.create_task(self._read())

    async def exchange(self, body: Json) -> Answer:
        messages = body if isinstance(body, list) else [body]
        waiting = _Waiting(messages)
        self._waiting.append(waiting)
        await self._ws.send_str(json.dumps(body))
        try:
            async with asyncio.timeout(PATIENCE):
                await waiting.done.wait()
        finally:
            self._waiting.remove(waiting)
        if self._ws.closed:
            raise DifferenceError(f"the socket was closed with {self._ws.close_code}")
        unasked, self._unasked = self._unasked, []
        return Answer(messages=unasked + waiting.received)

    async def close(self) -> None:
        await self._ws.close()
        await self._reading

    async def _read(self) -> None:
        async for frame in self._ws:
            if frame.type is WSMsgType.TEXT:
                self._take(json.loads(frame.data))
        for waiting in self._waiting:
            waiting.done.set()

    def _take(self, messages: list[Json]) -> None:
        """Give a frame with replies to who is owed one, or else to the first; events
        alone, which some servers push, wait for the next answer."""
        replies = [message for message in messages if not is_event(message)]
        owed = [w for w in self._waiting if any(w.owes(reply) for reply in replies)]
        if replies and self._waiting:
            (owed or self._waiting)[0].take(messages, len(replies))
        else:
            self._unasked += messages


class _Waiting:
    """A request that waits for its replies."""

    def __init__(self, messages: list[Json]) -> None:
        self._ids = [m.get("id") for m in messages if isinstance(m, dict)]
        channels = [m.get("channel") for m in messages if isinstance(m, dict)]
        self._left = 1 if _HANDSHAKE in channels else len(messages)
        self.received: list[Json] = []
        self.done = asyncio.Event()

    def owes(self, reply: Json) -> bool:
        return reply.get("id") in self._ids

    def take(self, messages: list[Json], replies: int) -> None:
        self.received += messages
        self._left -= replies
        if self._left <= 0:
            self.done.set()
