"""One HTTP/2 connection to APNs: the protocol of aioapns 4.0, made safe.

How it works. Whoever sends takes his turn, waits at the head of the queue until there
is room, and then for the reply on his own stream. Three rules keep senders apart:

* A stream belongs to one call. Who stops waiting resets his stream; a reply that
  comes later concerns nobody. A future that is done is never touched.
* Room is what the other side gives: streams and bytes of the window. Until APNs has
  accepted something, one stream only, as it allows no more before it has seen a
  good token. Whatever comes in may make room, so that the one at the head of the
  queue looks again after each piece of data.
* What surely was not processed (never sent, refused, above the last stream of a
  GOAWAY) fails with an error of its own, since it may be sent again on the spot. All
  else may have been delivered: that is for the worker to decide.

Of aioapns' protocol remain the life of the connection, the framing and the types. Its
calls are found by `apns-id`, die of cancellation, of an error without id or in two
frames, and it never gives back the window of replies.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aioapns.common import NotificationRequest
from aioapns.connection import APNsTLSClientProtocol
from aioapns.exceptions import ConnectionClosed
from h2.config import H2Configuration
from h2.connection import (
    ConnectionInputs,
    ConnectionState,
    H2Connection,
    H2ConnectionStateMachine,
)
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError

from cometd_chat.push.apns_credentials import Credentials
from cometd_chat.push.apns_outcomes import Reply
from cometd_chat.push.apns_route import Route
from cometd_chat.push.fitting import encode

MOST_STREAMS = 1000
"""Most pushes under way on one connection, whatever the server allows."""

LARGEST_BODY = 5120
"""Bytes of the window that must be free before a push is sent."""

_LARGEST_REPLY = 16_384
_KEEPALIVE = 60
_PROVEN = {"200", "400", "410"}


class NotProcessedError(ConnectionClosed):
    """The push surely did not reach anybody; it may be sent again at once."""


class _Draining(H2ConnectionStateMachine):
    """Takes replies behind a GOAWAY: who goes away answers what he has taken (RFC 9113
    §6.8), which h2 would call an error."""

    _transitions = H2ConnectionStateMachine._transitions | {  # noqa: SLF001 - no other way
        (ConnectionState.CLIENT_OPEN, ConnectionInputs.RECV_GOAWAY): (
            None,
            ConnectionState.CLIENT_OPEN,
        )
    }


@dataclass(slots=True, eq=False)
class _Call:
    reply: asyncio.Future[Reply]
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    def fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class Connection(APNsTLSClientProtocol):
    """One connection to APNs; see the module for its rules."""

    def __init__(
        self,
        route: Route,
        credentials: Credentials,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(credentials.topic, loop, auth_provider=credentials.signer)
        self.conn = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.conn.state_machine = _Draining()
        self.accepting = True
        self.INACTIVITY_TIME = route.patience.idle
        self._route = route
        self._on_lost = on_lost
        self._calls: dict[int, _Call] = {}
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._proven = False
        self._heard = 0.0

    async def ready(self) -> None:
        """Wait for the server's settings. Raises: NotProcessedError."""
        await self._settled.wait()
        if not self.accepting:
            raise NotProcessedError("closed before it was ready")

    async def send_notification(self, request: NotificationRequest) -> Reply:
        """Send a push and return the reply.

        Raises: NotProcessedError; ConnectionClosed if nobody knows what became of
        it; TimeoutError after `patience.reply`. Cancelling it concerns no other.
        """
        async with self._turn:
            await self._room()
            stream, call = self._start(request)
        started = self.loop.time()
        try:
            async with asyncio.timeout(self._route.patience.reply):
                return await call.reply
        except TimeoutError:
            if self._heard < started:  # not one frame: nobody is there any more
                self.close()
            raise
        finally:
            self._forget(stream)

    @property
    def is_busy(self) -> bool:
        """Whether there is no room for one more push at this moment."""
        allowed = self.conn.remote_settings.max_concurrent_streams
        most = min(allowed, MOST_STREAMS) if self._proven else min(allowed, 1)
        window = self.conn.outbound_flow_control_window
        return len(self._calls) >= most or window < LARGEST_BODY

    def retire(self) -> None:
        """Take no more pushes; close when all replies are there."""
        self.accepting = False
        self._changed.set()
        self._close_if_done()

    def close(self) -> None:
        """Close now; calls under way fail."""
        self.accepting = False
        self._fail_above(0, ConnectionClosed("connection closed"))
        self._settled.set()
        self._changed.set()
        super().close()

    def abort(self) -> None:
        """Give the connection up without a word."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        # finds out about dead peers, and keeps the way through firewalls open
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.conn.receive_data(data):
                self._heard = self.loop.time()
                self._on(event)
        except ProtocolError:
            self.flush()
            self.close()
            return
        self.flush()
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        why = getattr(exc, "reason", None) or type(exc).__name__
        self._fail_above(0, ConnectionClosed(f"connection lost ({why})"))
        self.close()
        self._on_lost(self)

    def flush(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            super().flush()

    async def _room(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._route.patience.reply):
                while self.accepting and self.is_busy:
                    self._changed.clear()
                    await self._changed.wait()
        if self.is_busy:  # it answers, if at all, but makes no room
            self.retire()
        if not self.accepting:
            raise NotProcessedError("connection ended before the push was sent")

    def _start(self, request: NotificationRequest) -> tuple[int, _Call]:
        try:
            stream = self.conn.get_next_available_stream_id()
            self.conn.send_headers(stream, self._headers(request))
            self.conn.send_data(stream, encode(request.message), end_stream=True)
        except ProtocolError as error:  # no more ids, or a window that is too small
            self.retire()
            raise NotProcessedError(type(error).__name__) from None
        call = self._calls[stream] = _Call(self.loop.create_future())
        self.flush()
        return stream, call

    def _headers(self, request: NotificationRequest) -> list[tuple[str, str]]:
        life, now = request.time_to_live or 0, int(self._route.clock.time())
        headers = {
            ":method": "POST",
            ":scheme": "https",
            ":path": f"/3/device/{request.device_token}",
            ":authority": self._route.server.host,
            "apns-id": request.notification_id,
            "apns-topic": self.apns_topic,
            # "0" is not to be stored at all
            "apns-expiration": str(now + life) if life else "0",
            "apns-priority": str(request.priority),
            "apns-push-type": request.push_type.value if request.push_type else "",
            "apns-collapse-id": request.collapse_key or "",
        }
        if self.auth_provider:
            headers["authorization"] = self.auth_provider.get_header()
        return [(name, value) for name, value in headers.items() if value]

    def _on(self, event: Event) -> None:
        match event:
            case ResponseReceived() | DataReceived():
                self._on_reply(event)
            case StreamEnded():
                self._on_end(event.stream_id)
            case StreamReset():
                self._on_reset(event)
            case RemoteSettingsChanged():
                self._settled.set()
            case ConnectionTerminated():
                error = NotProcessedError("server is going away")
                self._fail_above(event.last_stream_id or 0, error)
                self.retire()
            case _:
                pass  # windows, acknowledgements and pings are between h2 and the peer

    def _on_reply(self, event: ResponseReceived | DataReceived) -> None:
        call = self._calls.get(event.stream_id)
        if isinstance(event, DataReceived):
            # also what nobody waits for has taken its part of the window
            length = event.flow_controlled_length
            self.conn.acknowledge_received_data(length, event.stream_id)
            if call and len(call.body) < _LARGEST_REPLY:
                call.body += event.data
        elif call:
            call.headers = {str(name): str(value) for name, value in event.headers}

    def _on_end(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if not call:
            return
        reply = Reply(call.headers, bytes(call.body))
        self._proven = self._proven or reply.status in _PROVEN
        if not call.reply.done():
            call.reply.set_result(reply)
        self._close_if_done()

    def _on_reset(self, event: StreamReset) -> None:
        call = self._calls.pop(event.stream_id, None)
        if call:
            refused = event.error_code == ErrorCodes.REFUSED_STREAM
            kind = NotProcessedError if refused else ConnectionClosed
            call.fail(kind("stream reset"))
        self._close_if_done()

    def _forget(self, stream: int) -> None:
        """Tell the server that nobody waits for this reply any more."""
        if self._calls.pop(stream, None):
            with suppress(ProtocolError):
                self.conn.reset_stream(stream, ErrorCodes.CANCEL)
            self.flush()
            self._changed.set()
            self._close_if_done()

    def _fail_above(self, stream: int, error: Exception) -> None:
        for number in [number for number in self._calls if number > stream]:
            self._calls.pop(number).fail(error)

    def _close_if_done(self) -> None:
        if not (self.accepting or self._calls):
            self.close()
