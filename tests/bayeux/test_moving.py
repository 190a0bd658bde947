"""Clients, mailboxes and broadcasts that go on at another node."""

import math

import pytest
from msgspec import Raw, msgpack

from cometd_chat.bayeux import (
    BayeuxServer,
    Bounds,
    Broadcast,
    Client,
    ClientState,
    Hearers,
    Mail,
    Mailboxes,
    Options,
    Overflow,
    Patterns,
    Rules,
    moving,
)

NOW, LATER = 1000.0, 7.0
"""Monotonic seconds here and there: they have nothing to do with each other."""

ONE, TWO, THREE = (Raw(f'{{"n":{n}}}'.encode()) for n in (1, 2, 3))


def travelled(mail: Mail) -> Mail:
    return msgpack.decode(msgpack.encode(mail), type=Mail)


def boxes() -> Mailboxes:
    return Mailboxes(Bounds())


def a_client(client_id: str = "c") -> Client:
    client = Client(client_id, "me", NOW, NOW, active_at=NOW - 5, browser="b")
    client.acks, client.batch = True, 7
    client.transport, client.connected = "long-polling", True
    client.subscriptions = {"/b", "/a"}
    return client


def test_a_client_goes_on_with_what_it_had() -> None:
    options = Options(max_interval=60, offline_after=10)
    packed = msgpack.encode(moving.pack(a_client(), NOW))
    state = msgpack.decode(packed, type=ClientState)
    client = moving.unpack("c", "me", state, options, LATER)
    assert (client.batch, client.acks, client.browser) == (7, True, "b")
    assert client.subscriptions == {"/a", "/b"}
    assert (client.active_at, client.silent_at, client.expires_at) == (2, 17, 67)


def test_who_has_left_is_unknown_and_who_came_falls_silent_as_others_do() -> None:
    here, there = (BayeuxServer(Options(), lambda: "x") for _ in range(2))
    client = a_client()
    here.adopt(client)
    here.part(client)
    here.part(client)  # harmless
    assert here.client("c") is None
    state = moving.pack(client, NOW)
    came = moving.unpack("c", "me", state, there.options, LATER)
    there.adopt(came)
    (silent,) = there.sweep(LATER + 11)
    assert silent.client is came


def test_a_mailbox_goes_on_with_its_batch_and_its_marks() -> None:
    here, there = boxes(), boxes()
    here.post("c", ONE)
    here.post("c", TWO)
    here.take("c")
    mark = here.mark("c")
    here.post("c", THREE)
    there.unpack("c", travelled(here.pack("c", NOW)), LATER)
    assert there.waiting("c")
    assert there.take("c") == [THREE]
    there.lost("c", mark)
    assert there.take("c") == [THREE]
    there.lost("c")
    assert there.take("c") == [ONE, TWO, THREE]


def test_lazy_mail_is_as_lazy_there() -> None:
    here, there = boxes(), boxes()
    here.post("c", ONE, lazy_until=NOW + 3)
    there.unpack("c", travelled(here.pack("c", NOW)), LATER)
    assert not there.waiting("c")
    assert there.due(LATER + 2) == []
    assert there.due(LATER + 4) == ["c"]


def test_an_empty_mailbox_wakes_nobody() -> None:
    here, there = boxes(), boxes()
    mail = travelled(here.pack("c", NOW))
    assert mail.wakes_in == math.inf
    there.unpack("c", mail, LATER)
    assert not there.waiting("c")


def test_a_client_still_has_to_learn_of_its_losses() -> None:
    here = Mailboxes(Bounds(events=1, overflow=Overflow.RELEASE))
    here.post("c", ONE)
    here.post("c", TWO)
    there = boxes()
    there.unpack("c", travelled(here.pack("c", NOW)), LATER)
    assert there.overflowed() == ["c"]


@pytest.mark.parametrize(
    ("hearers", "expected"),
    [
        (Hearers(), {"a", "b", "c"}),
        (Hearers(only="b"), {"b"}),
        (Hearers(only="x"), set()),
        (Hearers(but=["a"]), {"b", "c"}),
    ],
)
def test_who_came_from_another_node_hears_nothing_twice(
    hearers: Hearers, expected: set[str]
) -> None:
    mail = boxes()
    broadcast = Broadcast(Rules(allowed=Patterns(["/news/**"])), mail)
    for client_id in ("a", "b", "c"):
        broadcast.subscribe(client_id, ["/news/*"])
    broadcast.publish("/news/x", ONE, sender=None, now=NOW, hearers=hearers)
    assert {c for c in ("a", "b", "c", "x") if mail.waiting(c)} == expected
