"""Files over HTTP: uploads that go on after a break (tus 1.0.0), lists, downloads.

tus (https://tus.io/protocols/resumable-upload, version 1.0.0) with the extensions
creation, creation-with-upload, expiration and termination. An app announces a file
with its size, sends its bytes, and after a break asks how far they came. The last byte
is answered when the file is in the transcript.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from cometd_chat.chat import Announcement, AuthHook, Files, Party, is_id
from cometd_chat.config import LiveConfig
from cometd_chat.files.uploads import File, NoSuchFileError

from .downloads import SHOWN_HEADERS, download
from .file_answers import EXPECTED, failed, how_far, listed
from .file_requests import (
    EXTENSIONS,
    VERSION,
    announcement_of,
    brings_bytes,
    method_of,
    offset_of,
    proof_of,
    refuse_version,
)
from .file_room import Room
from .limits import BrokenOffError, arriving
from .peers import peer_of

LONGEST = 600.0
"""Seconds that one request may take to bring bytes, or to fetch them; whoever needs
longer goes on with another one."""

DOWNLOAD_WAIT = 10.0
"""Seconds that a download waits for room: a page asks for all pictures of a chat at
once, and tries none again. An upload does not wait: its client comes back."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RestFiles:
    """The handlers of `{base}/files/{chatId}` and `{base}/files/{chatId}/{fileId}`."""

    def __init__(
        self, files: Files, auth: AuthHook, live: LiveConfig, base_path: str
    ) -> None:
        self._files = files
        self._auth = auth
        self._live = live
        self._base = f"{base_path}/files"
        self._room = Room()

    def add_routes(self, app: web.Application) -> None:
        """Add everything that apps call about files."""
        chat, file = f"{self._base}/{{chat}}", f"{self._base}/{{chat}}/{{file}}"
        for path in (self._base, chat, file):
            app.router.add_options(path, self.abilities)
        for method, path, handler in (
            ("POST", chat, _resumable(self.create)),
            ("GET", chat, self.list),
            ("HEAD", file, self.look),
            ("GET", file, self.read),
            ("PATCH", file, _resumable(self.write)),
            ("DELETE", file, _resumable(self.cancel)),
            ("POST", file, self.overridden),
        ):
            app.router.add_route(method, path, _answering(handler))

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
        party, wanted = await self._party(request), announcement_of(request.headers)
        if brings_bytes(request.headers):
            # Before it is announced: what finds no room is not to count as a file.
            async with self._room.taken(_customer(party)):
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
        except BrokenOffError:
            return await self._files.progress(party, file.id)

    async def look(self, request: web.Request) -> web.StreamResponse:
        """Tell how far a file has come (tus), or what a download would bring."""
        tus = "Tus-Resumable" in request.headers
        handler = _resumable(self.progress) if tus else self.read
        return await handler(request)

    async def overridden(self, request: web.Request) -> web.StreamResponse:
        """Do what is asked for by somebody who can only POST (tus): "MUST be
        interpreted as the request's method"."""
        methods: dict[str, Handler] = {
            "PATCH": self.write,
            "DELETE": self.cancel,
            "HEAD": self.progress,
        }
        handler = methods[method_of(request.headers)]
        return await _resumable(handler)(request)

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
        offset = offset_of(request.headers)
        party = await self._party(request)
        async with self._room.taken(_customer(party)):
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
        return listed(await self._files.all(await self._party(request)))

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Send a file, or a range of it (RFC 9110 §14)."""
        party = await self._party(request)
        file = await self._files.find(party, _file_id(request))
        async with self._room.taken(_customer(party), DOWNLOAD_WAIT):
            return await download(request, file, self._files.read, LONGEST)

    async def _party(self, request: web.Request) -> Party:
        """Return who asks: an agent by his token, a customer by the key of the chat.

        Raises: RefusedError, IdentityError, SessionNotFoundError.
        """
        proof, chat_id = proof_of(request.headers), request.match_info["chat"]
        if "." in proof:  # a token has three parts, and no key has a dot
            agent, file_id = self._auth.agent(proof), request.match_info.get("file", "")
            return await self._files.agent(chat_id, agent, file_id)
        user = self._auth.user(peer_of(request))
        return await self._files.customer(chat_id, proof, user)

    def _told(self, file: File) -> dict[str, str]:
        return how_far(file, self._files.expires_at(file))

    def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        patience = self._live.current.server.body_timeout
        return arriving(request.content, patience, LONGEST)


def _resumable(handler: Handler) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        refuse_version(request.headers)
        return await handler(request)

    return serve


def _answering(handler: Handler) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except EXPECTED as exc:
            response = failed(exc)
        if not response.prepared:
            response.headers["Access-Control-Expose-Headers"] = SHOWN_HEADERS
            response.headers["Tus-Resumable"] = VERSION
        return response

    return serve


def _file_id(request: web.Request) -> str:
    file_id: str = request.match_info["file"]
    if not is_id(file_id):
        raise NoSuchFileError
    return file_id


def _customer(party: Party) -> str:
    return party.session.user or party.session.id
