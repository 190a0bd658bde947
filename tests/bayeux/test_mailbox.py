"""What a mailbox keeps, gives, drops, and when it wakes its client."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from msgspec import Raw

from cometd_chat.bayeux.alarms import SPARE
from cometd_chat.bayeux.mailbox import Bounds, Mailboxes, Overflow

ANN = "ann"


def mailboxes(**bounds: Any) -> tuple[Mailboxes, list[str]]:
    """Return mailboxes and the list of the wakes that they ask for."""
    boxes, woken = Mailboxes(Bounds(**bounds)), list[str]()
    boxes.on_wake(woken.append)
    return boxes, woken


def post(boxes: Mailboxes, *texts: str, lazy_until: float | None = None) -> None:
    for text in texts:
        boxes.post(ANN, Raw(text.encode()), lazy_until=lazy_until)


def take(boxes: Mailboxes, client: str = ANN) -> list[str]:
    return [bytes(event).decode() for event in boxes.take(client)]


def test_events_wait_in_order_and_each_wakes_the_client() -> None:
    boxes, woken = mailboxes()
    post(boxes, "1", "2")

    assert woken == [ANN, ANN]
    assert boxes.waiting(ANN)
    assert take(boxes) == ["1", "2"]
    assert not boxes.waiting(ANN)


def test_what_was_acknowledged_is_gone_for_good() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1")
    take(boxes)
    boxes.acknowledge(ANN)
    boxes.lost(ANN)

    assert not boxes.waiting(ANN)
    assert take(boxes) == []


def test_a_lost_batch_comes_again_before_newer_events() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", "2")
    take(boxes)
    post(boxes, "3")
    boxes.lost(ANN)

    assert boxes.waiting(ANN)
    assert take(boxes) == ["1", "2", "3"]


def test_all_that_was_taken_since_the_last_acknowledgement_is_one_batch() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1")
    take(boxes)
    post(boxes, "2")
    take(boxes)
    boxes.lost(ANN)

    assert take(boxes) == ["1", "2"]


def test_clients_without_a_mailbox_have_nothing() -> None:
    boxes, _ = mailboxes()
    boxes.acknowledge(ANN)
    boxes.lost(ANN)
    boxes.forget(ANN)

    assert take(boxes) == []
    assert not boxes.waiting(ANN)
    assert len(boxes) == 0


def test_mail_can_come_before_anybody_wants_to_hear_of_wakes() -> None:
    boxes = Mailboxes(Bounds())
    post(boxes, "1")

    assert take(boxes) == ["1"]


def test_a_client_is_woken_when_all_mailboxes_have_the_event() -> None:
    boxes, _ = mailboxes()
    seen = []
    boxes.on_wake(lambda _: seen.append([take(boxes, "bob"), take(boxes, "cy")]))
    boxes.post_all(["bob", "cy"], Raw(b"1"))

    assert seen[0] == [["1"], ["1"]]


# The batch


def test_a_batch_holds_no_more_bytes_than_allowed_and_the_rest_follows() -> None:
    boxes, _ = mailboxes(batch=5)
    post(boxes, "11", "22", "33", "44")

    assert take(boxes) == ["11", "22"]
    assert boxes.waiting(ANN)
    boxes.acknowledge(ANN)
    assert take(boxes) == ["33", "44"]
    assert not boxes.waiting(ANN)


def test_nothing_is_taken_while_the_unacknowledged_batch_is_full() -> None:
    boxes, _ = mailboxes(batch=2)
    post(boxes, "1", "2", "3")
    take(boxes)

    assert take(boxes) == []
    assert boxes.waiting(ANN)


def test_an_event_larger_than_a_batch_goes_also_where_nothing_follows() -> None:
    boxes, _ = mailboxes(batch=3)
    post(boxes, "large")

    assert take(boxes) == ["large"]
    assert not boxes.waiting(ANN)


def test_an_event_larger_than_a_batch_goes_alone() -> None:
    boxes, _ = mailboxes(batch=3)
    post(boxes, "1", "22222", "3")

    assert take(boxes) == ["1"]
    boxes.acknowledge(ANN)
    assert take(boxes) == ["22222"]
    boxes.acknowledge(ANN)
    assert take(boxes) == ["3"]


# Bounds


@pytest.mark.parametrize("bounds", [{"events": 3}, {"size": 3}])
def test_the_oldest_events_give_way_and_are_counted(bounds: dict[str, int]) -> None:
    boxes, _ = mailboxes(**bounds)
    post(boxes, "1", "2", "3", "4", "5")

    assert take(boxes) == ["3", "4", "5"]
    assert boxes.dropped == 2
    assert boxes.overflowed() == []


def test_what_is_on_its_way_never_gives_way() -> None:
    boxes, _ = mailboxes(events=2)
    post(boxes, "1", "2")
    take(boxes)
    post(boxes, "3", "4")

    assert boxes.dropped == 0
    boxes.lost(ANN)
    assert take(boxes) == ["3", "4"]
    assert boxes.dropped == 2


def test_an_event_that_never_fits_pushes_out_no_other() -> None:
    boxes, woken = mailboxes(size=3)
    post(boxes, "1", "2222", "3")

    assert take(boxes) == ["1", "3"]
    assert boxes.dropped == 1
    assert len(woken) == 2


def test_an_event_that_never_fits_opens_no_mailbox() -> None:
    boxes, woken = mailboxes(size=3)
    post(boxes, "4444")

    assert len(boxes) == 0
    assert woken == []


@pytest.mark.parametrize("bounds", [{"events": 2}, {"size": 2}])
def test_a_client_may_be_released_instead_and_gets_nothing_more(
    bounds: dict[str, int],
) -> None:
    boxes, woken = mailboxes(**bounds, overflow=Overflow.RELEASE)
    post(boxes, "1", "2", "3")

    assert boxes.overflowed() == [ANN]
    assert boxes.dropped == 3
    post(boxes, "4")
    assert boxes.dropped == 4
    assert len(woken) == 2
    assert take(boxes) == []
    assert not boxes.waiting(ANN)


def test_a_lost_batch_may_be_what_releases_a_client() -> None:
    boxes, _ = mailboxes(events=2, overflow=Overflow.RELEASE)
    post(boxes, "1", "2")
    take(boxes)
    post(boxes, "3")
    assert boxes.overflowed() == []
    boxes.lost(ANN)

    assert boxes.overflowed() == [ANN]


def test_a_client_is_named_for_release_until_it_is_forgotten() -> None:
    boxes, _ = mailboxes(events=1, overflow=Overflow.RELEASE)
    post(boxes, "1", "2")

    assert boxes.overflowed() == boxes.overflowed() == [ANN]
    boxes.forget(ANN)
    assert boxes.overflowed() == []
    post(boxes, "3")
    assert take(boxes) == ["3"]


def test_new_bounds_hold_from_the_next_event_on() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", "2", "3")
    boxes.bounds = Bounds(events=2)
    post(boxes, "4")

    assert take(boxes) == ["3", "4"]


# Lazy events


def test_a_lazy_event_wakes_nobody_until_it_is_due() -> None:
    boxes, woken = mailboxes()
    post(boxes, "1", lazy_until=5.0)

    assert not boxes.waiting(ANN)
    assert boxes.due(4.9) == []
    assert boxes.due(5.0) == [ANN]
    assert boxes.waiting(ANN)
    assert boxes.due(6.0) == []
    assert woken == []
    assert take(boxes) == ["1"]


def test_a_lazy_event_goes_with_the_next_one_that_is_not() -> None:
    boxes, woken = mailboxes()
    post(boxes, "1", lazy_until=5.0)
    post(boxes, "2")
    post(boxes, "3", lazy_until=1.0)

    assert woken == [ANN]
    assert take(boxes) == ["1", "2", "3"]
    assert boxes.due(5.0) == []


def test_a_lazy_event_goes_with_a_poll_that_ends_anyway() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=5.0)

    assert take(boxes) == ["1"]
    assert boxes.due(5.0) == []
    assert not boxes.waiting(ANN)


def test_a_due_client_that_was_woken_meanwhile_is_not_named() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=5.0)
    post(boxes, "2")

    assert boxes.due(5.0) == []
    assert boxes.waiting(ANN)


def test_the_earliest_deadline_counts_in_whatever_order_they_come() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=9.0)
    post(boxes, "2", lazy_until=5.0)
    post(boxes, "3", lazy_until=7.0)

    assert boxes.due(4.0) == []
    assert boxes.due(5.0) == [ANN]
    take(boxes)
    assert boxes.due(9.0) == []


def test_a_deadline_that_moved_is_waited_for_again() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=5.0)
    take(boxes)
    post(boxes, "2", lazy_until=8.0)

    assert boxes.due(7.9) == []
    assert boxes.due(8.0) == [ANN]


def test_polls_do_not_pile_up_alarms() -> None:
    boxes, _ = mailboxes()
    for now in range(1000):
        post(boxes, "1", lazy_until=now + 5000.0)
        take(boxes)
        boxes.acknowledge(ANN)

    assert len(boxes._alarms) == 1


def test_an_alarm_that_an_earlier_one_replaced_dies_out() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=9.0)
    post(boxes, "2", lazy_until=5.0)
    boxes.due(5.0)
    take(boxes)
    post(boxes, "3", lazy_until=20.0)

    assert boxes.due(9.0) == []
    assert len(boxes._alarms) == 1


def test_clients_that_are_gone_leave_no_alarms() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=1000.0)
    for number in range(3 * SPARE):
        boxes.post(str(number), Raw(b"1"), lazy_until=2000.0)
        boxes.forget(str(number))

    assert len(boxes._alarms) <= 2 * len(boxes) + SPARE
    assert boxes.due(1000.0) == [ANN]


def test_a_client_that_is_gone_is_never_due() -> None:
    boxes, _ = mailboxes()
    post(boxes, "1", lazy_until=5.0)
    boxes.forget(ANN)

    assert boxes.due(5.0) == []
    assert not boxes._alarms


def test_ten_thousand_clients_that_vanished_leave_nothing() -> None:
    boxes, _ = mailboxes(events=2, overflow=Overflow.RELEASE)
    for i in range(10_000):
        boxes.post(f"client{i}", Raw(b"1"), lazy_until=float(i % 7))
        boxes.post(f"client{i}", Raw(b"2"))
        if i % 3 == 0:
            boxes.take(f"client{i}")
        if i % 5 == 0:
            boxes.post_all([f"client{i}"] * 3, Raw(b"3"))
    for i in range(10_000):
        boxes.forget(f"client{i}")
    boxes.due(7.0)

    assert not boxes._boxes
    assert not boxes._overflowed
    assert not boxes._alarms


@dataclass
class Modelled:
    """One client's mailbox as lists of numbers; an event is its number, padded."""

    waiting: list[str] = field(default_factory=list)
    batch: list[str] = field(default_factory=list)
    got: list[str] = field(default_factory=list)
    at_once: bool = False
    deadlines: list[float] = field(default_factory=list)
    overflowed: bool = False

    def due(self, now: float) -> bool:
        return not self.at_once and any(at <= now for at in self.deadlines)


