"""GMS Chat API version 1 over HTTP: service, chat, send, refresh, typing, end."""

import re
from functools import partial

from aiohttp import web

from cometd_chat.chat import AuthHook, Customers, Transcript
from cometd_chat.chat.limits import gms_limits
from cometd_chat.config import LiveConfig
from cometd_chat.gms import v1
from cometd_chat.gms.values import LONGEST_ID, fault
from cometd_chat.model import Profile, Session
from cometd_chat.store import SessionNotFoundError, SessionNotOpenError

from .answers import answering
from .calls import Call, Handler, Reply

IDEMPOTENCY_KEY = "Idempotency-Key"
"""The header field that names a message for good, where the body does not."""

_ADDRESS = "/1/service/{service}"
_SERVICE = re.compile(r"[A-Za-z0-9_.\-]{1,128}").fullmatch


class RestV1:
    """The handlers of `{base}/1/service/…`; `posts` are those of POST, by address."""

    def __init__(
        self, customers: Customers, auth: AuthHook, live: LiveConfig, base_path: str
    ) -> None:
        self._customers = customers
        self._auth = auth
        self._live = live
        self._base_path = base_path

        chat = f"{base_path}{_ADDRESS}/ixn/chat"
        self.posts: dict[str, Handler] = {
            f"{base_path}{_ADDRESS}": self.create,
            chat: self.open,
            f"{chat}/send": self.send,
            f"{chat}/refresh": self.refresh,
            f"{chat}/startTyping": partial(self.typing, started=True),
            f"{chat}/stopTyping": partial(self.typing, started=False),
            f"{chat}/disconnect": self.disconnect,
        }

    def add_routes(self, app: web.Application) -> None:
        """Add everything that a v1 client calls."""
        service = f"{self._base_path}{_ADDRESS}"
        app.router.add_get(service, answering(self.create), allow_head=False)
        for address, handler in self.posts.items():
            app.router.add_post(address, answering(handler))

    async def create(self, call: Call) -> Reply:
        """Create a service session under a configured service name."""
        service = call.service
        if not _SERVICE(service):
            raise SessionNotFoundError
        limits = gms_limits(self._live.current.limits)
        asked = v1.parse_service(await self._parameters(call), limits)
        profile = Profile(user_data=asked.user_data)
        user = self._user(call)
        session = await self._customers.create(service, user, profile, asked.device)
        body = v1.service_object(session, self._base_path, verbose=asked.verbose)
        return Reply(200, body)

    async def open(self, call: Call) -> Reply:
        """Ask for the chat; asking again returns the one there is."""
        session = await self._session(call)
        limits = gms_limits(self._live.current.limits)
        asked = v1.parse_open(await self._parameters(call), limits)
        session = await self._customers.open(session, asked, self._user(call))
        # Apps take it for the position they have, and say it when they leave.
        shown = Transcript(session=session, entries=(), position=session.acked)
        if not session.comet:
            shown = await self._customers.transcript(session, 0)
        return self._chat(call, shown, verbose=asked.verbose, created=True)

    async def send(self, call: Call) -> Reply:
        """Write a message."""
        session, asked = await self._operation(call)
        if not asked.message:
            raise v1.V1Error("message: a text is needed", status=415)
        return await self._said(call, session, asked, asked.message)

    async def refresh(self, call: Call) -> Reply:
        """Show what happened after a position; a `message` along is sent as well."""
        session, asked = await self._operation(call)
        if asked.message:
            return await self._said(call, session, asked, asked.message)
        session = await self._customers.fresh(session)
        await self._customers.polled(session)
        shown = await self._customers.transcript(session, asked.position)
        options = self._live.current.service(session.service)
        failed = session.ended and options.chat_400_response_on_disconnected
        return self._chat(
            call, shown, verbose=asked.verbose, status=400 if failed else 200
        )

    async def typing(self, call: Call, *, started: bool) -> Reply:
        """Show that the customer types, or has stopped."""
        session, asked = await self._operation(call)
        done = await self._customers.typing(session, started=started)
        return await self._after(call, session, asked, done.position)

    async def disconnect(self, call: Call) -> Reply:
        """End the chat."""
        session, asked = await self._operation(call)
        session = await self._customers.end(session)
        shown = await self._customers.transcript(session, asked.position)
        return self._chat(call, shown, verbose=asked.verbose)

    async def _said(
        self, call: Call, session: Session, asked: v1.Operation, text: str
    ) -> Reply:
        local_id = asked.local_id or _idempotency_key(call)
        done = await self._customers.send(session, text, local_id)
        return await self._after(call, session, asked, done.position)

    async def _after(
        self,
        call: Call,
        session: Session,
        asked: v1.Operation,
        position: int,
    ) -> Reply:
        """Answer something written at `position` with what else there is to show."""
        await self._customers.polled(session)
        # Apps that write by `refresh` take this for the id of their message.
        shown = Transcript(session=session, entries=(), position=position)
        if not session.comet or asked.position is not None:
            session = await self._customers.fresh(session)
            shown = await self._customers.transcript(session, asked.position)
        return self._chat(call, shown, verbose=asked.verbose)

    async def _operation(self, call: Call) -> tuple[Session, v1.Operation]:
        session = await self._customers.speaker(call.service, self._user(call))
        limits = gms_limits(self._live.current.limits)
        asked = v1.parse_operation(await self._parameters(call), limits)
        if not (session.open or session.ended):
            raise SessionNotOpenError
        return session, asked

    async def _session(self, call: Call) -> Session:
        return await self._customers.session(call.service, self._user(call))

    async def _parameters(self, call: Call) -> dict[str, str]:
        return await call.parameters(self._live.current.server.body_timeout)

    def _user(self, call: Call) -> str:
        return self._auth.user(call.peer)

    def _chat(
        self,
        call: Call,
        shown: Transcript,
        *,
        verbose: bool,
        created: bool = False,
        status: int = 200,
    ) -> Reply:
        session = shown.session
        chat = self._live.current.chat_service(session.service)
        body = v1.chat_object(
            session,
            shown.entries,
            position=shown.position,
            created=created,
            index=chat.enable_fast_chat_transcript_refresh,
            verbose=self._verbose(call) if verbose else None,
        )
        return Reply(status, body)

    def _verbose(self, call: Call) -> v1.Verbose:
        url = call.url
        tls = url.scheme == "https"
        return v1.Verbose(
            base_path=self._base_path,
            host=url.host or "",
            port=url.port or (443 if tls else 80),
            tls=tls,
        )


def _idempotency_key(call: Call) -> str:
    """Return what names the message, empty if nothing does.

    As a whole: what begins alike names another message.

    Raises: V1Error.
    """
    key = call.peer.headers.get(IDEMPOTENCY_KEY, "")
    if wrong := fault(key, LONGEST_ID):
        raise v1.V1Error(f"{IDEMPOTENCY_KEY}: {wrong}")
    return key
