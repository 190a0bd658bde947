"""Plain POSTs with Bayeux messages, and plain calls: bytes to exchanges, and answers
to bytes.

Does what `long_polling.py` and `answers.py` do for requests that come through aiohttp,
without an object for each header, request and response, and with the same bytes in the
end.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from aiohttp.http import SERVER_SOFTWARE
from msgspec import Raw, Struct, structs

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .answers import HEADERS, answer, http_failure
from .browsers import COOKIE, BrowserCookie, begins, is_browser, new_browser
from .calls import Reply
from .cometd import Work
from .eager import begin
from .exchange import Exchange, unconfirmed_bytes
from .http_head import Head, HeadReader, Verdict
from .limits import late
from .long_polling import HttpTransports, read_batch
from .origins import Origins, cors_headers
from .plain_calls import PlainCall, PlainCalls, Target

log = logging.getLogger(__name__)

MOST_HEADS = 4096
"""Heads of requests that are known: those of a client, or of an app, are all alike."""

LONGEST_KNOWN = 1024
"""Bytes of the longest of them."""

_JSON = b"Content-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n"
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
_BYTES = b"Content-Type: application/octet-stream\r\n"
_GMS = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode()
_CLOSE = b"Connection: close\r\n"
_SERVER = SERVER_SOFTWARE.encode()

# Pairs and nothing else: what is quoted could hide the cookie, or be hidden by it.
_PAIR = r'[^=;\s",]++=[^=;\s",]*+'
_COOKIES = re.compile(rf"{_PAIR}(?:; {_PAIR})*+").fullmatch
_BROWSERS = re.compile(rf"(?:^|; ){COOKIE}=([^;]*)").findall


class Headers(Mapping[str, str]):
    """Header fields by name, in any case: the few that the application asks for."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


_NONE = Headers({})
_NO_CALLS = PlainCalls({})


class Plain(Struct, frozen=True):
    """What the head of a request tells: the `length` of the body, and the `size` of
    both, in bytes.

    `cors` are the lines of the response that are for the page of this `origin`. Without
    a `target` it brings Bayeux messages.
    """

    head: bytes
    length: int
    size: int
    origin: str
    host: str
    headers: Mapping[str, str]
    browser: str
    cors: bytes
    target: Target | None


class Line(Protocol):
    """The connection that a request came on."""

    transport: asyncio.Transport

    def answer(self, exchange: "PlainExchange", response: bytes) -> None:
        """Write the response of the exchange, unless the connection is gone."""
        ...


class Responses:
    """Makes responses; each needs the date (RFC 9110, "Date")."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._fixed = b""

    def make(
        self, status: int, body: bytes, kind: bytes, cors: bytes, *, close: bool
    ) -> bytes:
        """Return a response; `kind` are the header lines that describe the body."""
        now = int(self._clock.time())
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


_STATUS_LINES = {
    s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus
}


class PlainExchange(Exchange):
    """An exchange by one plain request; its response is written as soon as it is
    known. `cookie` is the header line that a new client gets; `answered` tells that the
    response was written, if not sent yet."""

    cookie = b""
    answered = False

    def __init__(self, line: Line, responses: Responses, request: Plain) -> None:
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
        cors, make = self.request.cors, self._responses.make
        body = bayeux.encode(messages)
        self._line.answer(self, make(200, body, kind, cors, close=self.parting))

    def refuse(self, status: int, text: str = "") -> None:
        self._answer(status, text.encode(), _TEXT if text else _BYTES)

    def reply(self, reply: Reply) -> None:
        """Let the reply to a call go out."""
        self._answer(reply.status, reply.body, _GMS)

    def late(self) -> None:
        """Refuse a request whose body does not arrive, and end its connection."""
        self.parting = True
        refusal = late()
        if self.request.target is None:
            self.refuse(refusal.status, refusal.text or "")
        else:
            self.reply(http_failure(refusal))

    def _answer(self, status: int, body: bytes, kind: bytes) -> None:
        cors, make = self.request.cors, self._responses.make
        self._line.answer(self, make(status, body, kind, cors, close=self.parting))


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
        self._limits = http.limits
        self._cookie = http.cookie
        self._calls = calls
        self._reader = HeadReader(addresses, headers, calls.patterns)
        self._kept = [name.lower() for name in headers]
        self._origins = origins
        self.responses = Responses(clock)
        self._known: dict[bytes, Plain] = {}

    def read(self, data: bytes | bytearray) -> Plain | Verdict:
        """Return the request that the data begin with, as far as its head tells."""
        text = bytes(data[: data.find(b"\r\n\r\n") + 4])
        known = self._known.get(text)
        if known is not None:
            return known
        head = self._reader.read(data)
        if isinstance(head, Verdict):
            return head
        plain = self._plain(text, head)
        if isinstance(plain, Plain):
            self._remember(plain)
        return plain

    def _remember(self, plain: Plain) -> None:
        if len(self._known) >= MOST_HEADS:
            self._known.clear()
        if len(plain.head) <= LONGEST_KNOWN:
            self._known[plain.head] = plain

    def _plain(self, text: bytes, head: Head) -> Plain | Verdict:
        fields = head.fields
        browser, origin = _browser(fields.get("cookie", "")), fields.get("origin")
        if browser is None or origin == "":
            return Verdict.FOREIGN
        target = None
        if head.call is not None:
            target = self._calls.find(head.call, fields.get("content-type"))
            if target is None:
                return Verdict.FOREIGN
        if self._cookie is None or not is_browser(browser):
            browser = ""
        kept = {name: fields[name] for name in self._kept if name in fields}
        return Plain(
            head=text,
            length=head.length,
            size=len(text) + head.length,
            origin=origin or "",
            host=fields["host"],
            headers=Headers(kept) if kept else _NONE,
            browser=browser,
            cors=_cors(origin or ""),
            target=target,
        )

    def admits(self, request: Plain) -> bool:
        """Tell whether the page that sent the request may."""
        return self._origins.allows(request.origin, request.host)

    def serve(
        self, exchange: PlainExchange, body: bytes, peer: bayeux.Peer
    ) -> asyncio.Task[None] | None:
        """Serve a request whose body is there; the task does what has to wait."""
        if exchange.request.target is not None:
            call = self._call(exchange, exchange.request.target, body, peer)
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
        host, secure = exchange.request.host, exchange.secure
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


def _cors(origin: str) -> bytes:
    fields = cors_headers(origin).items() if origin else ()
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


def _browser(cookies: str) -> str | None:
    """Return the browser's cookie, empty if there is none, None if that is unclear."""
    if COOKIE not in cookies:
        return ""
    found = _BROWSERS(cookies)
    return found[0] if len(found) == 1 and _COOKIES(cookies) else None
