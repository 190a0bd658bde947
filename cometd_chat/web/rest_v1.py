"""GMS Chat API version 1 over HTTP: service, chat, send, refresh, typing, end."""

import functools
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from cometd_chat.bayeux import Peer
from cometd_chat.chat import AuthHook, Customers, IdentityError, Transcript
from cometd_chat.chat.limits import gms_limits
from cometd_chat.config import LiveConfig
from cometd_chat.gms import v1
from cometd_chat.model import Profile, Session
from cometd_chat.store import (
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    StoreError,
    StoreUnavailableError,
    TranscriptFullError,
)

from .parameters import read_parameters

HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
}

_SERVICE = re.compile(r"[A-Za-z0-9_.\-]{1,128}").fullmatch

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FAILURES: dict[type[Exception], tuple[int, str, str]] = {
    SessionNotFoundError: (404, "No such service", "ServiceNotFoundException"),
    SessionNotOpenError: (400, "Create the chat first", "ChatNotFoundException"),
    SessionEndedError: (400, "The chat has ended", "ChatEndedException"),
    TranscriptFullError: (413, "The transcript is full", "TranscriptFullException"),
    StoreUnavailableError: (503, "Try again later", "UnavailableException"),
}


_UNSTORABLE = (400, "This cannot be stored", "BadRequestException")


