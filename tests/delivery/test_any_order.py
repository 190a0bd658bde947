"""Whatever happens in whatever order, a client reads the transcript and nothing else.

A machine of Hypothesis commits entries, tells of them late, twice or never, lets
clients poll, lose responses, attach again from an old look at the session, and stops
reads at every await. What a client accepted, passing over positions that it has, must
be the transcript from its start, in order, at any time; and all of it once the polls
come through.
"""

from collections import Counter
from dataclasses import dataclass, field

import msgspec
from hypothesis import settings, strategies
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec import Raw

from cometd_chat.bayeux import Bounds, Mailboxes
from cometd_chat.delivery import PAGE, Delivery, Each, in_turn
from cometd_chat.model import Session
from cometd_chat.store import Change
from tests.delivery.scripted import Running, ScriptedStore, render, side_by_side

SESSIONS = ("s", "t")
CLIENTS = ("c", "d")

sessions = strategies.sampled_from(SESSIONS)
clients = strategies.sampled_from(CLIENTS)
counts = strategies.sampled_from([1, 1, 1, 2, 5, PAGE - 1, PAGE, PAGE + 1])


@dataclass
class Phone:
    """A client at the far end: what it has accepted, and what is on its way there."""

    accepted: dict[str, int] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    mail: list[int] = field(default_factory=list)
    on_the_way: list[Raw] = field(default_factory=list)
    reading: Running | None = None

    def accept(self, events: list[Raw]) -> None:
        for event in events:
            match msgspec.json.decode(event):
                case [str(session_id), over, list(run)]:
                    self._read(session_id, run, over)
                case int(number):
                    if number not in self.mail:
                        self.mail.append(number)

    def _read(self, session_id: str, run: list[int], over: bool) -> None:
        assert run == list(range(run[0], run[-1] + 1)), "a run has no holes"
        have = self.accepted[session_id]
        assert run[0] <= have + 1, "nothing is left out"
        self.accepted[session_id] = max(have, run[-1])
        if over:
            self.over.add(session_id)


