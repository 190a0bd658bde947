"""Heads that came before: what is kept of them, and what is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cometd_chat.web.http_head import LONGEST, Verdict
from cometd_chat.web.origins import Origins
from cometd_chat.web.plain_calls import PlainCalls
from cometd_chat.web.plain_head import (
    LONGEST_KNOWN,
    MOST_FORMS,
    Plain,
    PlainHeads,
)
from tests.web.stand import Stand, standing

from .test_front import Line, ids, stray

HEAD = (
    b"POST /cometd HTTP/1.1\r\nHost: x\r\nGMS_User: Cleo\r\nContent-Length: 7\r\n\r\n"
)


COOKIE = b"Cookie: BAYEUX_BROWSER=b1; theme=dark\r\n"


def in_place(change: bytes, of: bytes = b"\r\n\r\n") -> bytes:
    """Return the head with something else in the place of its end, or of a part."""
    return HEAD.replace(of, change)


WITH_COOKIE = in_place(b"\r\n" + COOKIE + b"\r\n")


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as running:
        yield running


@pytest.fixture
def heads() -> PlainHeads:
    origins = Origins(lambda: ())
    return PlainHeads(["/cometd"], ["gms_user"], PlainCalls({}), origins, browsers=True)


def told(read: Plain | Verdict) -> tuple[int, int, str]:
    """Return length, size and browser."""
    assert isinstance(read, Plain)
    return read.length, read.size, read.browser


async def test_of_one_like_another_only_what_differs_is_read(
    heads: PlainHeads,
) -> None:
    first = heads.read(WITH_COOKIE + b"message")
    assert told(first) == (7, len(WITH_COOKIE) + 7, "b1")
    other = WITH_COOKIE.replace(b": 7", b": 123").replace(b"b1", b"another")
    read = heads.read(other)
    assert told(read) == (123, len(other) + 123, "another")
    assert isinstance(first, Plain)
    assert isinstance(read, Plain)
    assert read.form is first.form


async def test_the_fields_that_differ_may_come_in_any_order(heads: PlainHeads) -> None:
    head = in_place(b"Host: x\r\n" + COOKIE.rstrip(), of=b"Host: x")
    for browser, length in ((b"b1", 7), (b"b2", 9), (b"b3", 11)):
        data = head.replace(b"b1", browser).replace(b": 7", b": %d" % length)
        assert told(heads.read(data)) == (
            length,
            len(data) + length,
            browser.decode(),
        )
    assert len(heads._known) == 1


async def test_a_length_without_a_space_is_no_cookie(heads: PlainHeads) -> None:
    data = WITH_COOKIE.replace(b"Length: 7", b"Length:7")
    for _ in range(2):
        assert told(heads.read(data)) == (7, len(data) + 7, "b1")
    assert not heads._known


@pytest.mark.parametrize("lower", [b"Content-Length", b"Cookie"])
async def test_names_in_lower_case_are_known_like_others(
    heads: PlainHeads, lower: bytes
) -> None:
    data = WITH_COOKIE.replace(lower, lower.lower())
    for _ in range(2):
        assert told(heads.read(data)) == (7, len(data) + 7, "b1")
    assert len(heads._known) == 1


@pytest.mark.parametrize("upper", [b"Content-Length", b"Cookie"])
async def test_names_in_an_odd_case_are_read_each_time(
    heads: PlainHeads, upper: bytes
) -> None:
    data = WITH_COOKIE.replace(upper, upper.upper())
    for browser in (b"b1", b"b2"):
        read = heads.read(data.replace(b"b1", browser))
        assert told(read) == (7, len(data) + 7, browser.decode())
    assert not heads._known


@pytest.mark.parametrize(
    "other",
    [
        HEAD.replace(b"Cleo", b"Carl"),
        HEAD.replace(b"Host: x", b"Host: y"),
        HEAD.replace(b"Host: x", b"Host: x\r\nOrigin: http://x"),
        WITH_COOKIE,
    ],
)
async def test_one_that_differs_in_more_has_another_form(
    heads: PlainHeads, other: bytes
) -> None:
    known, read = heads.read(HEAD), heads.read(other)
    assert isinstance(known, Plain)
    assert isinstance(read, Plain)
    assert read.form != known.form or b"Cookie" in other
    assert len(heads._known) == 2


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (WITH_COOKIE[:-1], Verdict.INCOMPLETE),
        (b"", Verdict.INCOMPLETE),
        (WITH_COOKIE.replace(b": 7", b": +7"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b": 7", b": 07"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b": 7", b": 7, 7"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b": 7", b": 7\x00"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b": 7\r\n", b": 7\n"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b": 7", b": 1234567890"), Verdict.FOREIGN),
        (
            WITH_COOKIE.replace(b"\r\nC", b"\r\nContent-Length: 7\r\nC", 1),
            Verdict.FOREIGN,
        ),
        (
            WITH_COOKIE.replace(b"\r\nC", b"\r\nCONTENT-LENGTH: 7\r\nC", 1),
            Verdict.FOREIGN,
        ),
        (WITH_COOKIE.replace(b"Cookie", b"Cookie: a=b\r\nCookie"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"Cookie", b"COOKIE: a=b\r\nCookie"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"b1", b'"b1"'), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"theme", b"BAYEUX_BROWSER"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"dark", b"d" * LONGEST), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"POST", b"GET"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"Host: x", b"Host: x\r\nExpect: x"), Verdict.FOREIGN),
        (WITH_COOKIE.replace(b"Host: x", b"Host: x\r\nOrigin: "), Verdict.FOREIGN),
    ],
)
async def test_one_that_is_not_plain_is_like_no_other(
    heads: PlainHeads, data: bytes, verdict: Verdict
) -> None:
    heads.read(WITH_COOKIE)
    assert heads.read(data) is verdict
    assert len(heads._known) == 1


async def test_no_more_than_a_bound_are_kept(heads: PlainHeads) -> None:
    for number in range(MOST_FORMS + 10):
        assert isinstance(heads.read(HEAD.replace(b"Cleo", b"%d" % number)), Plain)
        assert len(heads._known) <= MOST_FORMS


async def test_a_long_one_is_not_kept(heads: PlainHeads) -> None:
    data = HEAD.replace(b"Cleo", b"C" * LONGEST_KNOWN)
    assert isinstance(heads.read(data), Plain)
    assert not heads._known


async def test_whoever_sends_the_same_head_is_served_for_himself(stand: Stand) -> None:
    async with Line(stand.url) as one, Line(stand.url) as two:
        for number in range(3):
            one.send(stray(number))
            two.send(stray(number + 3))
            answers = [ids((await line.receive())[2]) for line in (one, two)]
            assert answers == [[f"stray {number}"], [f"stray {number + 3}"]]


async def test_a_request_like_the_last_may_come_in_pieces(stand: Stand) -> None:
    async with Line(stand.url) as line:
        line.send(stray(1))
        await line.receive()
        line.send(stray(2))
        line.writer.write(HEAD[:20])
        assert ids((await line.receive())[2]) == ["stray 2"]
        await asyncio.sleep(0.05)
        line.writer.write(HEAD[20:] + b"message")
        assert (await line.receive())[0] == 400
