"""Agents' clients: what they are shown of chats, and of the customers in them."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.delivery import Delivery, Reading
from cometd_chat.gms import v2
from cometd_chat.model import Entry, Role, Session, State
from cometd_chat.recurring import Sparing
from cometd_chat.store import (
    Change,
    SessionNotFoundError,
    Store,
    StoreError,
)

from .identity import Agent
from .lists import Lists, Wanted, shown
from .sessions import still_there

often = Sparing(logging.getLogger(__name__))

CHANNEL = "/service/agent"


@dataclass(slots=True)
class _Desk:
    """One client of an agent.

    `absences` holds what it was told of the customers of its chats: None for one who
    is present, otherwise since when he is absent. `asked` tells when the store was
    asked for that, in monotonic seconds.
    """

    agent: Agent
    absences: dict[str, float | None] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)

    def learns(self, session: Session, asked: float) -> bool:
        """Tell whether this is news of the chat's customer, and take it in.

        What was asked for before is older, whenever it comes.
        """
        if asked < self.asked.get(session.id, asked):
            return False
        since = session.absent_since
        former = self.absences.get(session.id, since)
        self.absences[session.id], self.asked[session.id] = since, asked
        return former != since

    def drop(self, session_id: str) -> None:
        """Forget a chat that is over, for this desk at least."""
        self.absences.pop(session_id, None)
        self.asked.pop(session_id, None)


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's client on its way to another node."""

    cursors: list[Reading]
    absences: dict[str, float | None] | None
    wanted: Wanted | None


