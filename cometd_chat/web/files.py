"""Files over HTTP: uploads that go on after a break (tus 1.0.0), lists, downloads.

tus (https://tus.io/protocols/resumable-upload, version 1.0.0) with the extensions
creation, creation-with-upload, expiration and termination. An app announces a file
with its size, sends its bytes, and after a break asks how far they came. The last byte
is answered when the file is in the transcript.
"""

import asyncio
import contextlib
import re
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from email.utils import formatdate
from typing import TypeAlias

from aiohttp import ClientError, web
from msgspec import Struct, field, json

from cometd_chat.chat import (
    Announcement,
    AuthHook,
    Files,
    IdentityError,
    NotAllowedError,
    Party,
    is_id,
)
from cometd_chat.config import LiveConfig
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
from .downloads import SHOWN_HEADERS, download
from .peers import peer_of
from .rest_v1 import IDEMPOTENCY_KEY

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
OFFSET_STREAM = "application/offset+octet-stream"

LONGEST = 600.0
"""Seconds that one request may take to bring bytes, or to fetch them; whoever needs
longer goes on with another one."""

AT_ONCE = 64
"""Requests with bytes of files that a node serves at once: each may hold a piece."""

AT_ONCE_IN_CHAT = 8
"""Those of them that may be of one chat."""

RETRY_AFTER = 2
"""Seconds after which a request that found no room may come again."""

REQUEST_HEADERS = (
    "Authorization",
    "Range",
    "If-Range",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
)
"""Header fields that web pages may send along with files."""

