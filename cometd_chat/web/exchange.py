"""One request that carries Bayeux messages, and the response it will get.

An `Exchange` collects replies until the response can go out, at once or after a
hold. How it goes out differs: HTTP answers each request (`HttpExchange`), a
WebSocket carries many exchanges (`web/websocket.py`).
"""

import asyncio
import fcntl
import select
import sys
import termios
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from aiohttp import web
from msgspec import Raw
from mypy_extensions import mypyc_attr

from cometd_chat import bayeux

JSON_HEADERS: Final = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
}
SCRIPT_HEADERS: Final = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
DISPLACED: Final = 500
"""Status of a connect whose place was taken by a newer one.

CometD's choice: clients ignore the failure, for its id is no longer theirs, and
browsers do not repeat it by themselves as they do with 408 (CometD issue 800).
"""

_GONE: Final = select.POLLRDHUP

Look: TypeAlias = Callable[[int], list[tuple[int, int]]]
"""Asks the system what has happened to a connection, waiting so many milliseconds."""

CONFIRMATION_TRIES: Final = 15
CONFIRMATION_PAUSE: Final = 0.02
"""Seconds, times the tries: longer than hosts delay the acknowledgement of TCP."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange(ABC):
    """A request and its response. `connection` tells which ones share a socket.

    `in_turn`: on a connection, a request follows the response to the one before it
    (HTTP/1.1). `asking` are messages with something in `ext`, and their replies.
    `moves` counts how often its client went to another node while it was served.
    """

    in_turn = True

    # Of the class until they change: most never do.
    connect: bayeux.Connect | None = None
    asking: Sequence[tuple[bayeux.Message, bayeux.Reply]] = ()
    received_at = 0.0
    carries = False
    due = False
    parting = False
    reading = False
    written = False
    doubtful = False
    moves = 0

    def __init__(self, connection: object) -> None:
        self.connection = connection
        self.replies: list[bayeux.Reply] = []

    @property
    @abstractmethod
    def dead(self) -> bool:
        """Tell whether the connection is known to be gone."""

    @property
    @abstractmethod
    def unconfirmed(self) -> bool:
        """Tell whether the peer's host has not confirmed all of the response yet.

        A phone that lost its network confirms nothing, while writing to it goes on
        succeeding. False where the system cannot tell any more.
        """

    @abstractmethod
    def refuse(self, status: int) -> None:
        """End without any Bayeux message."""

    @abstractmethod
    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        """Let the response go out."""

    @property
    def admits(self) -> bool:
        """Tell whether a handshake of the request made a client."""
        return any(reply.client_id for reply in self.replies)

    def add(self, item: bayeux.Message | bayeux.Reply, reply: bayeux.Reply) -> None:
        """Add the reply to a message of the request."""
        self.replies.append(reply)
        if isinstance(item, bayeux.Message) and item.ext:
            self.asking = [*self.asking, (item, reply)]

    def hold(self, connect: bayeux.Connect) -> None:
        """Add the connect of the request; its reply comes last."""
        self.connect = connect
        if connect.message.ext:
            self.asking = [*self.asking, (connect.message, connect.reply)]

    def sync(self, now: float) -> None:
        """Answer what messages asked of the clock, now that they are answered."""
        received, sent = round(self.received_at * 1000), round(now * 1000)
        for message, reply in self.asking:
            told = bayeux.extensions.timesync(message, received, sent)
            if told is not None:
                reply.ext = {**(reply.ext or {}), "timesync": told}

    def stamp(self, timestamp: str) -> None:
        """Tell in each reply when it was sent."""
        for reply in self.replies:
            reply.timestamp = timestamp
        if self.connect is not None:
            self.connect.reply.timestamp = timestamp

    def finish(self, events: list[Raw]) -> None:
        """Answer: replies first, then events, the connect's own reply last.

        Replies come before events because some clients drop events of a channel
        whose subscription they have not seen confirmed; the connect's reply comes
        last because clients confirm by it what came before.
        """
        messages: list[bayeux.Reply | Raw] = [*self.replies, *events]
        if events:
            self.carries = True
        if self.connect is not None:
            messages.append(self.connect.reply)
        self.send(messages)

    async def lost(self, now: "Exchange") -> bool:
        """Tell, as the client's next poll is here, if this response did not arrive.

        On the same connection the poll proves the contrary: responses come in
        order. On another one it proves nothing, and bytes that are not confirmed
        may only wait for a delayed acknowledgement of TCP.
        """
        if self.connection is now.connection:
            return False
        for _ in range(CONFIRMATION_TRIES):
            if not self.unconfirmed:
                return self.doubtful and self.dead
            await asyncio.sleep(CONFIRMATION_PAUSE)
        return True


class HttpExchange(Exchange):
    """An exchange by one HTTP request; `callback` makes the response a script."""

    def __init__(self, request: web.Request, callback: str = "") -> None:
        super().__init__(request.transport)
        self._request = request
        self._callback = callback
        self.cookie = ""
        self._outcome: asyncio.Future[bytes | int] = (
            asyncio.get_running_loop().create_future()
        )

    @property
    def dead(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    @property
    def unconfirmed(self) -> bool:
        return not self.written or unconfirmed_bytes(self._request.transport) > 0

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        self._settle(bayeux.encode(messages))

    def refuse(self, status: int) -> None:
        self._settle(status)

    async def respond(self) -> web.StreamResponse:
        """Wait for the outcome and write it.

        Raises: ConnectionError or aiohttp.ClientConnectionError when it could not be
        written.
        """
        outcome = await self._outcome
        if self.dead or hung_up(self._request.transport):
            raise ConnectionResetError
        response = self._response(outcome)
        if self.cookie:
            response.headers["Set-Cookie"] = self.cookie
        if self.parting:
            response.force_close()
        if (transport := self._request.transport) is not None:
            # Waiting to be written, to a loop that writes later, is not written.
            transport.set_write_buffer_limits(high=1)
        await response.prepare(self._request)
        await response.write_eof()
        if self.dead:
            raise ConnectionResetError  # asyncio keeps what `send` said to itself
        self.written = True
        return response

    def _response(self, outcome: bytes | int) -> web.Response:
        if isinstance(outcome, int):
            return web.Response(status=outcome)
        if self._callback:
            script = script_call(self._callback, outcome)
            return web.Response(body=script, headers=SCRIPT_HEADERS)
        return web.Response(body=outcome, headers=JSON_HEADERS)

    def _settle(self, outcome: bytes | int) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)


def script_call(callback: str, body: bytes) -> bytes:
    """Return a script that calls the function with the messages.

    The comment in front keeps the body from being taken for another kind of file
    (Rosetta Flash); the escapes keep texts from ending the script or its line.
    """
    safe = body.replace(b"<", b"\\u003c")
    safe = safe.replace(b"\xe2\x80\xa8", b"\\u2028").replace(
        b"\xe2\x80\xa9", b"\\u2029"
    )
    return b"/**/%b(%b);" % (callback.encode(), safe)


def hung_up(transport: asyncio.BaseTransport | None) -> bool:
    """Tell whether the system knows that the peer has closed or reset the connection.

    asyncio learns of it with the next turn of its loop only, which is too late for a
    response that is written in this one.
    """
    look = look_for_end(transport)
    return look is None or bool(look(0))


def look_for_end(transport: asyncio.BaseTransport | None) -> Look | None:
    """Return what tells of the end of the connection when it is called with 0, for as
    long as the transport is open; None if it is not any more."""
    sock = None if transport is None else transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        return None
    poll = select.poll()
    poll.register(descriptor, _GONE)
    return poll.poll


def unconfirmed_bytes(transport: asyncio.BaseTransport | None) -> int:
    """Return how many written bytes the peer's host has not confirmed; 0 if unknown."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return 0
    count = bytearray(4)  # written to: to hand out a copy takes several times as long
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    except (OSError, ValueError):  # closed meanwhile
        return 0
    return int.from_bytes(count, sys.byteorder)
