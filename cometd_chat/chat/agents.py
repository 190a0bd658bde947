"""What agents can do: see who waits, take a chat, write, leave, end it.

Agents speak and listen on one channel. Whatever an agent may not know of answers
like something that does not exist.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from cometd_chat.bayeux import ABSENT, Message, RefusedError
from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.delivery import Delivery, Reading
from cometd_chat.gms import v2
from cometd_chat.model import (
    JOINING,
    Draft,
    End,
    Entry,
    EntryKind,
    Join,
    Leave,
    Participant,
    Role,
    Session,
    State,
    Transition,
)
from cometd_chat.store import (
    Appended,
    Change,
    Once,
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    Store,
    StoreError,
    StoreUnavailableError,
    TakenError,
    TranscriptFullError,
)

from .identity import Agent
from .limits import gms_limits
from .lists import Lists, Wanted, shown
from .notable import is_notable
from .sessions import Sessions, still_there

log = logging.getLogger(__name__)

CHANNEL = "/service/agent"


class NotInChatError(Exception):
    """The agent must accept the chat first."""


_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    NotInChatError: (403, "Accept the chat first"),
    SessionNotFoundError: (404, "There is no such chat"),
    SessionNotOpenError: (404, "There is no such chat"),
    SessionEndedError: (410, "The chat has ended"),
    TranscriptFullError: (413, "The transcript is full"),
    StoreUnavailableError: (503, "The chat cannot be stored now"),
}


@dataclass(slots=True)
class _Desk:
    """One client of an agent.

    `absences` holds what it was told of the customers of its chats: None for one who
    is present, otherwise since when he is absent.
    """

    agent: Agent
    absences: dict[str, float | None] = field(default_factory=dict)


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's client on its way to another node."""

    cursors: list[Reading]
    absences: dict[str, float | None] | None
    wanted: Wanted | None


_Speech: TypeAlias = (
    v2.SendMessage | v2.StartTyping | v2.StopTyping | v2.PushUrl | v2.CustomNotice
)
_Part: TypeAlias = v2.AcceptChat | v2.RequestNotifications | v2.LeaveChat | v2.EndChat


