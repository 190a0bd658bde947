"""What customers can do: ask for a chat, write, read, have devices, end it."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.gms import v1
from cometd_chat.model import (
    CUSTOMER,
    Device,
    Draft,
    End,
    Entry,
    EntryKind,
    Open,
    Profile,
    Role,
    Session,
    State,
)
from cometd_chat.push.quiet import is_quiet_hours, is_zone
from cometd_chat.store import Appended, Once, Store

from .ownership import owned
from .presence import Presence
from .readers import Readers
from .sessions import Sessions

MOST_DEVICES = 10
"""Devices of a chat: each of them is pushed what an agent writes."""

_ID = re.compile("[0-9a-f]{32}").fullmatch


def new_id() -> str:
    """Return an unguessable alphanumeric id of 128 random bits."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Tell whether `new_id` may have made this."""
    return _ID(text) is not None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """A session, some of its entries, and the position that goes with them."""

    session: Session
    entries: Sequence[Entry]
    position: int


class Customers:
    """The customers' side of every chat. The key of a session is its password."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        readers: Readers,
        presence: Presence,
        clock: Clock,
        live: LiveConfig,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._readers = readers
        self._presence = presence
        self._clock = clock
        self._live = live

    async def session(self, key: str, user: str) -> Session:
        """Return the session of this key, unless it is another user's.

        Raises: SessionNotFoundError.
        """
        return owned(await self._store.find(key), user)

    async def speaker(self, key: str, user: str) -> Session:
        """Return the session for somebody who will write; it may be old in what
        entries change (`Sessions`).

        Raises: SessionNotFoundError.
        """
        session = await self._sessions.find(key)
        if not session.open:  # perhaps it is by now
            session = await self._store.find(key)
        return owned(session, user)

    async def fresh(self, session: Session) -> Session:
        """Return the session as it stands now.

        Raises: SessionNotFoundError.
        """
        return await self._store.get(session.id)

    async def create(
        self, service: str, user: str, profile: Profile, device: Device | None = None
    ) -> Session:
        """Begin a service session, in which one chat can be asked for."""
        now = self._clock.time()
        session = Session(
            id=new_id(),
            key=new_id(),
            service=service,
            user=user,
            created_at=now,
            profile=profile,
            devices=(replace(device, registered_at=now),) if device else (),
        )
        await self._store.create(session)
        return session

    async def open(self, session: Session, request: v1.OpenChat, user: str) -> Session:
        """Ask for the chat; asking again returns the chat that is there.

        Raises: SessionEndedError.
        """
        profile = _merged(session.profile, request.profile)
        drafts = [self._draft(EntryKind.JOINED, profile.nickname)]
        if request.message:
            text = request.message
            drafts.append(self._draft(EntryKind.MESSAGE, profile.nickname, text))
        opening = Open(
            profile=profile, device=request.device, comet=request.comet, user=user
        )
        if session.state is State.NEW:
            # Before anybody hears of the chat: once his client polls, it counts alone.
            await self._presence.begin(
                session.id, comet=request.comet, service=session.service
            )
        await self._store.append(session.id, drafts, transition=opening)
        session = await self._store.get(session.id)
        self._readers.attach(session)
        return session

    async def send(self, session: Session, text: str, local_id: str) -> Appended:
        """Write a message; `local_id`, if not empty, makes repeats harmless.

        Raises: SessionEndedError, SessionNotOpenError.
        """
        draft = self._draft(EntryKind.MESSAGE, session.profile.nickname, text)
        once = Once(key=f"customer:{local_id}") if local_id else None
        return await self._store.append(session.id, [draft], once=once)

    async def typing(self, session: Session, *, started: bool) -> Appended:
        """Tell that the customer has begun, or stopped, to type."""
        kind = EntryKind.TYPING_STARTED if started else EntryKind.TYPING_STOPPED
        draft = self._draft(kind, session.profile.nickname)
        return await self._store.append(session.id, [draft])

    async def register(self, session: Session, device: Device) -> None:
        """Give the customer a device; whoever had it before gets nothing there any
        more. Beyond `MOST_DEVICES` the oldest ones give way.

        Raises: V1Error for quiet hours that are none.
        """
        if device.quiet and not is_quiet_hours(device.quiet):
            raise v1.V1Error("quiet: hours such as 22:00-07:00 are needed")
        if device.zone and not is_zone(device.zone):
            raise v1.V1Error("zone: a time zone such as Europe/Berlin is needed")
        await self._store.register_device(session.id, device, self._clock.time())
        devices = (await self._store.get(session.id)).devices
        for old in devices[:-MOST_DEVICES]:
            await self._store.deregister_device(session.id, old.id)

    async def deregister(self, session: Session, device_id: str | None) -> None:
        """Take a device, or all, from the customer; what was queued is dropped."""
        await self._store.deregister_device(session.id, device_id)

    async def confirm_push(
        self, session: Session, push_id: str, *, opened: bool
    ) -> None:
        """Note the app's word about a push.

        Raises: V1Error (404) for a push that was not sent for this chat.
        """
        now = self._clock.time()
        if not await self._store.confirm_push(session.id, push_id, now, opened=opened):
            raise v1.V1Error(
                "No such push", status=404, exception="PushNotFoundException"
            )

    async def end(self, session: Session) -> Session:
        """End the chat; ending again changes nothing.

        Who leaves wants no push of what he leaves unread.

        Raises: SessionNotOpenError.
        """
        draft = self._draft(EntryKind.LEFT, session.profile.nickname)
        end = End(by_customer=True)
        if (await self._store.append(session.id, [draft], transition=end)).repeated:
            # An agent was first, and what he said last is not to be pushed either.
            await self._store.deregister_device(session.id, None)
        return await self._store.get(session.id)

    async def polled(self, session: Session) -> None:
        """Count a call of a customer without Bayeux as a sign of his presence."""
        if not session.comet and session.open:
            await self._presence.begin(session.id, comet=False, service=session.service)

    async def transcript(self, session: Session, after: int | None) -> Transcript:
        """Return what a REST reply shows: everything after the position given.

        A position given is acknowledged by it. Without one, a customer who polls
        gets everything he has not acknowledged; one who listens by CometD gets
        nothing, for everything reaches him there.
        """
        if after is None and session.comet:
            return Transcript(session=session, entries=(), position=session.last)
        start = session.acked if after is None else min(after, session.last)
        entries = await self._store.read(session.id, start)
        position = entries[-1].position if entries else start
        if after is not None:
            # Who polls stops at the end of the chat: no later call will confirm it.
            over = session.ended and not session.comet and position == session.last
            await self._store.acknowledge(session.id, position if over else after)
        return Transcript(session=session, entries=entries, position=position)

    def _draft(self, kind: EntryKind, nickname: str, text: str = "") -> Draft:
        return Draft(
            kind=kind,
            role=Role.CUSTOMER,
            participant=CUSTOMER,
            nickname=nickname,
            at=self._clock.time(),
            text=text,
        )


def _merged(first: Profile, then: Profile) -> Profile:
    """Business data of the service session stay attached to its chat."""
    return Profile(
        nickname=then.nickname,
        first_name=then.first_name,
        last_name=then.last_name,
        email=then.email,
        subject=then.subject,
        user_data={**first.user_data, **then.user_data},
    )
