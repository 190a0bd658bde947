"""News of what was committed."""

import asyncio
import logging

import pytest

from cometd_chat.model import End, Leave
from cometd_chat.store import Change, Once, Store, StoreError
from tests.store.facts import DEVICE, answered, asks, joins, new, opened, push, said


@pytest.fixture
def news(store: Store) -> list[Change]:
    """What a watcher of the store is told."""
    told: list[Change] = []
    store.watch(told.append)
    return told


async def test_each_append_is_told_once_with_its_entries(
    store: Store, news: list[Change]
) -> None:
    await opened(store)
    news.clear()
    stored = await store.append("s", [said(), answered()])
    assert news == [Change(session_id="s", entries=stored.entries)]


async def test_news_come_after_the_commit_and_on_the_event_loop(store: Store) -> None:
    await opened(store)
    loop = asyncio.get_running_loop()
    readings: list[asyncio.Task[int]] = []

    async def newest(change: Change) -> int:
        return (await store.read(change.session_id, 0))[-1].position

    def watcher(change: Change) -> None:
        assert asyncio.get_running_loop() is loop
        readings.append(loop.create_task(newest(change)))

    store.watch(watcher)
    await store.append("s", [said()])
    assert await readings[0] >= 1


async def test_news_of_a_session_come_in_the_order_of_positions(
    store: Store, news: list[Change]
) -> None:
    for name in ("a", "b"):
        await opened(store, name)
    news.clear()
    await asyncio.gather(
        *(store.append("ab"[n % 2], [said(str(n))] * (n % 3 + 1)) for n in range(60))
    )
    for name in ("a", "b"):
        told = [e for c in news if c.session_id == name for e in c.entries]
        assert told == await store.read(name, 0)
    assert len(news) == 60


async def test_other_facts_are_told_as_altered(
    store: Store, news: list[Change]
) -> None:
    altered = Change(session_id="s", altered=True)
    steps = (
        lambda: store.create(new()),
        lambda: store.append("s", [], transition=asks()),
        lambda: store.append("s", [], transition=joins()),
        lambda: store.register_device("s", DEVICE, 5.0),
        lambda: store.deregister_device("s", DEVICE.id),
        lambda: store.register_device("s", DEVICE, 6.0),
        lambda: store.forget_device(DEVICE.type, DEVICE.id, None),
        lambda: store.append("s", [], transition=Leave(agent_id="ann")),
        lambda: store.mark_absent("s", "phone", 10.0),
        lambda: store.mark_present("s", "phone", 20.0),
        lambda: store.expire_presence(30.0),
        lambda: store.append("s", [], transition=End()),
        lambda: store.purge(0.0, 100.0),
    )
    for step in steps:
        news.clear()
        await step()
        assert news == [altered]


async def test_a_transition_with_entries_is_one_change(
    store: Store, news: list[Change]
) -> None:
    await opened(store)
    news.clear()
    stored = await store.append("s", [answered()], transition=joins())
    assert news == [Change(session_id="s", entries=stored.entries, altered=True)]


async def test_what_changed_nothing_to_see_is_not_told(
    store: Store, news: list[Change]
) -> None:
    await opened(store)
    await store.append("s", [answered(at=10.0)], once=Once(key="k"))
    await store.mark_absent("s", "phone", 10.0)
    news.clear()
    await store.append("s", [answered()], once=Once(key="k"))
    await store.append("s", [])
    await store.append("s", [said()], transition=asks())
    await store.mark_absent("s", "phone", 11.0, position=0)
    (due,) = await store.claim_due("sales", 200.0, 90.0, 30.0)
    await store.postpone(due, 200.0)
    (due,) = await store.claim_due("sales", 200.0, 90.0, 30.0)
    assert await store.announce(due, 1, [push()])
    for _ in range(2):
        (job,) = await store.claim_jobs("apns", 200.0, 30.0)
        assert await store.retry_job(job, 200.0)
    (job,) = await store.claim_jobs("apns", 200.0, 30.0)
    assert await store.finish_job(job)
    await store.cancel_jobs("s")
    await store.acknowledge("s", 1)
    await store.set_badge_base("s", 3, 200.0)
    await store.deregister_device("s", "another")
    await store.deregister_device("nobody", None)
    await store.forget_device(DEVICE.type, DEVICE.id, 0.0)
    await store.expire_presence(300.0)
    for refused in (store.append("nobody", [said()]), store.create(new())):
        with pytest.raises(StoreError):
            await refused
    assert news == []


async def test_a_watcher_that_raises_harms_nobody_and_betrays_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(change: Change) -> None:
        raise ValueError(change.entries[0].text)

    told: list[Change] = []
    await opened(store)
    store.watch(broken)
    store.watch(told.append)
    with caplog.at_level(logging.DEBUG):
        assert (await store.append("s", [said("a secret")])).position == 1
        assert (await store.append("s", [said("a secret")])).position == 2
    assert len(told) == 2
    assert "ValueError" in caplog.text
    assert "a secret" not in caplog.text
