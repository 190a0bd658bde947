"""Whether the customer is there: leases, their ends, and what is written of them."""

import asyncio

import pytest

from cometd_chat.chat.presence import FORGET_PERIOD, RECOVERY
from cometd_chat.model import End
from cometd_chat.store import StoreUnavailableError
from tests.chat.world import OFFLINE, TIMEOUT, World, phone


async def present(world: World, session) -> bool:
    await world.presence.sweep()
    return (await world.session(session)).present


async def test_a_new_chat_gives_its_app_the_time_to_connect(world: World):
    session = await world.chat()
    world.clock.now += OFFLINE - 1
    assert await present(world, session)
    world.clock.now += 1
    assert not await present(world, session)


async def test_a_customer_who_polls_by_rest_has_longer(world: World):
    session = await world.chat(notify_by="")
    world.clock.now += 44
    assert await present(world, session)
    await world.customers.polled(await world.session(session))
    world.clock.now += 44
    assert await present(world, session)
    world.clock.now += 1
    assert not await present(world, session)


async def test_the_silence_of_rest_is_an_option_of_the_service(world: World):
    world.configure("[auth]\ngms_user=trusted\n[chat.sales]\nflex-disconnect-timeout=5")
    session = await world.chat(notify_by="")
    world.clock.now += 5
    assert not await present(world, session)


async def test_a_refresh_is_no_sign_of_presence_for_an_app_that_listens(world: World):
    session = await world.chat()
    world.clock.now += OFFLINE
    assert not await present(world, session)
    await world.customers.polled(await world.session(session))
    assert not await present(world, session)


async def test_neither_is_one_of_a_chat_that_is_over(world: World):
    session = await world.chat(notify_by="")
    ended = await world.customers.end(session)
    world.store.calls.clear()
    await world.customers.polled(ended)
    assert world.store.calls == []


async def test_an_app_that_listens_is_present_before_its_next_poll(world: World):
    session = await world.chat()
    world.clock.now += 60
    assert not await present(world, session)
    await phone(world)
    assert await present(world, session)


