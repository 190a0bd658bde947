"""What agents can do: see who waits, take a chat, write, leave, end it.

Agents speak and listen on one channel. Whatever an agent may not know of answers
like something that does not exist.
"""

import hashlib
from typing import TypeAlias

import msgspec

from cometd_chat.bayeux import ABSENT, Message, RefusedError
from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.delivery import Delivery
from cometd_chat.gms import v2
from cometd_chat.model import (
    JOINING,
    Draft,
    End,
    EntryKind,
    Join,
    Leave,
    Participant,
    Role,
    Session,
    Transition,
)
from cometd_chat.store import (
    Appended,
    Once,
    SessionDamagedError,
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    Store,
    StoreError,
    StoreUnavailableError,
    TakenError,
    TranscriptFullError,
)

from .desks import Desks
from .identity import Agent
from .limits import gms_limits
from .notable import is_notable
from .sessions import Sessions


class NotInChatError(Exception):
    """The agent must accept the chat first."""


_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    NotInChatError: (403, "Accept the chat first"),
    SessionNotFoundError: (404, "There is no such chat"),
    SessionNotOpenError: (404, "There is no such chat"),
    SessionEndedError: (410, "The chat has ended"),
    TranscriptFullError: (413, "The transcript is full"),
    SessionDamagedError: (500, "The chat is damaged"),
    StoreUnavailableError: (503, "The chat cannot be stored now"),
}

_Speech: TypeAlias = (
    v2.SendMessage | v2.StartTyping | v2.StopTyping | v2.PushUrl | v2.CustomNotice
)
_Part: TypeAlias = v2.AcceptChat | v2.RequestNotifications | v2.LeaveChat | v2.EndChat


class Agents:
    """The agents' side of every chat; what it brings is shown at their `desks`."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        desks: Desks,
        delivery: Delivery,
        clock: Clock,
        live: LiveConfig,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self.desks = desks
        self._delivery = delivery
        self._clock = clock
        self._live = live

    async def operate(self, client_id: str, agent: Agent, message: Message) -> None:
        """Carry out the operation in a publish; what it brings comes as events.

        Returning promises that what was written is stored.

        Raises: RefusedError, after an event that says the same in GMS's words.
        """
        limits = self._live.current.limits
        self.desks.open(client_id, agent)
        try:
            operation = v2.parse_operation(bytes(message.data), gms_limits(limits))
        except v2.OperationError as exc:
            self.desks.post(client_id, v2.error_data(400, str(exc)))
            raise RefusedError(400, str(exc)) from None
        try:
            await self._operate(client_id, agent, operation, message)
        except (NotInChatError, StoreError) as exc:
            raise self._refused(client_id, operation, exc) from None

    async def _operate(
        self, client_id: str, agent: Agent, operation: v2.Operation, message: Message
    ) -> None:
        if isinstance(operation, v2.ListChats):
            await self.desks.show_list(client_id, agent, operation)
            return
        asked = self._clock.monotonic()
        session = await self._session(agent, operation)
        if not agent.serves(session.service):
            raise SessionNotFoundError
        if isinstance(operation, _Part):
            await self._take_part(client_id, agent, operation, session, asked)
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
        self,
        client_id: str,
        agent: Agent,
        operation: _Part,
        session: Session,
        asked: float,
    ) -> None:
        match operation:
            case v2.AcceptChat():
                await self._accept(client_id, agent, session, operation)
            case v2.RequestNotifications(position=position):
                if agent.role is not Role.SUPERVISOR:
                    _part_of(agent, session)
                after = (position or 1) - 1
                self.desks.attach(client_id, session, after, operation, asked)
            case v2.LeaveChat():
                position = await self._leave(agent, session)
                self._answer(client_id, session, operation, position)
                self.desks.dismiss(agent, session)
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
            notable=is_notable(self._live, session.service, EntryKind.JOINED),
        )
        join = Join(
            agent_id=agent.id, role=agent.role, nickname=agent.nickname, alone=True
        )
        await self._store.append(session.id, [joined], transition=join)
        asked = self._clock.monotonic()
        session = await self._store.get(session.id)
        self.desks.attach(client_id, session, 0, operation, asked)

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
            and is_notable(self._live, session.service, EntryKind.MESSAGE),
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
            notable=is_notable(self._live, session.service, kind),
        )

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
        self.desks.post(client_id, data)

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
        self.desks.post(client_id, data)
        return RefusedError(code, text)


def _told(draft: Draft, operation: v2.Telling) -> Draft:
    """Return the draft with what the agent wants of its push."""
    notable = draft.notable and operation.pushed
    return msgspec.structs.replace(draft, notable=notable, push=operation.push)


def _part_of(agent: Agent, session: Session) -> Participant:
    if part := session.participant(agent.id):
        return part
    raise NotInChatError


def _words(exc: Exception) -> tuple[int, str]:
    if isinstance(exc, TakenError):
        return 409, f"{exc.by.nickname} has this chat"
    return _REFUSALS.get(type(exc), (400, "This cannot be stored"))
