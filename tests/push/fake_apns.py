"""An APNs on this machine: HTTP/2 over TLS, with the manners and the faults of Apple.

It lets through as many streams as it is told, refuses the others as Apple does, and
answers each push as the test's responder says. `Mode` names what a server may do
other than answer. Everything runs in the test's own loop.
"""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from tests.push.apns_keys import Identity

LAST_STREAM = 2**31 - 1
"""What a GOAWAY names that refuses nothing yet (RFC 9113 §6.8)."""


class Mode(Enum):
    """What the server does with a push."""

    ANSWER = auto()
    SPLIT = auto()  # the body comes in two frames
    EMPTY_TAIL = auto()  # an empty frame ends the stream
    NO_ID = auto()  # no apns-id in the answer
    SILENCE = auto()
    REFUSE = auto()  # RST_STREAM(REFUSED_STREAM)
    RESET = auto()  # RST_STREAM(INTERNAL_ERROR)
    GOAWAY = auto()  # before this push
    GOAWAY_AFTER = auto()  # this push is counted in
    FAREWELL = auto()  # GOAWAY, and the answers to what is under way
    DROP = auto()  # the connection
    NOISE = auto()  # what is no HTTP/2
    BAD_FRAME = auto()  # a window that grows by nothing (RFC 9113 §6.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What arrived."""

    headers: dict[str, str]
    body: bytes
    connection: int
    stream: int

    @property
    def token(self) -> str:
        return self.headers[":path"].removeprefix("/3/device/")

    @property
    def message(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered; a reason makes the body Apple would send."""

    status: int = 200
    reason: str = ""
    timestamp: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    mode: Mode = Mode.ANSWER

    @property
    def body(self) -> bytes:
        if not self.reason:
            return b""
        told: dict[str, Any] = {"reason": self.reason}
        if self.timestamp is not None:
            told["timestamp"] = self.timestamp
        return json.dumps(told).encode()


OK = Answer()


class FakeApns:
    """The server; `async with` starts and stops it.

    `streams` is how many pushes it takes at once and, unless `told` differs, says so
    in its settings; `grows_to` what it takes after the first good one. `settings`
    False: it never gets so far. `window` is how many bytes one push may take; they
    are not given back by a `stingy` server. `clients` asks for a certificate of this
    identity. `hold()` keeps answers back until `let_go()`, and with them the window
    that the pushes take.
    """

    def __init__(
        self,
        directory: Path,
        *,
        streams: int = 1000,
        told: int | None = None,
        grows_to: int | None = None,
        settings: bool = True,
        window: int = 65_535,
        stingy: bool = False,
        clients: Identity | None = None,
    ) -> None:
        self.identity = Identity(directory, "server")
        self.streams = streams
        self.told = streams if told is None else told
        self.grows_to = grows_to
        self.settings = settings
        self.window = window
        self.stingy = stingy
        self.clients = clients
        self.respond: Callable[[Push], Answer] = lambda _: OK
        self.pushes: list[Push] = []
        self.connections: list[_Peer] = []
        self.refused = 0
        self.cancelled = 0
        self.blocked = 0
        self._open = asyncio.Event()
        self._open.set()
        self._happened = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Peer(self), "127.0.0.1", 0, ssl=self._tls()
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._answers:
            task.cancel()
        for peer in self.alive:
            peer.abort()
        await self.until(lambda: not self.alive)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def alive(self) -> list["_Peer"]:
        return [peer for peer in self.connections if not peer.gone]

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    async def arrived(self, count: int) -> None:
        """Wait until so many pushes have come in."""
        await self.until(lambda: len(self.pushes) >= count)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what happened here has made this true. Raises: TimeoutError."""
        async with asyncio.timeout(5):
            while not condition():
                self._happened.clear()
                await self._happened.wait()

    def happened(self) -> None:
        """Let those who wait look again."""
        self._happened.set()

    def answer(self, peer: "_Peer", push: Push) -> None:
        """Answer when answers are not held back."""
        self.pushes.append(push)
        reply = self.respond(push)
        if self._open.is_set():
            peer.answer(push, reply)
            return
        task = asyncio.create_task(self._later(peer, push, reply))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _later(self, peer: "_Peer", push: Push, reply: Answer) -> None:
        await self._open.wait()
        peer.answer(push, reply)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.identity.pem)
        context.set_alpn_protocols(["h2"])
        if self.clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.clients.certificate)
        return context


