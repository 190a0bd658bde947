"""What is answered about files: how far they have come, lists, refusals."""

from collections.abc import Iterable, Mapping
from email.utils import formatdate

from aiohttp import web
from msgspec import Struct, field, json

from cometd_chat.chat import IdentityError, NotAllowedError
from cometd_chat.files import PlaceError
from cometd_chat.files.uploads import (
    ConflictError,
    File,
    NoSuchFileError,
    TooMuchError,
)
from cometd_chat.model import NOTHING
from cometd_chat.store import SessionNotFoundError, StoreError

from .answers import HEADERS, failure, store_failure
from .calls import Reply
from .file_requests import RefusedError
from .limits import BrokenOffError

_REFUSALS = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    405: "MethodNotAllowedException",
    412: "VersionException",
    415: "UnsupportedMediaTypeException",
    503: "UnavailableException",
}

_FAILURES: dict[type[Exception], tuple[int, str, str]] = {
    NoSuchFileError: (404, "No such file", "FileNotFoundException"),
    SessionNotFoundError: (404, "No such chat", "ChatNotFoundException"),
    ConflictError: (409, "The file is not there yet, or further", "ConflictException"),
    NotAllowedError: (403, "", "NotAllowedException"),
    IdentityError: (403, "", "ForbiddenException"),
    TooMuchError: (413, "", "LimitException"),
    BrokenOffError: (408, "The body broke off", "BrokenOffException"),
    PlaceError: (503, "Try again later", "UnavailableException"),
}
"""Status, words (the exception has its own where these are empty), and name."""

EXPECTED: tuple[type[Exception], ...] = (RefusedError, StoreError, *_FAILURES)
"""What `failed` has an answer to."""


class _Listed(Struct, kw_only=True):
    id: str = field(name="file-id")
    name: str = field(name="file-name")
    size: str = field(name="file-size")
    type: str = field(name="file-type")
    by: int = field(name="participantId")
    utc_time: int = field(name="utcTime")


def how_far(file: File, expires_at: float) -> dict[str, str]:
    """Return the header fields that tell how far a file has come (tus)."""
    headers = {"Upload-Offset": str(file.arrived)}
    if not file.whole:
        headers["Upload-Expires"] = formatdate(expires_at, usegmt=True)
    return headers


def listed(files: Iterable[File]) -> web.Response:
    """Return the list of files as JSON."""
    body = json.encode({"files": list(map(_listed, files))})
    return web.Response(body=body, headers=HEADERS)


def failed(exc: Exception) -> web.Response:
    """Say in GMS's words what went wrong: one of `EXPECTED`."""
    if isinstance(exc, RefusedError):
        reply = failure(exc.status, str(exc), _REFUSALS[exc.status])
        return _response(reply, exc.headers)
    if isinstance(exc, StoreError) and type(exc) not in _FAILURES:
        return _response(store_failure(exc))
    status, words, name = _FAILURES[type(exc)]
    return _response(failure(status, words or str(exc), name))


def _response(reply: Reply, more: Mapping[str, str] = NOTHING) -> web.Response:
    headers = {**HEADERS, **more}
    return web.Response(body=reply.body, status=reply.status, headers=headers)


def _listed(file: File) -> _Listed:
    return _Listed(
        id=file.id,
        name=file.info.name,
        size=str(file.info.size),
        type=file.info.type,
        by=file.info.participant,
        utc_time=round(file.info.at * 1000),
    )
