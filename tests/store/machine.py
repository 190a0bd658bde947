"""A few lines of plain Python with which a store has to agree, and how it is tried.

The model keeps each rule of the `Store` protocol in its shortest form, and derives
what is due from the transcript each time, where a store has to keep it up to date.
What is done to both is in test_model.py and test_model_push.py.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
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
    Device,
    Draft,
    End,
    EntryKind,
    Leave,
    NewJob,
    PushOverride,
    Role,
    State,
    Transition,
)
from cometd_chat.store import (
    ConflictError,
    Due,
    Once,
    SessionEndedError,
    SessionNotOpenError,
    Store,
    StoreUnavailableError,
    TakenError,
)
from tests.store.conftest import Place
from tests.store.facts import asks, new, phone, push, said

T = TypeVar("T")
NAMES = ("a", "b")
NAME = st.sampled_from(NAMES)
CLIENT = st.sampled_from(("phone", "tablet"))
USER = st.sampled_from(("", "kim", "lee"))
TOKEN = st.sampled_from(("x", "y"))
SPAN = st.integers(0, 40).map(float)
POSITION = st.integers(-1, 12)
LEASE = 10.0
TRIES = 3
"""How often a store is opened again that was not there."""
PLAN = st.tuples(st.sampled_from((-5, 0, 5)), st.integers(10, 90), st.booleans())
"""When a job is ready, for how long it makes sense, and whether it is silent."""

FACTS = ("last", "last_text", "unread", "acked", "announced", "notable", "pushes")


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
    told: int = 0
    absent_since: float | None = None
    pushes: int = 0
    lease: float = 0.0
    user: str = ""
    devices: dict[str, Device] = field(default_factory=dict)
    base: int = 0
    base_at: float = 0.0
    badged: bool = False
    badge_lease: float = 0.0

    @property
    def last(self) -> int:
        return len(self.entries)

    @property
    def open(self) -> bool:
        return self.state in {State.WAITING, State.ACTIVE}

    @property
    def awaited(self) -> bool:
        """Tell whether the customer's absence means anything."""
        parted = self.state is State.ENDED and self.acked < self.notable
        return self.open or parted

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

    @property
    def reachable(self) -> bool:
        return any(not device.muted for device in self.devices.values())

    @property
    def badge(self) -> int:
        unread = [draft for draft in self.entries[self.acked :] if draft.notable]
        return self.base + sum(not (d.push and d.push.uncounted) for d in unread)

    def register(self, device: Device, at: float) -> None:
        self.devices.pop(device.id, None)
        self.devices[device.id] = replace(device, registered_at=at)

    def due(self, now: float, delay: float) -> bool:
        since = self.unheard_since
        if since is None or self.lease > now or not self.reachable:
            return False
        return since + (0 if self.pushes else delay) <= now

    @property
    def lower(self) -> bool:
        """Tell whether devices may show a badge that went down."""
        return self.badged and self.acked >= self.notable

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


@dataclass
class Pending:
    """One job of the model."""

    name: str
    job: NewJob
    not_before: float
    lease: float = 0.0
    attempts: int = 0

    @property
    def ready_at(self) -> float:
        return max(self.not_before, self.lease)


