"""Answers to connects have numbers, and clients say which one they got."""

import random
from typing import Any

import pytest
from msgspec import Raw

from cometd_chat.bayeux import BayeuxServer, Bounds, Client, Connect, Mailboxes
from cometd_chat.bayeux.extensions import first_batch

from .core import admit, connect, message, new_server, wire


@pytest.fixture
def server() -> BayeuxServer:
    return new_server()


def admit_counting(server: BayeuxServer, **ext: Any) -> Client:
    """Let in a client that speaks the acknowledgement extension."""
    offered = {"supportedConnectionTypes": ["long-polling"], "ext": {"ack": True} | ext}
    answer = wire(server.admit(message("/meta/handshake", **offered), None, 0))
    assert answer["ext"] == {"ack": True}
    client = server.client(answer["clientId"])
    assert client is not None
    return client


def number(decision: Connect) -> int:
    """Return the number that the answer has."""
    assert decision.count is not None
    assert wire(decision.reply)["ext"] == {"ack": decision.count.batch}
    return decision.count.batch


class Outbox:
    """Remembers whose events were taken back: those after the answer of a number."""

    def __init__(self) -> None:
        self.rewound: list[int] = []

    def answer(self, server: BayeuxServer, decision: Connect) -> int:
        """Answer with events."""
        batch = number(decision)
        decision.client.carries(batch, lambda: self.rewound.append(batch))
        server.answered(decision, 0, events=True)
        return batch

    def got(self, decision: Connect) -> int | None:
        """Return the number of the answer that the client is believed to have."""
        assert decision.count is not None
        if decision.count.rewind is None:
            return None
        decision.count.rewind()
        return self.rewound[-1]


def poll(server: BayeuxServer, client: Client, got: object) -> tuple[int, bool]:
    """Connect and be answered with events; return the number of the answer, and
    whether the client is believed to have the one it says."""
    outbox = Outbox()
    decision = connect(server, client, ext={"ack": got})
    believed = decision.count is not None and decision.count.rewind is not None
    return outbox.answer(server, decision), believed


def test_a_client_that_does_not_ask_is_not_counted(server: BayeuxServer) -> None:
    decision = connect(server, admit(server), ext={"ack": 5})
    assert decision.count is None
    assert "ext" not in wire(decision.reply)


@pytest.mark.parametrize("asked", [False, None, 1, {"enabled": True}])
def test_only_who_asks_with_true_is_counted(
    server: BayeuxServer, asked: object
) -> None:
    sent = message("/meta/handshake", ext={"ack": asked})
    answer = wire(server.admit(sent, None, 0))
    assert "ext" not in answer


def test_numbers_grow_by_one_with_every_answer_also_an_empty_one(
    server: BayeuxServer,
) -> None:
    client = admit_counting(server)
    first = first_batch(client.id)
    got = 0
    for n in range(1, 6):
        got, acknowledged = poll(server, client, got)
        assert got == first + n
        assert acknowledged is (n > 1)


def test_the_first_connect_which_knows_no_number_yet_acknowledges_nothing(
    server: BayeuxServer,
) -> None:
    for _ in range(50):
        assert poll(server, admit_counting(server), 0)[1] is False


def test_a_number_said_again_tells_that_the_answer_was_lost(
    server: BayeuxServer,
) -> None:
    client = admit_counting(server)
    got, _ = poll(server, client, 0)
    outbox = Outbox()
    lost = outbox.answer(server, connect(server, client, ext={"ack": got}))
    again = connect(server, client, ext={"ack": lost - 1})
    assert number(again) == lost + 1
    assert outbox.got(connect(server, client, ext={"ack": lost})) == lost


@pytest.mark.parametrize(
    "wrong", [0, -1, 1_000_000_000, 2**70, "1", None, 1.5, True, [1], {"a": 1}]
)
def test_a_wrong_number_acknowledges_nothing(
    server: BayeuxServer, wrong: object
) -> None:
    client = admit_counting(server)
    poll(server, client, 0)
    assert poll(server, client, wrong)[1] is False


def test_a_connect_without_a_number_acknowledges_nothing(server: BayeuxServer) -> None:
    client = admit_counting(server)
    poll(server, client, 0)
    decision = connect(server, client)
    assert decision.count is not None
    assert decision.count.rewind is None


def test_the_number_of_another_client_acknowledges_nothing(
    server: BayeuxServer,
) -> None:
    """Also not that of a client which the same app was before a handshake."""
    former, client = admit_counting(server), admit_counting(server)
    kept = 0
    for _ in range(3):
        kept, _ = poll(server, former, kept)
        poll(server, client, 0)
    assert poll(server, client, kept)[1] is False


def test_a_displaced_connect_takes_a_number_that_nobody_ever_sees(
    server: BayeuxServer,
) -> None:
    client = admit_counting(server)
    got, _ = poll(server, client, 0)
    held = connect(server, client, ext={"ack": got})
    newer = connect(server, client, ext={"ack": got})
    for decision in (held, newer):
        assert decision.count is not None
        assert decision.count.rewind is not None
    assert number(newer) == number(held) + 1
    Outbox().answer(server, newer)
    assert poll(server, client, number(held))[1] is False
    assert poll(server, client, number(newer))[1] is True


