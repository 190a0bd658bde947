"""Whatever happens to transcripts, a store agrees with a few lines of plain Python."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from cometd_chat.model import JOINING, End, EntryKind, Leave, Role, State
from cometd_chat.store import Once
from tests.store.conftest import Place
from tests.store.facts import joins, said, walk
from tests.store.machine import NAME, Machine, explore

AGENT = st.sampled_from(("ann", "bo", "cy"))
OPENED = 1.0
"""When a chat was opened without an entry: at its creation."""

DRAFT = st.tuples(
    st.sampled_from(
        (EntryKind.MESSAGE, EntryKind.TYPING_STARTED, EntryKind.FILE_UPLOADED)
    ),
    st.sampled_from((Role.CUSTOMER, Role.AGENT)),
    st.booleans(),
    st.integers(-5, 5),
)


class Transcripts(Machine):
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

    @rule(name=NAME, facts=DRAFT, newest=st.integers(0, 4), end=st.booleans())
    def append_after(self, name: str, facts: Any, newest: int, end: bool) -> None:
        """Append if the newest entry is the one expected: the real one, mostly."""
        chat = self.chats[name]
        expected = chat.last if newest else chat.last - 1
        ending = End() if end and self.now > 500 else None
        if self.apply(name, [self.draft(*facts)], ending, expected=expected):
            chat.state = State.ENDED if ending else chat.state

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
    @rule(name=NAME, by_customer=st.booleans())
    def end(self, name: str, by_customer: bool) -> None:
        end = End(by_customer=by_customer)
        if self.apply(name, [said("bye", self.now)], end):
            self.chats[name].state = State.ENDED
            if by_customer:
                self.chats[name].devices.clear()
                self.equipped(name)

    @rule(age=st.integers(0, 200), limit=st.sampled_from((1, 7, 500)))
    def quiet(self, age: int, limit: int) -> None:
        before = self.now - age
        found = self.run(walk(self.store, before, limit))
        mine = {q.session_id: q for q in found if q.session_id.startswith(self.prefix)}
        still = {
            self.id(name): (chat.last, (chat.times or [OPENED])[-1])
            for name, chat in self.chats.items()
            if chat.open and (chat.times or [OPENED])[-1] < before
        }
        assert {name: (one.last, one.since) for name, one in mine.items()} == still
        assert {one.service for one in mine.values()} <= {self.service}

    @rule(name=NAME, after=st.integers(0, 8), limit=st.integers(0, 5))
    def read(self, name: str, after: int, limit: int) -> None:
        chat = self.chats[name]
        got = self.run(self.store.read(self.id(name), after, limit))
        newest = min(chat.last, after + limit)
        assert [e.position for e in got] == list(range(after + 1, newest + 1))
        assert [e.text for e in got] == [d.text for d in chat.entries[after:newest]]
        assert [e.at for e in got] == chat.times[after:newest]


def test_a_store_agrees_with_its_model(place: Place) -> None:
    explore(Transcripts, place)
