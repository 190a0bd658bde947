"""Reading request bodies within bounds of size, time and encoding."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

T = TypeVar("T")


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