class Posting(RuleBasedStateMachine):
    """Mailboxes against lists, for both ways to stay within bounds."""

    @initialize(
        events=st.integers(1, 6),
        size=st.integers(4, 40),
        batch=st.integers(1, 20),
        overflow=st.sampled_from(Overflow),
    )
    def start(self, events: int, size: int, batch: int, overflow: Overflow) -> None:
        self.bounds = Bounds(events=events, size=size, batch=batch, overflow=overflow)
        self.boxes = Mailboxes(self.bounds)
        self.woken: list[str] = []
        self.boxes.on_wake(self.woken.append)
        self.model: dict[str, Modelled] = {}
        self.number = 0
        self.now = 0.0
        self.dropped = 0

    clients = st.sampled_from(["ann", "bob", "cy"])

    @rule(
        client=clients, length=st.integers(3, 12), delay=st.none() | st.integers(0, 9)
    )
    def post(self, client: str, length: int, delay: int | None) -> None:
        self.number += 1
        event = str(self.number).zfill(length)
        self.woken.clear()
        lazy_until = None if delay is None else self.now + delay
        self.boxes.post(client, Raw(event.encode()), lazy_until=lazy_until)
        put = self.expect_post(client, event, lazy_until)
        assert self.woken == ([client] if put and delay is None else [])

    def expect_post(self, client: str, event: str, lazy_until: float | None) -> bool:
        oldest = self.bounds.overflow is Overflow.OLDEST
        box = self.model.setdefault(client, Modelled())
        if box.overflowed or (oldest and len(event) > self.bounds.size):
            self.dropped += 1
            return False
        box.waiting.append(event)
        box.at_once = box.at_once or lazy_until is None
        if lazy_until is not None:
            box.deadlines.append(lazy_until)
        self.expect_bounds(box)
        return not box.overflowed

    def expect_bounds(self, box: Modelled) -> None:
        while not self.fits(box.waiting):
            if self.bounds.overflow is Overflow.RELEASE:
                self.dropped += len(box.waiting)
                box.waiting, box.batch, box.deadlines = [], [], []
                box.at_once, box.overflowed = False, True
            else:
                box.waiting.pop(0)
                self.dropped += 1

    def fits(self, events: list[str]) -> bool:
        length = sum(map(len, events))
        return len(events) <= self.bounds.events and length <= self.bounds.size

    @rule(client=clients)
    def take(self, client: str) -> None:
        box = self.model.setdefault(client, Modelled())
        taken = take(self.boxes, client)
        assert taken == box.waiting[: len(taken)]
        box.batch += taken
        del box.waiting[: len(taken)]
        assert len(box.batch) <= 1 or self.length(box.batch) <= self.bounds.batch
        if box.waiting:
            room = self.bounds.batch - self.length(box.batch)
            assert box.batch
            assert len(box.waiting[0]) > room
        box.at_once = bool(box.waiting)
        box.deadlines.clear()

    @rule(client=clients)
    def acknowledge(self, client: str) -> None:
        self.boxes.acknowledge(client)
        box = self.model.setdefault(client, Modelled())
        box.got += box.batch
        box.batch = []

    @rule(client=clients)
    def lose(self, client: str) -> None:
        self.boxes.lost(client)
        box = self.model.setdefault(client, Modelled())
        if box.batch:
            box.waiting, box.batch = box.batch + box.waiting, []
            box.at_once = True
            self.expect_bounds(box)

    @rule(client=clients)
    def forget(self, client: str) -> None:
        self.boxes.forget(client)
        self.model.pop(client, None)

    @rule(seconds=st.integers(0, 5))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        due = {name for name, box in self.model.items() if box.due(self.now)}
        named = self.boxes.due(self.now)
        assert sorted(named) == sorted(due)
        for name in due:
            self.model[name].at_once = True

    @invariant()
    def every_event_is_somewhere_or_counted(self) -> None:
        for name, box in self.model.items():
            kept = self.boxes._boxes.get(name)
            queue = [] if kept is None else [bytes(e).decode() for e in kept.queue]
            batch = [] if kept is None else [bytes(e).decode() for e in kept.batch]
            assert (queue, batch) == (box.waiting, box.batch)
            assert self.boxes.waiting(name) is box.at_once
            in_order = [int(event) for event in box.got + batch + queue]
            assert in_order == sorted(set(in_order))
        assert self.boxes.dropped == self.dropped

    @invariant()
    def bounds_are_kept(self) -> None:
        for box in self.boxes._boxes.values():
            assert box.size == sum(map(len, box.queue))
            assert box.batch_size == sum(map(len, box.batch))
            assert len(box.queue) <= self.bounds.events
            assert box.size <= self.bounds.size

    @invariant()
    def whoever_is_to_be_woken_has_mail(self) -> None:
        assert self.boxes._boxes.keys() <= self.model.keys()
        for box in self.boxes._boxes.values():
            assert box.queue or box.wake_at == math.inf
        released = {name for name, box in self.model.items() if box.overflowed}
        assert set(self.boxes.overflowed()) == released

    def teardown(self) -> None:
        for name in ["ann", "bob", "cy"]:
            self.boxes.forget(name)
        assert len(self.boxes) == 0
        assert self.boxes.overflowed() == []
        assert self.boxes.due(self.now + 10) == []
        assert not self.boxes._alarms

    @staticmethod
    def length(events: list[str]) -> int:
        return sum(map(len, events))


TestPosting = Posting.TestCase
TestPosting.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