class RestV1:
    """The handlers of `{base}/1/service/…`."""

    def __init__(
        self, customers: Customers, auth: AuthHook, live: LiveConfig, base_path: str
    ) -> None:
        self._customers = customers
        self._auth = auth
        self._live = live
        self._base_path = base_path

    def add_routes(self, app: web.Application) -> None:
        """Add everything that a v1 client calls."""
        service = f"{self._base_path}/1/service/{{service}}"
        chat = f"{service}/ixn/chat"
        operations: dict[str, Handler] = {
            "send": self.send,
            "refresh": self.refresh,
            "startTyping": functools.partial(self.typing, started=True),
            "stopTyping": functools.partial(self.typing, started=False),
            "disconnect": self.disconnect,
        }
        app.router.add_post(service, _answering(self.create))
        app.router.add_get(service, _answering(self.create), allow_head=False)
        app.router.add_post(chat, _answering(self.open))
        app.router.add_put(f"{service}/device", _answering(self.register))
        app.router.add_delete(f"{service}/device", _answering(self.deregister))
        for name, handler in operations.items():
            app.router.add_post(f"{chat}/{name}", _answering(handler))

    async def create(self, request: web.Request) -> web.Response:
        """Create a service session under a configured service name."""
        service = request.match_info["service"]
        if not _SERVICE(service):
            raise SessionNotFoundError
        limits = gms_limits(self._live.current.limits)
        asked = v1.parse_service(await self._parameters(request), limits)
        profile = Profile(user_data=asked.user_data)
        session = await self._customers.create(service, self._user(request), profile)
        body = v1.service_object(session, self._base_path, verbose=asked.verbose)
        return _response(body)

    async def open(self, request: web.Request) -> web.Response:
        """Ask for the chat; asking again returns the one there is."""
        session = await self._session(request)
        limits = gms_limits(self._live.current.limits)
        asked = v1.parse_open(await self._parameters(request), limits)
        session = await self._customers.open(session, asked, self._user(request))
        shown = Transcript(session=session, entries=(), position=0)
        if not session.comet:
            shown = await self._customers.transcript(session, 0)
        return self._chat(request, shown, verbose=asked.verbose, created=True)

    async def send(self, request: web.Request) -> web.Response:
        """Write a message."""
        session, asked = await self._operation(request)
        if not asked.message:
            raise v1.V1Error("message: a text is needed", status=415)
        return await self._said(request, session, asked, asked.message)

    async def refresh(self, request: web.Request) -> web.Response:
        """Show what happened after a position; a `message` along is sent as well."""
        session, asked = await self._operation(request)
        if asked.message:
            return await self._said(request, session, asked, asked.message)
        await self._customers.polled(session)
        shown = await self._customers.transcript(session, asked.position)
        options = self._live.current.service(session.service)
        failed = session.ended and options.chat_400_response_on_disconnected
        return self._chat(
            request, shown, verbose=asked.verbose, status=400 if failed else 200
        )

    async def typing(self, request: web.Request, *, started: bool) -> web.Response:
        """Show that the customer types, or has stopped."""
        session, asked = await self._operation(request)
        done = await self._customers.typing(session, started=started)
        return await self._after(request, session, asked, done.position)

    async def disconnect(self, request: web.Request) -> web.Response:
        """End the chat."""
        session, asked = await self._operation(request)
        session = await self._customers.end(session)
        shown = await self._customers.transcript(session, asked.position)
        return self._chat(request, shown, verbose=asked.verbose)

    async def register(self, request: web.Request) -> web.Response:
        """Register or replace a push device of this chat's customer."""
        session = await self._session(request)
        limits = gms_limits(self._live.current.limits)
        device = v1.parse_device(await self._parameters(request), limits)
        await self._customers.register(session, device)
        return web.Response(status=204)

    async def deregister(self, request: web.Request) -> web.Response:
        """Deregister a device, or all; nothing queued for it is sent afterwards."""
        session = await self._session(request)
        asked = await self._parameters(request)
        device_id = asked.get("push_notification_deviceid") or asked.get("uuid")
        await self._customers.deregister(session, device_id)
        return web.Response(status=204)

    async def _said(
        self, request: web.Request, session: Session, asked: v1.Operation, text: str
    ) -> web.Response:
        local_id = asked.local_id or request.headers.get("Idempotency-Key", "")[:128]
        done = await self._customers.send(session, text, local_id)
        return await self._after(request, session, asked, done.position)

    async def _after(
        self,
        request: web.Request,
        session: Session,
        asked: v1.Operation,
        position: int,
    ) -> web.Response:
        """Answer something written at `position` with what else there is to show."""
        await self._customers.polled(session)
        shown = await self._customers.transcript(session, asked.position)
        if session.comet and asked.position is None:
            # Apps that write by `refresh` take this for the id of their message.
            shown = Transcript(session=session, entries=(), position=position)
        return self._chat(request, shown, verbose=asked.verbose)

    async def _operation(self, request: web.Request) -> tuple[Session, v1.Operation]:
        session = await self._session(request)
        limits = gms_limits(self._live.current.limits)
        asked = v1.parse_operation(await self._parameters(request), limits)
        if not (session.open or session.ended):
            raise SessionNotOpenError
        return session, asked

    async def _session(self, request: web.Request) -> Session:
        key = request.match_info["service"]
        return await self._customers.session(key, self._user(request))

    async def _parameters(self, request: web.Request) -> dict[str, str]:
        timeout = self._live.current.server.body_timeout
        return await read_parameters(request, timeout)

    def _user(self, request: web.Request) -> str:
        peer = Peer(headers=request.headers, address=request.remote or "")
        return self._auth.user(peer)

    def _chat(
        self,
        request: web.Request,
        shown: Transcript,
        *,
        verbose: bool,
        created: bool = False,
        status: int = 200,
    ) -> web.Response:
        session = shown.session
        chat = self._live.current.chat_service(session.service)
        body = v1.chat_object(
            session,
            shown.entries,
            position=shown.position,
            created=created,
            index=chat.enable_fast_chat_transcript_refresh,
            verbose=self._verbose(request) if verbose else None,
        )
        return _response(body, status)

    def _verbose(self, request: web.Request) -> v1.Verbose:
        tls = request.url.scheme == "https"
        return v1.Verbose(
            base_path=self._base_path,
            host=request.url.host or "",
            port=request.url.port or (443 if tls else 80),
            tls=tls,
        )


def _answering(handler: Handler) -> Handler:
    """Turn everything that may go wrong into GMS's `{message, exception}`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except v1.V1Error as exc:
            return _failure(exc.status, str(exc), exc.exception)
        except IdentityError as exc:
            return _failure(403, str(exc), "ForbiddenException")
        except web.HTTPException as exc:
            text = (exc.text or exc.reason).strip()
            return _failure(exc.status, text, type(exc).__name__)
        except StoreError as exc:
            status, message, exception = _FAILURES.get(type(exc), _UNSTORABLE)
            return _failure(status, message, exception)

    return answer


def _response(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers=HEADERS)


def _failure(status: int, message: str, exception: str) -> web.Response:
    return _response(v1.error_body(message, exception), status)
