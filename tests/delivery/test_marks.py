"""Clients that name the answer they got: nothing twice, nothing missing."""

import random
from collections.abc import Callable

import pytest
from msgspec import Raw, json

from cometd_chat.bayeux import Bounds, Mailboxes
from cometd_chat.delivery import Delivery
from tests.delivery.scripted import Running, ScriptedStore, render


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def boxes() -> Mailboxes:
    return Mailboxes(Bounds(batch=40))


@pytest.fixture
def delivery(store: ScriptedStore, boxes: Mailboxes) -> Delivery:
    return Delivery(store, boxes, max_reply=700)


def taken(delivery: Delivery) -> list[object]:
    """Return all of one response: positions of entries, and texts of mail."""
    while (events := delivery.take("c")) is None:
        Running(delivery.catch_up("c")).finish()
    found: list[object] = []
    for event in events:
        decoded = json.decode(event)
        found += decoded[2] if isinstance(decoded, list) else [decoded]
    return found


def begin(store: ScriptedStore, delivery: Delivery, entries: int = 0) -> None:
    delivery.attach("c", store.create("s", entries), render, 0)


def test_a_mark_takes_back_only_what_came_later(store, delivery):
    begin(store, delivery)
    store.append("s", 2)
    delivery.post("c", b'"a"')
    assert taken(delivery) == ["a", 1, 2]
    rewind = delivery.mark("c")
    store.append("s")
    delivery.post("c", b'"b"')
    assert taken(delivery) == ["b", 3]
    rewind()
    delivery.acknowledge("c")
    assert taken(delivery) == ["b", 3]


def test_what_was_taken_back_wrongly_does_not_come_again(store, delivery):
    begin(store, delivery)
    store.append("s", 2)
    delivery.post("c", b'"a"')
    assert taken(delivery) == ["a", 1, 2]
    rewind = delivery.mark("c")
    delivery.lost("c")
    rewind()
    delivery.acknowledge("c")
    assert taken(delivery) == []
    assert not delivery._mailboxes.waiting("c")
    assert delivery.cursors("c")["s"].acked == 2


def test_a_mark_says_nothing_of_a_cursor_that_began_later(store, delivery):
    """The client subscribed again, to read from the beginning."""
    begin(store, delivery, 3)
    assert taken(delivery) == [1, 2, 3]
    rewind = delivery.mark("c")
    delivery.attach("c", store.session("s"), render, 0)
    rewind()
    delivery.acknowledge("c")
    assert taken(delivery) == [1, 2, 3]


def test_a_mark_does_not_bring_back_what_was_confirmed_since(store, delivery):
    begin(store, delivery, 1)
    assert taken(delivery) == [1]
    rewind = delivery.mark("c")
    delivery.post("c", b'"a"')
    store.append("s")
    assert taken(delivery) == ["a", 2]
    delivery.acknowledge("c")
    rewind()
    assert taken(delivery) == []


def test_marks_outlive_their_clients(store, delivery):
    begin(store, delivery, 1)
    delivery.post("c", b'"a"')
    taken(delivery)
    rewind = delivery.mark("c")
    delivery.forget("c")
    rewind()
    assert taken(delivery) == []
    assert delivery.mark("never there")() is None


def test_the_oldest_mail_may_be_dropped_while_it_is_put_back(store, boxes, delivery):
    boxes.bounds = Bounds(events=2)
    for text in "ab":
        boxes.post("c", Raw(json.encode(text)))
    assert taken(delivery) == ["a", "b"]
    rewind = delivery.mark("c")
    delivery.lost("c")
    boxes.post("c", Raw(b'"c"'))
    rewind()
    delivery.acknowledge("c")
    assert taken(delivery) == ["c"]


class Conversation:
    """A client that numbers its connects' answers, over a network that delays and
    drops whatever it likes; `received` is what reached the client."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.received: list[object] = []
        self.got = 0
        self.late: list[int] = []
        self._number = 0
        self._marks: dict[int, Callable[[], None]] = {}

    def connect(self, said: int) -> tuple[int, list[object]]:
        """Serve a connect that says this number, as the endpoint does."""
        self._marks.get(said, lambda: self.delivery.lost("c"))()
        self.delivery.acknowledge("c")
        self._number += 1
        events = taken(self.delivery)
        if events:
            self._marks[self._number] = self.delivery.mark("c")
        return self._number, events

    def step(self) -> None:
        match random.randrange(6):
            case 0:
                self.late.append(self.got)  # on its way for long; given up
            case 1 if self.late:
                self.connect(self.late.pop(random.randrange(len(self.late))))
            case 2:
                self.connect(self.got)  # the answer is lost
            case _:
                self.poll()

    def poll(self) -> None:
        self.got, events = self.connect(self.got)
        self.received += events


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_late_or_lost_all_comes_once_and_in_order(store, delivery, seed):
    random.seed(seed)
    begin(store, delivery)
    talk = Conversation(delivery)
    mail = entries = 0
    for _ in range(300):
        if random.random() < 0.4:
            mail += 1
            delivery.post("c", json.encode(f"{mail}"))
        if random.random() < 0.4:
            entries += 1
            store.append("s")
        talk.step()
    for _ in range(mail + entries + 2):
        talk.poll()
    texts = [e for e in talk.received if isinstance(e, str)]
    positions = [e for e in talk.received if isinstance(e, int)]
    assert texts == [f"{n}" for n in range(1, mail + 1)]
    assert positions == list(range(1, entries + 1))
