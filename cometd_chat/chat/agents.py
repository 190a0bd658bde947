"""What agents can do: see who waits, take a chat, write, leave, end it.

Agents speak and listen on one channel. Whatever an agent may not know of answers
like something that does not exist.
"""

import asyncio
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self, TypeAlias

import msgspec

from cometd_chat.bayeux import ABSENT, Message, RefusedError
from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.delivery import Delivery, Reading
from cometd_chat.gms import v1, v2
from cometd_chat.gms.v2.fields import MOST_CHATS
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
from .sessions import Sessions

log = logging.getLogger(__name__)

CHANNEL = "/service/agent"

LATELY = 10.0
"""Seconds for which changes are remembered: longer than a client is under way."""

_OPEN = frozenset({State.WAITING, State.ACTIVE})

_UNTOLD = b""
"""Digest of a summary that may not have reached the client."""


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


@dataclass(frozen=True, slots=True)
class _Line:
    """What lists show of a chat; `digest` is the same for the same summary, on every
    node."""

    session: Session
    summary: v2.Summary
    digest: bytes

    @classmethod
    def of(cls, session: Session) -> Self:
        summary = v2.summary(session)
        encoded = msgspec.msgpack.encode(summary)
        return cls(session, summary, hashlib.blake2b(encoded, digest_size=8).digest())


@dataclass(slots=True)
class _List:
    """What one agent's client wants to see of all chats.

    `listed` has the chats that it shows, with the digest of what was last told.
    While its chats are read, `early` has those that changed meanwhile.
    """

    agent: Agent
    states: frozenset[State]
    service: str
    listed: dict[str, bytes] = field(default_factory=dict)
    early: set[str] | None = None

    @contextmanager
    def reading(self) -> Iterator[set[str]]:
        """Tell of nothing while the chats are read, or what was read would come
        behind what is newer; yield the names of those to be looked at afterwards."""
        self.early = early = set[str]()
        try:
            yield early
        finally:
            self.early = None

    @property
    def packed(self) -> "Wanted":
        return Wanted(self.states, self.service, self.listed)

    def wants(self, line: _Line) -> bool:
        """Tell whether the client hears of this, as it was not told of it yet; once
        more when it falls out."""
        session = line.session
        if self.early is not None:
            self.early.add(session.id)
            return False
        fits = (
            session.state in self.states
            and self.agent.serves(session.service)
            and self.service in {"", session.service}
        )
        told = self.listed.pop(session.id, None)
        if not fits:
            return told is not None
        self.listed[session.id] = line.digest
        return told != line.digest

    def drop(self, session_id: str) -> None:
        """Forget a chat that is no more."""
        self.listed.pop(session_id, None)
        if self.early is not None:
            self.early.add(session_id)


@dataclass(slots=True)
class _Desk:
    """One client of an agent.

    `absences` holds what it was told of the customers of its chats: None for one who
    is present, otherwise since when he is absent.
    """

    agent: Agent
    absences: dict[str, float | None] = field(default_factory=dict)


class Wanted(msgspec.Struct, frozen=True):
    """The list that an agent's client follows, on its way to another node."""

    states: frozenset[State]
    service: str
    listed: dict[str, bytes]


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's client on its way to another node."""

    cursors: list[Reading]
    absences: dict[str, float | None] | None
    wanted: Wanted | None