class AnyOrder(RuleBasedStateMachine):
    looks = Bundle("looks")

    @initialize(
        reply=strategies.sampled_from([400, 262_144]),
        each=strategies.sampled_from([in_turn, side_by_side]),
    )
    def begin(self, reply: int, each: Each) -> None:
        self.store = ScriptedStore()
        self.delivery = Delivery(
            self.store, Mailboxes(Bounds()), max_reply=reply, each=each
        )
        self.phones = {name: Phone() for name in CLIENTS}
        self.untold: list[Change] = []
        self.dropped = False
        self.posted = Counter[str]()
        for name in SESSIONS:
            self.store.create(name)

    @rule(name=sessions, count=counts, at_once=strategies.booleans())
    def commit(self, name: str, count: int, at_once: bool) -> None:
        if not self.store.session(name).ended:
            self._committed(self.store.grow(name, count), at_once)

    @rule(name=sessions, at_once=strategies.booleans())
    def end(self, name: str, at_once: bool) -> None:
        if not self.store.session(name).ended:
            self._committed(self.store.end(name), at_once)

    @rule(name=sessions)
    def alter(self, name: str) -> None:
        self.store.tell(Change(session_id=name, altered=True))

    def _committed(self, change: Change, at_once: bool) -> None:
        if at_once:
            self.store.tell(change)
        else:
            self.untold.append(change)

    @precondition(lambda self: self.untold)
    @rule(data=strategies.data(), twice=strategies.booleans())
    def tell(self, data: strategies.DataObject, twice: bool) -> None:
        change = data.draw(strategies.sampled_from(self.untold))
        if not twice:
            self.untold.remove(change)
        self.store.tell(change)

    @precondition(lambda self: self.untold)
    @rule(data=strategies.data())
    def drop(self, data: strategies.DataObject) -> None:
        """The entries are lost to the news; that the session was altered never is."""
        change = data.draw(strategies.sampled_from(self.untold))
        self.untold.remove(change)
        self.dropped = True
        if change.altered:
            self.store.tell(msgspec.structs.replace(change, entries=()))

    @rule(target=looks, name=sessions)
    def look(self, name: str) -> Session:
        """Whoever attaches later has looked now."""
        return self.store.session(name)

    @rule(client=clients, look=consumes(looks))
    def attach(self, client: str, look: Session) -> None:
        phone = self.phones[client]
        have = phone.accepted.setdefault(look.id, 0)
        self.delivery.attach(client, look, render, have)

    @rule(client=clients)
    def post(self, client: str) -> None:
        self.posted[client] += 1
        self.delivery.post(client, b"%d" % self.posted[client])

    @rule(client=clients)
    def poll(self, client: str) -> None:
        """The client has the last response, and polls again."""
        phone = self.phones[client]
        phone.accept(phone.on_the_way)
        self._poll(client)

    @rule(client=clients)
    def lose(self, client: str) -> None:
        """The server knows that the last response did not arrive."""
        self.delivery.lost(client)
        self._poll(client)

    @rule(client=clients)
    def doubt(self, client: str) -> None:
        """The server believes that the last response was lost, but it arrived."""
        phone = self.phones[client]
        phone.accept(phone.on_the_way)
        self.delivery.lost(client)
        self._poll(client)

    @precondition(lambda self: any(len(p.accepted) == 1 for p in self.phones.values()))
    @rule(data=strategies.data())
    def lose_unnoticed(self, data: strategies.DataObject) -> None:
        """Nobody at the server knows, but the client says what it has."""
        name = data.draw(
            strategies.sampled_from(
                [n for n, p in self.phones.items() if len(p.accepted) == 1]
            )
        )
        phone = self.phones[name]
        (have,) = phone.accepted.values()
        phone.mail += [m for m in _mail(phone.on_the_way) if m not in phone.mail]
        self._poll(name, have)

    @rule(client=clients)
    def step(self, client: str) -> None:
        phone = self.phones[client]
        if phone.reading and phone.reading.step() is None:
            phone.reading = None
            self._take(client)

    @precondition(lambda self: any(p.reading is None for p in self.phones.values()))
    @rule(data=strategies.data(), arrived=strategies.booleans())
    def resume(self, data: strategies.DataObject, arrived: bool) -> None:
        """The phone comes as a new client, for which the old one's things are kept."""
        names = [n for n, p in self.phones.items() if p.reading is None]
        client = data.draw(strategies.sampled_from(names))
        phone = self.phones[client]
        if arrived:
            phone.accept(phone.on_the_way)
        self.delivery.move(client, "new")
        self.delivery.move("new", client)
        if len(phone.accepted) == 1:
            self.delivery.believe(client, *phone.accepted.values())
        self._poll(client)

    @rule(client=clients)
    def leave(self, client: str) -> None:
        self.delivery.forget(client)
        self.posted[client] = 0
        self.phones[client] = Phone()

    def _poll(self, client: str, position: int | None = None) -> None:
        phone = self.phones[client]
        phone.on_the_way = []
        for cursor in self.delivery.acknowledge(client, position) or ():
            name = cursor.session.id
            assert phone.accepted[name] == len(self.store.transcripts[name])
            assert name in phone.over or position is not None
        self._take(client)

    def _take(self, client: str) -> None:
        phone = self.phones[client]
        if phone.on_the_way:
            return  # a poll is answered once
        events = self.delivery.take(client)
        if events is not None:
            phone.on_the_way = events
        elif phone.reading is None:
            phone.reading = Running(self.delivery.catch_up(client))

    @rule()
    def settle(self) -> None:
        """Everything is told, and polls come through: then all of it has arrived."""
        self.store.tell(*self.untold)
        self.untold.clear()
        for name in SESSIONS:
            if self.dropped and not self.store.session(name).ended:
                self.store.append(name)
        for client, phone in self.phones.items():
            if phone.reading:
                phone.reading.finish()
                phone.reading = None
            self._drain(client, phone)
            assert phone.mail == list(range(1, self.posted[client] + 1))
        self.dropped = any(self.store.session(name).ended for name in SESSIONS)

    def _drain(self, client: str, phone: Phone) -> None:
        more = True
        while more:
            phone.accept(phone.on_the_way)
            self.delivery.acknowledge(client)
            events = self.delivery.take(client)
            if events is None:
                Running(self.delivery.catch_up(client)).finish()
                events = self.delivery.take(client)
            assert events is not None, "one read is enough"
            phone.on_the_way = events
            more = bool(events)
        for name, have in phone.accepted.items():
            assert have == len(self.store.transcripts[name]) or self._unheard(name)

    def _unheard(self, name: str) -> bool:
        """Only what nobody was told of, of a session that is over, may be missing."""
        return self.dropped and self.store.session(name).ended

    @invariant()
    def nobody_has_more_than_there_is(self) -> None:
        for phone in self.phones.values() if hasattr(self, "phones") else ():
            for name, have in phone.accepted.items():
                assert have <= len(self.store.transcripts[name])

    def teardown(self) -> None:
        if not hasattr(self, "delivery"):
            return
        self.settle()
        for client in CLIENTS:
            self.delivery.forget(client)
        assert (self.delivery._readers, self.delivery._watchers) == ({}, {})


def _mail(events: list[Raw]) -> list[int]:
    found = [msgspec.json.decode(event) for event in events]
    return [f for f in found if isinstance(f, int)]


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
