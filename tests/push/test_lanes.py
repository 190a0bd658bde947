"""How much a provider is given to do, and when devices are called dead."""

import pytest

from cometd_chat.model import Device, Job
from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Outcome,
    Retry,
    Scope,
)
from cometd_chat.push.lanes import (
    AT_ONCE,
    ENOUGH,
    FAILING,
    MOST_DOUBTED,
    MOST_HELD,
    SAMPLE,
    Lane,
)

BAD = DeadDevice("bad token", doubtful=True)


TOO_MUCH = Retry("slow down", scope=Scope.DEVICE)


def job(
    attempts: int = 0,
    position: int = 1,
    *,
    device: str = "phone",
    chat: str = "s",
    silent: bool = False,
) -> Job:
    return Job(
        id=f"{chat}:{position}:{device}",
        device=Device(id=device, type="ios"),
        provider="apns:main",
        position=position,
        content=b"{}",
        not_before=0.0,
        expires_at=1.0,
        session_id=chat,
        attempts=attempts,
        lease=1.0,
        silent=silent,
    )


def test_failures_in_a_row_leave_room_for_one_at_a_time() -> None:
    lane = Lane()
    for _ in range(FAILING - 1):
        lane.note([job()], Retry("no answer"))
    assert lane.room(0.0) == AT_ONCE
    lane.note([job(1)], Retry("no answer"))
    assert lane.room(0.0) == 1
    lane.note([job()], Delivered())
    assert lane.room(0.0) == AT_ONCE


def test_a_device_that_gets_too_much_is_no_failure_of_its_provider() -> None:
    lane = Lane()
    for _ in range(FAILING):
        lane.note([job()], TOO_MUCH)
    assert lane.room(0.0) == AT_ONCE


def test_a_broken_provider_has_no_room_for_a_while() -> None:
    lane = Lane(closed_until=60.0)
    assert lane.room(59.0) == 0
    assert lane.room(60.0) == AT_ONCE


def test_what_leaves_no_doubt_is_believed_at_once() -> None:
    assert Lane().believes(job(), DeadDevice("gone"))


def test_a_doubtful_death_is_believed_only_among_enough_good_ones() -> None:
    lane = Lane()
    for _ in range(ENOUGH - 2):
        lane.note([job()], Delivered())
    for _ in range(2):
        lane.note([job()], BAD)
    assert not lane.believes(job(), BAD), "among too few"
    lane.note([job(position=2)], Delivered())
    assert lane.believes(job(), BAD)
    lane.note([job(position=2)], BAD)
    assert not lane.believes(job(position=2), BAD), "not at the first time"


def test_too_many_doubtful_deaths_are_a_fault_of_our_own() -> None:
    lane = Lane()
    for _ in range(SAMPLE):
        lane.note([job()], Delivered())
    for number in range(SAMPLE // 5):
        for _ in range(2):  # one device counts once
            lane.note([job(position=number + 1)], BAD)
    assert lane.believes(job(), BAD)
    lane.note([job(position=99)], BAD)
    assert not lane.believes(job(), BAD)


@pytest.mark.parametrize(
    "outcome",
    [Retry("busy"), Misconfigured("bad key"), Dropped("too large")],
    ids=lambda one: type(one).__name__,
)
def test_what_says_nothing_of_a_device_makes_no_death_certain(outcome: Outcome) -> None:
    lane = Lane()
    for _ in range(SAMPLE):
        lane.note([job()], outcome)
    for _ in range(2):
        lane.note([job()], BAD)
    assert not lane.believes(job(), BAD)
    for _ in range(SAMPLE):
        lane.note([job()], DeadDevice("gone"))
    assert lane.believes(job(), BAD)


def test_of_many_doubtful_deaths_the_newest_are_remembered() -> None:
    lane = Lane()
    for position in (*range(MOST_DOUBTED), 1, MOST_DOUBTED):
        lane.note([job(position=position)], BAD)
    for _ in range(SAMPLE):
        lane.note([job(position=2)], Delivered())
    assert lane.believes(job(position=1), BAD)
    lane.note([job(position=0)], BAD)
    assert not lane.believes(job(position=0), BAD)


def test_a_service_that_wants_no_more_of_anybody_gets_none_for_a_while() -> None:
    lane = Lane()
    for after in (60.0, 50.0):
        retry = Retry("slow down", after=after, scope=Scope.PROVIDER)
        lane.wait(retry, job(), 3600.0, 0.0)
    assert lane.room(59.0) == 0
    assert lane.room(60.0) == AT_ONCE


def test_one_push_that_has_to_wait_holds_nothing_else() -> None:
    lane = Lane()
    lane.wait(Retry("no answer"), job(), 60.0, 0.0)
    assert (lane.room(0.0), lane.held_until("phone")) == (AT_ONCE, 0.0)


def test_what_gathers_for_a_device_that_was_held_is_one_push_for_each_chat() -> None:
    lane = Lane()
    first, second, third = (job(position=n) for n in (1, 2, 3))
    badge = job(position=4, silent=True)
    other, tablet = job(chat="t"), job(device="tablet")
    jobs = [badge, second, first, other, tablet, third]
    assert lane.batches(jobs) == [[one] for one in jobs]
    lane.wait(TOO_MUCH, first, 60.0, 0.0)
    gathered = [[badge, first, second, third], [other], [tablet]]
    assert lane.batches(jobs) == gathered
    lane.note([third], TOO_MUCH)
    assert lane.batches(jobs) == gathered
    lane.note([first, second], Delivered())
    assert lane.batches(jobs) == gathered, "there may be more"
    lane.note([third], Delivered())
    assert lane.batches(jobs) == [[one] for one in jobs]


def test_of_devices_that_all_wait_the_one_told_so_earliest_is_forgotten() -> None:
    lane = Lane()
    for number in range(MOST_HELD):
        lane.wait(TOO_MUCH, job(device=str(number)), 10.0, 0.0)
    lane.wait(TOO_MUCH, job(device="0"), 15.0, 0.0)
    lane.wait(TOO_MUCH, job(device="one more"), 20.0, 0.0)
    assert lane.held_until("one more") == 20.0
    assert (lane.held_until("0"), lane.held_until("2")) == (15.0, 10.0)
    assert lane.held_until("1") == lane.held_until("unknown") == 0.0
