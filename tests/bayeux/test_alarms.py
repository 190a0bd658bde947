"""What rings when, and what the heap keeps of alarms that are no longer true."""

import math

from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.bayeux.alarms import NEVER, SPARE, Alarms, Owner


def rung(alarms: Alarms[Owner], now: float) -> list[Owner]:
    return list(iter(lambda: alarms.ring(now), None))


def test_owners_are_named_once_in_the_order_of_time() -> None:
    alarms, late, early = Alarms[Owner](), Owner(), Owner()
    alarms.set(late, 9.0)
    alarms.set(early, 5.0)
    assert rung(alarms, 4.9) == []
    assert rung(alarms, 9.0) == [early, late]
    assert rung(alarms, 1e9) == []
    assert early.alarm == late.alarm == NEVER


def test_an_alarm_can_be_set_to_ring_earlier_but_not_later() -> None:
    alarms, owner = Alarms[Owner](), Owner()
    for at in (9.0, 5.0, 7.0, NEVER):
        alarms.set(owner, at)
    assert owner.alarm == 5.0
    assert rung(alarms, 5.0) == [owner]
    assert rung(alarms, 9.0) == []


def test_one_that_rang_can_be_set_again_to_a_time_that_it_had() -> None:
    alarms, owner = Alarms[Owner](), Owner()
    for at in (9.0, 5.0):
        alarms.set(owner, at)
    assert rung(alarms, 5.0) == [owner]
    alarms.set(owner, 9.0)
    assert rung(alarms, 9.0) == [owner]


def test_who_is_gone_does_not_ring_and_cannot_be_set() -> None:
    alarms, owner = Alarms[Owner](), Owner()
    alarms.set(owner, 5.0)
    alarms.off(owner)
    alarms.off(owner)  # harmless
    alarms.set(owner, 1.0)
    assert rung(alarms, 9.0) == []
    assert len(alarms) == 0


OWNERS, AT = st.integers(0, 4), st.integers(0, 9).map(float)
STEPS = st.lists(st.tuples(st.sampled_from(["set", "off", "ring"]), OWNERS, AT))


@given(STEPS)
def test_whatever_is_done_those_ring_whose_time_has_come(
    steps: list[tuple[str, int, float]],
) -> None:
    alarms, owners = Alarms[Owner](), [Owner() for _ in range(5)]
    model: dict[Owner, float] = {}
    gone = set[Owner]()
    for what, number, at in steps:
        owner = owners[number]
        match what:
            case "set" if owner not in gone:
                alarms.set(owner, at)
                model[owner] = min(at, model.get(owner, NEVER))
            case "off":
                alarms.off(owner)
                gone.add(owner)
                model.pop(owner, None)
            case "ring":
                due = {one for one, when in model.items() if when <= at}
                found = rung(alarms, at)
                assert len(found) == len(due)
                assert set(found) == due
                for one in due:
                    del model[one]
        assert all(
            one.alarm == model.get(one, NEVER) for one in owners if one not in gone
        )
    assert len(rung(alarms, math.inf)) == len(model)


def test_those_who_come_and_go_all_day_leave_little() -> None:
    alarms, kept = Alarms[Owner](), [Owner() for _ in range(3)]
    for one in kept:
        alarms.set(one, 1000.0)
    for _ in range(10 * SPARE):
        owner = Owner()
        alarms.set(owner, 2000.0)
        alarms.off(owner)
        assert len(alarms) <= 2 * (len(kept) + 1) + SPARE
    assert rung(alarms, 1000.0) == kept


def test_one_that_is_set_to_the_same_times_all_day_leaves_little() -> None:
    alarms, owner = Alarms[Owner](), Owner()
    for now in range(10 * SPARE):
        alarms.set(owner, 1e9)
        alarms.set(owner, now)
        assert rung(alarms, now) == [owner]
        assert len(alarms) <= 2 + SPARE
