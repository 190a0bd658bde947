"""Which sessions need a push, and that each is lent to one worker at a time."""

import asyncio

import pytest

from cometd_chat.model import End, EntryKind
from cometd_chat.store import Due, Store
from tests.store.conftest import Place
from tests.store.facts import DEVICE, answered, asks, new, opened, phone, said

DELAY = 90.0
LEASE = 30.0


async def due(store: Store, now: float, delay: float = DELAY) -> list[Due]:
    return await store.claim_due("sales", now, delay, LEASE)


async def vanished(store: Store, at: float = 100.0, name: str = "s") -> None:
    """Open a session and let its customer read, then vanish."""
    await opened(store, name)
    await store.mark_present(name, "phone", at + 1000.0)
    await store.mark_absent(name, "phone", at)


# --- when ------------------------------------------------------------------------


async def test_vanish_then_post_is_due_a_delay_after_the_post(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    await store.append("s", [answered(at=250.0)])
    assert await due(store, 289.0) == []
    (one,) = await due(store, 290.0)
    assert one.session == await store.get("s")
    assert one.lease == 290.0 + LEASE


async def test_post_then_vanish_is_due_a_delay_after_the_vanishing(
    store: Store,
) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 1000.0)
    await store.append("s", [answered(at=100.0)])
    assert await due(store, 900.0) == []
    await store.mark_absent("s", "phone", 200.0)
    assert await due(store, 289.0) == []
    assert len(await due(store, 290.0)) == 1


async def test_a_lease_that_ran_out_counts_like_a_goodbye(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 150.0)
    await store.append("s", [answered(at=100.0)])
    await store.expire_presence(200.0)
    assert await due(store, 289.0) == []
    assert len(await due(store, 290.0)) == 1


async def test_without_delay_a_push_is_due_at_once(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    assert len(await due(store, 200.0, delay=0.0)) == 1


async def test_after_one_push_later_entries_are_due_at_once(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    assert await store.announce(one, 1, ())
    assert (await store.get("s")).announced == 1
    assert await due(store, 1000.0) == []
    await store.append("s", [answered(at=1001.0)])
    assert len(await due(store, 1001.0)) == 1


async def test_an_entry_that_came_during_the_push_is_due_at_once(
    store: Store,
) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.append("s", [answered(at=291.0)])
    assert await due(store, 291.0) == []
    assert await store.announce(one, 1, ())
    assert len(await due(store, 291.0)) == 1


async def test_each_absence_begins_with_the_delay_again(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.announce(one, 1, ())
    await store.mark_present("s", "phone", 400.0)
    await store.mark_absent("s", "phone", 300.0)
    await store.append("s", [answered(at=310.0)])
    assert await due(store, 399.0) == []
    assert len(await due(store, 400.0)) == 1


async def test_coming_back_cancels_what_was_waiting(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    await store.mark_present("s", "phone", 1000.0)
    assert await due(store, 900.0) == []


async def test_what_was_acknowledged_needs_no_push(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0), said(at=201.0)])
    await store.acknowledge("s", 1)
    assert await due(store, 900.0) == []


async def test_after_a_partial_acknowledgement_the_rest_counts(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    await store.append("s", [said(at=220.0), answered(at=250.0)])
    await store.acknowledge("s", 1)
    assert await due(store, 339.0) == []
    assert len(await due(store, 340.0)) == 1


async def test_a_word_backwards_makes_heard_entries_unheard(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 1000.0)
    await store.append("s", [said(at=90.0), answered(at=100.0)])
    await store.mark_present("s", "phone", 1000.0, acked=2)
    await store.mark_absent("s", "phone", 200.0, position=1)
    assert await due(store, 289.0) == []
    assert len(await due(store, 290.0)) == 1


async def test_a_word_backwards_after_the_goodbye_counts_from_the_absence(
    store: Store,
) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 1000.0)
    await store.append("s", [answered(at=100.0)])
    await store.mark_absent("s", "phone", 200.0, acked=1)
    assert await due(store, 290.0) == []
    await store.mark_absent("s", "phone", 250.0, position=0)
    assert len(await due(store, 290.0)) == 1


async def test_what_a_push_told_stays_told_even_after_a_word_backwards(
    store: Store,
) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.announce(one, 1, ())
    await store.mark_absent("s", "phone", 300.0, position=0)
    assert await due(store, 900.0) == []


async def test_only_notable_entries_of_services_with_devices_are_due(
    store: Store,
) -> None:
    await vanished(store, 100.0, "dull")
    typing = answered("", 200.0, kind=EntryKind.TYPING_STARTED, notable=False)
    await store.append("dull", [typing, said(at=200.0)])
    await store.create(new("deviceless"))
    await store.append("deviceless", [], transition=asks())
    await store.mark_absent("deviceless", "phone", 100.0)
    await store.append("deviceless", [answered(at=200.0)])
    await opened(store, "elsewhere", service="help")
    await store.mark_absent("elsewhere", "phone", 100.0)
    await store.append("elsewhere", [answered(at=200.0)])
    await vanished(store, 100.0, "muted")
    await store.append("muted", [answered(at=200.0)])
    await store.register_device("muted", phone("muted", muted=True), 150.0)
    assert await due(store, 900.0) == []
    assert len(await store.claim_due("help", 900.0, DELAY, LEASE)) == 1


async def test_what_was_said_before_the_end_is_still_announced(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered("goodbye", 200.0)], transition=End())
    assert len(await due(store, 290.0)) == 1


async def test_who_was_silent_when_the_chat_ended_hears_of_its_last_words(
    store: Store,
) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 150.0)
    await store.append("s", [answered(at=100.0)])
    await store.append("s", [said(at=110.0)], transition=End())
    assert await store.expire_presence(149.0) == []
    assert [s.id for s in await store.expire_presence(150.0)] == ["s"]
    assert await store.expire_presence(1000.0) == []
    (one,) = await due(store, 240.0)
    assert one.session.ended