_NAMES = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    405: "MethodNotAllowedException",
    412: "VersionException",
    415: "UnsupportedMediaTypeException",
    503: "UnavailableException",
}
_NUMBER = re.compile(r"[0-9]{1,18}").fullmatch

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _RefusedError(Exception):
    """What is answered before anybody is asked."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = _NAMES[status]
        self.headers = {n.replace("_", "-"): value for n, value in headers.items()}


class _BrokenOffError(Exception):
    """The body ended before its time; what had come is stored."""


_FAILURES: dict[type[Exception], tuple[int, str, str]] = {
    NoSuchFileError: (404, "No such file", "FileNotFoundException"),
    SessionNotFoundError: (404, "No such chat", "ChatNotFoundException"),
    ConflictError: (409, "The file is not there yet, or further", "ConflictException"),
    NotAllowedError: (403, "", "NotAllowedException"),
    IdentityError: (403, "", "ForbiddenException"),
    TooMuchError: (413, "", "LimitException"),
    _BrokenOffError: (408, "The body broke off", "BrokenOffException"),
    PlaceError: (503, "Try again later", "UnavailableException"),
}
"""Status, words (the exception has its own where these are empty), and name."""

_EXPECTED: tuple[type[Exception], ...] = (_RefusedError, StoreError, *_FAILURES)


class _Listed(Struct, kw_only=True):
    id: str = field(name="file-id")
    name: str = field(name="file-name")
    size: str = field(name="file-size")
    type: str = field(name="file-type")
    by: int = field(name="participantId")
    utc_time: int = field(name="utcTime")


class RestFiles:
    """The handlers of `{base}/files/{chatId}` and `{base}/files/{chatId}/{fileId}`."""

    def __init__(
        self, files: Files, auth: AuthHook, live: LiveConfig, base_path: str
    ) -> None:
        self._files = files
        self._auth = auth
        self._live = live
        self._base = f"{base_path}/files"
        self._room = _Room()

    def add_routes(self, app: web.Application) -> None:
        """Add everything that apps call about files."""
        chat, file = f"{self._base}/{{chat}}", f"{self._base}/{{chat}}/{{file}}"
        changing: dict[str, Handler] = {"PATCH": self.write, "DELETE": self.cancel}
        for path in (self._base, chat, file):
            app.router.add_options(path, self.abilities)
        app.router.add_post(chat, self._answering(self._resumable(self.create)))
        app.router.add_get(chat, self._answering(self.list), allow_head=False)
        app.router.add_head(file, self._answering(self.look))
        app.router.add_get(file, self._answering(self.read), allow_head=False)
        for method, handler in changing.items():
            handling = self._answering(self._resumable(handler))
            app.router.add_route(method, file, handling)

        async def overridden(request: web.Request) -> web.StreamResponse:
            # "MUST be interpreted as the request's method": for those who cannot PATCH.
            method = request.headers.get("X-HTTP-Method-Override", "")
            if method == "HEAD":
                return await self._resumable(self.progress)(request)
            if method not in changing:
                raise _RefusedError(405, "X-HTTP-Method-Override: PATCH or DELETE")
            return await self._resumable(changing[method])(request)

        app.router.add_post(file, self._answering(overridden))

    async def abilities(self, request: web.Request) -> web.StreamResponse:
        """Tell what is understood (tus, OPTIONS)."""
        headers = {
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self._live.current.files.upload_max_file_size),
        }
        return web.Response(status=204, headers=headers)

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Announce a file, perhaps with its first bytes (tus, creation)."""
        party, wanted = await self._party(request), _announcement(request)
        if _brings_bytes(request):
            # Before it is announced: what finds no room is not to count as a file.
            with self._room.taken(party.session.id):
                file = await self._begun(request, party, wanted)
        else:
            file = await self._files.begin(party, wanted)
        headers = self._told(file)
        headers["Location"] = f"{self._base}/{file.chat_id}/{file.id}"
        return web.Response(status=201, headers=headers)

    async def _begun(
        self, request: web.Request, party: Party, wanted: Announcement
    ) -> File:
        file = await self._files.begin(party, wanted)
        if file.arrived:  # a repeat is told so, and goes on from there
            return file
        try:
            return await self._files.write(party, file.id, 0, self._body(request))
        except _BrokenOffError:
            return await self._files.progress(party, file.id)

    async def look(self, request: web.Request) -> web.StreamResponse:
        """Tell how far a file has come (tus), or what a download would bring."""
        tus = "Tus-Resumable" in request.headers
        handler = self._resumable(self.progress) if tus else self.read
        return await handler(request)

    async def progress(self, request: web.Request) -> web.StreamResponse:
        """Tell how far a file has come (tus, HEAD)."""
        party = await self._party(request)
        file = await self._files.progress(party, _file_id(request))
        headers = self._told(file) | {"Cache-Control": "no-store"}
        headers["Upload-Length"] = str(file.info.size)
        if file.info.told:
            headers["Upload-Metadata"] = file.info.told
        return web.Response(status=200, headers=headers)

    async def write(self, request: web.Request) -> web.StreamResponse:
        """Take the next bytes of a file (tus, PATCH)."""
        if not _brings_bytes(request):
            raise _RefusedError(415, f"Content-Type: {OFFSET_STREAM} is needed")
        offset = _number(request, "Upload-Offset")
        party = await self._party(request)
        with self._room.taken(party.session.id):
            body = self._body(request)
            file = await self._files.write(party, _file_id(request), offset, body)
        return web.Response(status=204, headers=self._told(file))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Give up a file that is on its way (tus, termination)."""
        party = await self._party(request)
        await self._files.cancel(party, _file_id(request))
        return web.Response(status=204)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List the files of a chat, oldest first."""
        files = await self._files.all(await self._party(request))
        body = json.encode({"files": list(map(_listed, files))})
        return web.Response(body=body, headers=HEADERS)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Send a file, or a range of it (RFC 9110 §14)."""
        party = await self._party(request)
        file = await self._files.find(party, _file_id(request))
        with self._room.taken(file.chat_id):
            return await download(request, file, self._files.read, LONGEST)

    async def _party(self, request: web.Request) -> Party:
        """Return who asks: an agent by his token, a customer by the key of the chat.

        Raises: _RefusedError, IdentityError, SessionNotFoundError.
        """
        scheme, _, proof = request.headers.get("Authorization", "").partition(" ")
        proof, chat_id = proof.strip(), request.match_info["chat"]
        if scheme.lower() != "bearer" or not proof:
            raise _RefusedError(
                401,
                "Authorization: Bearer, with the key of the chat or an agent's token",
                WWW_Authenticate="Bearer",
            )
        if "." in proof:  # a token has three parts, and no key has a dot
            return await self._files.agent(chat_id, self._auth.agent(proof))
        user = self._auth.user(peer_of(request))
        return await self._files.customer(chat_id, proof, user)

    def _told(self, file: File) -> dict[str, str]:
        headers = {"Upload-Offset": str(file.arrived)}
        if not file.whole:
            headers["Upload-Expires"] = formatdate(
                self._files.expires_at(file), usegmt=True
            )
        return headers

    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield what arrives. Raises: _BrokenOffError when that ends too early."""
        silence = self._live.current.server.body_timeout
        clock = asyncio.get_running_loop().time
        end = clock() + LONGEST
        while some := await _arriving(request, min(silence, end - clock())):
            yield some

    def _resumable(self, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Tus-Resumable") != VERSION:
                raise _RefusedError(
                    412, f"Tus-Resumable: {VERSION} is needed", Tus_Version=VERSION
                )
            return await handler(request)

        return serve

    def _answering(self, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                response = await handler(request)
            except _EXPECTED as exc:
                response = _failed(exc)
            if not response.prepared:
                response.headers["Access-Control-Expose-Headers"] = SHOWN_HEADERS
                response.headers["Tus-Resumable"] = VERSION
            return response

        return serve


class _Room:
    """How many requests hold pieces of files."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, chat_id: str) -> Iterator[None]:
        """Count a request while the block runs. Raises: _RefusedError."""
        full = self._taken.total() >= AT_ONCE
        if full or self._taken[chat_id] >= AT_ONCE_IN_CHAT:
            raise _RefusedError(
                503, "Too many files at once: try again", Retry_After=str(RETRY_AFTER)
            )
        self._taken[chat_id] += 1
        try:
            yield
        finally:
            self._taken[chat_id] -= 1
            self._taken += Counter()  # forget those with none


async def _arriving(request: web.Request, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await request.content.readany()
    except (TimeoutError, OSError, ClientError, web.RequestPayloadError):
        raise _BrokenOffError from None


def _failed(exc: Exception) -> web.StreamResponse:
    if isinstance(exc, _RefusedError):
        return _response(failure(exc.status, str(exc), exc.name), exc.headers)
    if isinstance(exc, StoreError) and type(exc) not in _FAILURES:
        return _response(store_failure(exc))
    status, words, name = _FAILURES[type(exc)]
    return _response(failure(status, words or str(exc), name))


def _response(reply: Reply, more: Mapping[str, str] = NOTHING) -> web.Response:
    headers = {**HEADERS, **more}
    return web.Response(body=reply.body, status=reply.status, headers=headers)


def _brings_bytes(request: web.Request) -> bool:
    """Tell whether the body is bytes of a file. Raises: _RefusedError."""
    if request.content_type != OFFSET_STREAM:
        return False
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _RefusedError(415, "Send the file without compression")
    return True


def _file_id(request: web.Request) -> str:
    file_id: str = request.match_info["file"]
    if not is_id(file_id):
        raise NoSuchFileError
    return file_id


def _number(request: web.Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not _NUMBER(text):
        raise _RefusedError(400, f"{name}: a number of bytes is needed")
    return int(text)


def _announcement(request: web.Request) -> Announcement:
    size = _number(request, "Upload-Length")
    told = request.headers.get("Upload-Metadata", "")
    try:
        values = _metadata(told)
        return Announcement(
            name=values.get("filename", b"").decode(),
            type=values.get("filetype", b"").decode(),
            size=size,
            told=told,
            key=request.headers.get(IDEMPOTENCY_KEY, "")[:128],
        )
    except ValueError:
        raise _RefusedError(400, "Upload-Metadata: base64 is needed") from None


def _metadata(header: str) -> dict[str, bytes]:
    """Return what tus clients tell about a file: key, space, base64; with commas.

    Raises: ValueError.
    """
    told: dict[str, bytes] = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        key, _, value = pair.partition(" ")
        if not key.isascii():  # it could not be sent back
            raise ValueError
        told[key] = b64decode(value.strip(), validate=True)
    return told


def _listed(file: File) -> _Listed:
    return _Listed(
        id=file.id,
        name=file.info.name,
        size=str(file.info.size),
        type=file.info.type,
        by=file.info.participant,
        utc_time=round(file.info.at * 1000),
    )
