"""Odd and hostile HTTP: through the front it is answered as aiohttp alone would do.

Each case is sent to two stands, one with a front and one without, in the same pieces.
The bytes that come back, and whether the connection is closed, must be the same.
"""

import asyncio
import re
from asyncio import gather
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests import ways
from tests.front.odd import Talk, both_answers, bytewise
from tests.web.stand import Stand, standing

HANDSHAKE = (
    b'[{"channel":"/meta/handshake","id":"1","version":"1.0",'
    b'"supportedConnectionTypes":["long-polling"]}]'
)
UNKNOWN = b'[{"channel":"/x","id":"7","clientId":"nobody","data":{}}]'
GET = b"GET /cometd HTTP/1.1\r\nHost: x\r\n\r\n"


def post(
    *lines: bytes,
    body: bytes = UNKNOWN,
    line: bytes = b"POST /cometd HTTP/1.1",
    length: bytes | None = None,
    host: bytes = b"Host: x",
) -> bytes:
    """Return a request, plain but for what is given; a length of b"" is left out."""
    size = b"%d" % len(body) if length is None else length
    sized = [b"Content-Length: " + size] if size else []
    head = [line, *([host] if host else []), *lines, *sized]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


PLAIN = post()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(UNKNOWN), UNKNOWN)
HIDDEN = b"0\r\n\r\n" + post(body=HANDSHAKE)


