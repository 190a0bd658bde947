"""Bayeux over WebSocket, as CometD does it (no specification covers it).

A text frame carries an array of messages, or a single one. A clientId goes on over
a new socket without a handshake; it may come and go between the transports at any
moment. A connect is held here like everywhere, and events travel in its answer.
"""

import asyncio
import logging

from aiohttp import WSCloseCode, WSMsgType, web

from cometd_chat import bayeux

from .cometd import CometdEndpoint
from .exchange import Exchange, unconfirmed_bytes

log = logging.getLogger(__name__)

PING_PERIOD = 25.0
"""Seconds between pings: more than a hiccup of a phone, less than a proxy waits."""

Reply = tuple["SocketExchange", str]


class SocketExchange(Exchange):
    """An exchange by frames of one socket."""

    __slots__ = ("over", "socket")

    def __init__(self, socket: "Socket") -> None:
        super().__init__(socket)
        self.socket = socket
        self.over = asyncio.get_running_loop().create_future()

    @property
    def dead(self) -> bool:
        return self.socket.closed

    @property
    def unconfirmed(self) -> bool:
        return not self.written or self.socket.unconfirmed

    def send(self, body: bytes) -> None:
        self.socket.put(self, body.decode())

    def refuse(self, status: int) -> None:
        self.socket.put(self, "")

    async def lost(self, now: Exchange) -> bool:
        """What went out last on a socket that broke, with no poll behind it, is
        doubtful, and given again."""
        if self.dead and self.connection is not now.connection:
            return True
        return await super().lost(now)


class Socket:
    """One WebSocket: serves its frames in order, one after the other.

    A frame is served when the response to the one before has been written, or its
    connect is held: a peer that does not read cannot make us gather responses.
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
        self._peer = bayeux.Peer(headers=request.headers, address=request.remote or "")
        self._endpoint = endpoint
        self._limits = limits
        self._outgoing: asyncio.Queue[Reply] = asyncio.Queue()
        self._open: set[SocketExchange] = set()
        self._clients: set[str] = set()

    @property
    def closed(self) -> bool:
        return self._ws.closed

    @property
    def unconfirmed(self) -> bool:
        return unconfirmed_bytes(self._transport) > 0

    def put(self, exchange: SocketExchange, text: str) -> None:
        """Queue a response; an empty one only ends its exchange."""
        self._outgoing.put_nowait((exchange, text))

    async def run(self, idle: float) -> None:
        """Serve until the socket closes, or nothing came for `idle` seconds."""
        writing = asyncio.create_task(self._write())
        try:
            await self._read(idle)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            for exchange in list(self._open):
                self._end(exchange)
            for client_id in self._clients:
                self._endpoint.disconnected(self, client_id)

    async def close(self) -> None:
        """Tell the peer that the server goes away."""
        await self._ws.close(code=WSCloseCode.GOING_AWAY, message=b"restart")

    async def _read(self, idle: float) -> None:
        while True:
            try:
                frame = await self._ws.receive(timeout=idle)
            except TimeoutError:
                await self._ws.close(message=b"idle")
                return
            if frame.type is not WSMsgType.TEXT:
                return
            try:
                await self._serve(frame.data)
            except bayeux.BodyError as exc:
                reason = str(exc).encode()[:120]
                await self._ws.close(code=WSCloseCode.INVALID_TEXT, message=reason)
                return

    async def _serve(self, text: str) -> None:
        batch = bayeux.parse(text.encode(), self._limits)
        if not batch:
            return  # some clients send empty arrays to keep the socket alive
        exchange = SocketExchange(self)
        self._open.add(exchange)
        await self._endpoint.serve(exchange, batch, self._peer)
        if exchange.connect is not None:
            self._clients.add(exchange.connect.client.id)
        else:
            await exchange.over
        if _is_stuck(text, exchange):
            await self._ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"402")

    async def _write(self) -> None:
        while True:
            exchange, text = await self._outgoing.get()
            try:
                if text:
                    await self._ws.send_str(text)
                    exchange.written = True
            except ConnectionError:
                return
            finally:
                self._end(exchange)

    def _end(self, exchange: SocketExchange) -> None:
        self._open.discard(exchange)
        if not exchange.over.done():
            exchange.over.set_result(None)
        self._endpoint.ended(exchange)


class WebSocketTransport:
    """Upgrades requests to WebSockets for one endpoint.

    `max_frame` is in bytes; `idle` in seconds: sockets on which no message came for
    so long are closed.
    """

    def __init__(
        self,
        endpoint: CometdEndpoint,
        limits: bayeux.Limits,
        max_frame: int,
        idle: float,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._max_frame = max_frame
        self._idle = idle
        self._sockets: set[Socket] = set()

    def __len__(self) -> int:
        return len(self._sockets)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it closes."""
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
        await asyncio.gather(*(socket.close() for socket in self._sockets))


def _is_stuck(text: str, exchange: SocketExchange) -> bool:
    """Tell whether the client waits for ever if the socket stays open.

    Clients that send bare objects without ids (GFayeSwift) do nothing at all after
    a 402, but start anew when the socket closes.
    """
    (reply, *more) = exchange.replies or (None,)
    return (
        reply is not None
        and not more
        and not text.lstrip().startswith("[")
        and reply.id is bayeux.UNSET
        and reply.error == bayeux.UNKNOWN_CLIENT
    )
