"""The judge is fed records that lie, and must not believe them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.judge import GOAL, judge
from tests.faults.record import (
    AGENT,
    CUSTOMER,
    Arrival,
    Push,
    Reader,
    Record,
    Sent,
    Stored,
)

WHO = {CUSTOMER: Reader("c", CUSTOMER), AGENT: Reader("c", AGENT)}
TEXTS = ["one", "two", "three", "four"]


def honest() -> Record:
    """A run in which everything went well: four messages, the last two pushed.

    It lasts from 100 to 110, with a fault from 103 to 104.
    """
    record = Record(begun=100.0, struck=103.0, mended=104.0, ended=106.0)
    for number, text in enumerate(TEXTS, 1):
        at = 100.0 + number
        record.sent[text] = Sent("c", AGENT, text, at, at + 0.1)
        for reader in WHO.values():
            record.arrived[reader].append(Arrival(number, text, at + 0.3))
    record.stored["c"] = [Stored(number, text) for number, text in enumerate(TEXTS, 1)]
    record.due = {"three", "four"}
    record.pushes = [
        Push("c", "p1", ("three",), 103.5),
        Push("c", "p2", ("four",), 105),
    ]
    return record


def screen(record: Record, who: str = CUSTOMER) -> list[Arrival]:
    return record.arrived[WHO[who]]


def test_an_honest_record_is_believed() -> None:
    verdict = judge(honest())
    assert verdict.broken() == []
    assert (verdict.acknowledged, verdict.due, verdict.told) == (4, 2, 2)
    assert verdict.silent == pytest.approx(1.9)
    assert verdict.waited == pytest.approx(0.1)
    assert verdict.unseen == pytest.approx(0.2)
    assert verdict.typical == verdict.slow == pytest.approx(0.3)


def lose_from_store(record: Record) -> None:
    del record.stored["c"][1]


def lose_from_screen(record: Record) -> None:
    del screen(record)[-1]


def lose_from_console(record: Record) -> None:
    del screen(record, AGENT)[1]


def store_twice(record: Record) -> None:
    record.stored["c"].append(Stored(5, "two"))


def show_twice(record: Record) -> None:
    screen(record).append(Arrival(5, "two", 105.0))


def overtake(record: Record) -> None:
    shown = screen(record, AGENT)
    shown[1], shown[2] = shown[2], shown[1]


def store_in_another_order(record: Record) -> None:
    record.stored["c"][1:3] = [Stored(2, "three"), Stored(3, "two")]


def miss_a_push(record: Record) -> None:
    del record.pushes[0]


def push_what_was_read(record: Record) -> None:
    record.pushes.append(Push("c", "p3", ("one",), 101.5))


def push_in_two_pushes(record: Record) -> None:
    record.pushes.append(Push("c", "p3", ("four",), 105.5))


def repeat_a_push_without_need(record: Record) -> None:
    record.mended = 102.0
    record.struck = 101.0
    record.pushes.append(replace_time(record.pushes[1], 105.5))


def replace_time(push: Push, at: float) -> Push:
    return push._replace(at=at)


def fall_silent(record: Record) -> None:
    record.ended += GOAL + 0.1


def show_late(record: Record) -> None:
    last = screen(record)[-1]
    screen(record)[-1] = last._replace(at=last.at + GOAL)


def answer_one_sender_late(record: Record) -> None:
    first = record.sent["one"]
    record.sent["one"] = replace(first, at=first.at - GOAL)


def call_somebody_away(record: Record) -> None:
    record.absences += 1


def shake_hands_again(record: Record) -> None:
    record.handshakes += 1


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (lose_from_store, "acknowledged messages are not stored"),
        (lose_from_screen, "stored messages are not on a screen"),
        (lose_from_console, "stored messages are not on a screen"),
        (store_twice, "messages are twice"),
        (show_twice, "messages are twice"),
        (overtake, "messages are out of order"),
        (store_in_another_order, "messages are out of order"),
        (miss_a_push, "messages were to be pushed and were not"),
        (push_what_was_read, "messages were pushed once too often"),
        (push_in_two_pushes, "messages were pushed once too often"),
        (repeat_a_push_without_need, "messages were pushed once too often"),
        (fall_silent, "no send was acknowledged"),
        (show_late, "a message was not shown"),
        (answer_one_sender_late, "one sender waited"),
        (call_somebody_away, "absences of customers who were there were told"),
        (shake_hands_again, "handshakes were needed"),
    ],
)
def test_a_lie_is_found(lie: Callable[[Record], None], told: str) -> None:
    record = honest()
    lie(record)
    assert any(told in problem for problem in judge(record).broken())


def test_a_record_of_nothing_is_not_taken_for_success() -> None:
    assert "nothing was acknowledged" in judge(Record(begun=1.0, ended=2.0)).broken()


def test_what_comes_again_on_the_wire_is_counted_and_forgiven() -> None:
    record = honest()
    screen(record).append(screen(record)[0])
    verdict = judge(record)
    assert (verdict.again, verdict.broken()) == (1, [])


def test_a_push_that_was_under_way_at_the_fault_may_come_again() -> None:
    record = honest()
    record.pushes.append(replace_time(record.pushes[0], 150.0))
    verdict = judge(record)
    assert (verdict.in_flight, verdict.broken()) == (1, [])


def test_customers_who_are_away_are_not_waited_for() -> None:
    record = honest()
    show_late(record)
    record.apart.add("c")
    assert judge(record).broken() == []


def test_a_message_without_an_answer_is_not_called_lost() -> None:
    record = honest()
    lose_from_store(record)
    record.sent["two"] = replace(record.sent["two"], stored_at=None)
    for who in WHO:
        del screen(record, who)[1]
    assert judge(record).broken() == ["1 messages were never acknowledged"]
