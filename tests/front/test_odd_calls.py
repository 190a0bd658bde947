"""Calls of the REST interface: through the front they are answered as by aiohttp.

Each case is sent to two servers, one with a front and one without, in the same pieces,
to a chat that is open. The bytes that come back, whether the connection is closed, and
what is stored afterwards must be the same.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import uvloop
from aiohttp import ClientSession

from cometd_chat.app import Node
from cometd_chat.bayeux import Peer
from cometd_chat.config import loads
from cometd_chat.web.calls import Call, Reply
from cometd_chat.web.http_head import Verdict
from cometd_chat.web.origins import Origins
from cometd_chat.web.plain_calls import PlainCall, PlainCalls
from cometd_chat.web.plain_head import Plain, PlainHeads
from tests.front.odd import Talk, both_answers, bytewise

LOOPS = {"uvloop": uvloop.new_event_loop}
"""Reading is the same on all loops, as the odd requests of Bayeux show; and here each
case takes two servers."""

CONFIG = """\
[server]
port = 0
front = {front}
body_timeout = 300ms
[store]
url = sqlite:///{folder}/chat.db
[auth]
gms_user = {gms_user}
customer_secret = a secret of the tests, long enough for HS256
[limits]
body = 64KiB
"""

FORM = b"Content-Type: application/x-www-form-urlencoded"
JSON = b"Content-Type: application/json"
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="message"\r\n\r\nhello\r\n--x--\r\n'
)


class StoppedClock:
    """The same moment for both servers, on the wire at least."""

    def time(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def call(
    *lines: bytes,
    operation: bytes = b"send",
    body: bytes = b"message=hello&localId=m1",
    media: bytes = FORM,
    service: bytes = b"KEY",
    length: bytes | None = None,
    line: bytes = b"POST %b HTTP/1.1",
) -> bytes:
    """Return a call of an operation; KEY stands for the key of the chat."""
    path = b"/genesys/1/service/%b/ixn/chat/%b" % (service, operation)
    sized = (
        [b"Content-Length: %b" % (length or b"%d" % len(body))] if length != b"" else []
    )
    head = [line % path, b"Host: x", *([media] if media else []), *lines, *sized]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def post(path: bytes, body: bytes) -> bytes:
    """Return a plain form to this address."""
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (
        path,
        FORM,
        len(body),
        body,
    )


CHAT = b"/genesys/1/service/KEY/ixn/chat"
SEND = call()
TYPE = call(operation=b"startTyping", body=b"transcriptPosition=0")
REFRESH = call(operation=b"refresh", body=b"transcriptPosition=0")
POLL = (
    b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 57\r\n\r\n"
    b'[{"channel":"/x","id":"7","clientId":"nobody","data":{}}]'
)

CASES: dict[str, list[bytes]] = {
    # operations
    "send": [SEND],
    "send, and the same again": [SEND, SEND],
    "send, and another": [SEND, call(body=b"message=again&localId=m2")],
    "send without a name": [call(body=b"message=hello") * 2],
    "send with a position": [call(body=b"message=hello&transcriptPosition=0")],
    "refresh": [REFRESH],
    "refresh with a message": [call(operation=b"refresh")],
    "refresh, and nothing new": [
        call(operation=b"refresh", body=b"transcriptPosition=1")
    ],
    "typing": [TYPE],
    "no more typing": [call(operation=b"stopTyping", body=b"a=b")],
    "the end": [call(operation=b"disconnect", body=b"transcriptPosition=0")],
    "after the end": [
        call(operation=b"disconnect", body=b"transcriptPosition=0") + SEND + REFRESH
    ],
    "the whole chat": [call(body=b"message=hello&_verbose=true")],
    "all of them in one piece": [SEND + TYPE + REFRESH],
    "a call between polls": [POLL + SEND + POLL],
    "polls, and a call by aiohttp": [POLL + SEND + call(operation=b"send?a=b") + POLL],
    # what comes before
    "another service is made": [post(b"/genesys/1/service/support", b"a=b")],
    "a service without parameters": [post(b"/genesys/1/service/support", b"")],
    "a service with a dot is made": [post(b"/genesys/1/service/a.b", b"a=b")],
    "a service with a long name": [post(b"/genesys/1/service/" + b"a" * 129, b"")],
    "a service in full": [post(b"/genesys/1/service/support", b"_verbose=true")],
    "a service with a wrong device": [
        post(b"/genesys/1/service/support", b"push_notification_deviceid=d")
    ],
    "the chat is asked for again": [post(CHAT, b"userDisplayName=Kim") + SEND],
    "the chat in full": [post(CHAT, b"_verbose=true&notify_by=comet")],
    "the chat with a wrong wish": [post(CHAT, b"notify_by=pigeon")],
    "the chat of another service": [post(CHAT.replace(b"KEY", b"none"), b"a=b")],
    "the chat with a slash behind": [post(CHAT + b"/", b"a=b")],
    # names for good
    "an idempotency key": [call(b"Idempotency-Key: k1", body=b"message=hello") * 2],
    "idempotency keys": [
        call(b"Idempotency-Key: k1", body=b"message=hello"),
        call(b"idempotency-KEY:  k2 \t", body=b"message=hello"),
    ],
    "an idempotency key twice": [
        call(b"Idempotency-Key: k1", b"Idempotency-Key: k2", body=b"message=hello")
    ],
    "a long idempotency key": [
        call(b"Idempotency-Key: " + b"k" * 300, body=b"message=hello") * 2
    ],
    # parameters
    "no message": [call(body=b"localId=m1")],
    "an empty message": [call(body=b"message=")],
    "nothing but blanks": [call(body=b"  \r\n")],
    "no body": [call(body=b"")],
    "no body, and no media": [
        call(operation=b"startTyping", body=b"", media=b"") + TYPE
    ],
    "no body of several parts": [
        call(body=b"", media=b"Content-Type: multipart/form-data; boundary=x")
    ],
    "a wrong position": [call(body=b"message=x&transcriptPosition=-1")],
    "a wrong flag": [call(body=b"message=x&_verbose=perhaps")],
    "a parameter twice": [call(body=b"message=x&message=y")],
    "parameters without a meaning": [call(body=b"message=x&a=b&c")],
    "a message of NUL": [call(body=b"message=%00")],
    "a message that is no UTF-8": [call(body=b"message=%ff")],
    "a body that is no UTF-8": [call(body=b"message=\xff")],
    "a message of UTF-8": [call(body="message=Zoë 🙂".encode())],
    "pluses and escapes": [call(body=b"message=a+b%2Bc%26d&localId=%3D")],
    "a long message": [call(body=b"message=" + b"x" * 9_000)],
    "a long name": [call(body=b"message=x&localId=" + b"y" * 200)],
    "many parameters": [call(body=b"&".join([b"a=b"] * 300))],
    # media
    "JSON": [call(body=b'{"message":"hello","localId":"m1"}', media=JSON)],
    "JSON numbers": [
        call(body=b'{"message":"x","transcriptPosition":0,"a":null}', media=JSON)
    ],
    "no JSON": [call(body=b"{", media=JSON)],
    "a JSON list": [call(body=b"[]", media=JSON)],
    "JSON in JSON": [call(body=b'{"message":{}}', media=JSON)],
    "deep JSON": [call(body=b'{"a":' * 2_000, media=JSON)],
    "a form that says UTF-8": [call(media=FORM + b"; charset=UTF-8")],
    "a form that says it without a blank": [call(media=FORM + b";charset=utf-8")],
    "a form that says Latin": [call(media=FORM + b"; charset=iso-8859-1")],
    "a form in large letters": [call(media=FORM.upper())],
    "a form with something behind": [call(media=FORM + b"x")],
    "a form with a comma": [call(media=FORM + b", text/plain")],
    "no media": [call(media=b"")],
    "empty media": [call(media=b"Content-Type:")],
    "text": [call(media=b"Content-Type: text/plain")],
    "two media": [call(b"Content-Type: text/plain")],
    "several parts": [
        call(media=b"Content-Type: multipart/form-data; boundary=x", body=MULTIPART)
    ],
    # addresses
    "another service": [call(service=b"0" * 32)],
    "another service, and a wrong body": [call(service=b"0" * 32, body=b"message=%ff")],
    "no service": [call(service=b"")],
    "an escaped service": [call(service=b"%61")],
    "a service with a dot": [call(service=b"KEY.")],
    "a service with a slash": [call(service=b"KEY/KEY")],
    "another operation": [call(operation=b"sends")],
    "an operation in other letters": [call(operation=b"Send")],
    "an operation with a slash behind": [call(operation=b"send/")],
    "an operation with a path behind": [call(operation=b"send/x")],
    "an escaped operation": [call(operation=b"%73end")],
    "a query": [call(operation=b"send?message=hello", body=b"localId=m1")],
    "a fragment": [call(operation=b"send#a")],
    "an absolute target": [call(line=b"POST http://x%b HTTP/1.1")],
    "GET": [call(line=b"GET %b HTTP/1.1")],
    "PUT": [call(line=b"PUT %b HTTP/1.1")],
    "OPTIONS": [call(b"Origin: http://x", line=b"OPTIONS %b HTTP/1.1")],
    "HTTP/1.0": [call(line=b"POST %b HTTP/1.0")],
    # who calls, and from where
    "the user": [call(b"gms_user: kim")],
    "another user": [call(b"gms_user: eve")],
    "two users": [call(b"gms_user: kim", b"gms_user: eve")],
    "a user of UTF-8": [call("gms_user: Zoë".encode())],
    "a long user": [call(b"gms_user: " + b"x" * 300)],
    "an origin of the host": [call(b"Origin: http://x")],
    "an origin of others": [call(b"Origin: http://y")],
    "an empty origin": [call(b"Origin:")],
    "an odd host": [call(b"Host: y")],
    "a cookie": [call(b"Cookie: BAYEUX_BROWSER=abc")],
    "a cookie in quotes": [call(b'Cookie: a="; BAYEUX_BROWSER=abc"')],
    # how it comes
    "a byte at a time": bytewise(SEND),
    "the body later": [SEND[:-10], SEND[-10:]],
    "one and a half": [SEND + TYPE[:60], TYPE[60:]],
    "a longer body than its length": [call(body=b"message=x" + POLL, length=b"9")],
    "a length with a plus": [call(length=b"+24")],
    "a length with zeros before": [call(length=b"024")],
    "two lengths": [call(b"Content-Length: 5")],
    "no length": [call(length=b"")],
    "chunked": [call(b"Transfer-Encoding: chunked", length=b"", body=b"0\r\n\r\n")],
    "chunked with a length": [
        call(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SEND)
    ],
    "a compressed body": [call(b"Content-Encoding: gzip")],
    "to be continued": [call(b"Expect: 100-continue")],
    "close": [call(b"Connection: close") + SEND],
    "a folded field": [call(b"X: y", b" z")],
    "bare LF": [SEND.replace(b"\r\n", b"\n")],
    "a large body": [call(body=b"message=x&a=" + b"y" * 60_000)],
    "too large a body": [call(body=b"message=x&a=" + b"y" * 70_000)],
}


class Served(NamedTuple):
    """A server with an open chat, of which this is the key."""

    url: str
    key: bytes

    def talk(self, pieces: list[bytes]) -> Talk:
        """Return a connection on which the pieces are sent."""
        sent = [piece.replace(b"KEY", self.key) for piece in pieces]
        if len(pieces) > 20:  # in pieces of which none holds the whole word
            sent = bytewise(b"".join(pieces).replace(b"KEY", self.key))
        return Talk(self.url, sent)


WHOLE = [call(operation=b"refresh?transcriptPosition=0", body=b"a=b")]
"""A call whose answer is the whole transcript."""


def nameless(received: bytes) -> bytes:
    """Return the responses without the ids that a server makes."""
    return re.sub(rb"[0-9a-f]{32}", b"ID", received)


async def serve(
    stack: AsyncExitStack, folder: Path, gms_user: str, front: str
) -> Served:
    (folder / front).mkdir()
    loaded = loads(CONFIG.format(front=front, folder=folder / front, gms_user=gms_user))
    assert loaded.config is not None, loaded.problems
    node = await stack.enter_async_context(Node(loaded.config, StoppedClock()))
    http = await stack.enter_async_context(ClientSession())
    user = {"gms_user": "kim"} if gms_user == "trusted" else {}
    service = f"{node.url}/genesys/1/service"
    async with http.post(f"{service}/sales", headers=user) as response:
        key = (await response.json())["_id"]
    chat = {"userDisplayName": "Kim", "notify_by": "comet"}
    async with http.post(f"{service}/{key}/ixn/chat", data=chat, headers=user) as done:
        assert done.status == 200, await done.text()
    return Served(node.url, key.encode())


@pytest.fixture
def gms_user() -> str:
    return "trusted"


@pytest.fixture
async def served(tmp_path: Path, gms_user: str) -> AsyncIterator[tuple[Served, Served]]:
    """A server with a front, and one without."""
    async with AsyncExitStack() as stack:
        through = await serve(stack, tmp_path, gms_user, "on")
        yield through, await serve(stack, tmp_path, gms_user, "off")


async def same(served: tuple[Served, Served], pieces: list[bytes]) -> bytes:
    """Return what both answer; the transcripts are the same then, too."""
    for asked in (pieces, WHOLE):
        one, other = (each.talk(asked) for each in served)
        through, alone = await both_answers(one, other, nameless)
        assert through == alone
        assert through != (b"", False), "nobody may wait for ever"
        if asked is pieces:
            answer = through[0]
    return answer


@pytest.mark.parametrize("case", CASES)
async def test_the_answer_to_a_call_is_that_of_aiohttp(
    served: tuple[Served, Served], case: str
) -> None:
    await same(served, CASES[case])


@pytest.mark.parametrize("gms_user", ["signed"])
async def test_a_wrong_token_is_refused_both_ways(
    served: tuple[Served, Served],
) -> None:
    answer = await same(served, [call(b"gms_user: kim")])
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b'"exception":"ForbiddenException"' in answer


async def test_a_body_that_does_not_come_is_refused_in_the_same_words(
    served: tuple[Served, Served],
) -> None:
    heard = [await late(each) for each in served]
    assert heard[0] == heard[1]
    assert heard[0] == (
        408,
        b'{"message":"The body took too long","exception":"HTTPRequestTimeout"}',
    )


async def late(served: Served) -> tuple[int, bytes]:
    """Send a call without the end of its body; return status and body of the answer."""
    address = urlsplit(served.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(SEND[:-1].replace(b"KEY", served.key))
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        assert size is not None, head
        body = await reader.readexactly(int(size[1]))
    writer.close()
    return int(head.split()[1]), body


async def nobody(_: Call) -> Reply:
    return Reply(200)


@pytest.fixture
def heads() -> PlainHeads:
    calls = PlainCalls({"/genesys/1/service/{service}/ixn/chat/send": nobody})
    origins = Origins(lambda: ())
    return PlainHeads(["/cometd"], ["gms_user"], calls, origins, browsers=True)


@pytest.mark.parametrize(
    "case",
    [
        "send",
        "no body",
        "no media",
        "JSON",
        "a form that says UTF-8",
        "an idempotency key",
        "the user",
    ],
)
async def test_usual_calls_are_plain(heads: PlainHeads, case: str) -> None:
    read = heads.read(CASES[case][0])
    assert isinstance(read, Plain)
    assert read.form.target is not None
    assert (read.form.target.handler, read.form.target.service) == (nobody, "KEY")


async def test_messages_are_no_call(heads: PlainHeads) -> None:
    read = heads.read(POLL)
    assert isinstance(read, Plain)
    assert read.form.target is None


@pytest.mark.parametrize(
    "case",
    [
        "several parts",
        "text",
        "empty media",
        "a form that says Latin",
        "a query",
        "an escaped service",
        "another operation",
        "two users",
    ],
)
async def test_other_calls_are_left_to_aiohttp(heads: PlainHeads, case: str) -> None:
    assert heads.read(CASES[case][0]) is Verdict.FOREIGN


@pytest.mark.parametrize(
    ("secure", "url"), [(False, "http://x:8080"), (True, "https://x:8080")]
)
def test_a_plain_call_knows_the_address_of_its_server(secure: bool, url: str) -> None:
    made = PlainCall("s", Peer(headers={}, address=""), "", b"", "x:8080", secure)
    assert str(made.url) == url
