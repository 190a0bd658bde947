"""Bodies that may take long, and what ends them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cometd_chat.web.limits import LEAST_RATE, BrokenOffError, arriving

LONG = 60.0
"""Seconds that no test takes."""


class Chunks:
    """A body whose chunks are there at once; after them it is silent."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)

    async def readany(self) -> bytes:
        if not self._chunks:
            await asyncio.Event().wait()
        return self._chunks.pop(0)


class Trickle:
    """A body that brings so many bytes at a time, for ever."""

    def __init__(self, size: int, pause: float) -> None:
        self._some = bytes(size)
        self._pause = pause
        self.brought = 0

    async def readany(self) -> bytes:
        await asyncio.sleep(self._pause)
        self.brought += len(self._some)
        return self._some


async def test_a_body_ends_where_it_ends() -> None:
    body = arriving(Chunks(b"ab", b"c", b""), LONG, LONG)
    assert [some async for some in body] == [b"ab", b"c"]


async def test_silence_breaks_off_after_what_has_come() -> None:
    body = arriving(Chunks(b"ab"), 0.05, LONG)
    assert await anext(body) == b"ab"
    with pytest.raises(BrokenOffError):
        await anext(body)


async def test_a_few_bytes_now_and_then_are_as_silence() -> None:
    with pytest.raises(BrokenOffError):
        await asyncio.wait_for(_read(arriving(Trickle(1, 0.01), 0.2, LONG)), LONG)


async def test_no_one_gains_more_patience_than_he_began_with() -> None:
    body = arriving(Chunks(bytes(1000 * LEAST_RATE)), 0.05, LONG)
    await anext(body)
    with pytest.raises(BrokenOffError):
        await asyncio.wait_for(anext(body), LONG)


async def test_a_body_may_be_as_slow_as_it_is_long_if_it_keeps_the_rate() -> None:
    patience, pause = 1.0, 0.03
    body = Trickle(LEAST_RATE, pause)
    async for _ in arriving(body, patience, LONG):
        if body.brought / LEAST_RATE > 1.5 * patience / pause:
            return


async def test_a_slow_storage_is_not_the_senders_fault() -> None:
    body = arriving(Chunks(b"a", b"b", b"c", b""), 0.05, LONG)
    assert await anext(body) == b"a"
    for expected in (b"b", b"c"):
        await asyncio.sleep(0.1)
        assert await anext(body) == expected


async def test_no_body_goes_on_for_ever() -> None:
    """Not one either that is always there before it is asked for."""
    body = arriving(Chunks(*[b"abc"] * 100, b""), LONG, 0.05)
    with pytest.raises(BrokenOffError):
        await _read(body, 0.01)


async def _read(body: AsyncIterator[bytes], pause: float = 0.0) -> None:
    async for _ in body:
        await asyncio.sleep(pause)
