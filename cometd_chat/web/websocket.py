"""Bayeux over WebSocket, as CometD does it (no specification covers it).

A text frame carries an array of messages, or a single one. Clients that send single
ones (GFayeSwift) read only the first message of an array, so that each of theirs gets
a frame of its own, as from CometD. A clientId goes on over
a new socket without a handshake; it may come and go between the transports at any
moment. A connect is held here like everywhere, and events travel in its answer.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final, TypeAlias

from aiohttp import ClientConnectionError, WSCloseCode, WSMsgType, web
from msgspec import Raw

from cometd_chat import bayeux

from .cometd import CometdEndpoint
from .exchange import DISPLACED, Exchange
from .peers import peer_of

log = logging.getLogger(__name__)

FIRST_MESSAGE: Final = 10.0
"""Seconds within which a socket must say something."""

PING_PERIOD: Final = 25.0
"""Seconds between pings: more than a hiccup of a phone, less than a proxy waits."""

FAREWELL: Final = 2.0
"""Seconds that a peer gets to answer when the server closes its socket."""

Response: TypeAlias = tuple["SocketExchange", list[str]]
"""An exchange, and the text of each frame that answers it."""


class SocketExchange(Exchange):
    """An exchange by frames of one socket; `single`: the request was no array.

    `unavailable` tells that the request could not be served, and may be elsewhere.
    """

    in_turn = False

    def __init__(self, socket: "Socket", *, single: bool) -> None:
        super().__init__(socket)
        self.socket = socket
        self.single = single
        self.unavailable = False

    @property
    def dead(self) -> bool:
        return self.socket.closed

    @property
    def unconfirmed(self) -> bool:
        """Always true: only the next poll on this socket confirms what came before.

        A proxy confirms bytes to us that never reach the phone behind it.
        """
        return True

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        frames = [[message] for message in messages] if self.single else [messages]
        self.socket.put(self, [bayeux.encode(frame).decode() for frame in frames])

    def refuse(self, status: int) -> None:
        self.unavailable = status != DISPLACED
        self.socket.end(self)

    async def lost(self, now: Exchange) -> bool:
        """Tell by the connection alone: nobody leaves a socket that works.

        One that still looks open here may have lost its phone long ago.
        """
        return self.connection is not now.connection


class Socket:
    """One WebSocket: serves its frames in order, one after the other.

    A frame is served when all responses that are ready have been written: a peer that
    does not read cannot make us gather them.
    """

    def __init__(
        self,
        ws: web.WebSocketResponse,
        request: web.Request,
        endpoint: CometdEndpoint,
        limits: bayeux.Limits,
    ) -> None:
        self._ws = ws
        self._transport = request.transport
        self._peer = peer_of(request)
        self._endpoint = endpoint
        self._limits = limits
        self._outgoing: asyncio.Queue[Response] = asyncio.Queue()
        self._open: set[SocketExchange] = set()
        self._unsure: set[str] = set()

    @property
    def closed(self) -> bool:
        return self._ws.closed

    def put(self, exchange: SocketExchange, frames: list[str]) -> None:
        """Queue a response."""
        self._outgoing.put_nowait((exchange, frames))

    def end(self, exchange: SocketExchange) -> None:
        """Note that an exchange is over: its response was written, or none will be."""
        self._open.discard(exchange)
        if exchange.connect is not None:
            client_id = exchange.connect.client.id
            self._unsure.discard(client_id)
            if exchange.carries:
                self._unsure.add(client_id)
        self._endpoint.polls.ended(exchange)

    async def run(self, idle: float) -> None:
        """Serve until the socket closes, or nothing came for `idle` seconds."""
        writing = asyncio.create_task(self._write())
        try:
            await self._read(idle)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            for exchange in list(self._open):
                self.end(exchange)
            for client_id in self._unsure:
                self._endpoint.polls.disconnected(self, client_id)

    async def close(self) -> None:
        """Tell the peer that the server goes away; cut it off if it does not listen."""
        try:
            async with asyncio.timeout(FAREWELL):
                await self._close(WSCloseCode.GOING_AWAY, "restart")
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()

    async def _close(self, code: WSCloseCode, reason: str) -> None:
        # A closing frame has no room for more (RFC 6455, "Control Frames").
        await self._ws.close(code=code, message=reason.encode()[:120])

    async def _read(self, idle: float) -> None:
        patience = min(FIRST_MESSAGE, idle)
        while True:
            try:
                frame = await self._ws.receive(timeout=patience)
            except TimeoutError:
                if self._open:
                    continue  # who waits for an answer has nothing to say
                await self._close(WSCloseCode.OK, "idle")
                return
            if frame.type is WSMsgType.BINARY:
                await self._close(WSCloseCode.UNSUPPORTED_DATA, "send text")
            if frame.type is not WSMsgType.TEXT:
                return
            patience = idle
            try:
                await self._serve(frame.data)
            except bayeux.BodyError as exc:
                await self._close(WSCloseCode.INVALID_TEXT, str(exc))
                return
            except Exception:
                log.exception("a message cannot be served")
                await self._close(WSCloseCode.INTERNAL_ERROR, "internal error")
                return

    async def _serve(self, text: str) -> None:
        batch = bayeux.parse(text.encode(), self._limits)
        if not batch:
            return  # some clients send empty arrays to keep the socket alive
        exchange = SocketExchange(self, single=not text.lstrip().startswith("["))
        self._open.add(exchange)
        if (work := self._endpoint.serve(exchange, batch, self._peer)) is not None:
            await work
        await self._outgoing.join()
        if exchange.unavailable:
            # No reply says so: whoever waits for one would come again much later.
            await self._close(WSCloseCode.TRY_AGAIN_LATER, "try again")
        elif _is_stuck(exchange):
            await self._close(WSCloseCode.POLICY_VIOLATION, "402")

    async def _write(self) -> None:
        while True:
            exchange, frames = await self._outgoing.get()
            try:
                # Whoever reads learns of a broken connection, and ends it all. Until
                # then responses must go on leaving the queue: `_serve` waits for it.
                with contextlib.suppress(ConnectionError, ClientConnectionError):
                    for frame in frames:
                        await self._ws.send_str(frame)
                    exchange.written = True
            finally:
                self.end(exchange)
                self._outgoing.task_done()


class WebSocketTransport:
    """Upgrades requests to WebSockets for one endpoint.

    `max_frame` is in bytes; `idle` in seconds: sockets on which no message came for
    so long are closed. `max_sockets` may be changed at any time.
    """

    def __init__(
        self,
        endpoint: CometdEndpoint,
        limits: bayeux.Limits,
        max_frame: int,
        idle: float,
        max_sockets: int = 50_000,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._max_frame = max_frame
        self._idle = idle
        self.max_sockets = max_sockets
        self._sockets: set[Socket] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._sockets)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it closes."""
        if self._closing or len(self._sockets) >= self.max_sockets:
            return web.Response(status=503, text="Try again later\n")
        # Compression would cost more memory for each socket than all else together.
        ws = web.WebSocketResponse(
            heartbeat=PING_PERIOD, max_msg_size=self._max_frame, compress=False
        )
        await ws.prepare(request)
        socket = Socket(ws, request, self._endpoint, self._limits)
        self._sockets.add(socket)
        try:
            await socket.run(self._idle)
        finally:
            self._sockets.discard(socket)
        return ws

    async def close(self) -> None:
        """Close all sockets; their clients come back to the next server."""
        self._closing = True
        await asyncio.gather(*(socket.close() for socket in self._sockets))


def _is_stuck(exchange: SocketExchange) -> bool:
    """Tell whether the client waits for ever if the socket stays open.

    Clients that send bare objects without ids (GFayeSwift) do nothing at all after
    a 402, but start anew when the socket closes.
    """
    return exchange.single and any(
        reply.id is bayeux.UNSET and reply.error == bayeux.UNKNOWN_CLIENT
        for reply in exchange.replies
    )