class Desks:
    """The agents' clients of this node."""

    def __init__(
        self, store: Store, delivery: Delivery, clock: Clock, live: LiveConfig
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._clock = clock
        self._live = live
        self._lists = Lists(store, clock, self.post, self._look_at)
        self._desks: dict[str, _Desk] = {}
        self._dirty: set[str] = set()
        self._refreshing: asyncio.Task[None] | None = None
        store.watch(self._changed)

    def open(self, client_id: str, agent: Agent) -> None:
        """Let a client of an agent be told things from now on."""
        self._desks.setdefault(client_id, _Desk(agent))

    def post(self, client_id: str, data: bytes) -> None:
        """Tell a client, unless it is gone."""
        if client_id in self._desks:
            self._delivery.post(client_id, v2.agent_event(CHANNEL, data))

    async def show_list(
        self, client_id: str, agent: Agent, wanted: v2.ListChats
    ) -> None:
        """Tell the client which chats there are, and what becomes of them."""
        await self._lists.open(client_id, agent, wanted)

    def resume(self, old: str, new: str) -> None:
        """Let a new client of an agent go on where an old one was."""
        if desk := self._desks.pop(old, None):
            self._desks[new] = desk
        self._lists.resume(old, new)
        self._delivery.move(old, new)

    def wants(self, client_id: str) -> tuple[frozenset[State], str] | None:
        """Return which list of chats the client follows."""
        wanted = self._lists.pack(client_id)
        return None if wanted is None else (wanted.states, wanted.service)

    def pack(self, client_id: str) -> Desk:
        """Return what is kept for an agent's client, to go on at another node."""
        desk = self._desks.get(client_id)
        return Desk(
            cursors=self._delivery.pack(client_id),
            absences=None if desk is None else dict(desk.absences),
            wanted=self._lists.pack(client_id),
        )

    async def unpack(
        self, client_id: str, agent: Agent, desk: Desk, *, whole: bool
    ) -> None:
        """Go on with an agent's client that comes from another node.

        Unless `whole`, that node is gone: what waited in its mailbox is lost, and the
        agent is told anew what his list shows.

        Raises: StoreUnavailableError.
        """
        asked = self._clock.monotonic()
        if desk.absences is not None:
            self._desks[client_id] = _Desk(agent, dict(desk.absences))
        sessions = await still_there(self._store, [r.session_id for r in desk.cursors])
        for reading in desk.cursors:
            if session := sessions.get(reading.session_id):
                at = reading if whole else reading.confirmed
                self._delivery.unpack(client_id, session, _event, at)
        for session in sessions.values():
            self._tell_presence(session, asked)
        # Others were told of these while this one could not be told.
        self._look_at(self._lists.changed_since(asked) & sessions.keys())
        if desk.wanted is not None:
            told = self._dirty if whole else None
            await self._lists.unpack(client_id, agent, desk.wanted, told)

    def follow(self) -> None:
        """Remember what changed lately, for clients that come from another node and
        did not hear of it."""
        self._lists.follow()

    def forget(self, client_id: str) -> None:
        """Drop what is kept for an agent's client that is gone."""
        self._desks.pop(client_id, None)
        self._lists.forget(client_id)
        self._delivery.forget(client_id)

    async def close(self) -> None:
        """Finish telling agents what has changed."""
        if self._refreshing is not None:
            await self._refreshing

    def attach(
        self,
        client_id: str,
        session: Session,
        after: int,
        operation: v2.InChat,
        asked: float,
    ) -> None:
        """Tell a client of a chat, with whatever follows position `after`.

        `asked` (monotonic seconds): when the store was asked for the session.
        """
        if (desk := self._desks.get(client_id)) is None:
            return  # it left while the store was asked
        if session.open:  # of others there is no more news, that would end this
            desk.absences[session.id] = session.absent_since
            desk.asked[session.id] = asked
        data = v2.chat_data(
            session,
            next_position=after + 1,
            presence=True,
            local_id=operation.local_id,
        )
        self.post(client_id, data)
        self._delivery.attach(client_id, session, _event, after)
        # It may have changed while it was read, and only others were told of that.
        self._look_at({session.id})

    def dismiss(self, agent: Agent, session: Session) -> None:
        """Stop the transcript for all clients of an agent who left."""
        for client_id, desk in self._desks.items():
            if desk.agent.id == agent.id:
                self._stop(client_id, desk, session)

    def _dismiss_gone(self, session: Session) -> None:
        """Do the same for agents who left on another node.

        Supervisors go on: they may listen without taking part.
        """
        for client_id, cursor in self._delivery.watchers(session.id).items():
            desk = self._desks.get(client_id)
            if desk is None or desk.agent.role is Role.SUPERVISOR:
                continue
            # One who came in while the session was read is not in it yet.
            current = session.open and session.last >= cursor.session.last
            if current and session.participant(desk.agent.id) is None:
                self._stop(client_id, desk, session)

    def _stop(self, client_id: str, desk: _Desk, session: Session) -> None:
        desk.drop(session.id)
        self._delivery.detach(client_id, session.id)

    def _changed(self, change: Change) -> None:
        listed = shown(change)
        if change.altered or listed:
            self._lists.note(change.session_id)
        if not change.altered and not (self._lists.wanted and listed):
            return
        if self._desks:
            self._look_at({change.session_id})

    def _look_at(self, names: set[str]) -> None:
        self._dirty |= names
        if names and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        """Tell agents what changed; changes gather while the store is read."""
        while self._dirty:
            dirty, self._dirty = self._dirty, set()
            asked = self._clock.monotonic()
            # Together: a store that is far away has many at once after a fault.
            found = await asyncio.gather(*map(self._found, sorted(dirty)))
            self._tell([session for session in found if session], asked)

    async def _found(self, session_id: str) -> Session | None:
        try:
            return await self._store.get(session_id)
        except SessionNotFoundError:
            self._lists.drop(session_id)
        except StoreError:
            often.warning("a chat could not be read to tell agents of its change")
        return None

    def _tell(self, sessions: Sequence[Session], asked: float) -> None:
        self._lists.tell(sessions, asked)
        for session in sessions:
            self._dismiss_gone(session)
            self._tell_presence(session, asked)

    def _tell_presence(self, session: Session, asked: float) -> None:
        """Tell the agents of a chat that its customer went away, or came back."""
        if session.ended:
            for desk in self._desks.values():
                desk.drop(session.id)
            return
        for client_id, cursor in self._delivery.watchers(session.id).items():
            found = self._desks.get(client_id)
            if found is None or not found.learns(session, asked):
                continue
            data = v2.chat_data(
                session,
                self._notices(session),
                next_position=cursor.sent + 1,
                presence=True,
            )
            self.post(client_id, data)

    def _notices(self, session: Session) -> list[bytes]:
        options = self._live.current.service(session.service)
        text = options.agent_timeout_notification_message
        if not text or session.absent_since is None:
            return []
        return [v2.custom_notice(session, text, session.absent_since)]


def _event(session: Session, entries: Sequence[Entry]) -> bytes:
    data = v2.chat_data(session, entries, next_position=entries[-1].position + 1)
    return v2.agent_event(CHANNEL, data)
