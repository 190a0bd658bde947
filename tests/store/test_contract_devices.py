"""Whose device it is. Nobody may get the push of somebody else."""

from dataclasses import replace

import pytest

from cometd_chat.model import Device, End
from cometd_chat.store import Change, SessionNotFoundError, Store
from tests.store.facts import (
    answered,
    asks,
    new,
    opened,
    phone,
    push,
    said,
    spellings,
)

LEASE = 30.0


async def devices(store: Store, name: str = "s") -> list[str]:
    return [device.id for device in (await store.get(name)).devices]


async def chat(store: Store, name: str, user: str = "", *own: Device) -> None:
    """Open a chat without a device of its own but those given."""
    await store.create(new(name, user=user))
    await store.append(name, [], transition=asks())
    for device in own:
        await store.register_device(name, device, 1.0)


async def announced(store: Store, name: str, *own: Device) -> None:
    """Open a chat with these devices, and queue two pushes for each."""
    await chat(store, name, "", *own)
    await queue(store, name)


async def queue(store: Store, name: str) -> None:
    """Let the customer vanish and queue two pushes to each device, one is silent."""
    await store.mark_absent(name, "phone", 100.0)
    await store.append(name, [answered(at=100.0)])
    (one,) = await store.claim_due("sales", 100.0, 0.0, LEASE)
    jobs = [
        push(f"{name}-{device.type}-{device.id}-{what}", device=device, silent=silent)
        for device in one.session.devices
        for what, silent in (("loud", False), ("silent", True))
    ]
    assert await store.announce(one, 1, jobs)


async def queued(store: Store) -> list[str]:
    """Return what is to be sent, without taking it."""
    jobs = await store.claim_jobs("apns", 9000.0, 0.0, 1000)
    return [f"{job.session_id}:{job.device.id}:{int(job.silent)}" for job in jobs]


def both(name: str, device: Device) -> list[str]:
    return [f"{name}:{device.id}:0", f"{name}:{device.id}:1"]


A, B = phone("a"), phone("b")

# --- registering -----------------------------------------------------------------


async def test_a_session_has_as_many_devices_as_were_registered(store: Store) -> None:
    await opened(store)
    tablet = Device(id="tablet", type="fcm", quiet="22:00-07:00", zone="Asia/Tokyo")
    await store.register_device("s", tablet, 20.0)
    first, second = (await store.get("s")).devices
    assert first == replace(phone(), registered_at=1.0)
    assert second == replace(tablet, registered_at=20.0)


async def test_registering_again_replaces_everything(store: Store) -> None:
    await chat(store, "s", "", A, B)
    await store.register_device("s", Device(id=A.id, type=A.type), 20.0)
    assert (await store.get("s")).devices == (
        replace(B, registered_at=1.0),
        Device(id=A.id, type=A.type, registered_at=20.0),
    )


async def test_ids_of_different_types_are_different_devices(store: Store) -> None:
    await chat(store, "s", "", A, replace(A, type="fcm"))
    await chat(store, "t", "", replace(A, type="webpush"))
    assert await devices(store) == [A.id, A.id]


@pytest.mark.parametrize("latter", ["gcm", "android", "fcm"])
async def test_one_token_is_one_device_by_whatever_name_of_its_type(
    store: Store, latter: str
) -> None:
    token = phone("a", type="gcm")
    await announced(store, "s", token, B)
    await store.register_device("s", replace(token, type=latter, language="fr"), 20.0)
    assert (await store.get("s")).devices == (
        replace(B, registered_at=1.0),
        replace(token, type="fcm", language="fr", registered_at=20.0),
    )
    assert await queued(store) == both("s", token) + both("s", B)
    await chat(store, "other", "", replace(token, type="android"))
    assert await devices(store) == [B.id]
    assert await queued(store) == both("s", B)
    assert await store.forget_device("fcm", token.id, None) == 1


async def test_one_subscription_is_one_device_however_it_is_spelled(
    store: Store,
) -> None:
    first, second, third = spellings("a")
    await announced(store, "s", first, B)
    await store.register_device("s", second, 20.0)
    assert await devices(store) == [B.id, second.id]
    assert await queued(store) == both("s", first) + both("s", B)
    await store.register_device("s", replace(third, muted=True), 30.0)
    assert await queued(store) == [*both("s", first)[1:], *both("s", B)]
    await chat(store, "other", "", first)
    assert await devices(store) == [B.id]
    assert await queued(store) == both("s", B)
    assert await store.deregister_device("other", third.id) == 1
    await chat(store, "another", "", *spellings("a"), *spellings("b"))
    assert len(await devices(store, "another")) == 2
    assert await store.forget_device("webpush", second.id, 0.5) == 0
    assert await store.forget_device("webpush", second.id, None) == 1
    assert await devices(store, "another") == [spellings("b")[2].id]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"endpoint":1}', '{"endpoint":""}'])
