"""Reading request bodies within bounds of size, time and encoding."""

import asyncio

from aiohttp import web


async def read_body(request: web.Request, seconds: float) -> bytes:
    """Return the body; the whole of it must arrive within `seconds`.

    The size is bounded by the application's `client_max_size`.

    Raises: HTTPRequestTimeout (408), HTTPUnsupportedMediaType (415) for a
    compressed body, HTTPRequestEntityTooLarge (413).
    """
    # A few kilobytes of gzip can be hundreds of megabytes of text: not ours to open.
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="Send the body without compression\n")
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The body took too long\n") from None
