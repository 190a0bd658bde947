"""Cursors, marks and mail that go on at another node."""

import pytest
from msgspec import json

from cometd_chat.bayeux import Bounds, Mailboxes
from cometd_chat.delivery import Delivery, Reading
from tests.delivery.scripted import Running, ScriptedStore, render


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


def node(store: ScriptedStore) -> Delivery:
    return Delivery(store, Mailboxes(Bounds()))


def taken(delivery: Delivery) -> list[object]:
    while (events := delivery.take("c")) is None:
        Running(delivery.catch_up("c")).finish()
    decoded = [json.decode(event) for event in events]
    return [x for d in decoded for x in (d[2] if isinstance(d, list) else [d])]


def move(here: Delivery, there: Delivery, store: ScriptedStore) -> None:
    there.unpack_mail("c", here.pack_mail("c", 10.0), 99.0)
    for reading in here.pack("c"):
        there.unpack("c", store.session(reading.session_id), render, reading)
    here.forget("c")


def test_what_was_sent_does_not_come_again(store):
    here, there = node(store), node(store)
    here.attach("c", store.create("s", 3), render, 0)
    here.post("c", b'"mail"')
    assert taken(here) == ["mail", 1, 2, 3]
    move(here, there, store)
    store.append("s")
    there.acknowledge("c")
    assert taken(there) == [4]


def test_what_was_lost_comes_again(store):
    here, there = node(store), node(store)
    here.attach("c", store.create("s", 3), render, 0)
    assert taken(here) == [1, 2, 3]
    here.acknowledge("c")
    store.append("s", 2)
    here.post("c", b'"mail"')
    assert taken(here) == ["mail", 4, 5]
    move(here, there, store)
    there.lost("c")
    assert taken(there) == ["mail", 4, 5]


def test_a_mark_holds_there(store):
    here, there = node(store), node(store)
    here.attach("c", store.create("s", 3), render, 0)
    here.post("c", b'"a"')
    assert taken(here) == ["a", 1, 2, 3]
    mail, sent = here.mark("c").pack()
    assert sent == {"s": 3}
    here.post("c", b'"b"')
    store.append("s")
    assert taken(here) == ["b", 4]
    move(here, there, store)
    there.unpack_mark("c", mail, {**sent, "forgotten": 7})()
    assert taken(there) == ["b", 4]


def test_a_reading_beyond_the_transcript_is_cut(store):
    there = node(store)
    there.unpack("c", store.create("s", 3), render, Reading("s", 2, 9))
    store.append("s")
    assert taken(there) == [4]


def test_of_an_old_reading_only_what_is_confirmed_is_believed():
    assert Reading("s", 2, 9).confirmed == Reading("s", 2, 2)
