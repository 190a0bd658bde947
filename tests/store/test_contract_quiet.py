"""Finding the chats that nobody writes in."""

import pytest

from cometd_chat.model import End, Leave
from cometd_chat.store import Quiet, Store
from tests.store.facts import answered, joins, new, opened, said, walk


async def ids(store: Store, before: float, limit: int = 100) -> list[str]:
    return sorted(one.session_id for one in await walk(store, before, limit))


async def test_a_chat_is_quiet_from_its_newest_entry_on(store: Store) -> None:
    await opened(store, service="sales")
    await store.append("s", [said(at=50.0), answered(at=60.0)])
    assert await ids(store, 60.0) == []
    quiet = Quiet(session_id="s", service="sales", last=2, since=60.0)
    assert await walk(store, 60.5) == [quiet]
    await store.append("s", [said(at=70.0)])
    assert await ids(store, 60.5) == []


async def test_a_chat_without_entries_is_quiet_from_its_beginning_on(
    store: Store,
) -> None:
    await opened(store, created_at=30.0)
    assert await ids(store, 30.0) == []
    assert [(one.last, one.since) for one in await walk(store, 31.0)] == [(0, 30.0)]


async def test_only_open_chats_are_quiet(store: Store) -> None:
    await store.create(new("new"))
    for name in ("waiting", "active", "left", "ended"):
        await opened(store, name)
        await store.append(name, [said(at=10.0)])
    for name in ("active", "left"):
        await store.append(name, [], transition=joins())
    await store.append("left", [], transition=Leave(agent_id="ann"))
    await store.append("ended", [], transition=End())
    assert await ids(store, 100.0) == ["active", "left", "waiting"]
    assert await store.purge(new_before=100.0, ended_before=100.0) == 2
    assert await ids(store, 100.0) == ["active", "left", "waiting"]


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_in_small_steps_each_chat_is_found(store: Store, limit: int) -> None:
    names = [f"s{number:02}" for number in range(40)]
    for number, name in enumerate(names):
        await opened(store, name)  # all of one start, by which they are in an order
        await store.append(name, [said(at=10.0 + number)])
        if number % 3 == 0:
            await store.append(name, [], transition=joins())
    assert await ids(store, 100.0, limit) == names
    assert await ids(store, 30.0, limit) == names[:20]


async def test_what_changes_on_the_way_keeps_no_other_from_being_found(
    store: Store,
) -> None:
    names = [f"s{number:02}" for number in range(30)]
    for name in names:
        await opened(store, name)
    found, cursor = await store.quiet(100.0, "", 3)
    for name in names[::2]:
        await store.append(name, [said(at=200.0)], transition=End())
    while cursor:
        more, cursor = await store.quiet(100.0, cursor, 3)
        found += more
    assert {one.session_id for one in found} >= set(names[1::2])


async def test_nobody_takes_a_quiet_chat_from_others(store: Store) -> None:
    await opened(store)
    assert await ids(store, 100.0) == await ids(store, 100.0) == ["s"]