async def test_what_is_no_subscription_is_named_by_its_id(
    store: Store, text: str
) -> None:
    one, other = (Device(id=text + more, type="webpush") for more in ("", " "))
    await chat(store, "s", "", one, other)
    await store.register_device("s", one, 2.0)
    assert await devices(store) == [other.id, one.id]
    assert await store.deregister_device("s", other.id) == 1


async def test_a_chat_that_is_asked_for_registers_its_device(store: Store) -> None:
    await store.create(new(devices=(A, B)))
    other = replace(A, language="fr", registered_at=7.0)
    await store.append("s", [said(at=20.0)], transition=asks(device=other))
    assert (await store.get("s")).devices == (B, replace(other, registered_at=20.0))
    await store.append("s", [said(at=30.0)], transition=asks(device=phone("late")))
    assert await devices(store) == [B.id, A.id]


async def test_a_session_that_is_over_may_still_get_a_device(store: Store) -> None:
    await chat(store, "s")
    await store.append("s", [], transition=End())
    await store.register_device("s", A, 20.0)
    assert await devices(store) == [A.id]


async def test_an_unknown_session_gets_no_device(store: Store) -> None:
    await chat(store, "s", "kim", A)
    with pytest.raises(SessionNotFoundError):
        await store.register_device("nobody", A, 20.0)
    assert await devices(store) == [A.id]


async def test_with_a_device_what_was_unheard_is_due(store: Store) -> None:
    await chat(store, "s")
    await store.mark_absent("s", "phone", 100.0)
    await store.append("s", [answered(at=100.0)])
    assert await store.claim_due("sales", 200.0, 0.0, LEASE) == []
    await store.register_device("s", replace(A, muted=True), 200.0)
    assert await store.claim_due("sales", 200.0, 0.0, LEASE) == []
    await store.register_device("s", B, 200.0)
    (due,) = await store.claim_due("sales", 200.0, 0.0, LEASE)
    assert [device.muted for device in due.session.devices] == [True, False]


async def test_muting_deletes_what_would_ring(store: Store) -> None:
    await announced(store, "s", A, B)
    await store.register_device("s", replace(A, muted=True), 200.0)
    assert await queued(store) == [f"s:{A.id}:1", *both("s", B)]


async def test_registering_again_keeps_what_is_queued(store: Store) -> None:
    await announced(store, "s", A)
    await store.register_device("s", replace(A, language="fr"), 200.0)
    assert await queued(store) == both("s", A)


# --- whose it is -----------------------------------------------------------------


@pytest.mark.parametrize("users", [("kim", "lee"), ("", "lee"), ("kim", ""), ("", "")])
@pytest.mark.parametrize("way", ["register", "open", "create"])
async def test_a_device_leaves_its_former_user_with_all_that_is_queued(
    store: Store, users: tuple[str, str], way: str
) -> None:
    former, latter = users
    await chat(store, "former", former, A, B)
    await queue(store, "former")
    news: list[Change] = []
    store.watch(news.append)

    match way:
        case "register":
            await chat(store, "latter", latter, A)
        case "open":
            await store.create(new("latter"))
            wish = asks(device=A, user=latter)
            await store.append("latter", [], transition=wish)
        case _:
            await store.create(new("latter", user=latter, devices=(A,)))

    assert await devices(store, "former") == [B.id]
    assert await devices(store, "latter") == [A.id]
    assert await queued(store) == both("former", B)
    former_news = [change for change in news if change.session_id == "former"]
    assert former_news == [Change(session_id="former", altered=True)]


async def test_chats_of_one_user_share_a_device(store: Store) -> None:
    await chat(store, "first", "kim", A)
    await queue(store, "first")
    await chat(store, "second", "kim", A)
    await store.create(new("third", user="kim", devices=(A,)))
    await store.create(new("fourth"))
    wish = asks(device=A, user="kim")
    await store.append("fourth", [], transition=wish)
    for name in ("first", "second", "third", "fourth"):
        assert await devices(store, name) == [A.id]
    assert await queued(store) == both("first", A)


