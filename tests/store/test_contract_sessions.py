"""Keeping, finding and forgetting sessions."""

import asyncio
from dataclasses import replace

import pytest

from cometd_chat.model import Device, End, Participant, Profile, Role, Session, State
from cometd_chat.store import Once, SessionNotFoundError, Store, StoreError
from tests.store.conftest import Place
from tests.store.facts import (
    DEVICE,
    ROOM_FOR_NEW,
    answered,
    asks,
    joins,
    new,
    opened,
    said,
)

FULL = Session(
    id="full",
    key="secret",
    service="sales",
    user="user-1",
    state=State.ACTIVE,
    created_at=1.5,
    started_at=2.5,
    ended_at=3.5,
    comet=True,
    profile=Profile(
        nickname="Kim",
        first_name="Kim",
        last_name="Ö'Hara",
        email="kim@example.org",
        subject="an order",
        user_data={"order": "12", "note": 'quote " and \0 nul'},
    ),
    devices=(
        DEVICE,
        Device(
            id="device-2",
            type="fcm",
            registered_at=7.5,
            muted=True,
            quiet="22:00-07:00",
            zone="Europe/Berlin",
        ),
    ),
    participants=(
        Participant(number=1, role=Role.CUSTOMER, nickname="Kim"),
        Participant(number=7, role=Role.SUPERVISOR, nickname="Bo", id="bo"),
    ),
    last=9,
    last_at=8.5,
    last_text="the last word",
    unread=2,
    acked=3,
    announced=4,
    notable=5,
    absent_since=6.5,
)


@pytest.mark.parametrize("session", [new(), FULL], ids=["bare", "full"])
async def test_a_session_is_found_as_it_was_created(
    store: Store, session: Session
) -> None:
    await store.create(session)
    assert await store.get(session.id) == session
    assert await store.find(session.key) == session


async def test_a_session_outlives_the_process(store: Store, place: Place) -> None:
    await store.create(FULL)
    await store.close()
    again = await place()
    assert await again.get("full") == FULL
    await again.close()


async def test_an_id_or_key_cannot_be_used_twice(store: Store) -> None:
    await store.create(new())
    for used in (replace(new(), key="other"), replace(new(), id="other")):
        with pytest.raises(StoreError) as refused:
            await store.create(used)
        assert "key-s" not in str(refused.value)
    assert await store.get("s") == new()


@pytest.mark.parametrize("name", ["", "nobody", "s' OR '1'='1", "\ud800", "key-s"])
async def test_an_unknown_session_is_not_found(store: Store, name: str) -> None:
    await store.create(new())
    with pytest.raises(SessionNotFoundError):
        await store.get(name)


@pytest.mark.parametrize("key", ["", "nobody", "s", "\ud800"])
async def test_an_unknown_key_finds_nothing_and_is_not_repeated(
    store: Store, key: str
) -> None:
    await store.create(new())
    with pytest.raises(SessionNotFoundError) as missing:
        await store.find(key)
    assert str(missing.value) == "no such session"


async def test_what_a_user_may_still_read_comes_oldest_first(store: Store) -> None:
    for name, start in (("late", 30.0), ("early", 10.0), ("over", 5.0)):
        await store.create(new(name))
        await store.append(name, [said(at=start)], transition=asks(user="kim"))
    await store.create(new("unopened", user="kim"))
    await store.append("over", [], transition=End())
    await opened(store, "stranger")

    assert [s.id for s in await store.of_user("kim")] == ["over", "early", "late"]
    await store.acknowledge("over", 1)

    assert [s.id for s in await store.of_user("kim")] == ["early", "late"]
    assert await store.of_user("") == []
    assert await store.of_user("nobody") == []


async def test_a_user_known_at_creation_stays_when_the_chat_is_asked_for(
    store: Store,
) -> None:
    await opened(store, user="kim")
    assert [s.id for s in await store.of_user("kim")] == ["s"]


async def test_sessions_of_a_client_are_remembered_after_it_is_gone(
    store: Store,
) -> None:
    for name in ("a", "b", "c"):
        await opened(store, name)
    await store.mark_present("a", "client", 20.0)
    await store.mark_present("b", "client", 20.0)
    await store.mark_present("c", "other", 20.0)
    await store.mark_absent("a", "client", 15.0)
    await store.expire_presence(100.0)

    assert {s.id for s in await store.of_client("client")} == {"a", "b"}
    assert await store.of_client("nobody") == []