class Agents:
    """The agents' side of every chat, for the agents' clients of this node."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        delivery: Delivery,
        clock: Clock,
        live: LiveConfig,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._delivery = delivery
        self._clock = clock
        self._live = live
        self._lists = Lists(store, clock, self._post, self._look_at)
        self._desks: dict[str, _Desk] = {}
        self._dirty: set[str] = set()
        self._refreshing: asyncio.Task[None] | None = None
        store.watch(self._changed)

    async def operate(self, client_id: str, agent: Agent, message: Message) -> None:
        """Carry out the operation in a publish; what it brings comes as events.

        Returning promises that what was written is stored.

        Raises: RefusedError, after an event that says the same in GMS's words.
        """
        limits = self._live.current.limits
        self._desks.setdefault(client_id, _Desk(agent))
        try:
            operation = v2.parse_operation(bytes(message.data), gms_limits(limits))
        except v2.OperationError as exc:
            self._post(client_id, v2.error_data(400, str(exc)))
            raise RefusedError(400, str(exc)) from None
        try:
            await self._operate(client_id, agent, operation, message)
        except (NotInChatError, StoreError) as exc:
            raise self._refused(client_id, operation, exc) from None

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
        if desk.absences is not None:
            self._desks[client_id] = _Desk(agent, dict(desk.absences))
        sessions = await still_there(self._store, [r.session_id for r in desk.cursors])
        for reading in desk.cursors:
            if session := sessions.get(reading.session_id):
                at = reading if whole else reading.confirmed
                self._delivery.unpack(client_id, session, _event, at)
        for session in sessions.values():
            self._tell_presence(session)
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

    async def _operate(
        self, client_id: str, agent: Agent, operation: v2.Operation, message: Message
    ) -> None:
        if isinstance(operation, v2.ListChats):
            await self._lists.open(client_id, agent, operation)
            return
        session = await self._session(agent, operation)
        if not agent.serves(session.service):
            raise SessionNotFoundError
        if isinstance(operation, _Part):
            await self._take_part(client_id, agent, operation, session)
        else:
            await self._speak(client_id, agent, operation, session, message)

    async def _session(self, agent: Agent, operation: v2.InChat) -> Session:
        """Return the chat; what is remembered of it is enough for one who speaks."""
        if isinstance(operation, _Speech):
            session = await self._sessions.get(operation.chat_id)
            if session.open and session.participant(agent.id):
                return session
        return await self._store.get(operation.chat_id)

    async def _take_part(
        self, client_id: str, agent: Agent, operation: _Part, session: Session
    ) -> None:
        match operation:
            case v2.AcceptChat():
                await self._accept(client_id, agent, session, operation)
            case v2.RequestNotifications(position=position):
                if agent.role is not Role.SUPERVISOR:
                    _part_of(agent, session)
                self._attach(client_id, session, (position or 1) - 1, operation)
            case v2.LeaveChat():
                position = await self._leave(agent, session)
                self._answer(client_id, session, operation, position)
                self._dismiss(agent, session)
            case v2.EndChat():
                done = await self._go(agent, session, End())
                self._answer(client_id, session, operation, done.position)

    async def _accept(
        self, client_id: str, agent: Agent, session: Session, operation: v2.AcceptChat
    ) -> None:
        joined = Draft(
            kind=EntryKind.JOINED,
            role=agent.role,
            participant=JOINING,
            nickname=agent.nickname,
            at=self._clock.time(),
            notable=is_notable(self._live, session, EntryKind.JOINED),
        )
        join = Join(
            agent_id=agent.id, role=agent.role, nickname=agent.nickname, alone=True
        )
        await self._store.append(session.id, [joined], transition=join)
        session = await self._store.get(session.id)
        self._attach(client_id, session, 0, operation)

    async def _leave(self, agent: Agent, session: Session) -> int:
        """Leave, unless he has left already, perhaps without hearing of it."""
        if session.participant(agent.id) is None:
            return 0
        return (await self._go(agent, session, Leave(agent_id=agent.id))).position

    async def _go(
        self, agent: Agent, session: Session, transition: Transition
    ) -> Appended:
        part = _part_of(agent, session)
        left = self._draft(session, part, EntryKind.LEFT)
        return await self._store.append(session.id, [left], transition=transition)

    def _dismiss(self, agent: Agent, session: Session) -> None:
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
        desk.absences.pop(session.id, None)
        self._delivery.detach(client_id, session.id)

    async def _speak(
        self,
        client_id: str,
        agent: Agent,
        operation: _Speech,
        session: Session,
        message: Message,
    ) -> None:
        part = _part_of(agent, session)
        draft = self._spoken(session, part, operation)
        once = self._once(agent, operation.local_id, client_id, message)
        if not operation.local_id:
            await self._store.append(session.id, [draft], once=once)
            return
        # The entry and its receipt in one response, or they would cost two polls.
        with self._delivery.together(client_id):
            done = await self._store.append(session.id, [draft], once=once)
            self._answer(client_id, session, operation, done.position)

    def _once(
        self, agent: Agent, local_id: str, client_id: str, message: Message
    ) -> Once | None:
        """Name the publish, so that a repeat is stored once.

        Clients that get no answer send again with the same id; but ids alone are
        used anew after a page was loaded again, so the content belongs to the name.
        """
        if local_id:
            return Once(key=f"agent:{agent.id}:{local_id}")
        if message.id is ABSENT:
            return None
        content = hashlib.sha256(bytes(message.id) + b"\0" + bytes(message.data))
        window = self._live.current.bayeux.publish_window
        return Once(key=f"bayeux:{client_id}:{content.hexdigest()}", window=window)

    def _spoken(self, session: Session, part: Participant, operation: _Speech) -> Draft:
        match operation:
            case v2.SendMessage():
                return self._message(session, part, operation)
            case v2.PushUrl(url=url):
                page = self._draft(session, part, EntryKind.PUSH_URL, url)
                return _told(page, operation)
            case v2.CustomNotice(text=text):
                notice = self._draft(session, part, EntryKind.CUSTOM_NOTICE, text)
                return _told(notice, operation)
            case v2.StartTyping():
                return self._draft(session, part, EntryKind.TYPING_STARTED)
            case v2.StopTyping():
                return self._draft(session, part, EntryKind.TYPING_STOPPED)

    def _message(
        self, session: Session, part: Participant, operation: v2.SendMessage
    ) -> Draft:
        return Draft(
            kind=EntryKind.MESSAGE,
            role=part.role,
            participant=part.number,
            nickname=part.nickname,
            at=self._clock.time(),
            text=operation.text,
            message_type=operation.message_type,
            notable=operation.pushed
            and is_notable(self._live, session, EntryKind.MESSAGE),
            push=operation.push,
        )

    def _draft(
        self, session: Session, part: Participant, kind: EntryKind, text: str = ""
    ) -> Draft:
        return Draft(
            kind=kind,
            role=part.role,
            participant=part.number,
            nickname=part.nickname,
            at=self._clock.time(),
            text=text,
            notable=is_notable(self._live, session, kind),
        )

    def _attach(
        self, client_id: str, session: Session, after: int, operation: v2.InChat
    ) -> None:
        if (desk := self._desks.get(client_id)) is None:
            return  # it left while the store was asked
        desk.absences[session.id] = session.absent_since
        data = v2.chat_data(
            session,
            next_position=after + 1,
            presence=True,
            local_id=operation.local_id,
        )
        self._post(client_id, data)
        self._delivery.attach(client_id, session, _event, after)

    def _answer(
        self, client_id: str, session: Session, operation: v2.InChat, position: int
    ) -> None:
        """Tell that the operation is done; the entries themselves come apart."""
        cursor = self._delivery.cursors(client_id).get(session.id)
        sent = cursor.sent if cursor else session.last
        data = v2.chat_data(
            session,
            next_position=sent + 1,
            local_id=operation.local_id,
            position=position,
        )
        self._post(client_id, data)

    def _post(self, client_id: str, data: bytes) -> None:
        if client_id in self._desks:
            self._delivery.post(client_id, v2.agent_event(CHANNEL, data))

    def _refused(
        self, client_id: str, operation: v2.Operation, exc: Exception
    ) -> RefusedError:
        code, text = _words(exc)
        data = v2.error_data(
            code,
            text,
            chat_id=operation.chat_id if isinstance(operation, v2.InChat) else "",
            retry=isinstance(exc, StoreUnavailableError),
            local_id=operation.local_id,
        )
        self._post(client_id, data)
        return RefusedError(code, text)

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
        except StoreUnavailableError:
            log.warning("a chat could not be read to tell agents of its change")
        return None

    def _tell(self, sessions: Sequence[Session], asked: float) -> None:
        self._lists.tell(sessions, asked)
        for session in sessions:
            self._dismiss_gone(session)
            self._tell_presence(session)

    def _tell_presence(self, session: Session) -> None:
        """Tell the agents of a chat that its customer went away, or came back."""
        if session.ended:
            return
        since = session.absent_since
        for client_id, cursor in self._delivery.watchers(session.id).items():
            desk = self._desks.get(client_id)
            if desk is None or desk.absences.get(session.id, since) == since:
                continue
            desk.absences[session.id] = since
            data = v2.chat_data(
                session,
                self._notices(session),
                next_position=cursor.sent + 1,
                presence=True,
            )
            self._post(client_id, data)

    def _notices(self, session: Session) -> list[bytes]:
        options = self._live.current.service(session.service)
        text = options.agent_timeout_notification_message
        if not text or session.absent_since is None:
            return []
        return [v2.custom_notice(session, text, session.absent_since)]


def _told(draft: Draft, operation: v2.Telling) -> Draft:
    """Return the draft with what the agent wants of its push."""
    notable = draft.notable and operation.pushed
    return msgspec.structs.replace(draft, notable=notable, push=operation.push)


def _event(session: Session, entries: Sequence[Entry]) -> bytes:
    data = v2.chat_data(session, entries, next_position=entries[-1].position + 1)
    return v2.agent_event(CHANNEL, data)


def _part_of(agent: Agent, session: Session) -> Participant:
    if part := session.participant(agent.id):
        return part
    raise NotInChatError


def _words(exc: Exception) -> tuple[int, str]:
    if isinstance(exc, TakenError):
        return 409, f"{exc.by.nickname} has this chat"
    return _REFUSALS.get(type(exc), (400, "This cannot be stored"))