CASES: dict[str, list[bytes]] = {
    # what is plain
    "plain": [PLAIN],
    "plain twice": [PLAIN, PLAIN],
    "a handshake sets the cookie": [post(body=HANDSHAKE)],
    "a cookie that is known": [
        post(b"Cookie: a=b; BAYEUX_BROWSER=abc; c=d", body=HANDSHAKE)
    ],
    "an origin of the host": [post(b"Origin: http://x")],
    "keep-alive is said": [post(b"Connection: Keep-Alive"), PLAIN],
    "field names in any case": [
        b"POST /cometd HTTP/1.1\r\nHOST: x\r\ncontent-LENGTH: 2\r\n\r\n[]"
    ],
    "a path behind the address": [post(line=b"POST /cometd/connect HTTP/1.1")],
    "no messages": [post(body=b"[]")],
    "no JSON": [post(body=b"{")],
    "no UTF-8": [post(body=b"\xff\xff")],
    "too many messages": [post(body=b"[" + b"{}," * 200 + b"{}]")],
    "a form": [post(body=b"message=%5B%5D&message=" + UNKNOWN)],
    "a malformed form": [post(body=b"message=%ff")],
    # in pieces, and in a row
    "a byte at a time": bytewise(PLAIN),
    "the body later": [PLAIN[: -len(UNKNOWN)], UNKNOWN],
    "the body in pieces": [PLAIN[:-20], PLAIN[-20:-10], PLAIN[-10:]],
    "cut inside the length": [PLAIN[:55], PLAIN[55:]],
    "two in one piece": [PLAIN + PLAIN],
    "many in one piece": [PLAIN * 40],
    "one and a half": [PLAIN + PLAIN[:30], PLAIN[30:]],
    "one and a byte of the next": [PLAIN + b"P", PLAIN[1:]],
    "pipelined, then a GET": [PLAIN + GET],
    "a GET, then pipelined": [GET + PLAIN],
    "plain, GET, plain": [PLAIN + GET + PLAIN],
    "plain, then chunked, then plain": [
        PLAIN + post(b"Transfer-Encoding: chunked", body=CHUNKED, length=b"") + PLAIN
    ],
    "plain, then a handover byte by byte": [PLAIN, *bytewise(GET)],
    "an empty line before": [b"\r\n" + PLAIN],
    "empty lines between": [PLAIN + b"\r\n\r\n" + PLAIN],
    # lengths
    "no length": [post(length=b"")],
    "no body": [post(body=b"", length=b"0")],
    "the same length twice": [post(b"Content-Length: %d" % len(UNKNOWN))],
    "two lengths": [post(b"Content-Length: 5")],
    "two lengths in one field": [post(length=b"%d, 5" % len(UNKNOWN))],
    "the same length twice in one field": [post(length=b"57, 57")],
    "a length with a plus": [post(length=b"+57")],
    "a length with a minus": [post(length=b"-57")],
    "a length with zeros before": [post(length=b"000%d" % len(UNKNOWN))],
    "a length with blanks around": [post(length=b"   %d \t" % len(UNKNOWN))],
    "a length with a blank inside": [post(length=b"5 7")],
    "a hexadecimal length": [post(length=b"0x39")],
    "a length with a point": [post(length=b"57.0")],
    "a length beyond 64 bits": [post(length=b"9" * 30)],
    "a length without digits": [post(length=b" ")],
    "a longer body than its length": [post(length=b"2", body=b"[]" + GET)],
    "an underscore in the name": [post(b"Content_Length: 5")],
    # codings of the transfer
    "chunked": [post(b"Transfer-Encoding: chunked", body=CHUNKED, length=b"")],
    "chunked with a length": [post(b"Transfer-Encoding: chunked", body=HIDDEN)],
    "a length before chunked": [
        b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + HIDDEN
    ],
    "chunked, oddly written": [post(b"Transfer-Encoding: cHuNkEd", body=HIDDEN)],
    "chunked after a tab": [post(b"Transfer-Encoding:\tchunked", body=HIDDEN)],
    "chunked with a blank before the colon": [
        post(b"Transfer-Encoding : chunked", body=HIDDEN)
    ],
    "chunked with something before": [
        post(b"Transfer-Encoding: xchunked", body=HIDDEN)
    ],
    "identity": [post(b"Transfer-Encoding: identity")],
    "two codings": [post(b"Transfer-Encoding: gzip, chunked", body=HIDDEN)],
    "chunked twice": [
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=HIDDEN)
    ],
    "a folded coding": [post(b"Transfer-Encoding:", b" chunked", body=HIDDEN)],
    "a coding behind a NUL": [post(b"X: \0", b"Transfer-Encoding: chunked")],
    # lines and characters
    "bare LF": [PLAIN.replace(b"\r\n", b"\n")],
    "one bare LF": [post(b"X: y\nZ: z")],
    "bare CR": [post(b"X: y\rContent-Length: 5")],
    "an end of bare LF": [b"POST /cometd HTTP/1.1\r\nHost: x\r\n\n" + UNKNOWN],
    "a folded field": [post(b"X: y", b" z")],
    "a field folded by a tab": [post(b"X: y", b"\tz")],
    "a NUL in a value": [post(b"X: a\0b")],
    "a NUL in a name": [post(b"X\0: y")],
    "a control character": [post(b"X: a\x01b")],
    "a deletion": [post(b"X: a\x7fb")],
    "UTF-8 in a value": [post("gms_user: Zoë".encode())],
    "UTF-8 in a name": [post("Zoë: x".encode())],
    "a blank before the colon": [post(b"X : y")],
    "a blank before the name": [post(b" X: y")],
    "a name with a bracket": [post(b"X(y): z")],
    "an empty name": [post(b": y")],
    "no colon": [post(b"X")],
    "blanks around the method": [post(line=b" POST /cometd HTTP/1.1")],
    "two blanks": [post(line=b"POST  /cometd  HTTP/1.1")],
    "a tab in the first line": [post(line=b"POST\t/cometd\tHTTP/1.1")],
    # targets, methods and versions
    "an absolute target": [post(line=b"POST http://x/cometd HTTP/1.1")],
    "an absolute target of others": [post(line=b"POST http://y/cometd HTTP/1.1")],
    "an authority": [post(line=b"CONNECT x:80 HTTP/1.1", length=b"", body=b"")],
    "an asterisk": [post(line=b"POST * HTTP/1.1")],
    "a query": [post(line=b"POST /cometd?a=b HTTP/1.1")],
    "an escaped path": [post(line=b"POST /%63ometd HTTP/1.1")],
    "a path with dots": [post(line=b"POST /cometd/../cometd HTTP/1.1")],
    "a path with two slashes": [post(line=b"POST //cometd HTTP/1.1")],
    "another path": [post(line=b"POST /cometdx HTTP/1.1")],
    "a fragment": [post(line=b"POST /cometd#a HTTP/1.1")],
    "a method in small letters": [post(line=b"post /cometd HTTP/1.1")],
    "PUT": [post(line=b"PUT /cometd HTTP/1.1")],
    "OPTIONS": [post(b"Origin: http://x", line=b"OPTIONS /cometd HTTP/1.1")],
    "HTTP/1.0": [post(line=b"POST /cometd HTTP/1.0")],
    "HTTP/1.0 with keep-alive": [
        post(b"Connection: keep-alive", line=b"POST /cometd HTTP/1.0")
    ],
    "HTTP/1.2": [post(line=b"POST /cometd HTTP/1.2")],
    "HTTP/0.9": [b"POST /cometd\r\n\r\n"],
    "the preface of HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "TLS": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    # fields that change the connection
    "close": [post(b"Connection: close")],
    "close, then another": [post(b"Connection: close") + PLAIN],
    "close among others": [post(b"Connection: keep-alive, close")],
    "two connection fields": [post(b"Connection: keep-alive", b"Connection: close")],
    "close for proxies": [post(b"Proxy-Connection: close")],
    "an upgrade": [post(b"Connection: upgrade", b"Upgrade: websocket")],
    "an upgrade to h2c": [
        post(
            b"Connection: upgrade, http2-settings", b"Upgrade: h2c", b"HTTP2-Settings:"
        )
    ],
    "to be continued": [post(b"Expect: 100-continue")],
    "to be continued, the body later": [
        post(b"Expect: 100-continue", body=b"", length=b"2"),
        b"[]",
    ],
    "another expectation": [post(b"Expect: miracles")],
    "trailers": [post(b"Trailer: x", b"TE: trailers")],
    "a compressed body": [post(b"Content-Encoding: gzip")],
    # hosts, origins and cookies
    "no host": [post(host=b"")],
    "two hosts": [post(b"Host: y")],
    "an empty host": [post(host=b"Host:")],
    "an origin of others": [post(b"Origin: http://y")],
    "an empty origin": [post(b"Origin:")],
    "two origins": [post(b"Origin: http://x", b"Origin: http://y")],
    "two content types": [post(b"Content-Type: a/b", b"Content-Type: c/d")],
    "two cookies of one name": [
        post(b"Cookie: BAYEUX_BROWSER=abc; BAYEUX_BROWSER=def", body=HANDSHAKE)
    ],
    "a cookie in quotes": [post(b'Cookie: a="; BAYEUX_BROWSER=abc"', body=HANDSHAKE)],
    # sizes
    "a very long first line": [
        post(line=b"POST /cometd/" + b"x" * 20_000 + b" HTTP/1.1")
    ],
    "a very long field": [post(b"X: " + b"y" * 9_000)],
    "a long head": [post(*[b"X%d: " % n + b"y" * 500 for n in range(40)])],
    "many fields": [post(*[b"X: y"] * 120)],
    "too many fields": [post(*[b"X: y"] * 130)],
    "a large body": [post(body=b'[{"channel":"/x","data":"' + b"x" * 200_000 + b'"}]')],
    "too large a body": [post(body=b" " * 300_000)],
}


