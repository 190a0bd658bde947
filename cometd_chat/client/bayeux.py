"""One Bayeux client over HTTP long-polling (Bayeux 1.0 §6).

It does what it is asked and keeps nothing going by itself: whoever wants events
polls. What went wrong is one of two things: `LostError`, after which to start again,
or `RefusedError`, after which that would be of no use.
"""

import asyncio
import itertools
import os
from collections.abc import Mapping
from ssl import SSLError
from typing import Any, TypeAlias

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
)

Json: TypeAlias = dict[str, Any]

HOLD = 60.0
"""Seconds a server may hold a poll as long as it gave no advice."""

PATIENCE = 20.0
"""Seconds beyond the hold in which an answer must have arrived."""

_UNKNOWN_CLIENT = 402
_UNAVAILABLE = 503


class LostError(Exception):
    """The connection failed, or the server does not know the client any more.

    Whether the server did what it was asked is not known.
    """


class RefusedError(Exception):
    """The server answered no. `code` is that of the error, 0 if it has none."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class BayeuxClient:
    """A client of the server at `url`; its requests carry `headers`.

    `ext` goes with the handshake. `start` may be called again at any time, and makes
    a new client of it.
    """

    def __init__(
        self,
        http: ClientSession,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ext: Json | None = None,
    ) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._ext = ext
        self._id = ""
        self._advice: Json = {}
        self._events: list[Json] = []
        self._numbers = itertools.count(1)

    async def start(self, channel: str) -> None:
        """Handshake and subscribe.

        Raises: LostError, RefusedError, as all that talks to the server.
        """
        self._id, self._advice, self._events = "", {}, []
        reply = await self._ask(
            "/meta/handshake",
            version="1.0",
            supportedConnectionTypes=["long-polling"],
            ext=self._ext,
        )
        self._id = str(reply.get("clientId", ""))
        await self._ask("/meta/subscribe", subscription=channel)

    async def publish(self, channel: str, data: Json) -> None:
        await self._ask(channel, data=data)

    async def poll(self) -> list[Json]:
        """Wait for events, at most for the server's hold; then there are none."""
        await asyncio.sleep(self._advised("interval", 0.0))
        await self._ask("/meta/connect", connectionType="long-polling")
        events, self._events = self._events, []
        return events

    async def stop(self, **ext: Any) -> None:
        """Say goodbye; `ext` goes along."""
        await self._ask("/meta/disconnect", ext=ext or None)

    async def _ask(self, channel: str, **fields: Any) -> Json:
        message: Json = {"channel": channel, "id": str(next(self._numbers)), **fields}
        if self._id:
            message["clientId"] = self._id
        sent = {name: value for name, value in message.items() if value is not None}
        reply: Json | None = None
        for received in await self._post([sent]):
            if isinstance(advice := received.get("advice"), dict):
                self._advice |= advice
            if "data" in received and "successful" not in received:
                self._events.append(received)
            elif _answers(received, sent):
                reply = received
        return self._judged(reply)

    def _judged(self, reply: Json | None) -> Json:
        if reply is None:
            raise LostError("the answer has no reply to the question")
        if reply.get("successful") is True:
            return reply
        code, text = _error(reply)
        again = self._advice.get("reconnect") == "handshake"
        if code in {_UNKNOWN_CLIENT, _UNAVAILABLE} or again:
            raise LostError(text)
        raise RefusedError(code, text)

    async def _post(self, messages: list[Json]) -> list[Json]:
        timeout = ClientTimeout(total=self._advised("timeout", HOLD) + PATIENCE)
        try:
            async with self._http.post(
                self._url, json=messages, headers=self._headers, timeout=timeout
            ) as response:
                return await _messages(response)
        except (ClientError, OSError, TimeoutError) as exc:
            raise LostError(f"no answer from {self._url}: {_reason(exc)}") from None

    def _advised(self, name: str, otherwise: float) -> float:
        """Return a duration of the server's advice in seconds."""
        value = self._advice.get(name)
        return value / 1000 if isinstance(value, int | float) else otherwise


def _reason(exc: Exception) -> str:
    error = exc.os_error if isinstance(exc, ClientConnectorError) else None
    if isinstance(error, SSLError):
        return f"TLS fails ({error.reason}): does the server speak HTTPS?"
    if error is not None and error.errno is not None and error.errno > 0:
        # Its own text repeats the address, and names the TLS context.
        return os.strerror(error.errno)
    return str(exc) or type(exc).__name__


async def _messages(response: ClientResponse) -> list[Json]:
    if response.status >= 500:
        # A proxy says so, too, while the server behind it starts again.
        raise LostError(f"{response.url} answers with HTTP status {response.status}")
    if response.status != 200:
        raise RefusedError(
            response.status,
            f"{response.url} answers with HTTP status {response.status}: "
            "is this the address of the server?",
        )
    try:
        messages = await response.json(content_type=None)
    except ValueError:
        messages = None
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise RefusedError(0, f"{response.url} answers, but does not speak Bayeux")
    return messages


def _answers(reply: Json, message: Json) -> bool:
    return all(reply.get(name) == message[name] for name in ("channel", "id"))


def _error(reply: Json) -> tuple[int, str]:
    """Split `code:arguments:text` (Bayeux 1.0 §5.2)."""
    error = str(reply.get("error", "the server gives no reason"))
    code, _, rest = error.partition(":")
    _, _, text = rest.partition(":")
    if not code.isdecimal():
        return 0, error
    return int(code), text or error
