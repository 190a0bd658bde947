"""Reading request bodies within bounds of size, time and encoding."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol, TypeVar

from aiohttp import ClientError, web

T = TypeVar("T")

LEAST_RATE = 1024
"""Bytes a second that a body has to bring which may take long: less than the slowest
phone has, and too much for somebody who only wants to hold many places."""


class BrokenOffError(Exception):
    """A body that may take long ended before its time."""


class Content(Protocol):
    """A body on its way; empty bytes are its end."""

    async def readany(self) -> bytes: ...


async def within(seconds: float, body: Awaitable[T]) -> T:
    """Return the body if the whole of it arrives in this time.

    Raises: HTTPRequestTimeout (408).
    """
    try:
        async with asyncio.timeout(seconds):
            return await body
    except TimeoutError:
        raise late() from None


def late() -> web.HTTPRequestTimeout:
    """Return the refusal of a body that does not arrive."""
    return web.HTTPRequestTimeout(text="The body took too long\n")


async def read_body(request: web.Request, seconds: float) -> bytes:
    """Return the body; the whole of it must arrive within `seconds`.

    The size is bounded by the application's `client_max_size`.

    Raises: HTTPRequestTimeout (408), HTTPUnsupportedMediaType (415) for a
    compressed body, HTTPRequestEntityTooLarge (413).
    """
    # A few kilobytes of gzip can be hundreds of megabytes of text: not ours to open.
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="Send the body without compression\n")
    return await within(seconds, request.read())


async def arriving(
    content: Content, patience: float, longest: float
) -> AsyncIterator[bytes]:
    """Yield a body that may take long, as it arrives, for `longest` seconds at most.

    It may fall behind `LEAST_RATE` by `patience` seconds, be it silent or slow. What
    the reader does with what has arrived is not counted.

    Raises: BrokenOffError.
    """
    clock = asyncio.get_running_loop().time
    end, left = clock() + longest, patience
    while True:
        asked = clock()
        some = await _some(content, min(left, end - asked))
        if not some:
            return
        left = min(patience, left - (clock() - asked) + len(some) / LEAST_RATE)
        yield some


async def _some(content: Content, seconds: float) -> bytes:
    if seconds <= 0:  # what has arrived already would be read without a timeout
        raise BrokenOffError
    try:
        async with asyncio.timeout(seconds):
            return await content.readany()
    except (TimeoutError, OSError, ClientError, web.RequestPayloadError):
        raise BrokenOffError from None
