"""What customers can do: ask for a chat, write, read, come and go."""

import asyncio
import itertools
import logging
import re
import secrets
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace

import msgspec

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.delivery import Cursor, Delivery, Form, Reading
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
from cometd_chat.store import (
    Appended,
    Change,
    Once,
    SessionNotFoundError,
    Store,
    StoreUnavailableError,
)

from .presence import Lease, Presence
from .sessions import Sessions

MOST_DEVICES = 10
"""Devices of a chat: each of them is pushed what an agent writes."""

_ID = re.compile("[0-9a-f]{32}").fullmatch

log = logging.getLogger(__name__)


def new_id() -> str:
    """Return an unguessable alphanumeric id of 128 random bits."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Tell whether `new_id` may have made this."""
    return _ID(text) is not None


_RUN = secrets.token_hex(8)
_NUMBERS = itertools.count()


def _event_id() -> str:
    """Return a name for an event that no other event has; it is no secret."""
    return f"{_RUN}{next(_NUMBERS):016x}"


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """A session, some of its entries, and the position that goes with them."""

    session: Session
    entries: Sequence[Entry]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """What an app says when it goes to the background: the position it has, and
    what its icon counts as unread beside this chat."""

    position: int | None = None
    unread: int | None = None


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's client on its way: what it `reads` (a user, or a session's key),
    how far it is, and its leases by session id."""

    reads: str | None
    cursors: list[Reading]
    leases: dict[str, Lease]


class Customers:
    """The customers' side of every chat. The key of a session is its password."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        delivery: Delivery,
        presence: Presence,
        clock: Clock,
        live: LiveConfig,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._delivery = delivery
        self._presence = presence
        self._clock = clock
        self._live = live
        self._readers: dict[str, str] = {}
        self._opening: set[asyncio.Task[None]] = set()

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
        self._attach_readers(session)
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
        await self._store.append(session.id, [draft], transition=End())
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
        if after is not None:
            await self._store.acknowledge(session.id, after)
        elif session.comet:
            return Transcript(session=session, entries=(), position=session.last)
        start = session.acked if after is None else min(after, session.last)
        entries = await self._store.read(session.id, start)
        position = entries[-1].position if entries else start
        return Transcript(session=session, entries=entries, position=position)

    async def listen(
        self, client_id: str, user: str, key: str, position: int | None
    ) -> None:
        """Let a client read the user's chats, and any that he opens later.

        From `position` on, if given; otherwise from what he acknowledged last.

        Raises: SessionNotFoundError for an unknown key.
        """
        self._readers[client_id] = key or user
        sessions = await self._readable(user, key)
        position = _only(position, sessions)
        for session in sessions:
            if client_id not in self._readers:
                return  # it left while the store was read
            self._attach(client_id, session, position)
            if position is not None:
                await self._store.acknowledge(session.id, position)
        await self.present(client_id, ())

    async def resume(self, old: str, new: str, position: int | None) -> None:
        """Let a new client read on where an old one was."""
        if old in self._readers:
            self._readers[new] = self._readers.pop(old)
        self._delivery.move(old, new)
        if position is not None:
            self._delivery.believe(new, position)
        await self.present(new, ())
        for session_id, cursor in self._delivery.cursors(new).items():
            await self._presence.gone(session_id, old, cursor.acked, None)

    def reads(self, client_id: str) -> str | None:
        """Return what the client listens to: a user, or a session's key."""
        return self._readers.get(client_id)

    def pack(self, client_id: str) -> Reader:
        """Return what the client reads, to go on at another node."""
        cursors = self._delivery.pack(client_id)
        leases = {
            r.session_id: self._presence.pack(r.session_id, client_id) for r in cursors
        }
        return Reader(
            reads=self._readers.get(client_id),
            cursors=cursors,
            leases={name: lease for name, lease in leases.items() if lease},
        )

    async def unpack(
        self, client_id: str, user: str, reader: Reader, *, whole: bool
    ) -> None:
        """Go on with the reading of a client that comes from another node.

        Unless `whole`, that node is gone, and what is known of it may be old: the
        client reads on after what it has acknowledged, as far as the store knows.

        Raises: StoreUnavailableError.
        """
        if reader.reads is None:
            return
        self._readers[client_id] = reader.reads
        sessions, opened = await self._read(reader, user)
        for reading, session in zip(reader.cursors, sessions, strict=True):
            if session:
                at = reading if whole else _acknowledged(reading, session)
                form = self._form(session)
                self._delivery.unpack(client_id, session, form, at)
        for session in opened:
            self._attach(client_id, session, None)
        for name, lease in reader.leases.items():
            self._presence.unpack(name, client_id, lease)

    def follow(self) -> None:
        """Attach those who wait for a chat when it is opened at another node."""
        self._store.watch(self._changed)

    def tip(self, client_id: str) -> int | None:
        """Return the newest position of the one chat that the client reads."""
        cursors = list(self._delivery.cursors(client_id).values())
        return cursors[0].newest if len(cursors) == 1 else None

    def deafen(self, client_id: str) -> None:
        """Stop the client's reading; its chats go on."""
        self._readers.pop(client_id, None)
        for session_id in self._delivery.cursors(client_id):
            self._presence.drop(session_id, client_id)
        self._delivery.detach_all(client_id)

    def noted(self, client_id: str) -> bool:
        """Note a poll if that needs no writing now; tell whether it did."""
        cursors = self._delivery.cursors(client_id).items()
        return not cursors or all(
            self._presence.noted(session_id, client_id, cursor.acked)
            for session_id, cursor in cursors
            if cursor.session.state is not State.NEW
        )

    async def present(self, client_id: str, finished: Sequence[Cursor]) -> None:
        """Note a poll: all the client's chats have their customer there.

        `finished` are those that he has now read to their end.
        """
        for cursor in finished:
            self._presence.drop(cursor.session.id, client_id)
            await self._store.acknowledge(cursor.session.id, cursor.acked)
        cursors = self._delivery.cursors(client_id).items()
        # All of them, even if one fails: each is tried again by itself.
        await asyncio.gather(
            *(
                self._seen(session_id, client_id, cursor)
                for session_id, cursor in cursors
                if cursor.session.state is not State.NEW
            )
        )

    async def _seen(self, session_id: str, client_id: str, cursor: Cursor) -> None:
        if client_id in self._readers:  # it may have said goodbye meanwhile
            await self._presence.seen(session_id, client_id, cursor.acked)

    async def absent(self, client_id: str) -> None:
        """Note that the client has fallen silent."""
        gone = self._presence.gone
        cursors = self._delivery.cursors(client_id)
        # At once: a poll that comes while one of them is written must come after all.
        await asyncio.gather(
            *(gone(name, client_id, c.acked, None) for name, c in cursors.items())
        )

    async def leave(self, client_id: str, user: str, goodbye: Goodbye) -> None:
        """Note that the client said goodbye.

        Nothing is kept of it, even if that cannot be stored.
        """
        cursors = self._delivery.cursors(client_id)
        self.deafen(client_id)
        if not cursors and goodbye != Goodbye():  # it had unsubscribed before
            await self.remembered(client_id, user, goodbye)
            return
        position = _only(goodbye.position, cursors)
        for session_id, cursor in cursors.items():
            # Apps disconnect when they read that the chat is over, before any poll
            # could confirm it.
            acked = cursor.sent if cursor.session.ended else cursor.acked
            await self._presence.gone(session_id, client_id, acked, position)
        await self._count(list(cursors), goodbye.unread)

    async def remembered(self, client_id: str, user: str, goodbye: Goodbye) -> bool:
        """Take the goodbye of a client that Bayeux forgot; tell if it had chats."""
        sessions = [
            session
            for session in await self._store.of_client(client_id)
            if session.open and not _foreign(session, user)
        ]
        sessions = sessions or await self._store.of_user(user)
        position = _only(goodbye.position, sessions)
        for session in sessions:
            await self._presence.gone(session.id, client_id, 0, position)
        await self._count([session.id for session in sessions], goodbye.unread)
        return bool(sessions)

    async def _count(self, session_ids: Sequence[str], unread: int | None) -> None:
        """Keep what the app counts as unread; once, whatever number of chats it has."""
        if unread is not None and session_ids:
            now = self._clock.time()
            await self._store.set_badge_base(session_ids[0], unread, now)

    async def _readable(self, user: str, key: str) -> Sequence[Session]:
        """Return what there is to read: chats that go on, or the end of the last."""
        if key:
            return [await self.session(key, user)]
        sessions = await self._store.of_user(user)
        return [s for s in sessions if s.open] or sessions[-1:]

    def _attach(self, client_id: str, session: Session, position: int | None) -> None:
        if position is None:
            # Subscribing again brings nothing twice (Bayeux 1.0, "Subscribe").
            if session.id in self._delivery.cursors(client_id):
                return
            position = session.acked
        self._delivery.attach(client_id, session, self._form(session), position)

    def _attach_readers(self, session: Session) -> None:
        for client_id, reads in list(self._readers.items()):
            if reads in {session.user, session.key} and reads:
                watched = self._delivery.watchers(session.id)
                if client_id not in watched:
                    form = self._form(session)
                    self._delivery.attach(client_id, session, form, 0)

    async def _read(
        self, reader: Reader, user: str
    ) -> tuple[list[Session | None], list[Session]]:
        """Return what the client reads, and his chats: one may have been opened while
        the client was on its way.

        At once, for moves wait for it. What changes meanwhile is made good, since
        cursors begin as stale.
        """
        own = user if reader.reads == user else ""
        known = asyncio.gather(*(self._known(r.session_id) for r in reader.cursors))
        sessions, chats = await asyncio.gather(known, self._store.of_user(own))
        return sessions, [chat for chat in chats if chat.open]

    async def _known(self, session_id: str) -> Session | None:
        try:
            return await self._store.get(session_id)
        except SessionNotFoundError:
            return None

    def _changed(self, change: Change) -> None:
        if self._readers and _may_open(change):
            work = asyncio.create_task(self._opened(change.session_id))
            self._opening.add(work)
            work.add_done_callback(self._opening.discard)

    async def _opened(self, session_id: str) -> None:
        try:
            session = await self._known(session_id)
        except StoreUnavailableError:
            log.warning("a chat could not be read to let its customer listen")
            return
        if session is not None and session.open:
            self._attach_readers(session)

    def _form(self, session: Session) -> Form:
        chat = self._live.current.chat_service(session.service)
        return _indexed if chat.enable_fast_chat_transcript_refresh else _plain

    def _draft(self, kind: EntryKind, nickname: str, text: str = "") -> Draft:
        return Draft(
            kind=kind,
            role=Role.CUSTOMER,
            participant=CUSTOMER,
            nickname=nickname,
            at=self._clock.time(),
            text=text,
        )


def _acknowledged(reading: Reading, session: Session) -> Reading:
    acked = max(reading.acked, session.acked)
    return Reading(session.id, acked, acked)


def _may_open(change: Change) -> bool:
    """Tell whether this may be the news of a chat that was opened."""
    return change.altered and bool(change.entries)


def _plain(session: Session, entries: Sequence[Entry]) -> bytes:
    return v1.notification(session, entries, _event_id(), index=False)


def _indexed(session: Session, entries: Sequence[Entry]) -> bytes:
    return v1.notification(session, entries, _event_id(), index=True)


def owned(session: Session, user: str) -> Session:
    """Return the session unless it is another user's. Raises: SessionNotFoundError."""
    if _foreign(session, user):
        raise SessionNotFoundError
    return session


def _foreign(session: Session, user: str) -> bool:
    return bool(user and session.user) and session.user != user


def _only(position: int | None, chats: Sized) -> int | None:
    """Return the position if it can but mean the one chat that there is."""
    return position if len(chats) == 1 else None


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