async def test_a_poll_that_is_held_keeps_the_customer_present(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    world.clock.now += TIMEOUT + OFFLINE - 1
    assert await present(world, session)


async def test_a_lease_ends_by_itself_when_the_node_died(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    world.clock.now += TIMEOUT + OFFLINE + OFFLINE / 2
    assert not await present(world, session)
    assert (await world.session(session)).absent_since == world.clock.now


async def test_polls_are_not_written_each(world: World):
    await world.chat()
    app = await phone(world)
    await app.poll()
    world.store.calls.clear()
    for _ in range(10):
        world.clock.now += 0.4
        await app.poll()
    assert "mark_present" not in world.store.calls
    world.clock.now += 2
    await app.poll()
    assert world.store.calls.count("mark_present") == 1


async def test_acknowledged_positions_are_written_by_the_flush(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    assert (await world.session(session)).acked == 0
    world.store.calls.clear()
    await world.presence.flush()
    assert (await world.session(session)).acked == 1
    await app.poll()
    await world.presence.flush()
    assert world.store.calls.count("acknowledge") == 1


async def test_a_lease_that_is_renewed_writes_the_position_with_it(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    world.clock.now += TIMEOUT
    await app.poll()
    assert (await world.session(session)).acked == 1
    world.store.calls.clear()
    await world.presence.flush()
    assert world.store.calls == []


async def test_a_flush_that_fails_is_made_good_by_the_next(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    world.store.broken = {"acknowledge"}
    with pytest.raises(StoreUnavailableError):
        await world.presence.flush()
    world.store.broken = set()
    await world.presence.flush()
    assert (await world.session(session)).acked == 1


async def test_a_flush_passes_over_clients_that_left_while_it_wrote(world: World):
    await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    async with world.store.holding("acknowledge", world.presence.flush()):
        await app.disconnect()
    await world.presence.flush()
    assert not any(world.traces)


async def test_a_flush_passes_over_clients_that_left_before_it_wrote(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    world.store.calls.clear()

    async def leave() -> None:
        world.presence.drop(session.id, app.id)

    await asyncio.gather(world.presence.flush(), leave())
    assert world.store.calls == []


async def fail_meanwhile(world: World, app) -> None:
    async with world.store.holding("acknowledge", world.presence.flush()):
        await app.disconnect()
        world.store.broken = {"acknowledge"}


async def test_a_failed_flush_remembers_nothing_of_clients_that_left(world: World):
    await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    with pytest.raises(StoreUnavailableError):
        await fail_meanwhile(world, app)
    assert not any(world.traces)


async def test_a_flush_forgets_sessions_that_are_gone(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    await world.customers.end(session)
    await world.store.purge(0, world.clock.now + 1)
    await world.presence.flush()
    assert not world.presence._leases


async def test_a_poll_whose_lease_failed_is_written_by_the_next(world: World):
    session = await world.chat()
    app = await phone(world)
    world.clock.now += 30
    world.store.broken = {"mark_present"}
    await app.poll()
    world.store.broken = set()
    await app.poll()
    world.clock.now += TIMEOUT + OFFLINE
    assert await present(world, session)


async def test_silence_is_absence_and_a_poll_is_the_return(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.fall_silent()
    assert (await world.session(session)).absent_since == world.clock.now
    await app.poll()
    assert await present(world, session)


async def test_a_client_that_polled_before_its_silence_was_noted_stays(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    app.client.silent = False
    await world.application.silent(app.client)
    assert await present(world, session)


async def test_silence_stores_what_the_app_had_confirmed(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    await world.customers.send(session, "never confirmed", "")
    await app.take()
    await app.fall_silent()
    assert (await world.session(session)).acked == 1


async def test_a_goodbye_within_the_grace_of_a_new_chat_counts_at_once(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.disconnect()
    assert not await present(world, session)


@pytest.mark.parametrize("way", ["disconnect", "fall_silent", "expire"])
async def test_a_customer_with_two_apps_is_present_while_one_is(world: World, way):
    session = await world.chat()
    one, two = await phone(world), await phone(world)
    await one.poll()
    await two.poll()
    await getattr(one, way)()
    assert await present(world, session)
    await getattr(two, way)()
    assert not await present(world, session)


async def test_presence_is_noted_in_every_chat_of_the_app(world: World):
    sessions = [await world.chat() for _ in range(3)]
    app = await phone(world)
    await app.poll()
    world.clock.now += TIMEOUT
    await app.poll()
    world.clock.now += OFFLINE
    assert all([await present(world, session) for session in sessions])
    await app.fall_silent()
    assert not any([await present(world, session) for session in sessions])


async def test_a_poll_during_the_silence_brings_all_chats_back(world: World):
    sessions = [await world.chat() for _ in range(3)]
    app = await phone(world)
    await app.poll()
    async with world.store.holding("mark_absent", app.fall_silent()):
        await app.poll()
    assert all([await present(world, session) for session in sessions])


async def test_no_chat_that_is_over_is_kept_alive(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await world.customers.end(session)
    await app.poll()
    assert world.presence._leases
    await app.poll()
    assert not world.presence._leases


async def test_many_customers_may_vanish_at_once(world: World):
    sessions = [await world.chat(f"user-{n}") for n in range(101)]
    world.clock.now += OFFLINE
    await world.presence.sweep()
    assert not any([(await world.session(s)).present for s in sessions])


async def test_sessions_that_are_gone_have_nobody_to_be_absent(world: World):
    session = await world.chat()
    app = await phone(world)
    await world.customers.end(session)
    await world.store.purge(0, world.clock.now + 1)
    await app.expire()
    assert not any(world.traces)


async def test_a_lease_that_failed_is_written_before_the_customer_counts_as_away(
    world: World,
):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    world.clock.now += TIMEOUT
    world.store.broken = {"mark_present"}
    await app.poll()
    world.clock.now += OFFLINE + OFFLINE / 2
    with pytest.raises(StoreUnavailableError):
        await world.presence.sweep()
    assert (await world.session(session)).present
    world.store.broken = set()
    assert await present(world, session)


async def refused_lease(world: World):
    """Return an app whose poll is held, but could not be stored."""
    app = await phone(world)
    world.clock.now += TIMEOUT
    world.store.broken = {"mark_present"}
    await app.poll()
    return app


async def test_after_an_outage_other_nodes_have_the_time_to_write_their_leases(
    world: World,
):
    sessions = [await world.chat(user) for user in ("kim", "lee")]
    for session in sessions:
        await world.store.mark_present(session.id, "elsewhere", world.clock.now + 20)
    world.store.broken = {"expire_presence"}
    with pytest.raises(StoreUnavailableError):
        await world.presence.sweep()
    world.clock.now += 30
    world.store.broken = set()
    assert [await present(world, session) for session in sessions] == [True, True]
    renewed = sessions[0]
    await world.store.mark_present(renewed.id, "elsewhere", world.clock.now + 20)
    world.clock.now += RECOVERY
    assert [await present(world, session) for session in sessions] == [True, False]


async def test_a_flush_writes_leases_that_failed(world: World):
    session = await world.chat()
    await refused_lease(world)
    world.store.broken = set()
    await world.presence.flush()
    world.clock.now += TIMEOUT + OFFLINE
    assert await present(world, session)
    world.store.calls.clear()
    await world.presence.flush()
    assert world.store.calls == []


async def test_all_chats_of_a_poll_that_failed_are_made_good(world: World):
    sessions = [await world.chat() for _ in range(2)]
    await refused_lease(world)
    world.store.broken = set()
    await world.presence.flush()
    world.clock.now += TIMEOUT + OFFLINE
    assert [await present(world, session) for session in sessions] == [True, True]


async def test_a_lease_that_failed_is_not_written_for_who_left(world: World):
    session = await world.chat()
    app = await refused_lease(world)
    await app.disconnect()
    world.store.broken = set()
    await world.presence.flush()
    assert not (await world.session(session)).present
    assert not any(world.traces)


async def test_nor_for_a_chat_that_is_gone(world: World):
    session = await world.chat()
    await refused_lease(world)
    world.store.broken = set()
    await world.store.append(session.id, [], transition=End())
    await world.store.purge(0, world.clock.now + 1)
    await world.presence.flush()
    assert not world.presence._owed


async def test_the_lease_of_a_chat_that_is_purged_is_forgotten(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await world.customers.end(session)
    await world.store.purge(0, world.clock.now + 1)
    await app.take()
    await app.disconnect()
    world.clock.now += TIMEOUT + 2 * OFFLINE + FORGET_PERIOD
    await world.presence.sweep()
    assert not any(world.traces)


async def test_a_lease_that_is_renewed_is_not_forgotten(world: World):
    await world.chat()
    app = await phone(world)
    for _ in range(5):
        await app.poll()
        world.clock.now += TIMEOUT
        await world.presence.sweep()
    assert world.presence._leases


async def test_the_time_to_connect_is_given_before_anybody_hears_of_the_chat(world):
    """At another node a client may poll, and say goodbye, before the opening is over:
    given afterwards, that time would keep a customer present who has gone."""
    await world.chat()
    assert world.store.calls.index("mark_present") < world.store.calls.index("append")