class Recent:
    """The sessions that changed in the last `LATELY` seconds, once it has begun.

    `lines` has what was read of them since: clients come often, and a busy site has
    changed hundreds.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[str, float] | None = None
        self.lines: dict[str, _Line] = {}

    def begin(self) -> None:
        self._times = OrderedDict()

    def note(self, session_id: str, now: float) -> None:
        """Remember this change, at `now` in monotonic seconds."""
        if self._times is None:
            return
        self.lines.pop(session_id, None)
        self._times[session_id] = now
        self._times.move_to_end(session_id)
        self._forget(now)

    def know(self, lines: Iterable[_Line], asked: float) -> None:
        """Take in what was read; what has changed since it was asked for is older."""
        if self._times is None:
            return
        for line in lines:
            if self._times.get(line.session.id, math.inf) <= asked:
                self.lines[line.session.id] = line

    def names(self, now: float) -> set[str]:
        """Return them."""
        self._forget(now)
        return set(self._times or ())

    def _forget(self, now: float) -> None:
        while self._times and next(iter(self._times.values())) < now - LATELY:
            session_id, _ = self._times.popitem(last=False)
            self.lines.pop(session_id, None)


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
        self._lists: dict[str, _List] = {}
        self._desks: dict[str, _Desk] = {}
        self._dirty: set[str] = set()
        self._recent = Recent()
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
        if wanted := self._lists.pop(old, None):
            self._lists[new] = wanted
        self._delivery.move(old, new)

    def wants(self, client_id: str) -> tuple[frozenset[State], str] | None:
        """Return which list of chats the client follows."""
        wanted = self._lists.get(client_id)
        return None if wanted is None else (wanted.states, wanted.service)

    def pack(self, client_id: str) -> Desk:
        """Return what is kept for an agent's client, to go on at another node."""
        desk, wanted = self._desks.get(client_id), self._lists.get(client_id)
        return Desk(
            cursors=self._delivery.pack(client_id),
            absences=None if desk is None else dict(desk.absences),
            wanted=None if wanted is None else wanted.packed,
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
        sessions = await self._known(r.session_id for r in desk.cursors)
        for reading in desk.cursors:
            if session := sessions.get(reading.session_id):
                at = reading if whole else reading.confirmed
                self._delivery.unpack(client_id, session, _event, at)
        for session in sessions.values():
            self._tell_presence(session)
        if desk.wanted is not None:
            await self._watch_again(client_id, agent, desk.wanted, whole=whole)

    async def _watch_again(
        self, client_id: str, agent: Agent, wanted: "Wanted", *, whole: bool
    ) -> None:
        known = _List(agent, wanted.states, wanted.service, dict(wanted.listed))
        self._lists[client_id] = known
        with known.reading() as early:
            if whole:
                lines = await self._recent_lines()
            else:
                lines = await self._all_lines(known)
        if told := [line.summary for line in lines if known.wants(line)]:
            self._post(client_id, v2.chats_data(told))
        self._look_at(early)

    async def _all_lines(self, known: _List) -> list[_Line]:
        """Return all that the list shows or showed, and forget what was told of it.

        Raises: StoreUnavailableError.
        """
        known.listed = dict.fromkeys(known.listed, _UNTOLD)
        services = {known.service} if known.service else known.agent.services
        found = await self._store.sessions(known.states, services, MOST_CHATS)
        return await self._read_lines(
            known.listed.keys() | {session.id for session in found}
        )

    async def _recent_lines(self) -> list[_Line]:
        """Return what changed lately, but what will be told to all anyway.

        Raises: StoreUnavailableError.
        """
        recent = self._recent
        names = recent.names(self._clock.monotonic()) - self._dirty
        lines = [recent.lines[name] for name in sorted(names & recent.lines.keys())]
        return lines + await self._read_lines(names - recent.lines.keys())

    async def _read_lines(self, names: Iterable[str]) -> list[_Line]:
        asked = self._clock.monotonic()
        sessions = await self._known(sorted(names))
        return self._lines(sessions.values(), asked)

    def _lines(self, sessions: Iterable[Session], asked: float) -> list[_Line]:
        lines = [_Line.of(session) for session in sessions]
        self._recent.know(lines, asked)
        return lines

    async def _known(self, names: Iterable[str]) -> dict[str, Session]:
        """Return those of the sessions that are still there.

        Raises: StoreUnavailableError.
        """
        gets = (self._store.get(name) for name in names)
        found = await asyncio.gather(*gets, return_exceptions=True)
        for problem in found:
            if isinstance(problem, BaseException) and not isinstance(
                problem, SessionNotFoundError
            ):
                raise problem
        return {s.id: s for s in found if isinstance(s, Session)}

    def follow(self) -> None:
        """Remember what changed lately, for clients that come from another node and
        did not hear of it."""
        self._recent.begin()

    def forget(self, client_id: str) -> None:
        """Drop what is kept for an agent's client that is gone."""
        self._desks.pop(client_id, None)
        self._lists.pop(client_id, None)
        self._delivery.forget(client_id)

    async def close(self) -> None:
        """Finish telling agents what has changed."""
        if self._refreshing is not None:
            await self._refreshing

    async def _operate(
        self, client_id: str, agent: Agent, operation: v2.Operation, message: Message
    ) -> None:
        if isinstance(operation, v2.ListChats):
            await self._list(client_id, agent, operation)
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

    async def _list(
        self, client_id: str, agent: Agent, operation: v2.ListChats
    ) -> None:
        states = frozenset({operation.state}) if operation.state else _OPEN
        services = {operation.service} if operation.service else agent.services
        if not all(map(agent.serves, services)):
            raise SessionNotFoundError
        wanted = _List(agent, states, operation.service)
        self._lists[client_id] = wanted
        with wanted.reading() as early:
            found = await self._store.sessions(states, services, operation.limit)
        lines = [_Line.of(session) for session in found]
        wanted.listed = {line.session.id: line.digest for line in lines}
        chats = [line.summary for line in lines]
        self._post(client_id, v2.chats_data(chats, operation.local_id))
        self._look_at(early)

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
            notable=self._notable(session, EntryKind.JOINED),
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
            notable=operation.pushed and self._notable(session, EntryKind.MESSAGE),
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
            notable=self._notable(session, kind),
        )

    def _notable(self, session: Session, kind: EntryKind) -> bool:
        """Tell whether an agent's event may be pushed (`_filtering_chat_events`)."""
        options = self._live.current.service(session.service)
        return v1.event_name(kind) not in options.filtering_chat_events

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
        if change.altered or _listed(change):
            self._recent.note(change.session_id, self._clock.monotonic())
        if not change.altered and not (self._lists and _listed(change)):
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
            for wanted in self._lists.values():
                wanted.drop(session_id)
        except StoreUnavailableError:
            log.warning("a chat could not be read to tell agents of its change")
        return None

    def _tell(self, sessions: Sequence[Session], asked: float) -> None:
        if self._lists:
            self._tell_lists(self._lines(sessions, asked))
        for session in sessions:
            self._dismiss_gone(session)
            self._tell_presence(session)

    def _tell_lists(self, lines: Sequence[_Line]) -> None:
        told: dict[tuple[int, ...], bytes] = {}
        for client_id, wanted in list(self._lists.items()):
            if wants := tuple(n for n, line in enumerate(lines) if wanted.wants(line)):
                if wants not in told:  # many agents see the same chats
                    told[wants] = v2.chats_data([lines[n].summary for n in wants])
                self._post(client_id, told[wants])

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


_TYPING = {EntryKind.TYPING_STARTED, EntryKind.TYPING_STOPPED}


def _listed(change: Change) -> bool:
    """Tell whether a list of chats shows anything of this change."""
    return not change.entries or any(e.kind not in _TYPING for e in change.entries)


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
