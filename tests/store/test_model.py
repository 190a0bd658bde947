"""Whatever happens to a store, it agrees with a few lines of plain Python.

The model keeps each rule of the `Store` protocol in its shortest form, and derives
what is due from the transcript each time, where a store has to keep it up to date.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cometd_chat.model import (
    JOINING,
    Draft,
    End,
    EntryKind,
    Leave,
    Role,
    State,
    Transition,
)
from cometd_chat.store import (
    Due,
    Once,
    SessionEndedError,
    SessionNotOpenError,
    Store,
    TakenError,
)
from tests.store.conftest import Place
from tests.store.facts import DEVICE, asks, joins, new, said

T = TypeVar("T")
NAMES = ("a", "b")
NAME = st.sampled_from(NAMES)
CLIENT = st.sampled_from(("phone", "tablet"))
AGENT = st.sampled_from(("ann", "bo", "cy"))
SPAN = st.integers(0, 40).map(float)
POSITION = st.integers(-1, 12)
DRAFT = st.tuples(
    st.sampled_from(
        (EntryKind.MESSAGE, EntryKind.TYPING_STARTED, EntryKind.FILE_UPLOADED)
    ),
    st.sampled_from((Role.CUSTOMER, Role.AGENT)),
    st.booleans(),
    st.integers(-5, 5),
)


FACTS = ("last", "last_text", "unread", "acked", "announced", "notable")


@dataclass
class Chat:
    """One session of the model."""

    state: State = State.NEW
    entries: list[Draft] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    agents: dict[str, int] = field(default_factory=dict)
    seats: int = 1
    leases: dict[str, float] = field(default_factory=dict)
    acked: int = 0
    announced: int = 0
    absent_since: float | None = None
    pushes: int = 0
    lease: float = 0.0

    @property
    def last(self) -> int:
        return len(self.entries)

    @property
    def open(self) -> bool:
        return self.state in {State.WAITING, State.ACTIVE}

    @property
    def unread(self) -> int:
        count = 0
        for draft in self.entries:
            if draft.role is Role.AGENT and draft.kind in {
                "Message",
                "ParticipantJoined",
            }:
                count = 0
            elif draft.role is Role.CUSTOMER and draft.kind in {
                "Message",
                "FileUploaded",
            }:
                count += 1
        return count

    @property
    def last_text(self) -> str:
        texts = [d.text for d in self.entries if d.kind is EntryKind.MESSAGE]
        return texts[-1] if texts else ""

    @property
    def notable(self) -> int:
        return max((n for n, d in enumerate(self.entries, 1) if d.notable), default=0)

    @property
    def unheard_since(self) -> float | None:
        heard = max(self.acked, self.announced)
        for position in range(heard + 1, self.last + 1):
            if self.absent_since is not None and self.entries[position - 1].notable:
                return max(self.absent_since, self.times[position - 1])
        return None

    def due(self, now: float, delay: float) -> bool:
        since = self.unheard_since
        if since is None or self.lease > now:
            return False
        return since + (0 if self.pushes else delay) <= now

    def vanish(self, at: float) -> None:
        self.absent_since, self.pushes, self.lease = at, 0, 0.0

    def store(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            self.times.append(max([draft.at, *self.times[-1:]]))
            self.entries.append(draft)

    def refusal(self, transition: Transition | None) -> type[Exception] | str | None:
        """Say how a transition ends: an error, a "repeat" or, with None, well."""
        match transition:
            case None | End() if self.state is State.NEW:
                return SessionNotOpenError
            case End() if self.state is State.ENDED:
                return "repeat"
            case None | End():
                return SessionEndedError if self.state is State.ENDED else None
            case _:
                return self._refused_person(transition)

    def _refused_person(self, transition: Any) -> type[Exception] | str | None:
        is_in = transition.agent_id in self.agents
        if self.state is State.NEW:
            return SessionNotOpenError
        if is_in is not isinstance(transition, Leave):
            return "repeat"
        if self.state is State.ENDED:
            return SessionEndedError
        alone = not isinstance(transition, Leave) and transition.alone
        return TakenError if alone and self.agents else None


class Machine(RuleBasedStateMachine):
    def __init__(self, place: Place, number: int) -> None:
        super().__init__()
        self.place = place
        self.prefix = f"{number}-"
        self.service = f"service-{number}"
        self.runner = asyncio.Runner()
        self.store: Store = self.run(self.reopened())
        self.chats = {name: Chat() for name in NAMES}
        self.lent: list[tuple[str, Due]] = []
        self.now = 100.0
        for name in NAMES:
            session = new(self.id(name), service=self.service)
            self.run(self.store.create(session))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def reopened(self) -> Store:
        return await self.place()

    def id(self, name: str) -> str:
        return self.prefix + name

    @rule(span=st.integers(1, 60))
    def time_passes(self, span: int) -> None:
        self.now += span

    @rule(name=NAME)
    def open(self, name: str) -> None:
        chat = self.chats[name]
        wish = asks(device=DEVICE)
        got = self.run(self.store.append(self.id(name), [], transition=wish))
        assert got.repeated == (chat.state is not State.NEW)
        if chat.state is State.NEW:
            chat.state = State.WAITING

    @rule(
        name=NAME,
        drafts=st.lists(DRAFT, max_size=3),
        key=st.sampled_from(("", "", "k1", "k2", "k3")),
        window=st.sampled_from((None, 30.0)),
    )
    def append(
        self, name: str, drafts: list[Any], key: str, window: float | None
    ) -> None:
        chat = self.chats[name]
        made = [self.draft(*facts) for facts in drafts]
        once = Once(key=key, window=window) if key else None
        moment = made[-1].at if made else (chat.times or [0.0])[-1]
        first, last, at = chat.keys.get(key, (0, 0, 0.0))
        if first and (window is None or moment - at < window):
            got = self.run(self.store.append(self.id(name), made, once=once))
            assert got.repeated
            assert [e.position for e in got.entries] == list(range(first, last + 1))
            return
        if key and chat.open:
            chat.keys[key] = (chat.last + 1, chat.last + len(made), moment)
        self.apply(name, made, None, once)

    def draft(self, kind: EntryKind, role: Role, notable: bool, skew: int) -> Draft:
        return said(
            f"{self.now}", self.now + skew, kind=kind, role=role, notable=notable
        )

    def apply(
        self,
        name: str,
        drafts: list[Draft],
        transition: Transition | None,
        once: Once | None = None,
    ) -> bool:
        """Append to both; return whether it was done (no error, no repeat)."""
        chat = self.chats[name]
        expected = chat.refusal(transition)
        work = self.store.append(
            self.id(name), drafts, transition=transition, once=once
        )
        if isinstance(expected, type):
            with suppress(expected):
                self.run(work)
                raise AssertionError(f"{expected} was not raised")
            return False
        got = self.run(work)
        assert got.repeated == (expected == "repeat")
        if expected is None:
            assert len(got.entries) == len(drafts)
            chat.store(drafts)
        return expected is None

    @rule(name=NAME, agent=AGENT, alone=st.booleans())
    def join(self, name: str, agent: str, alone: bool) -> None:
        chat = self.chats[name]
        arrival = said(
            "", self.now, kind=EntryKind.JOINED, role=Role.AGENT, participant=JOINING
        )
        if self.apply(name, [arrival], joins(agent, alone=alone)):
            chat.seats += 1
            chat.agents[agent] = chat.seats
            chat.state = State.ACTIVE
            (entry,) = self.run(self.store.read(self.id(name), chat.last - 1))
            assert entry.participant == chat.seats

    @rule(name=NAME, agent=AGENT)
    def leave(self, name: str, agent: str) -> None:
        chat = self.chats[name]
        if self.apply(name, [], Leave(agent_id=agent)):
            del chat.agents[agent]
            chat.state = State.ACTIVE if chat.agents else State.WAITING

    @precondition(lambda self: self.now > 500)
    @rule(name=NAME)
    def end(self, name: str) -> None:
        if self.apply(name, [said("bye", self.now)], End()):
            self.chats[name].state = State.ENDED

    @rule(name=NAME, client=CLIENT, span=SPAN, acked=POSITION)
    def present(self, name: str, client: str, span: float, acked: int) -> None:
        chat = self.chats[name]
        until = self.now + span
        came = self.run(
            self.store.mark_present(self.id(name), client, until, acked=acked)
        )
        assert came == (chat.absent_since is not None)
        chat.leases[client] = max(chat.leases.get(client, 0.0), until)
        chat.acked = max(chat.acked, min(acked, chat.last))
        if came:
            chat.absent_since, chat.pushes, chat.lease = None, 0, 0.0

    @rule(name=NAME, client=CLIENT, acked=POSITION, word=st.none() | POSITION)
    def absent(self, name: str, client: str, acked: int, word: int | None) -> None:
        chat = self.chats[name]
        went = self.run(
            self.store.mark_absent(
                self.id(name), client, self.now, acked=acked, position=word
            )
        )
        if client in chat.leases:
            chat.leases[client] = min(chat.leases[client], self.now)
        chat.acked = max(chat.acked, min(acked, chat.last))
        if word is not None:
            chat.acked = max(0, min(word, chat.last))
        others = any(until > self.now for until in chat.leases.values())
        assert went == (chat.open and chat.absent_since is None and not others)
        if went:
            chat.vanish(self.now)

    @rule()
    def expire(self) -> None:
        got = self.run(self.store.expire_presence(self.now, limit=10_000))
        over = [
            name
            for name, chat in self.chats.items()
            if chat.open
            and chat.absent_since is None
            and chat.leases
            and max(chat.leases.values()) <= self.now
        ]
        mine = {s.id for s in got if s.id.startswith(self.prefix)}
        assert mine == {self.id(name) for name in over}
        for name in over:
            self.chats[name].vanish(self.now)

    @rule(name=NAME, position=POSITION)
    def acknowledge(self, name: str, position: int) -> None:
        chat = self.chats[name]
        self.run(self.store.acknowledge(self.id(name), position))
        chat.acked = max(chat.acked, min(position, chat.last))

    @rule(delay=SPAN, lease=st.integers(1, 30))
    def claim(self, delay: float, lease: int) -> None:
        got = self.run(self.store.claim_due(self.service, self.now, delay, lease))
        due = {n for n, chat in self.chats.items() if chat.due(self.now, delay)}
        assert {one.session.id for one in got} == {self.id(name) for name in due}
        for one in got:
            assert one.lease == self.now + lease
            name = one.session.id.removeprefix(self.prefix)
            self.chats[name].lease = one.lease
            self.lent.append((name, one))

    @precondition(lambda self: self.lent)
    @rule(pick=st.integers(0, 99), position=POSITION)
    def announce(self, pick: int, position: int) -> None:
        name, due = self.lent[pick % len(self.lent)]
        chat = self.chats[name]
        held = self.run(self.store.mark_announced(due, position))
        assert held == (chat.lease == due.lease)
        chat.announced = max(chat.announced, min(position, chat.last))
        if held:
            chat.pushes += 1
            chat.lease = 0.0

    @precondition(lambda self: self.lent)
    @rule(pick=st.integers(0, 99), span=SPAN)
    def postpone(self, pick: int, span: float) -> None:
        name, due = self.lent[pick % len(self.lent)]
        chat = self.chats[name]
        held = self.run(self.store.postpone(due, self.now + span))
        assert held == (chat.lease == due.lease)
        if held:
            chat.lease = self.now + span

    @rule()
    def reopen(self) -> None:
        self.run(self.store.close())
        self.store = self.run(self.reopened())

    @rule(name=NAME, after=st.integers(0, 8), limit=st.integers(0, 5))
    def read(self, name: str, after: int, limit: int) -> None:
        chat = self.chats[name]
        got = self.run(self.store.read(self.id(name), after, limit))
        newest = min(chat.last, after + limit)
        assert [e.position for e in got] == list(range(after + 1, newest + 1))
        assert [e.text for e in got] == [d.text for d in chat.entries[after:newest]]
        assert [e.at for e in got] == chat.times[after:newest]

    @invariant()
    def agrees(self) -> None:
        for name, chat in self.chats.items():
            session = self.run(self.store.get(self.id(name)))
            assert session.state is chat.state
            assert session.absent_since == chat.absent_since
            assert {p.id: p.number for p in session.agents} == chat.agents
            for fact in FACTS:
                assert getattr(session, fact) == getattr(chat, fact), fact

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()


def test_a_store_agrees_with_its_model(place: Place) -> None:
    examples = iter(range(1_000_000))
    run_state_machine_as_test(
        lambda: Machine(place, next(examples)),  # type: ignore[arg-type]  # as good as a class
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
