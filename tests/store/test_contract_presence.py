"""Who reads for the customer, and how far he has read."""

import asyncio

import pytest

from cometd_chat.model import End
from cometd_chat.store import SessionNotFoundError, Store
from tests.store.conftest import Place
from tests.store.facts import new, opened, said


async def test_a_customer_goes_away_once_and_comes_back_once(store: Store) -> None:
    await opened(store)
    assert not await store.mark_present("s", "phone", 40.0)
    assert await store.mark_absent("s", "phone", 20.0)
    assert (await store.get("s")).absent_since == 20.0
    assert not await store.mark_absent("s", "phone", 21.0)
    assert (await store.get("s")).absent_since == 20.0
    assert await store.mark_present("s", "phone", 60.0)
    assert (await store.get("s")).absent_since is None
    assert not await store.mark_present("s", "phone", 61.0)
    assert await store.mark_absent("s", "phone", 30.0)


async def test_of_many_racing_callers_one_sees_each_change(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 40.0)
    gone = await asyncio.gather(
        *(store.mark_absent("s", f"c{n % 3}", 50.0) for n in range(20)),
        *(store.expire_presence(50.0) for _ in range(20)),
    )
    assert sum(bool(result) for result in gone) == 1
    back = await asyncio.gather(
        *(store.mark_present("s", f"c{n % 3}", 60.0) for n in range(30))
    )
    assert back.count(True) == 1


async def test_the_customer_is_present_while_any_client_reads(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 40.0)
    await store.mark_present("s", "tablet", 50.0)
    assert not await store.mark_absent("s", "phone", 20.0)
    assert await store.expire_presence(49.0) == []
    assert (await store.get("s")).present
    assert await store.mark_absent("s", "tablet", 21.0)


async def test_a_lease_that_ends_just_then_does_not_count(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 40.0)
    await store.mark_present("s", "tablet", 20.0)
    assert await store.mark_absent("s", "phone", 20.0)


async def test_a_shorter_lease_does_not_shorten(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 40.0)
    await store.mark_present("s", "phone", 20.0)
    assert await store.expire_presence(39.0) == []


async def test_nor_does_it_for_another_client_that_leaves(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 40.0)
    await store.mark_present("s", "phone", 20.0)
    assert not await store.mark_absent("s", "tablet", 30.0)


async def test_a_goodbye_does_not_lengthen(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 40.0)
    await store.mark_absent("s", "phone", 90.0)
    await store.mark_present("s", "tablet", 50.0)
    assert len(await store.expire_presence(60.0)) == 1


async def test_even_a_stranger_may_say_that_nobody_reads(store: Store) -> None:
    await opened(store)
    assert await store.mark_absent("s", "stranger", 20.0)


async def test_expiry_hands_out_each_absence_once(store: Store) -> None:
    names = [await opened(store, f"s{n}") for n in range(25)]
    for n, name in enumerate(names):
        await store.mark_present(name, "phone", 20.0 + n)
    handed = await asyncio.gather(
        *(store.expire_presence(34.0, limit=4) for _ in range(10))
    )
    sessions = [session for some in handed for session in some]
    assert sorted(s.id for s in sessions) == sorted(names[:15])
    assert all(len(some) <= 4 for some in handed)
    assert all(s.absent_since == 34.0 for s in sessions)
    assert await store.get("s0") == next(s for s in sessions if s.id == "s0")
    assert await store.expire_presence(34.0) == []


async def test_leases_that_run_out_while_the_store_is_closed_are_found(
    store: Store, place: Place
) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 20.0)
    await store.close()
    again = await place()
    assert [s.id for s in await again.expire_presence(100.0)] == ["s"]
    await again.close()


async def test_only_open_sessions_lose_their_customer(store: Store) -> None:
    await store.create(new("new"))
    await opened(store, "over")
    for name in ("new", "over"):
        await store.mark_present(name, "phone", 20.0)
    await store.append("over", [], transition=End())
    for name in ("new", "over"):
        assert not await store.mark_absent(name, "phone", 15.0, acked=0)
    assert await store.expire_presence(100.0) == []
    assert (await store.get("new")).present
    assert (await store.get("over")).present


async def test_a_customer_who_never_read_does_not_expire(store: Store) -> None:
    await opened(store)
    assert await store.expire_presence(1e9) == []


async def test_acknowledging_only_ever_raises_and_never_beyond_the_newest(
    store: Store,
) -> None:
    await opened(store)
    await store.append("s", [said()] * 10)

    async def acked() -> int:
        return (await store.get("s")).acked

    await store.mark_present("s", "phone", 40.0, acked=3)
    assert await acked() == 3
    await store.mark_present("s", "phone", 40.0, acked=2)
    assert await acked() == 3
    await store.acknowledge("s", 5)
    await store.acknowledge("s", 4)
    assert await acked() == 5
    await store.mark_absent("s", "phone", 20.0, acked=7)
    await store.mark_absent("s", "phone", 20.0, acked=6)
    assert await acked() == 7
    for far in (11, 2**70):
        await store.acknowledge("s", far)
        await store.mark_present("s", "phone", 40.0, acked=far)
        await store.mark_absent("s", "phone", 20.0, acked=far)
        assert await acked() == 10
    await store.append("s", [said()])
    assert await acked() == 10


@pytest.mark.parametrize(
    ("word", "becomes"), [(2, 2), (0, 0), (-3, 0), (10, 10), (99, 10), (2**70, 10)]
)
async def test_the_customers_own_word_sets_the_position_even_backwards(
    store: Store, word: int, becomes: int
) -> None:
    await opened(store)
    await store.append("s", [said()] * 10)
    await store.acknowledge("s", 5)
    await store.mark_absent("s", "phone", 20.0, acked=8, position=word)
    assert (await store.get("s")).acked == becomes


async def test_positions_are_noted_for_a_session_that_is_over(store: Store) -> None:
    await opened(store)
    await store.append("s", [said()] * 3, transition=End())
    await store.mark_present("s", "phone", 40.0, acked=1)
    await store.mark_absent("s", "phone", 20.0, acked=2)
    assert (await store.get("s")).acked == 2


async def test_presence_of_an_unknown_session_is_an_error(store: Store) -> None:
    with pytest.raises(SessionNotFoundError):
        await store.mark_present("nobody", "phone", 40.0)
    with pytest.raises(SessionNotFoundError):
        await store.mark_absent("nobody", "phone", 40.0)
    with pytest.raises(SessionNotFoundError):
        await store.acknowledge("nobody", 1)
    assert await store.of_client("phone") == []
