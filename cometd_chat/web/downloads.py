"""Downloads that go on after a break: ranges of a file that never changes (RFC 9110).

aiohttp's own file responses take no heed of a tag in `If-Range`, and answer with a part
of another file; and our files are not on a disk of this machine.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias
from urllib.parse import quote

from aiohttp import web

from cometd_chat.files import PlaceError
from cometd_chat.files.uploads import File, NoSuchFileError

UNREAD = 60.0
"""Seconds within which a piece must have gone out."""

SHOWN_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Location, Tus-Extension, "
    "Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, "
    "Upload-Metadata, Upload-Offset"
)
"""Header fields of responses that web pages of other hosts may read."""

_RANGE = re.compile(
    r"bytes=\s*(?:([0-9]{1,15})\s*-\s*([0-9]{1,15})?|-([0-9]{1,15}))\s*", re.IGNORECASE
)

Read: TypeAlias = Callable[[File, int, int], AsyncIterator[bytes]]


async def download(
    request: web.Request, file: File, read: Read, longest: float
) -> web.StreamResponse:
    """Send the file, or the range of it that is asked for, within `longest` seconds.

    A file can be shown in no page of ours, whatever is in it: it is an attachment, of
    the type that was announced and of no other.
    """
    headers = _headers(file)
    tag = headers["ETag"]
    if {tag, "*"} & _tags(request.headers.get("If-None-Match", "")):
        return web.Response(status=304, headers=headers)
    size = file.info.size
    asked = _asked(request, tag, size)
    start, stop = asked or (0, size)
    if start >= stop and asked:
        headers["Content-Range"] = f"bytes */{size}"
        return web.Response(status=416, headers=headers)
    if asked:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    response = web.StreamResponse(status=206 if asked else 200, headers=headers)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        async with asyncio.timeout(longest):
            await _send(response, read(file, start, stop))
    except (TimeoutError, OSError, NoSuchFileError, PlaceError):
        # What has gone out cannot be taken back: only a cut tells that this is not all.
        if request.transport is not None:
            request.transport.abort()
    return response


async def _send(response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        async with asyncio.timeout(UNREAD):
            await response.write(piece)
    await response.write_eof()


def _headers(file: File) -> dict[str, str]:
    return {
        "ETag": f'"{file.id}"',
        "Accept-Ranges": "bytes",
        "Access-Control-Expose-Headers": SHOWN_HEADERS,
        "Cache-Control": "private, max-age=86400, immutable",
        "Content-Type": file.info.type,
        "Content-Disposition": _disposition(file.info.name),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }


def _disposition(name: str) -> str:
    """Return the header field that names the file (RFC 6266), for all programs."""
    plain = re.sub(r"[^ !#-\[\]-~]|[%]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _asked(request: web.Request, tag: str, size: int) -> tuple[int, int] | None:
    """Return the range that is asked for, None if the file is to be sent whole.

    Several ranges, and what is no range, are passed over (RFC 9110 §14.2); so is a
    range of another version of the file, and one of any method but GET.
    """
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    if not found or request.method != "GET":
        return None
    if request.headers.get("If-Range", tag) != tag:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    if last is not None and int(last) < int(first):
        return None
    return int(first), size if last is None else min(size, int(last) + 1)


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
