"""Plain POSTs with Bayeux messages, and plain calls: bytes to exchanges, and answers
to bytes.

Does what `long_polling.py` and `answers.py` do for requests that come through aiohttp,
without an object for each header, request and response, and with the same bytes in the
end.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp.http import SERVER_SOFTWARE
from msgspec import Raw, structs

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .answers import HEADERS, answer, http_failure
from .browsers import BrowserCookie, begins, new_browser
from .calls import Reply
from .eager import Work, begin
from .exchange import Exchange, unconfirmed_bytes
from .limits import late
from .long_polling import HttpTransports, read_batch
from .origins import Origins
from .plain_calls import PlainCall, PlainCalls, Target
from .plain_head import Form, Plain, PlainHeads

if TYPE_CHECKING:
    from .connection import Connection

log = logging.getLogger(__name__)

_JSON: Final = (
    b"Content-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n"
)
_TEXT: Final = b"Content-Type: text/plain; charset=utf-8\r\n"
_BYTES: Final = b"Content-Type: application/octet-stream\r\n"
_GMS: Final = "".join(
    f"{name}: {value}\r\n" for name, value in HEADERS.items()
).encode()
_CLOSE: Final = b"Connection: close\r\n"
_SERVER: Final = SERVER_SOFTWARE.encode()

_NO_CALLS: Final = PlainCalls({})


class Responses:
    """Makes responses; each needs the date (RFC 9110, "Date")."""

    def __init__(self, clock: Clock) -> None:
        self._time = clock.time
        self._second = -1
        self._fixed = b""

    def make(
        self, status: int, body: bytes, kind: bytes, cors: bytes, *, close: bool
    ) -> bytes:
        """Return a response; `kind` are the header lines that describe the body."""
        now = int(self._time())
        if now != self._second:
            self._second = now
            date = formatdate(now, usegmt=True).encode()
            self._fixed = b"Date: %b\r\nServer: %b\r\n" % (date, _SERVER)
        return b"%b%bContent-Length: %d\r\n%b%b%b\r\n%b" % (
            _STATUS_LINES[status],
            kind,
            len(body),
            self._fixed,
            _CLOSE if close else b"",
            cors,
            body,
        )


_STATUS_LINES: Final = {
    s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus
}


class PlainExchange(Exchange):
    """An exchange by one plain request; its response is written as soon as it is
    known. `cookie` is the header line that a new client gets; `answered` tells that the
    response was written, if not sent yet."""

    cookie = b""
    answered = False

    def __init__(
        self, line: "Connection", responses: Responses, request: Plain
    ) -> None:
        super().__init__(line.transport)
        self._line = line
        self._responses = responses
        self.request = request

    @property
    def dead(self) -> bool:
        return self._line.transport.is_closing()

    @property
    def unconfirmed(self) -> bool:
        return not self.written or unconfirmed_bytes(self._line.transport) > 0

    @property
    def secure(self) -> bool:
        """Tell whether the connection is one of TLS."""
        return self._line.transport.get_extra_info("sslcontext") is not None

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        kind = _JSON + self.cookie if self.cookie and self.admits else _JSON
        self._answer(200, bayeux.encode(messages), kind)

    def refuse(self, status: int, text: str = "") -> None:
        self._answer(status, text.encode(), _TEXT if text else _BYTES)

    def reply(self, reply: Reply) -> None:
        """Let the reply to a call go out."""
        self._answer(reply.status, reply.body, _GMS)

    def late(self) -> None:
        """Refuse a request whose body does not arrive, and end its connection."""
        self.parting = True
        refusal = late()
        if self.request.form.target is None:
            self.refuse(refusal.status, refusal.text or "")
        else:
            self.reply(http_failure(refusal))

    def _answer(self, status: int, body: bytes, kind: bytes) -> None:
        cors = self.request.form.cors
        response = self._responses.make(status, body, kind, cors, close=self.parting)
        self._line.answer(self, response)


class PlainPosts:
    """Long-polling as `http` has it, at these addresses and behind them, and `calls`.

    `headers` are the names of those that are asked for beside the protocol's own.
    """

    def __init__(
        self,
        http: HttpTransports,
        addresses: Collection[str],
        origins: Origins,
        clock: Clock,
        *,
        headers: Collection[str] = (),
        calls: PlainCalls = _NO_CALLS,
    ) -> None:
        self.endpoint = http.endpoint
        self.polls = http.endpoint.polls
        self._limits = http.limits
        self._cookie = http.cookie
        self._origins = origins
        self.heads = PlainHeads(
            addresses, headers, calls, origins, browsers=http.cookie is not None
        )
        self.responses = Responses(clock)

    def admits(self, form: Form) -> bool:
        """Tell whether the page that sends such requests may."""
        return self._origins.allows(form.origin, form.host)

    def serve(
        self, exchange: PlainExchange, body: bytes, peer: bayeux.Peer
    ) -> asyncio.Task[None] | None:
        """Serve a request whose body is there; the task does what has to wait."""
        if exchange.request.form.target is not None:
            call = self._call(exchange, exchange.request.form.target, body, peer)
            return begin(_guarded(exchange, call))
        try:
            batch = read_batch(body, self._limits)
        except bayeux.BodyError as exc:
            exchange.refuse(exc.status, f"{exc}\n")
            return None
        if not peer.browser and self._cookie is not None and begins(batch):
            peer = self._newcomer(exchange, peer, self._cookie)
        try:
            work = self.endpoint.serve(exchange, batch, peer)
        except Exception:  # noqa: BLE001 - a task boundary; it is logged there
            _failed(exchange)
            return None
        return None if work is None else begin(_guarded(exchange, work))

    async def _call(
        self, exchange: PlainExchange, target: Target, body: bytes, peer: bayeux.Peer
    ) -> None:
        host, secure = exchange.request.form.host, exchange.secure
        reply = await answer(
            target.handler,
            PlainCall(target.service, peer, target.media, body, host, secure),
        )
        exchange.parting = self.endpoint.closing
        exchange.reply(reply)

    def _newcomer(
        self, exchange: PlainExchange, peer: bayeux.Peer, cookie: BrowserCookie
    ) -> bayeux.Peer:
        """Give a browser its cookie, with the answer to its handshake."""
        browser = new_browser()
        exchange.cookie = f"Set-Cookie: {cookie.header(browser)}\r\n".encode()
        return structs.replace(peer, browser=browser)


async def _guarded(exchange: PlainExchange, work: Work) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - a task boundary; it is logged there
        _failed(exchange)


def _failed(exchange: PlainExchange) -> None:
    """Answer a client whose request failed; others are not concerned."""
    log.exception("a request cannot be served")
    exchange.parting = True
    exchange.refuse(500)