def test_an_answer_without_events_proves_nothing_and_need_not(
    server: BayeuxServer,
) -> None:
    client = admit_counting(server)
    empty = connect(server, client, ext={"ack": 0})
    server.answered(empty, 0)
    assert poll(server, client, number(empty))[1] is False


def test_a_connect_that_comes_late_does_not_make_later_numbers_unknown(
    server: BayeuxServer,
) -> None:
    outbox = Outbox()
    client = admit_counting(server)
    old = outbox.answer(server, connect(server, client))
    got = outbox.answer(server, connect(server, client, ext={"ack": old}))
    late = connect(server, client, ext={"ack": old})
    assert outbox.got(late) == old
    outbox.answer(server, late)
    assert outbox.got(connect(server, client, ext={"ack": got})) == got


def test_marks_of_answers_long_ago_are_forgotten(server: BayeuxServer) -> None:
    """Or a client that never says a number would make a pile of them."""
    client = admit_counting(server)
    numbers = [poll(server, client, 0)[0] for _ in range(1000)]
    assert len(client.marks) < 10
    assert poll(server, client, numbers[0])[1] is False
    assert poll(server, client, numbers[-1])[1] is True


def test_a_handshake_begins_a_count_of_its_own(server: BayeuxServer) -> None:
    counts = {first_batch(admit_counting(server).id) for _ in range(100)}
    assert len(counts) == 100


def test_counting_goes_on_over_another_transport(server: BayeuxServer) -> None:
    client, outbox = admit_counting(server), Outbox()
    got = 0
    for kind in ("long-polling", "websocket", "long-polling", "websocket"):
        decision = connect(server, client, ext={"ack": got}, connectionType=kind)
        assert outbox.got(decision) == (got or None)
        assert wire(decision.reply)["advice"]["reconnect"] == "retry"
        got = outbox.answer(server, decision)
    same = connect(server, client, connectionType="websocket")
    assert "advice" not in wire(same.reply)


def test_a_client_that_is_resumed_counts_anew(server: BayeuxServer) -> None:
    old = admit_counting(server)
    got, _ = poll(server, old, 0)
    new = admit_counting(server)
    server.resume(old, new)
    assert poll(server, new, got)[1] is False
    plain = admit(server)
    server.resume(new, plain)
    assert connect(server, plain).count is None


def test_whatever_is_lost_the_client_is_believed_exactly_what_it_says(
    server: BayeuxServer,
) -> None:
    """A client whose answers are lost at random, and whose connects double."""
    random.seed(11)
    client, outbox = admit_counting(server), Outbox()
    got = 0
    for _ in range(5000):
        said = got
        decision = connect(server, client, ext={"ack": said})
        if said and client.batch - said < 5:
            assert outbox.got(decision) == said
        if random.random() < 0.2:
            continue  # displaced
        number = outbox.answer(server, decision)
        if random.random() < 0.7:
            got = number


# What is taken back, in mailboxes


def mailbox(*texts: str, **bounds: int) -> Mailboxes:
    boxes = Mailboxes(Bounds(**bounds))
    post(boxes, *texts)
    return boxes


def post(boxes: Mailboxes, *texts: str) -> None:
    for text in texts:
        boxes.post("ann", Raw(text.encode()))


def take(boxes: Mailboxes) -> list[str]:
    return [bytes(event).decode() for event in boxes.take("ann")]


def test_only_what_was_taken_after_a_mark_comes_back() -> None:
    boxes = mailbox("a", "b")
    take(boxes)
    mark = boxes.mark("ann")
    post(boxes, "c")
    take(boxes)
    boxes.lost("ann", mark)
    assert boxes.waiting("ann")
    boxes.acknowledge("ann")
    assert take(boxes) == ["c"]


def test_what_came_back_wrongly_is_taken_again_without_being_sent() -> None:
    boxes = mailbox("a", "b")
    take(boxes)
    mark = boxes.mark("ann")
    boxes.lost("ann")
    post(boxes, "c")
    boxes.lost("ann", mark)
    boxes.acknowledge("ann")
    assert take(boxes) == ["c"]


def test_nobody_waits_when_nothing_is_left() -> None:
    boxes = mailbox("a")
    take(boxes)
    mark = boxes.mark("ann")
    boxes.lost("ann")
    assert boxes.waiting("ann")
    boxes.lost("ann", mark)
    assert not boxes.waiting("ann")


def test_a_mark_of_the_past_takes_back_no_more_than_there_is() -> None:
    boxes = mailbox("a")
    assert boxes.mark("ann") == boxes.mark("nobody") == 0
    take(boxes)
    old = boxes.mark("ann")
    boxes.acknowledge("ann")
    post(boxes, "b")
    take(boxes)
    boxes.lost("ann", old)
    assert take(boxes) == ["b"]
    boxes.lost("nobody", 5)


def test_events_that_were_dropped_do_not_count() -> None:
    boxes = mailbox("a", "b", events=2)
    take(boxes)
    mark = boxes.mark("ann")
    boxes.lost("ann")
    post(boxes, "c")
    assert boxes.dropped == 1
    boxes.lost("ann", mark)
    boxes.acknowledge("ann")
    assert take(boxes) == ["c"]
