"""The lists of chats that agents follow: what they show, and what is new to whom."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self, TypeAlias

import msgspec

from cometd_chat.clock import Clock
from cometd_chat.gms import v2
from cometd_chat.gms.v2.fields import MOST_CHATS
from cometd_chat.model import EntryKind, Session, State
from cometd_chat.store import Change, SessionNotFoundError, Store

from .identity import Agent
from .sessions import still_there

LATELY = 10.0
"""Seconds for which changes are remembered: longer than a client is under way."""

_OPEN = frozenset({State.WAITING, State.ACTIVE})

_UNTOLD = b""
"""Digest of a summary that may not have reached the client."""

_TYPING = {EntryKind.TYPING_STARTED, EntryKind.TYPING_STOPPED}

Post: TypeAlias = Callable[[str, bytes], None]
"""Tells a client: its id, and the data object."""

LookAt: TypeAlias = Callable[[set[str]], None]
"""Lets these chats be read soon, and told."""


def shown(change: Change) -> bool:
    """Tell whether a list of chats shows anything of this change."""
    return not change.entries or any(e.kind not in _TYPING for e in change.entries)


class Wanted(msgspec.Struct, frozen=True):
    """The list that an agent's client follows, on its way to another node."""

    states: frozenset[State]
    service: str
    listed: dict[str, bytes]


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

    def since(self, at: float) -> set[str]:
        """Return those that have changed since then, in monotonic seconds."""
        return {name for name, when in (self._times or {}).items() if when >= at}

    def _forget(self, now: float) -> None:
        while self._times and next(iter(self._times.values())) < now - LATELY:
            session_id, _ = self._times.popitem(last=False)
            self.lines.pop(session_id, None)


class Lists:
    """The lists that clients of this node follow."""

    def __init__(self, store: Store, clock: Clock, post: Post, look_at: LookAt) -> None:
        self._store = store
        self._clock = clock
        self._post = post
        self._look_at = look_at
        self._followed: dict[str, _List] = {}
        self._recent = Recent()

    @property
    def wanted(self) -> bool:
        """Tell whether anybody follows one."""
        return bool(self._followed)

    async def open(self, client_id: str, agent: Agent, operation: v2.ListChats) -> None:
        """Tell the client of all chats that it wants, and follow them from now on.

        Raises: SessionNotFoundError for services that are not the agent's;
        StoreUnavailableError.
        """
        states = frozenset({operation.state}) if operation.state else _OPEN
        services = {operation.service} if operation.service else agent.services
        if not all(map(agent.serves, services)):
            raise SessionNotFoundError
        wanted = _List(agent, states, operation.service)
        self._followed[client_id] = wanted
        with wanted.reading() as early:
            found = await self._store.sessions(states, services, operation.limit)
        lines = [_Line.of(session) for session in found]
        wanted.listed = {line.session.id: line.digest for line in lines}
        chats = [line.summary for line in lines]
        self._post(client_id, v2.chats_data(chats, operation.local_id))
        self._look_at(early)

    def tell(self, sessions: Sequence[Session], asked: float) -> None:
        """Tell of chats that were read after `asked` (monotonic seconds) who has to
        hear of them."""
        if not self._followed:
            return
        lines = self._lines(sessions, asked)
        told: dict[tuple[int, ...], bytes] = {}
        for client_id, wanted in list(self._followed.items()):
            if wants := tuple(n for n, line in enumerate(lines) if wanted.wants(line)):
                if wants not in told:  # many agents see the same chats
                    told[wants] = v2.chats_data([lines[n].summary for n in wants])
                self._post(client_id, told[wants])

    def drop(self, session_id: str) -> None:
        """Forget a chat that is no more."""
        for wanted in self._followed.values():
            wanted.drop(session_id)

    def forget(self, client_id: str) -> None:
        """Drop the list of a client that is gone."""
        self._followed.pop(client_id, None)

    def resume(self, old: str, new: str) -> None:
        """Let a new client follow the list of an old one."""
        if wanted := self._followed.pop(old, None):
            self._followed[new] = wanted

    # -- among nodes ----------------------------------------------------------------

    def follow(self) -> None:
        """Remember what changed lately, for clients that come from another node and
        did not hear of it."""
        self._recent.begin()

    def note(self, session_id: str) -> None:
        """Remember that a chat has changed."""
        self._recent.note(session_id, self._clock.monotonic())

    def changed_since(self, at: float) -> set[str]:
        """Return the chats that have changed since then, in monotonic seconds."""
        return self._recent.since(at)

    def pack(self, client_id: str) -> Wanted | None:
        """Return the list of a client, to go on at another node."""
        followed = self._followed.get(client_id)
        return None if followed is None else followed.packed

    async def unpack(
        self, client_id: str, agent: Agent, wanted: Wanted, later: Set[str] | None
    ) -> None:
        """Go on with the list of a client that comes from another node, and tell it
        what changed meanwhile, but for chats that will be told `later`.

        None: what it was told may not have arrived, and it is told everything anew.

        Raises: StoreUnavailableError.
        """
        known = _List(agent, wanted.states, wanted.service, dict(wanted.listed))
        self._followed[client_id] = known
        with known.reading() as early:
            if later is None:
                lines = await self._all_lines(known)
            else:
                lines = await self._recent_lines(later)
        if told := [line.summary for line in lines if known.wants(line)]:
            self._post(client_id, v2.chats_data(told))
        self._look_at(early)

    async def _all_lines(self, known: _List) -> list[_Line]:
        """Return all that the list shows or showed, and forget what was told of it."""
        known.listed = dict.fromkeys(known.listed, _UNTOLD)
        services = {known.service} if known.service else known.agent.services
        found = await self._store.sessions(known.states, services, MOST_CHATS)
        return await self._read_lines(
            known.listed.keys() | {session.id for session in found}
        )

    async def _recent_lines(self, later: Set[str]) -> list[_Line]:
        recent = self._recent
        names = recent.names(self._clock.monotonic()) - later
        lines = [recent.lines[name] for name in sorted(names & recent.lines.keys())]
        return lines + await self._read_lines(names - recent.lines.keys())

    async def _read_lines(self, names: Iterable[str]) -> list[_Line]:
        asked = self._clock.monotonic()
        sessions = await still_there(self._store, sorted(names))
        return self._lines(sessions.values(), asked)

    def _lines(self, sessions: Iterable[Session], asked: float) -> list[_Line]:
        lines = [_Line.of(session) for session in sessions]
        self._recent.know(lines, asked)
        return lines