@pytest.fixture
async def stands() -> AsyncIterator[tuple[Stand, Stand]]:
    """A stand with a front, and one without."""
    async with AsyncExitStack() as stack:
        both = []
        for front in (True, False):
            with ways.by(front=front):
                both.append(await stack.enter_async_context(standing()))
        yield both[0], both[1]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100


async def test_the_answers_are_those_of_aiohttp(stands: tuple[Stand, Stand]) -> None:
    """All at once, for most of the time is spent waiting for nothing more to come."""
    places = asyncio.Semaphore(20)

    async def heard(pieces: list[bytes]) -> list[tuple[bytes, bool]]:
        async with places:
            one, other = (Talk(stand.url, pieces) for stand in stands)
            return await both_answers(one, other, _nameless)

    both = dict(zip(CASES, await gather(*map(heard, CASES.values())), strict=True))
    assert {case: told for case, told in both.items() if told[0] != told[1]} == {}
    waiting = [case for case, (through, _) in both.items() if through == (b"", False)]
    assert not waiting, "nobody may wait for ever"


def _nameless(received: bytes) -> bytes:
    """Return the responses without the clients' ids, which a stand counts."""
    return re.sub(rb"client[0-9]+", b"client", received)


async def test_nonsense_behind_an_answer_is_refused_by_both(
    stands: tuple[Stand, Stand],
) -> None:
    """In a piece of its own, whatever the machine does meanwhile."""
    told = []
    for stand in stands:
        async with Talk(stand.url, [PLAIN]) as talk:
            while b"Unknown client" not in talk.received:
                await talk.listen()
            await talk.send(b"nonsense\r\n\r\n")
            while not talk.closed:
                await talk.listen()
            told.append(talk.told)
    assert told[0] == told[1]


async def test_what_came_before_nonsense_is_answered(
    stands: tuple[Stand, Stand],
) -> None:
    """aiohttp alone forgets it, if both came in one piece."""
    async with Talk(stands[0].url, [PLAIN + b"nonsense\r\n\r\n"]) as talk:
        while not talk.closed:
            await talk.listen()
    assert re.findall(rb"HTTP/1.[01] (\d+)", talk.received) == [b"200", b"400"]