async def test_who_says_goodbye_after_the_end_hears_of_what_he_has_not_read(
    store: Store,
) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 1000.0)
    await store.append("s", [answered(at=100.0)])
    await store.append("s", [said(at=110.0)], transition=End())
    assert await store.mark_absent("s", "phone", 120.0)
    assert len(await due(store, 210.0)) == 1


async def test_who_has_read_all_of_an_ended_chat_is_not_missed(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 150.0)
    await store.append("s", [answered(at=100.0)])
    await store.append("s", [said(at=110.0)], transition=End())
    await store.acknowledge("s", (await store.get("s")).notable)
    assert await store.expire_presence(200.0) == []
    assert not await store.mark_absent("s", "phone", 210.0)
    assert await due(store, 1000.0) == []


async def test_a_session_created_absent_is_due_from_its_absence(store: Store) -> None:
    await store.create(new(devices=(DEVICE,), absent_since=100.0))
    await store.append("s", [answered(at=50.0)], transition=asks())
    assert await due(store, 189.0) == []
    assert len(await due(store, 190.0)) == 1


# --- to whom ---------------------------------------------------------------------


async def test_of_eight_workers_one_gets_each_session(store: Store) -> None:
    for n in range(50):
        await vanished(store, 100.0, f"s{n}")
        await store.append(f"s{n}", [answered(at=100.0 + n)])
    claims = await asyncio.gather(
        *(store.claim_due("sales", 900.0, DELAY, LEASE, limit=7) for _ in range(8))
    )
    claimed = [one.session.id for some in claims for one in some]
    assert len(claimed) == 50
    assert len(set(claimed)) == 50
    assert all(len(some) <= 7 for some in claims)
    assert await due(store, 901.0) == []


async def test_the_longest_waiting_come_first(store: Store) -> None:
    for name, at in (("late", 300.0), ("early", 200.0), ("middle", 250.0)):
        await vanished(store, 100.0, name)
        await store.append(name, [answered(at=at)])
    got = await store.claim_due("sales", 900.0, DELAY, LEASE, limit=2)
    assert [one.session.id for one in got] == ["early", "middle"]


async def test_a_lease_that_ran_out_passes_on_and_its_zombie_changes_nothing(
    store: Store,
) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0), answered(at=201.0)])
    (dead,) = await due(store, 290.0)
    assert await due(store, 319.0) == []
    (alive,) = await due(store, 320.0)

    assert not await store.postpone(dead, 9000.0)
    assert not await store.announce(dead, 1, ())
    assert (await store.get("s")).announced == 0
    assert await due(store, 349.0) == []  # the lease of the living one holds
    assert await store.announce(alive, 2, ())
    assert await due(store, 9000.0) == []


async def test_a_zombies_push_does_not_count_as_the_first(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (dead,) = await due(store, 290.0)
    (alive,) = await due(store, 320.0)
    assert not await store.announce(dead, 1, ())
    assert await store.postpone(alive, 340.0)
    assert await due(store, 340.0, delay=200.0) == []
    assert len(await due(store, 400.0, delay=200.0)) == 1


async def test_a_worker_that_outlived_its_lease_still_holds_what_nobody_took(
    store: Store,
) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    assert await store.announce(one, 1, ())
    assert not await store.announce(one, 1, ())


async def test_leases_outlive_the_process(store: Store, place: Place) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.close()
    again = await place()
    assert await due(again, 300.0) == []
    assert await again.announce(one, 1, ())
    await again.close()


async def test_a_lease_is_lost_when_the_customer_comes_back(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.mark_present("s", "phone", 400.0)
    assert not await store.postpone(one, 9000.0)
    assert not await store.announce(one, 1, ())
    assert (await store.get("s")).announced == 0


async def test_a_postponed_push_waits_for_its_time(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    assert await store.postpone(one, 500.0)
    assert not await store.postpone(one, 600.0)
    assert await due(store, 499.0) == []
    (again,) = await due(store, 500.0)
    assert await store.announce(again, 1, ())


async def test_a_new_absence_knows_no_postponement(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.postpone(one, 9000.0)
    await store.mark_present("s", "phone", 400.0)
    await store.mark_absent("s", "phone", 300.0)
    assert len(await due(store, 390.0)) == 1


@pytest.mark.parametrize(
    ("position", "becomes"), [(1, 2), (2, 2), (3, 3), (99, 3), (2**70, 3)]
)
async def test_the_announced_position_never_goes_down_nor_beyond_the_newest(
    store: Store, position: int, becomes: int
) -> None:
    await store.create(new(devices=(DEVICE,), announced=2, absent_since=100.0))
    await store.append("s", [answered(at=200.0)] * 3, transition=asks())
    (one,) = await due(store, 290.0)
    assert await store.announce(one, position, ())
    assert (await store.get("s")).announced == becomes


async def test_a_push_of_a_forgotten_session_is_nobodys(store: Store) -> None:
    await vanished(store, 100.0)
    await store.append("s", [answered(at=200.0)])
    (one,) = await due(store, 290.0)
    await store.append("s", [], transition=End())
    await store.purge(0.0, 900.0)
    assert not await store.announce(one, 1, ())
    assert not await store.postpone(one, 900.0)
