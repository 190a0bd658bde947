"""Heads that came before: what is kept of them, and what is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cometd_chat.web.http_head import Verdict
from cometd_chat.web.plain import LONGEST_KNOWN, MOST_HEADS, Plain, PlainPosts
from tests.web.stand import Stand, standing

from .test_front import Line, ids, stray

HEAD = (
    b"POST /cometd HTTP/1.1\r\nHost: x\r\nGMS_User: Cleo\r\nContent-Length: 7\r\n\r\n"
)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as running:
        yield running


@pytest.fixture
def posts(stand: Stand) -> PlainPosts:
    return stand.fronts[0].posts


async def test_one_that_came_before_is_not_read_again(posts: PlainPosts) -> None:
    known = posts.read(HEAD + b"message")
    assert isinstance(known, Plain)
    assert (known.length, known.size) == (7, len(HEAD) + 7)
    assert posts.read(HEAD) is known
    assert posts.read(bytearray(HEAD + b"another")) is known


@pytest.mark.parametrize(
    "other",
    [
        HEAD.replace(b"Cleo", b"Carl"),
        HEAD.replace(b"7", b"8"),
        HEAD.replace(b"Host: x", b"Host: y"),
        HEAD.replace(b"Host: x", b"Host: x\r\nOrigin: http://x"),
    ],
)
async def test_one_that_differs_is_another(posts: PlainPosts, other: bytes) -> None:
    known, read = posts.read(HEAD), posts.read(other)
    assert isinstance(read, Plain)
    assert read != known


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (HEAD[:-1], Verdict.INCOMPLETE),
        (b"", Verdict.INCOMPLETE),
        (HEAD.replace(b"7", b"+7"), Verdict.FOREIGN),
        (HEAD.replace(b"POST", b"GET"), Verdict.FOREIGN),
        (HEAD.replace(b"Host: x", b"Host: x\r\nExpect: x"), Verdict.FOREIGN),
        (HEAD.replace(b"Host: x", b"Host: x\r\nOrigin: "), Verdict.FOREIGN),
    ],
)
async def test_one_that_is_not_plain_is_not_kept(
    posts: PlainPosts, data: bytes, verdict: Verdict
) -> None:
    posts.read(HEAD)
    assert posts.read(data) is verdict
    assert list(posts._known) == [HEAD]


async def test_no_more_than_a_bound_are_kept(posts: PlainPosts) -> None:
    for number in range(MOST_HEADS + 10):
        assert isinstance(posts.read(HEAD.replace(b"Cleo", b"%d" % number)), Plain)
        assert len(posts._known) <= MOST_HEADS


async def test_a_long_one_is_not_kept(posts: PlainPosts) -> None:
    data = HEAD.replace(b"Cleo", b"C" * LONGEST_KNOWN)
    assert isinstance(posts.read(data), Plain)
    assert not posts._known


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