class Machine(RuleBasedStateMachine):
    """Two sessions in a store and in the model, and what may happen to any."""

    def __init__(self, place: Place, number: int) -> None:
        super().__init__()
        self.place = place
        self.prefix = f"{number}-"
        self.service = f"service-{number}"
        self.runner = asyncio.Runner()
        self.store: Store = self.run(self.reopened())
        self.chats = {name: Chat() for name in NAMES}
        self.lent: list[tuple[str, Due]] = []
        self.provider = f"provider-{number}"
        self.jobs: dict[str, Pending] = {}
        self.numbers = count()
        self.now = 100.0
        for name in NAMES:
            session = new(self.id(name), service=self.service)
            self.run(self.store.create(session))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def reopened(self) -> Store:
        for _ in range(TRIES):
            # A machine that is full may be too slow to open a connection in time.
            with suppress(StoreUnavailableError):
                return await self.place()
        return await self.place()

    def id(self, name: str) -> str:
        return self.prefix + name

    @rule(span=st.integers(1, 60))
    def time_passes(self, span: int) -> None:
        self.now += span

    def tick(self) -> None:
        """A loan is known by its end: no two are made in the same moment."""
        self.now += 1 / 64

    @rule(name=NAME, token=st.none() | TOKEN, user=USER)
    def open(self, name: str, token: str | None, user: str) -> None:
        chat = self.chats[name]
        device = self.device(token) if token else None
        user = user and self.id(user)
        wish = asks(device=device, user=user)
        got = self.run(self.store.append(self.id(name), [], transition=wish))
        assert got.repeated == (chat.state is not State.NEW)
        if chat.state is State.NEW:
            chat.state = State.WAITING
            chat.user = user
            if device:
                chat.register(device, 1.0)
            for known in list(chat.devices):
                self.taken(name, known)
            self.equipped(name)

    def device(self, token: str, **facts: object) -> Device:
        return phone(self.id(token), **facts)

    def taken(self, name: str, device_id: str) -> None:
        """A device becomes this session's, and nobody's of another user."""
        user = self.chats[name].user
        for other, chat in self.chats.items():
            same = user and chat.user == user
            if other != name and device_id in chat.devices and not same:
                del chat.devices[device_id]
                self.equipped(other)

    def equipped(self, name: str) -> None:
        """The devices of a session have changed."""
        chat = self.chats[name]
        chat.lease = chat.badge_lease = 0.0
        for job_id, pending in list(self.jobs.items()):
            device = chat.devices.get(pending.job.device.id)
            silent = pending.job.silent
            kept = device is not None and (silent or not device.muted)
            if pending.name == name and not kept:
                del self.jobs[job_id]

    def draft(self, kind: EntryKind, role: Role, notable: bool, skew: int) -> Draft:
        return said(
            f"{self.now}",
            self.now + skew,
            kind=kind,
            role=role,
            notable=notable,
            push=PushOverride(title=f"{skew}", uncounted=skew < 0) if skew else None,
        )

    def apply(
        self,
        name: str,
        drafts: list[Draft],
        transition: Transition | None,
        once: Once | None = None,
        expected: int | None = None,
    ) -> bool:
        """Append to both; return whether it was done (no error, no repeat)."""
        chat = self.chats[name]
        outcome = chat.refusal(transition)
        if outcome is None and expected not in {None, chat.last}:
            outcome = ConflictError
        work = self.store.append(
            self.id(name), drafts, transition=transition, once=once, expected=expected
        )
        if isinstance(outcome, type):
            with suppress(outcome):
                self.run(work)
                raise AssertionError(f"{outcome} was not raised")
            return False
        got = self.run(work)
        assert got.repeated == (outcome == "repeat")
        if outcome is None:
            assert len(got.entries) == len(drafts)
            chat.store(drafts)
        return outcome is None

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
        chat.base = 0
        kept = {
            job_id: pending
            for job_id, pending in self.jobs.items()
            if pending.name != name or pending.job.silent
        }
        if len(kept) < len(self.jobs):
            chat.announced = min(chat.announced, chat.told)
        self.jobs = kept

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
        assert went == (chat.awaited and chat.absent_since is None and not others)
        if went:
            chat.vanish(self.now)

    @rule()
    def expire(self) -> None:
        got = self.run(self.store.expire_presence(self.now, limit=10_000))
        over = [
            name
            for name, chat in self.chats.items()
            if chat.awaited
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

    @rule(delay=SPAN)
    def claim(self, delay: float) -> None:
        self.tick()
        got = self.run(self.store.claim_due(self.service, self.now, delay, LEASE))
        due = {n for n, chat in self.chats.items() if chat.due(self.now, delay)}
        assert {one.session.id for one in got} == {self.id(name) for name in due}
        for one in got:
            assert one.lease == self.now + LEASE
            name = one.session.id.removeprefix(self.prefix)
            self.chats[name].lease = one.lease
            self.lent.append((name, one))

    @precondition(lambda self: self.lent)
    @rule(pick=st.integers(0, 99), position=POSITION, plans=st.lists(PLAN, max_size=2))
    def announce(self, pick: int, position: int, plans: list[Any]) -> None:
        name, due = self.lent[-1 - pick % len(self.lent)]
        chat = self.chats[name]
        jobs = [
            self.planned(device, *plan)
            for device in due.session.devices
            if not device.muted
            for plan in plans
        ]
        held = self.run(self.store.announce(due, position, jobs))
        assert held == (chat.lease == due.lease)
        if held:
            chat.announced = max(chat.announced, min(position, chat.last))
            chat.pushes += 1
            chat.lease = 0.0
            self.queued(name, jobs)

    def queued(self, name: str, jobs: list[NewJob]) -> None:
        for job_id, old in list(self.jobs.items()):
            if old.name == name and old.job.silent:
                del self.jobs[job_id]
        for job in jobs:
            pending = Pending(name=name, job=job, not_before=job.not_before)
            self.jobs[job.id] = pending

    def planned(self, device: Device, wait: int, life: int, silent: bool) -> NewJob:
        start = self.now + wait
        return push(
            self.id(f"job-{next(self.numbers)}"),
            device=device,
            provider=self.provider,
            not_before=start,
            expires_at=start + life,
            silent=silent,
        )

    def badge(self, name: str) -> int:
        chat = self.chats[name]
        others = [
            other.badge
            for key, other in self.chats.items()
            if key != name and other.open and chat.user and other.user == chat.user
        ]
        return chat.badge + sum(others)

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

    @invariant()
    def agrees(self) -> None:
        for name, chat in self.chats.items():
            session = self.run(self.store.get(self.id(name)))
            assert session.state is chat.state
            assert session.absent_since == chat.absent_since
            assert {p.id: p.number for p in session.agents} == chat.agents
            assert session.devices == tuple(chat.devices.values())
            assert self.run(self.store.badge(self.id(name))) == self.badge(name)
            for fact in FACTS:
                assert getattr(session, fact) == getattr(chat, fact), fact

    @invariant()
    def knows_what_is_left(self) -> None:
        providers = self.run(self.store.job_providers())
        assert (self.provider in providers) == bool(self.jobs)
        services = self.run(self.store.unheard_services())
        unheard = any(
            chat.reachable and chat.unheard_since is not None
            for chat in self.chats.values()
        )
        assert (self.service in services) == unheard

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()


def explore(kind: type[Machine], place: Place, steps: int = 40) -> None:
    """Do all sorts of things in any order, and compare after each.

    Raises: AssertionError, with the shortest story that leads to it.
    """
    examples = iter(range(1_000_000))
    run_state_machine_as_test(
        lambda: kind(place, next(examples)),  # type: ignore[arg-type]  # as good as a class
        settings=settings(
            max_examples=place.examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