async def test_a_device_leaves_all_chats_of_its_former_user(store: Store) -> None:
    for name in ("first", "second"):
        await chat(store, name, "kim", A)
        await queue(store, name)
    await chat(store, "s", "lee", A)
    assert await devices(store, "first") == await devices(store, "second") == []
    assert await queued(store) == []


async def test_a_chat_that_becomes_another_users_takes_its_devices_along(
    store: Store,
) -> None:
    await chat(store, "first", "kim", A, B)
    await store.create(new("second", user="kim", devices=(A, B)))
    news: list[Change] = []
    store.watch(news.append)
    await store.append("second", [], transition=asks(user="lee"))
    assert await devices(store, "first") == []
    assert await devices(store, "second") == [A.id, B.id]
    assert sorted(change.session_id for change in news) == ["first", "second"]


async def test_taking_a_device_leaves_the_others_pushes(store: Store) -> None:
    await announced(store, "s", A, B)
    await chat(store, "other", "", phone("c"))
    assert await queued(store) == both("s", A) + both("s", B)


# --- taking away -----------------------------------------------------------------


async def test_deregistering_is_final_for_what_is_queued_and_what_is_lent(
    store: Store,
) -> None:
    await announced(store, "s", A, B)
    (lent,) = await store.claim_jobs("apns", 200.0, LEASE, 1)
    assert lent.device.id == A.id
    assert await store.deregister_device("s", A.id) == 1
    assert await devices(store) == [B.id]
    assert not await store.retry_job(lent, 200.0)
    assert await queued(store) == both("s", B)
    assert await store.deregister_device("s", A.id) == 0


async def test_deregistering_names_the_device_of_whatever_type(store: Store) -> None:
    await chat(store, "s", "", A, replace(A, type="fcm"), B)
    assert await store.deregister_device("s", A.id) == 2
    assert await devices(store) == [B.id]


async def test_all_devices_are_deregistered_at_once(store: Store) -> None:
    await announced(store, "s", A, B)
    assert await store.deregister_device("s", None) == 2
    assert await devices(store) == []
    assert await queued(store) == []
    assert await store.deregister_device("s", None) == 0


async def test_a_customer_who_ends_his_chat_takes_his_devices_along(
    store: Store,
) -> None:
    for name in ("s", "t"):
        await chat(store, name, "kim", A, B)
        await queue(store, name)
    (lent, *_) = await store.claim_jobs("apns", 200.0, LEASE, 1)
    assert lent.session_id == "s"
    await store.append("s", [said(at=200.0)], transition=End(by_customer=True))
    assert await devices(store) == []
    assert not await store.retry_job(lent, 200.0)
    assert await queued(store) == both("t", A) + both("t", B)
    await store.append("t", [], transition=End())
    again = await store.append("t", [], transition=End(by_customer=True))
    assert again.repeated
    assert await devices(store, "t") == [A.id, B.id]


async def test_deregistering_is_for_one_chat(store: Store) -> None:
    for name in ("first", "second"):
        await chat(store, name, "kim", A)
        await queue(store, name)
    assert await store.deregister_device("first", A.id) == 1
    assert await devices(store, "second") == [A.id]
    assert await queued(store) == both("second", A)


async def test_an_unknown_session_has_no_device_to_lose(store: Store) -> None:
    assert await store.deregister_device("nobody", A.id) == 0
    assert await store.deregister_device("nobody", None) == 0


async def test_a_dead_device_is_forgotten_by_everybody(store: Store) -> None:
    for name in ("first", "second"):
        await chat(store, name, "kim", A, B)
        await queue(store, name)
    assert await store.forget_device(A.type, A.id, None) == 2
    assert await devices(store, "first") == await devices(store, "second") == [B.id]
    assert await queued(store) == both("first", B) + both("second", B)
    assert await store.forget_device(A.type, A.id, None) == 0


async def test_only_the_jobs_of_its_type_go_with_a_dead_device(store: Store) -> None:
    other = replace(A, type="fcm")
    await announced(store, "s", A, other)
    assert await store.forget_device(A.type, A.id, None) == 1
    jobs = await store.claim_jobs("apns", 9000.0, LEASE)
    assert [job.device.type for job in jobs] == ["fcm", "fcm"]


async def test_a_device_that_registered_after_its_death_lives(store: Store) -> None:
    for name, at in (("first", 10.0), ("second", 20.0), ("third", 30.0)):
        await chat(store, name, "kim")
        await store.register_device(name, A, at)
    assert await store.forget_device("fcm", A.id, 25.0) == 0
    assert await store.forget_device(A.type, A.id, 20.0) == 2
    assert await devices(store, "second") == []
    assert await devices(store, "third") == [A.id]
