"""One connection of the front: one request after the other.

While a request is held, or its response has not gone out, what the client sends waits,
up to a bound; beyond that the socket is not read.
"""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from cometd_chat import bayeux

from .exchange import Look, look_for_end
from .http_head import LONGEST, Verdict
from .plain import PlainExchange
from .plain_head import Plain

if TYPE_CHECKING:
    from .front import Front

MOST_WAITING: Final = 65_536
"""Bytes of further requests that wait while one is served; then reading pauses."""


MOST_AT_ONCE: Final = 32
"""Requests of one connection that are served before others have their turn."""


class Connection(asyncio.Protocol):
    """One connection: the request at hand, and the bytes that wait behind it.

    A request that is served is `_exchange`; `_plain` is the head of the last one, and
    `_late` a timer while its body has not arrived.
    """

    __slots__ = (
        "_address",
        "_advancing",
        "_exchange",
        "_front",
        "_late",
        "_look",
        "_paused",
        "_peer",
        "_plain",
        "_unread",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._exchange: PlainExchange | None = None
        self._plain: Plain | None = None
        self._peer = _NOBODY
        self._late: asyncio.TimerHandle | None = None
        self._unread: bytes | bytearray = b""
        self._advancing = False
        self._paused = False
        self._address = ""
        self._look: Look | None = None

    @property
    def _ready(self) -> bool:
        """Tell whether another request may be served."""
        return self._exchange is None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Written at once, so that a connection that is gone is known to be so; and
        # what the system does not take is known to wait.
        # Not 0: over TLS every write would then be paused, or resumed, in turn.
        self.transport.set_write_buffer_limits(high=1)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        self._front.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._unread:
            self._unread += data
            self._advance(self._unread)
            return
        if self._exchange is None:
            # Nearly always one request, as a whole.
            plain = self._read(data)
            if isinstance(plain, Plain) and len(data) == plain.size:
                self._serve(plain, data[plain.size - plain.length :])
                return
        self._advance(data)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._exchange is not None and self._exchange.answered:
            self._written(self._exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.left(self)
        self._in_time()
        self._unread = b""
        if (exchange := self._exchange) is not None:
            self._exchange = None
            self._front.posts.polls.ended(exchange)

    def close(self) -> None:
        """Close the connection once what was written has gone out."""
        self._plain = None
        self._front.left(self)
        self.transport.close()

    def answer(self, exchange: PlainExchange, response: bytes) -> None:
        """Write the response of the exchange, unless the connection is gone."""
        if self._exchange is not exchange:
            self._front.posts.polls.ended(exchange)
            return
        if exchange.carries and self._hung_up():
            self.transport.abort()  # and the exchange ends with the connection
            return
        exchange.answered = True
        self.transport.write(response)
        if not self._paused and not self.transport.is_closing():
            self._written(exchange)

    def _hung_up(self) -> bool:
        """Tell whether the system knows that the peer is gone; see `hung_up`."""
        look = self._look
        if look is None:  # kept: each answer with events looks
            look = self._look = look_for_end(self.transport)
        return look is None or bool(look(0))

    def _written(self, exchange: PlainExchange) -> None:
        front = self._front
        exchange.written = True
        self._exchange = None
        front.idle[self] = front.time() + front.keepalive
        front.posts.polls.ended(exchange)
        if exchange.parting or front.closing:
            self.close()
        elif self._unread and not self._advancing:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Serve what came while something else was served."""
        if not self.transport.is_closing() and self.transport.get_protocol() is self:
            self.transport.resume_reading()
            self._advance(self._unread)

    def _advance(self, data: bytes | bytearray) -> None:
        """Serve what has arrived, in order, up to a request that has to wait."""
        self._advancing = True
        served = 0
        while data and self._ready and served < MOST_AT_ONCE:
            plain = self._read(bytes(data[:LONGEST]))
            if plain is Verdict.FOREIGN:
                self._hand_over(bytes(data))
                return
            if plain is Verdict.INCOMPLETE:
                break
            if len(data) < plain.size:
                self._await_body(plain)
                break
            self._in_time()
            self._serve(plain, bytes(data[plain.size - plain.length : plain.size]))
            data = data[plain.size :]
            served += 1
        self._advancing = False
        if data or self._unread:
            self._keep(data)
        if served == MOST_AT_ONCE:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _read(self, data: bytes) -> Plain | Verdict:
        """Return the request that the data begin with, nearly always like the last."""
        front, last = self._front, self._plain
        plain = None if last is None else last.next(data)
        if plain is None:
            read = front.posts.heads.read(data)
            if not isinstance(read, Plain):
                return read
            plain = read
            self._peer = bayeux.Peer(
                headers=read.form.headers, address=self._address, browser=read.browser
            )
        self._plain = plain
        return plain if front.takes(plain) else Verdict.FOREIGN

    def _keep(self, data: bytes | bytearray) -> None:
        if data is not self._unread:
            self._unread = bytearray(data) if data else b""
        waits = self._late is None and len(data) > MOST_WAITING
        if waits and not self.transport.is_closing():
            self.transport.pause_reading()

    def _serve(self, plain: Plain, body: bytes) -> None:
        front = self._front
        front.idle.pop(self, None)
        exchange = self._exchange = PlainExchange(self, front.posts.responses, plain)
        task = front.posts.serve(exchange, body, self._peer)
        if task is not None:
            front.keep(task)

    def _hand_over(self, data: bytes) -> None:
        self._unread = b""
        self._in_time()
        self._front.left(self)
        self._front.takes_over(self.transport, data)

    def _await_body(self, plain: Plain) -> None:
        if self._late is None:
            self._front.idle.pop(self, None)
            self._late = asyncio.get_running_loop().call_later(
                self._front.body_timeout, self._is_late, plain
            )

    def _is_late(self, plain: Plain) -> None:
        self._in_time()
        self._exchange = PlainExchange(self, self._front.posts.responses, plain)
        self._exchange.late()

    def _in_time(self) -> None:
        """Wait for no body any more."""
        if self._late is not None:
            self._late.cancel()
            self._late = None


_NOBODY: Final = bayeux.Peer(headers={})