class _Peer(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, apns: FakeApns) -> None:
        self.apns = apns
        self.number = len(apns.connections) + 1
        self.gone = False
        self.protocol: str | None = None
        self._streams = apns.streams
        self._headers: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._taken: Counter[int] = Counter()
        self._under_way: set[int] = set()
        self._blocked: dict[int, bytes] = {}

    def abort(self) -> None:
        self._transport.abort()

    def go_away(self) -> None:
        """Say goodbye; everything under way counts as not processed."""
        self._h2.close_connection(last_stream_id=0)
        self._flush()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.protocol = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        self.apns.connections.append(self)
        self._h2 = H2Connection(H2Configuration(False, header_encoding="utf-8"))
        # h2 tells the client only what the settings begin with
        told = {
            SettingCodes.MAX_CONCURRENT_STREAMS: self.apns.told,
            SettingCodes.INITIAL_WINDOW_SIZE: self.apns.window,
            SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
        }
        self._h2.local_settings = Settings(client=False, initial_values=told)
        self._h2.initiate_connection()
        opening = self._h2.data_to_send()
        # h2 would end the connection at one stream too many; Apple refuses the stream
        self._h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100_000
        self._h2.local_settings.acknowledge()
        if self.apns.settings:
            transport.write(opening)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.apns.happened()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._on(event)
        except ProtocolError:
            self._flush()
            self._transport.close()
            return
        self._flush()
        self.apns.happened()

    def _on(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event)
            case DataReceived():
                self._take(event)
            case StreamEnded() if event.stream_id in self._bodies:
                self._complete(event.stream_id)
            case StreamReset():
                self.apns.cancelled += 1
                self._under_way.discard(event.stream_id)
                self._bodies.pop(event.stream_id, None)
                self._give_back(event.stream_id)
            case WindowUpdated():
                self._unblock()
            case _:
                pass

    def _begin(self, event: RequestReceived) -> None:
        stream = event.stream_id
        if len(self._under_way) >= self._streams:
            self.apns.refused += 1
            self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        self._under_way.add(stream)
        self._headers[stream] = {str(k): str(v) for k, v in event.headers}
        self._bodies[stream] = bytearray()

    def _take(self, event: DataReceived) -> None:
        self._taken[event.stream_id] += event.flow_controlled_length
        if event.stream_id in self._bodies:
            self._bodies[event.stream_id] += event.data
        else:
            self._give_back(event.stream_id)

    def _give_back(self, stream: int) -> None:
        if not self.apns.stingy:
            self._h2.acknowledge_received_data(self._taken.pop(stream, 0), stream)

    def _complete(self, stream: int) -> None:
        push = Push(
            headers=self._headers.pop(stream),
            body=bytes(self._bodies.pop(stream)),
            connection=self.number,
            stream=stream,
        )
        self.apns.answer(self, push)

    def answer(self, push: Push, reply: Answer) -> None:
        if self.gone or push.stream not in self._under_way:
            return
        if reply.mode is not Mode.SILENCE:
            self._under_way.discard(push.stream)
            with suppress(ProtocolError):
                self._give_back(push.stream)
                self._act(push, reply)
            self._flush()

    def _act(self, push: Push, reply: Answer) -> None:
        match reply.mode:
            case Mode.DROP:
                self.abort()
            case Mode.NOISE:
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            case Mode.BAD_FRAME:
                self._transport.write(bytes([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
            case Mode.REFUSE:
                self._h2.reset_stream(push.stream, ErrorCodes.REFUSED_STREAM)
            case Mode.RESET:
                self._h2.reset_stream(push.stream, ErrorCodes.INTERNAL_ERROR)
            case Mode.GOAWAY | Mode.GOAWAY_AFTER:
                before = reply.mode is Mode.GOAWAY
                self._h2.close_connection(last_stream_id=push.stream - before)
            case Mode.FAREWELL:
                # By hand: h2 would say nothing after it.
                self._transport.write(GoAwayFrame(0, LAST_STREAM).serialize())
                self._send(push, reply)
            case _:
                self._send(push, reply)

    def _send(self, push: Push, reply: Answer) -> None:
        if reply.status == 200 and self.apns.grows_to:
            self._grow(self.apns.grows_to)
        headers = {":status": str(reply.status), **reply.headers}
        if reply.mode is not Mode.NO_ID:
            headers["apns-id"] = push.headers["apns-id"]
        body = reply.body
        self._h2.send_headers(push.stream, list(headers.items()), end_stream=not body)
        if body:
            self._send_body(push.stream, body, reply.mode)

    def _send_body(self, stream: int, body: bytes, mode: Mode) -> None:
        if self._h2.local_flow_control_window(stream) < len(body):
            self.apns.blocked += 1
            self._blocked[stream] = body
        elif mode is Mode.SPLIT:
            self._h2.send_data(stream, body[:5])
            self._h2.send_data(stream, body[5:], end_stream=True)
        elif mode is Mode.EMPTY_TAIL:
            self._h2.send_data(stream, body)
            self._h2.end_stream(stream)
        else:
            self._h2.send_data(stream, body, end_stream=True)

    def _unblock(self) -> None:
        for stream, body in list(self._blocked.items()):
            if self._h2.local_flow_control_window(stream) >= len(body):
                self._h2.send_data(stream, self._blocked.pop(stream), end_stream=True)

    def _grow(self, streams: int) -> None:
        if self._streams < streams:
            self._streams = streams
            told: dict[SettingCodes | int, int] = {
                SettingCodes.MAX_CONCURRENT_STREAMS: streams
            }
            self._h2.update_settings(told)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing() and self.apns.settings:
            self._transport.write(data)
