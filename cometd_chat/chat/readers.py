"""Customers' clients that listen: what they read, how far, and if they are there."""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

import msgspec

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.delivery import Cursor, Delivery, Form, Reading
from cometd_chat.gms import v1
from cometd_chat.model import Entry, Session, State
from cometd_chat.recurring import Sparing
from cometd_chat.store import (
    Change,
    Store,
    StoreUnavailableError,
)

from .ownership import is_foreign, owned
from .presence import Lease, Presence
from .sessions import LOST

often = Sparing(logging.getLogger(__name__))

_RUN = secrets.token_hex(8)
_NUMBERS = itertools.count()


def _event_id() -> str:
    """Return a name for an event that no other event has; it is no secret."""
    return f"{_RUN}{next(_NUMBERS):016x}"


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


class Readers:
    """The customers' clients of this node that read their chats over Bayeux."""

    def __init__(
        self,
        store: Store,
        delivery: Delivery,
        presence: Presence,
        clock: Clock,
        live: LiveConfig,
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._presence = presence
        self._clock = clock
        self._live = live
        self._reads: dict[str, str] = {}
        self._opening: set[asyncio.Task[None]] = set()

    async def listen(
        self, client_id: str, user: str, key: str, position: int | None
    ) -> None:
        """Let a client read the user's chats, and any that he opens later.

        From `position` on, if given; otherwise from what he acknowledged last.

        Raises: SessionNotFoundError for an unknown key.
        """
        self._reads.setdefault(client_id, "")
        chat = [owned(await self._store.find(key), user)] if key else []
        if client_id not in self._reads:
            return  # it left while the store was read
        # Not before: who is refused must not hear of the chat when it changes.
        self._reads[client_id] = key or user
        sessions = chat or await self._readable(user)
        position = _only(position, sessions)
        for session in sessions:
            if client_id not in self._reads:
                return
            self._attach(client_id, session, position)
            if position is not None:
                await self._store.acknowledge(session.id, position)
        await self.present(client_id, ())

    async def resume(self, old: str, new: str, position: int | None) -> None:
        """Let a new client read on where an old one was."""
        if old in self._reads:
            self._reads[new] = self._reads.pop(old)
        self._delivery.move(old, new)
        if position is not None:
            self._delivery.believe(new, position)
        await self.present(new, ())
        for session_id, cursor in self._delivery.cursors(new).items():
            await self._presence.gone(session_id, old, cursor.acked, None)

    def reads(self, client_id: str) -> str | None:
        """Return what the client listens to: a user, or a session's key."""
        return self._reads.get(client_id)

    def pack(self, client_id: str) -> Reader:
        """Return what the client reads, to go on at another node."""
        cursors = self._delivery.pack(client_id)
        leases = {
            r.session_id: self._presence.pack(r.session_id, client_id) for r in cursors
        }
        return Reader(
            reads=self._reads.get(client_id),
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
        self._reads[client_id] = reader.reads
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
        self._reads.pop(client_id, None)
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
        if client_id in self._reads:  # it may have said goodbye meanwhile
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
        meant = _meant(goodbye.position, cursors)
        for session_id, cursor in cursors.items():
            # Apps disconnect when they read that the chat is over, before any poll
            # could confirm it.
            acked = cursor.sent if cursor.session.ended else cursor.acked
            position = goodbye.position if session_id == meant else None
            await self._presence.gone(session_id, client_id, acked, position)
        await self._count(list(cursors), goodbye.unread)

    async def remembered(self, client_id: str, user: str, goodbye: Goodbye) -> bool:
        """Take the goodbye of a client that Bayeux forgot; tell if it had chats."""
        sessions = [
            session
            for session in await self._store.of_client(client_id)
            if session.open and not is_foreign(session, user)
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

    async def _readable(self, user: str) -> Sequence[Session]:
        """Return what there is to read: chats that go on, or the end of the last."""
        sessions = await self._store.of_user(user)
        return [s for s in sessions if s.open] or sessions[-1:]

    def _attach(self, client_id: str, session: Session, position: int | None) -> None:
        if position is None:
            # Subscribing again brings nothing twice (Bayeux 1.0, "Subscribe").
            if session.id in self._delivery.cursors(client_id):
                return
            position = session.acked
        self._delivery.attach(client_id, session, self._form(session), position)

    def attach(self, session: Session) -> None:
        """Let all who wait for this chat read it, from its beginning."""
        for client_id, reads in list(self._reads.items()):
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
        except LOST:
            return None

    def _changed(self, change: Change) -> None:
        if self._reads and _may_open(change):
            work = asyncio.create_task(self._opened(change.session_id))
            self._opening.add(work)
            work.add_done_callback(self._opening.discard)

    async def _opened(self, session_id: str) -> None:
        try:
            session = await self._known(session_id)
        except StoreUnavailableError:
            often.warning("a chat could not be read to let its customer listen")
            return
        if session is not None and session.open:
            self.attach(session)

    def _form(self, session: Session) -> Form:
        chat = self._live.current.chat_service(session.service)
        return _indexed if chat.enable_fast_chat_transcript_refresh else _plain


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


def _meant(position: int | None, cursors: Mapping[str, Cursor]) -> str | None:
    """Return the chat that the position of a goodbye is about, if that is certain.

    It names none, and an app that was killed leaves a chat behind that goes on. Of
    several it is the only one in which the app can be there.
    """
    if len(cursors) == 1:
        return next(iter(cursors))
    fitting = [
        name
        for name, cursor in cursors.items()
        if position is not None and cursor.acked <= position <= cursor.sent
    ]
    return fitting[0] if len(fitting) == 1 else None


def _only(position: int | None, chats: Sized) -> int | None:
    """Return the position if it can but mean the one chat that there is."""
    return position if len(chats) == 1 else None