async def test_a_client_that_only_says_goodbye_has_never_read(store: Store) -> None:
    await opened(store)
    await store.mark_absent("s", "passer-by", 15.0)
    assert await store.of_client("passer-by") == []


async def test_sessions_are_listed_by_state_and_service_oldest_first(
    store: Store,
) -> None:
    for name, start, service in (
        ("w2", 20.0, "sales"),
        ("w1", 10.0, "help"),
        ("a1", 15.0, "sales"),
        ("e1", 5.0, "sales"),
    ):
        await store.create(new(name, service=service))
        await store.append(name, [said(at=start)], transition=asks())
    await store.append("a1", [], transition=joins())
    await store.append("e1", [], transition=End())
    await store.create(new("n1"))

    async def names(states: set[State], *services: str, limit: int = 9) -> list[str]:
        return [s.id for s in await store.sessions(states, services, limit)]

    assert await names({State.WAITING}) == ["w1", "w2"]
    assert await names({State.WAITING, State.ACTIVE}) == ["w1", "a1", "w2"]
    assert await names({State.WAITING, State.ACTIVE}, limit=2) == ["w1", "a1"]
    assert await names({State.WAITING, State.ACTIVE}, "sales") == ["a1", "w2"]
    assert await names({State.WAITING}, "sales", "help") == ["w1", "w2"]
    assert await names({State.WAITING}, "other") == []
    assert await names(set(State)) == ["n1", "e1", "w1", "a1", "w2"]
    assert await names(set()) == []
    assert await names({State.WAITING}, limit=0) == []


async def test_purging_forgets_what_was_never_opened_and_what_is_long_over(
    store: Store,
) -> None:
    for name, created in (("old", 10.0), ("young", 50.0)):
        await store.create(new(name, created_at=created))
    for name, end in (("over", 10.0), ("just-over", 50.0), ("going-on", 0.0)):
        await opened(store, name, created_at=1.0)
        await store.mark_present(name, "client", 60.0)
        if end:
            await store.append(name, [said(at=end)], transition=End())

    assert await store.purge(new_before=50.0, ended_before=50.0) == 2

    for gone in ("old", "over"):
        with pytest.raises(SessionNotFoundError):
            await store.get(gone)
    assert await store.read("over", 0) == []
    left = {"young", "just-over", "going-on"}
    assert {s.id for s in await store.sessions(set(State), (), 9)} == left
    assert {s.id for s in await store.of_client("client")} == left - {"young"}
    assert await store.purge(new_before=50.0, ended_before=50.0) == 0


async def test_nothing_of_a_purged_session_is_inherited(store: Store) -> None:
    await opened(store)
    await store.mark_present("s", "phone", 20.0)
    await store.append("s", [answered()], transition=End(), once=Once(key="k"))
    await store.purge(0.0, 100.0)
    await opened(store)
    assert await store.read("s", 0) == []
    assert (await store.get("s")).last == 0
    assert await store.of_client("phone") == []
    assert not (await store.append("s", [said()], once=Once(key="k"))).repeated


async def test_many_sessions_are_purged_at_once(store: Store) -> None:
    for number in range(45):
        await store.create(new(f"s{number}"))
    assert await store.purge(2.0, 0.0) == 45


async def test_whoever_makes_many_sessions_displaces_those_that_were_not_opened(
    store: Store,
) -> None:
    """Anybody can make them: nobody fills the store, and chats stay."""
    await opened(store, "chat", created_at=0.0)
    for batch in range(30):
        many = (new(f"n{batch}.{n}", created_at=1.0 + batch) for n in range(50))
        await asyncio.gather(*map(store.create, many))
    left = {s.id for s in await store.sessions({State.NEW}, (), 2000)}
    assert 0.9 * ROOM_FOR_NEW < len(left) < 1.1 * ROOM_FOR_NEW
    assert left >= {f"n29.{n}" for n in range(50)}
    assert not left & {f"n0.{n}" for n in range(50)}
    with pytest.raises(SessionNotFoundError):
        await store.find("key-n0.0")
    assert (await store.get("chat")).open
