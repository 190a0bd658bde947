"""What several nodes on one Redis can rely on, and what they need not fear."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import count, islice
from typing import Any

import pytest

from cometd_chat.config import loads
from cometd_chat.model import Device, End, EntryKind, State
from cometd_chat.store import (
    DAMAGED,
    UNREADABLE,
    Change,
    Due,
    Limits,
    Once,
    SessionDamagedError,
    SessionNotFoundError,
    SharedStore,
    StoreError,
    StoreUnavailableError,
    TakenError,
)
from cometd_chat.store.opening import open_store
from cometd_chat.store.redis import RedisStore
from cometd_chat.store.redis_devices import REMEMBERED
from cometd_chat.store.redis_keys import (
    PARTITIONS,
    SLOTS,
    TAGS,
    Keys,
    partition_of,
    slot_of,
)
from cometd_chat.store.redis_link import (
    Address,
    Link,
    LostError,
    RefusedError,
    UnconfirmedError,
    Word,
)
from cometd_chat.store.redis_news import LOG, PROBE
from cometd_chat.store.redis_scripts import SOURCES
from cometd_chat.store.redis_topology import Servers
from tests.store.facts import (
    DEVICE,
    answered,
    asks,
    joins,
    new,
    opened,
    phone,
    push,
    said,
    spellings,
    walk,
)
from tests.store.proxy import Proxy, proxied
from tests.store.redis_server import LOGIN

PATIENCE = 20.0
"""Seconds after which a test gives up waiting for news."""

DEVICE_NAME = f"{DEVICE.type}\0{DEVICE.id}"

_prefixes = (f"own-{number}" for number in count())


@pytest.fixture
def prefix() -> str:
    return next(_prefixes)


@pytest.fixture
async def nodes(
    redis_single: Servers, prefix: str
) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    """Two stores of one storage, as on two nodes."""
    stores = [await RedisStore.open(redis_single, prefix=prefix) for _ in range(2)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


@pytest.fixture
async def proxy(redis_single: Servers) -> AsyncIterator[Proxy]:
    async with proxied(redis_single.addresses[0]) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: Proxy, prefix: str) -> AsyncIterator[RedisStore]:
    """A store that reaches its server through the proxy."""
    servers = Servers(addresses=(proxy.address,), login=LOGIN)
    store = await RedisStore.open(servers, prefix=prefix)
    yield store
    await store.close()


class News(list[Change]):
    """What a watcher was told, and a way to wait for it."""

    def __init__(self, store: RedisStore) -> None:
        super().__init__()
        self._more = asyncio.Event()
        store.watch(self._told)

    def _told(self, change: Change) -> None:
        self.append(change)
        self._more.set()

    async def until(self, enough: Callable[["News"], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not enough(self):
                self._more.clear()
                await self._more.wait()

    def newest(self, name: str) -> int:
        told = [e.position for c in self if c.session_id == name for e in c.entries]
        return max(told, default=0)


# --- partitions ------------------------------------------------------------------


def test_tags_spread_evenly_over_any_number_of_servers() -> None:
    assert len(set(TAGS)) == PARTITIONS == 64
    for n in range(PARTITIONS):
        middle = (n + 0.5) * SLOTS / PARTITIONS
        assert abs(slot_of(n) - middle) <= 2
    for servers in (3, 5, 6, 12, 16):
        shares = [0] * servers
        for n in range(PARTITIONS):
            shares[slot_of(n) * servers // SLOTS] += 1
        assert max(shares) - min(shares) <= 1


def test_all_keys_of_a_session_are_in_the_slot_of_its_partition() -> None:
    keys = Keys("any")
    tag = f"{{{TAGS[partition_of('s')]}}}"
    assert tag in keys.of("s", "e")
    assert tag in keys.own[partition_of("s")]


def test_scripts_and_news_agree_on_how_much_is_remembered() -> None:
    for source in SOURCES.values():
        assert f"local LOG = {LOG} " in source


# --- two nodes -------------------------------------------------------------------


async def test_what_one_node_does_the_other_hears_in_order(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    heard, own = News(there), News(here)
    await opened(here)
    await asyncio.gather(
        *(nodes[n % 2].append("s", [said(str(n))] * (n % 3 + 1)) for n in range(60))
    )
    last = (await here.get("s")).last
    for news in (heard, own):
        await news.until(lambda news: news.newest("s") == last)
        told = [entry for change in news for entry in change.entries]
        assert told == await here.read("s", 0, 1000)
    assert [c.altered for c in heard if not c.entries] == [True, True]


async def test_of_agents_at_two_nodes_one_gets_the_chat(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    await opened(nodes[0])
    results = await asyncio.gather(
        *(
            nodes[n % 2].append(
                "s", [answered()], transition=joins(f"a{n}", alone=True)
            )
            for n in range(20)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(r, TakenError) for r in results) == 19
    assert (await nodes[1].get("s")).last == 1


async def test_joins_between_messages_of_the_other_node_all_succeed(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    await opened(nodes[0])
    await asyncio.gather(
        *(nodes[1].append("s", [said()]) for _ in range(50)),
        *(
            nodes[0].append("s", [answered()], transition=joins(f"a{n}"))
            for n in range(5)
        ),
    )
    session = await nodes[1].get("s")
    assert sorted(agent.number for agent in session.agents) == [2, 3, 4, 5, 6]
    assert session.last == 55


async def test_workers_of_two_nodes_share_what_is_due(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    for n in range(30):
        await opened(nodes[0], f"s{n}")
        await nodes[0].mark_absent(f"s{n}", "phone", 100.0)
        await nodes[0].append(f"s{n}", [answered(at=100.0)])
    claims = await asyncio.gather(
        *(nodes[n % 2].claim_due("sales", 100.0, 0.0, 30.0, 10) for n in range(6))
    )
    claimed = [due.session.id for some in claims for due in some]
    assert sorted(claimed) == sorted(f"s{n}" for n in range(30))


async def test_services_that_customers_invent_are_not_remembered(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    names = [f"invented-{n}" for n in range(20)]
    await asyncio.gather(*(here.claim_due(n, 100.0, 0.0, 30.0) for n in names))
    assert not here._claims._turns


async def test_all_nodes_are_told_the_time_of_the_same_server(
    redis_cluster: Servers, prefix: str
) -> None:
    store = await RedisStore.open(redis_cluster, prefix=prefix)
    before = time.time()
    assert before - 0.001 <= await store.time() <= time.time() + 0.001
    assert isinstance(store, SharedStore)
    await store.close()


# --- devices ---------------------------------------------------------------------


async def queued(store: RedisStore) -> None:
    """Open a chat of kim with a push in the queue."""
    await opened(store, user="kim")
    await store.mark_absent("s", "phone", 100.0)
    await store.append("s", [answered(at=100.0)])
    (due,) = await store.claim_due("sales", 100.0, 0.0, 30.0)
    assert await store.announce(due, 1, [push(device=phone())])


async def test_a_taking_is_final_even_if_its_node_fell_after_the_first_step(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    await queued(here)
    name = DEVICE_NAME
    await here._scripts.run_at(
        "take_device", partition_of(name), "another", name, "ulee", "", 0
    )
    assert [d.id for d in (await there.get("s")).devices] == [DEVICE.id]
    assert await there.claim_jobs("apns", 200.0, 30.0) == []
    assert (await there.get("s")).devices == ()
    assert await there.cancel_jobs("s") == 0


async def has_record(store: RedisStore, name: str = DEVICE_NAME) -> bool:
    record = store._keys.of(name, "device")
    return bool(await store._router.read(partition_of(name), "EXISTS", record))


async def test_a_record_that_was_lost_is_made_again(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await queued(here)
    record = here._keys.of(DEVICE_NAME, "device")
    await here._router.write(partition_of(DEVICE_NAME), "DEL", record)
    assert len(await here.claim_jobs("apns", 200.0, 30.0)) == 1
    assert await here.forget_device(DEVICE.type, DEVICE.id, None) == 1


async def test_a_device_that_was_given_up_is_not_claimed_for_a_push_under_way(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    await queued(here)
    (job,) = await here.claim_jobs("apns", 200.0, 30.0)
    assert await there.deregister_device("s", None) == 1
    assert not await here._devices.holds("s", job.device)
    assert not await has_record(here)


async def test_a_clock_that_went_back_keeps_nobody_from_registering(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    await opened(here, user="kim")
    await here.deregister_device("s", None)
    name = DEVICE_NAME
    # Nobody has the device, and the newest taking is one of a clock a year ahead.
    ahead = json.dumps({name: int((time.time() + 365 * 86400) * 1e6)})
    key = here._keys.of("s", "s")
    await here._router.write(partition_of("s"), "HSET", key, "takes", ahead)
    await here.register_device("s", DEVICE, 5.0)
    assert [device.id for device in (await here.get("s")).devices] == [DEVICE.id]
    await opened(there, "t", user="lee")
    await there.register_device("t", DEVICE, 6.0)
    assert (await here.get("s")).devices == ()
    await here.register_device("s", DEVICE, 7.0)
    assert [device.id for device in (await here.get("s")).devices] == [DEVICE.id]
    assert DEVICE.id not in [device.id for device in (await here.get("t")).devices]


async def as_before(store: RedisStore, name: str, kind: str) -> None:
    """Let a chat with a push in the queue look as if an earlier revision, which told
    the names of one type apart, had registered its phone under this one."""
    await opened(store, name, user=name)
    await store.deregister_device(name, None)
    device = Device(id="phone", type="fcm")
    await store.register_device(name, device, 1.0)
    await store.mark_absent(name, "phone", 100.0)
    await store.append(name, [answered(at=100.0)])
    (due,) = await store.claim_due("sales", 100.0, 0.0, 30.0)
    assert await store.announce(due, 1, [push(name, device=device)])
    keys, write, read = store._keys, store._router.write, store._router.read
    place, key = partition_of(name), keys.of(name, "s")
    for field in ("devices", "takes"):
        value = (await read(place, "HGET", key, field)).decode()
        await write(place, "HSET", key, field, value.replace("fcm", kind))
    for field in ("j", "b"):
        text = (await read(place, "HGET", keys.of(name, field), name)).decode()
        await write(
            place, "HSET", keys.of(name, field), name, text.replace("fcm", kind)
        )
    names = [f"{one}\0phone" for one in ("fcm", kind)]
    places = [partition_of(one) for one in names]
    new, old = (keys.of(one, "device") for one in names)
    facts = await read(places[0], "HGETALL", new)
    await write(places[1], "HSET", old, *facts)
    await write(places[0], "DEL", new)


async def test_a_device_of_an_earlier_revision_is_pushed_and_replaced(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await as_before(here, "s", "gcm")
    assert [device.type for device in (await here.get("s")).devices] == ["fcm"]
    (job,) = await here.claim_jobs("apns", 200.0, 0.0)
    assert (job.device.type, job.device.id) == ("fcm", "phone")
    await here.register_device("s", Device(id="phone", type="gcm", language="fr"), 5.0)
    assert [d.language for d in (await here.get("s")).devices] == ["fr"]
    assert len(await here.claim_jobs("apns", 200.0, 0.0)) == 1
    await here.deregister_device("s", None)
    for kind in ("fcm", "gcm"):
        assert not await has_record(here, f"{kind}\0phone")


async def test_who_ends_his_chat_leaves_no_record_of_his_device(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await opened(here)
    await here.append("s", [said()], transition=End(by_customer=True))
    assert not await has_record(here)


async def test_a_browser_of_an_earlier_revision_is_pushed_and_replaced(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    """It named a browser by its subscription, however that was spelled."""
    here, _ = nodes
    first, second, third = spellings("a")
    await opened(here)
    await here.deregister_device("s", None)
    await here.register_device("s", first, 1.0)
    await here.mark_absent("s", "phone", 100.0)
    await here.append("s", [answered(at=100.0)])
    (due,) = await here.claim_due("sales", 100.0, 0.0, 30.0)
    assert await here.announce(due, 1, [push(device=first)])
    write, read, keys = here._router.write, here._router.read, here._keys
    place, key = partition_of("s"), keys.of("s", "j")
    job = json.loads(await read(place, "HGET", key, "j"))
    assert first.name in job
    job = [first.id if fact == first.name else fact for fact in job]
    await write(place, "HSET", key, "j", json.dumps(job))
    name = f"webpush\0{first.name}"
    await write(partition_of(name), "DEL", keys.of(name, "device"))
    assert [job.device.id for job in await here.claim_jobs("apns", 200.0, 0.0)] == [
        first.id
    ]
    await here.register_device("s", replace(first, language="fr"), 5.0)
    assert len(await here.claim_jobs("apns", 200.0, 0.0)) == 1
    await here.register_device("s", second, 5.0)
    assert [device.id for device in (await here.get("s")).devices] == [second.id]
    await opened(here, "t", user="lee")
    await here.register_device("t", third, 6.0)
    assert (await here.get("s")).devices == ()
    assert await here.claim_jobs("apns", 200.0, 0.0) == []


async def test_it_is_taken_from_its_former_user(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    await as_before(here, "s", "gcm")
    await opened(there, "t", user="lee")
    await there.register_device("t", Device(id="phone", type="fcm"), 5.0)
    assert await here.claim_jobs("apns", 200.0, 30.0) == []
    assert (await here.get("s")).devices == ()


async def test_what_a_queue_names_without_a_job_does_not_keep_others_from_being_lent(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await queued(here)
    base = here._keys.bases[partition_of("s")]
    ghosts = [f"{number:022d}\0ghost-{number}\0s" for number in range(5)]
    for ghost in ghosts:
        place = partition_of("s")
        await here._router.write(place, "ZADD", f"{base}jobs:apns", 0, ghost)
    assert [job.id for job in await here.claim_jobs("apns", 200.0, 30.0, 2)] == ["j"]
    left = await here._router.read(place, "ZRANGE", f"{base}jobs:apns", 0, -1)
    assert len(left) == 1


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("b", text) for text in (None, b"{", b"[]", b"\xff")),
        *(
            ("j", text)
            for text in (b"{", b"[]", b'["apns","","","0","x","1","0","0",""]')
        ),
    ],
)
async def test_a_damaged_push_is_dropped_and_the_others_are_lent(
    nodes: tuple[RedisStore, RedisStore],
    kind: str,
    text: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, _ = nodes
    await opened(here)
    await here.mark_absent("s", "phone", 100.0)
    await here.append("s", [answered(at=100.0)])
    (due,) = await here.claim_due("sales", 100.0, 0.0, 30.0)
    assert await here.announce(due, 1, [push("bad"), push("good"), push("late")])
    place, key, write = partition_of("s"), here._keys.of("s", kind), here._router.write
    await (
        write(place, "HSET", key, "bad", text)
        if text is not None
        else write(place, "HDEL", key, "bad")
    )
    lent = [await here.claim_jobs("apns", 200.0, 30.0, 2) for _ in range(2)]
    assert sorted(job.id for jobs in lent for job in jobs) == ["good", "late"]
    assert caplog.messages == [UNREADABLE % ("s", "apns")]
    assert await here.cancel_jobs("s") == 2
    for fact in ("j", "b"):
        assert not await here._router.read(place, "EXISTS", here._keys.of("s", fact))


async def test_a_damaged_push_stands_in_nobodys_way(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    """Neither in that of its customer, who comes back, nor of those that expire."""
    here, _ = nodes
    await queued(here)
    place, key = partition_of("s"), here._keys.of("s", "j")
    await here._router.write(place, "HSET", key, "j", "{")
    assert await here.mark_present("s", "phone", 300.0)
    await here.register_device("s", phone("other"), 5.0)
    assert await here.claim_jobs("another", 1e9, 30.0) == []
    assert not await here._router.read(place, "EXISTS", key)
    await here.claim_jobs("apns", 1e9, 30.0)
    assert await here.job_providers() == []


DAMAGE = [
    ("profile", b"{"),
    ("devices", b"{"),
    ("takes", b"[]"),
    ("last_text", b"\xff"),
    ("seats", None),
    ("service", None),
    ("state", b"odd"),
    ("acked", b"x"),
    ("notable", None),
    ("pushes", b""),
    ("base", b"x"),
    ("until", b"x"),
]


async def with_damage(store: RedisStore, field: str, text: bytes | None) -> str:
    """Open two chats of one user, and damage the first; return its id."""
    bad = f"chat-{field}-{text!r}-{store._keys.layout}"  # told once by a process
    for name in (bad, "good"):
        await opened(store, name, user="kim")
        await store.mark_present(name, "phone", 50.0)
        await store.append(name, [answered()])
    place, key, write = partition_of(bad), store._keys.of(bad, "s"), store._router.write
    await (
        write(place, "HSET", key, field, text)
        if text is not None
        else write(place, "HDEL", key, field)
    )
    return bad


async def twice(found: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """Return what is found by two calls of which each may find one."""
    return [one for _ in range(2) for one in await found()]


@pytest.mark.parametrize(("field", "text"), DAMAGE)
async def test_a_damaged_session_is_told_once_and_holds_up_nobody(
    nodes: tuple[RedisStore, RedisStore],
    field: str,
    text: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, _ = nodes
    bad = await with_damage(here, field, text)
    gone = await twice(lambda: here.expire_presence(100.0, 1))
    assert [session.id for session in gone] == ["good"]
    lists = [
        await here.sessions([State.WAITING], [], 10),
        await here.sessions([State.WAITING], ["sales"], 10),
        await here.of_user("kim"),
        await here.of_client("phone"),
    ]
    assert [[one.id for one in found] for found in lists] == [["good"]] * 4
    assert await here.badge("good") == 1
    (due,) = await twice(lambda: here.claim_due("sales", 100.0, 0.0, 30.0, 1))
    assert await here.announce(due, 1, [push("good", device=phone("good"))])
    (job,) = await here.claim_jobs("apns", 100.0, 30.0)
    assert await here.finish_job(job, 100.0)
    await here.acknowledge("good", 1)
    place, base = partition_of(bad), here._keys.bases[partition_of(bad)]
    await here._router.write(place, "ZADD", f"{base}badged", 0, bad)
    facts = ("badged", 1, *(("acked", 9) if field != "acked" else ()))
    await here._router.write(place, "HSET", here._keys.of(bad, "s"), *facts)
    badges = await twice(lambda: here.claim_badges(200.0, 30.0, 1))
    assert [one.session.id for one in badges] == ["good"]
    assert caplog.messages == [DAMAGED % bad]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("service", None),
        ("service", b"\xff"),
        ("last", b"many"),
        ("last_at", b"soon"),
        ("started_at", None),
    ],
)
async def test_a_damaged_session_keeps_no_other_from_being_found_quiet(
    nodes: tuple[RedisStore, RedisStore],
    field: str,
    text: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, _ = nodes
    bad = await with_damage(here, field, text)
    for _ in range(2):
        assert [one.session_id for one in await walk(here, 100.0)] == ["good"]
    assert caplog.messages == [DAMAGED % bad]


COUNTED = ["last_at", "unread"]
KNOWN = ["last", "absent_since", "unheard", "state"]
AWAITED = [
    *("acked", "announced", "notable", "pushes", "lease", "badge_lease", "until"),
    "service",
]


async def with_loan(store: RedisStore, field: str) -> tuple[str, Due]:
    """Have a session that is due, and damage it then; return its key, too."""
    await opened(store)
    await store.mark_absent("s", "phone", 100.0)
    await store.append("s", [answered(at=100.0)])
    (due,) = await store.claim_due("sales", 100.0, 0.0, 30.0)
    key = store._keys.of("s", "s")
    words = ("HDEL", key, field) if field == "service" else ("HSET", key, field, "x")
    await store._router.write(partition_of("s"), *words)
    return key, due


@pytest.mark.parametrize("field", [*KNOWN, *AWAITED])
async def test_who_changes_a_damaged_session_is_told_and_leaves_no_trace(
    nodes: tuple[RedisStore, RedisStore], field: str
) -> None:
    here, _ = nodes
    key, due = await with_loan(here, field)
    before = await here._router.read(partition_of("s"), "HGETALL", key)
    for refused in (
        here.append("s", [answered()], transition=joins()),
        here.mark_present("s", "phone", 200.0),
        here.mark_present("s", "another", 200.0),
        here.mark_absent("s", "phone", 200.0),
        here.acknowledge("s", 1),
        here.set_badge_base("s", 1, 100.0),
        here.register_device("s", phone(), 100.0),
        here.announce(due, 1, [push()]),
        here.postpone(due, 200.0),
        here.update_badge(due, []),
        here.badge("s"),
    ):
        with pytest.raises(SessionDamagedError):
            await refused
    assert await here._router.read(partition_of("s"), "HGETALL", key) == before
    assert len(await here.read("s", 0)) == 1


@pytest.mark.parametrize("field", [*COUNTED, *KNOWN, *AWAITED])
async def test_what_is_said_in_a_damaged_session_is_stored_as_a_whole_or_not_at_all(
    nodes: tuple[RedisStore, RedisStore], field: str
) -> None:
    here, _ = nodes
    await with_loan(here, field)
    refused = field not in AWAITED
    with pytest.raises(SessionDamagedError) if refused else nullcontext():
        await here.append("s", [answered(at=101.0)])
    assert len(await here.read("s", 0)) == 2 - refused


async def test_a_push_for_a_damaged_session_is_sent_once(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await queued(here)
    (job,) = await here.claim_jobs("apns", 200.0, 30.0)
    place, key = partition_of("s"), here._keys.of("s", "s")
    await here._router.write(place, "HSET", key, "announced", "x")
    assert await here.finish_job(job, 200.0)
    assert await here.claim_jobs("apns", 300.0, 30.0) == []


async def test_a_damaged_note_of_a_push_keeps_no_customer_from_coming_back(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await queued(here)
    place, key = partition_of("s"), here._keys.of("s", "sent")
    await here._router.write(place, "HSET", key, "bad", '["ios"]')
    assert not await here.confirm_push("s", "bad", 200.0, opened=True)
    with pytest.raises(SessionDamagedError):
        await here.sent_pushes("s")
    assert await here.mark_present("s", "phone", 300.0)


@pytest.mark.parametrize("field", ["unheard", "lease", "badge_lease"])
async def test_a_damaged_time_of_one_session_holds_up_no_other(
    nodes: tuple[RedisStore, RedisStore],
    field: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, _ = nodes
    bad = await with_damage(here, field, b"soon")
    gone = await twice(lambda: here.expire_presence(100.0, 1))
    assert [session.id for session in gone] == ["good"]
    place, base = partition_of(bad), here._keys.bases[partition_of(bad)]
    await here._router.write(place, "ZADD", f"{base}now:sales", 0, bad)
    due = await twice(lambda: here.claim_due("sales", 100.0, 0.0, 30.0, 1))
    assert [one.session.id for one in due] == ["good"]
    assert caplog.messages == [DAMAGED % bad]


@pytest.mark.parametrize(("field", "text"), DAMAGE)
async def test_a_damaged_session_itself_is_refused_until_it_is_purged(
    nodes: tuple[RedisStore, RedisStore], field: str, text: bytes | None
) -> None:
    here, _ = nodes
    bad = await with_damage(here, field, text)
    for asked in (here.get(bad), here.find(f"key-{bad}")):
        with pytest.raises(SessionDamagedError):
            await asked
    with pytest.raises(SessionDamagedError):
        await here.append(bad, [], transition=End())
    with pytest.raises(SessionDamagedError):
        await here.deregister_device(bad, None)
    assert await here.read(bad, 0)
    await opened(here, "other", user="lee")
    await here.register_device("other", phone(bad), 5.0)
    assert (await here.get("other")).devices[-1].id == phone(bad).id
    await here.register_device("other", phone("dead"), 5.0)
    assert await here.forget_device("ios", phone("dead").id, None) == 1
    with pytest.raises(SessionDamagedError) if field == "state" else nullcontext():
        await here.append(bad, [said()])
    await here.append("good", [said(at=20.0)], transition=End())
    place, base = partition_of(bad), here._keys.bases[partition_of(bad)]
    await here._router.write(place, "ZADD", f"{base}over", 20, bad)
    assert await here.purge(0.0, 1000.0) == 2
    for kind in ("s", "e", "n", "o", "r", "j"):
        assert not await here._router.read(place, "EXISTS", here._keys.of(bad, kind))
    for index in ("present", "over", "now:sales", "after:sales", "in:waiting"):
        rank = await here._router.read(place, "ZSCORE", f"{base}{index}", bad)
        assert rank is None or (field, index[:3]) == ("service", "aft")


async def test_of_many_devices_the_newest_takings_are_remembered(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await opened(here)
    for number in range(REMEMBERED + 5):
        await here.register_device("s", phone(f"{number}"), 5.0)
        await here.deregister_device("s", phone(f"{number}").id)
    row = await here._sessions.row("s")
    newest = [f"ios\0phone-{number}" for number in range(5, REMEMBERED + 5)]
    assert sorted(row.takes) == sorted(newest)


async def test_a_job_whose_device_cannot_be_looked_up_is_given_back(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    await queued(here)
    name = DEVICE_NAME
    place, record = partition_of(name), here._keys.of(name, "device")
    await here._router.write(place, "SET", record, "of another kind")
    with pytest.raises(StoreUnavailableError):
        await here.claim_jobs("apns", 200.0, 45.0)
    await here._router.write(place, "DEL", record)
    assert await there.claim_jobs("apns", 200.0, 45.0) == []
    assert [job.id for job in await here.claim_jobs("apns", 200.0, 45.0)] == ["j"]


async def test_it_keeps_no_other_from_being_sent(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await queued(here)
    await opened(here, "t")
    await here.mark_absent("t", "phone", 100.0)
    await here.append("t", [answered(at=100.0)])
    (due,) = await here.claim_due("sales", 100.0, 0.0, 30.0)
    assert await here.announce(due, 1, [push("k", device=phone("t"))])
    record = here._keys.of(DEVICE_NAME, "device")
    await here._router.write(
        partition_of(DEVICE_NAME), "SET", record, "of another kind"
    )
    assert [job.id for job in await here.claim_jobs("apns", 200.0, 45.0)] == ["k"]


async def test_of_two_users_who_register_a_device_at_once_one_has_it(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    names = [f"s{n}" for n in range(8)]
    for n, name in enumerate(names):
        await nodes[0].create(new(name, user=f"user-{n % 4}"))
        await nodes[0].append(name, [], transition=asks())
    for _ in range(5):
        await asyncio.gather(
            *(nodes[n % 2].register_device(s, DEVICE, 5.0) for n, s in enumerate(names))
        )
        sessions = [await nodes[0].get(name) for name in names]
        having = {session.user for session in sessions if session.devices}
        assert len(having) == 1


async def test_who_comes_is_not_refused_because_nobody_can_go(
    redis_single: Servers, prefix: str
) -> None:
    """The answer would say that nothing was kept, while it was."""
    limits = Limits(new=PARTITIONS)
    store = await RedisStore.open(redis_single, prefix=prefix, limits=limits)
    names = (f"chat-{n}" for n in count())
    first, second = islice(filter(lambda n: partition_of(n) == 0, names), 2)
    await store.create(new(first, user="kim"))
    place, leads = partition_of("kim"), store._keys.of("kim", "user")
    await store._router.write(place, "SET", leads, "of another kind")
    await store.create(new(second, created_at=2.0))
    assert (await store.get(second)).id == second
    await store.close()


# --- a bad network ---------------------------------------------------------------


async def test_what_was_stored_before_the_cut_is_not_stored_again(
    behind: RedisStore, proxy: Proxy
) -> None:
    await opened(behind)
    for n in range(20):
        proxy.cut_replies = n % 2
        stored = await behind.append("s", [said(str(n))])
        assert (stored.position, stored.repeated) == (n + 1, False)
    proxy.cut_replies = 1
    joined = await behind.append("s", [answered()], transition=joins())
    assert not joined.repeated
    assert proxy.cuts >= 10
    texts = [e.text for e in await behind.read("s", 0)]
    assert texts == [*map(str, range(20)), "yes?"]


async def test_who_lost_the_answer_is_not_in_conflict_with_himself(
    behind: RedisStore, proxy: Proxy
) -> None:
    await opened(behind)
    proxy.cut_replies = 1
    stored = await behind.append("s", [said()], expected=0)
    assert (stored.position, stored.repeated, proxy.cuts) == (1, False, 1)
    assert (await behind.get("s")).last == 1


async def test_of_callers_that_lost_the_answer_one_sees_the_return(
    behind: RedisStore, proxy: Proxy
) -> None:
    await opened(behind)
    await behind.mark_present("s", "phone", 100.0)
    proxy.cut_replies = 1
    assert await behind.mark_absent("s", "phone", 50.0)
    proxy.cut_replies = 1
    assert await behind.mark_present("s", "phone", 100.0)
    assert not await behind.mark_present("s", "phone", 100.0)


async def test_an_answer_is_forgotten_when_many_others_have_come(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    found = re.search(r"local ANSWERS = (\d+)", SOURCES["present"])
    assert found
    most, place = int(found[1]), partition_of("s")

    async def does(operation: object, script: str, *words: Word) -> Any:
        known = (place, f"operation {operation}", "s", *words)
        return await here._scripts._evaluate(script, *known)

    async def comes_back() -> Any:
        return await does("first", "present", "phone", "50.0", 0, "1")

    async def others(numbers: range) -> None:
        for n in numbers[::64]:  # few at a time: each has to be answered in time
            some = numbers[n - numbers[0] :][:64]
            await asyncio.gather(*(does(n, "set_base", n, "2.0") for n in some))

    await opened(here)
    await here.mark_absent("s", "phone", 60.0)
    first = await comes_back()
    await others(range(most))
    assert await comes_back() == first
    await others(range(most, 3 * most))
    assert (await comes_back())[1] == b"0"
    kinds = [
        here._keys.everywhere(kind)[place] for kind in ("answers", "answers:older")
    ]
    kept = [await here._router.read(place, "HLEN", key) for key in kinds]
    assert sum(kept) < 2 * most


async def test_what_was_said_does_not_outlive_its_chat_in_answers(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    await opened(here)
    await here.mark_present("s", "phone", 50.0)
    await here.append("s", [answered("a secret")])
    assert len(await here.expire_presence(100.0)) == 1
    (due,) = await here.claim_due("sales", 100.0, 0.0, 30.0)
    assert await here.announce(due, 1, [push()])
    assert [job.content for job in await here.claim_jobs("apns", 100.0, 30.0)]
    await here.append("s", [], transition=End())
    assert await here.purge(0.0, 1000.0) == 1
    place, key = partition_of("s"), here._keys.everywhere("answers")[partition_of("s")]
    kept = await here._router.read(place, "HVALS", key)
    assert len(kept) > 5
    assert b"secret" not in b"".join(kept)


async def test_a_request_that_arrives_late_changes_nothing_more(
    behind: RedisStore, proxy: Proxy, nodes: tuple[RedisStore, RedisStore]
) -> None:
    """It waits in the network until its store has asked again on another way."""
    await opened(behind)
    proxy.passing.clear()
    late = asyncio.create_task(behind.append("s", [said("late")]))
    await proxy.holds(2)
    proxy.passing.set()
    assert (await late).position == 1
    await nodes[0].append("s", [said("next")])
    assert [e.text for e in await nodes[0].read("s", 0)] == ["late", "next"]


async def test_news_that_were_lost_are_made_good(
    behind: RedisStore, proxy: Proxy, nodes: tuple[RedisStore, RedisStore]
) -> None:
    there = nodes[0]
    news = News(behind)
    await opened(there)
    await news.until(lambda news: len(news) == 2)
    proxy.deaf = True
    await there.append("s", [said("one"), said("two")])
    await there.append("s", [], transition=joins())
    await news.until(lambda news: news.newest("s") == 2)
    assert news[-1].altered
    proxy.deaf = False
    before = len(news)
    await there.append("s", [said("three")])
    await news.until(lambda news: news.newest("s") == 3)
    assert len(news) > before


async def test_an_entry_that_cannot_be_read_keeps_no_news_of_other_chats(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    """A newer revision may know kinds of entries that this one does not."""
    here, there = nodes
    news = News(there)
    names = (f"chat-{n}" for n in count())
    bad, good = islice(filter(lambda n: partition_of(n) == 0, names), 2)
    for name in (bad, good):
        await opened(here, name)
    base, write = here._keys.bases[0], here._router.write
    number = int(await write(0, "HINCRBY", here._keys.own[0], "sequence", 1))
    await write(0, "XADD", here._keys.of(bad, "e"), "1-0", "a", "1.0", "b", '["New"]')
    await write(0, "ZADD", f"{base}log", number, bad)
    told = f'[{number},"{bad}",false,1,[[1.0,["New"]]]]'
    await write(0, "PUBLISH", f"{base}news", told)
    await here.append(good, [said()])
    await news.until(lambda news: news.newest(good) == 1)
    assert Change(session_id=bad, altered=True) in news
    with pytest.raises(SessionDamagedError):
        await there.read(bad, 0)


async def test_what_is_published_while_a_subscription_is_made_again_comes_at_once(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    news = News(there)
    await opened(here)
    await news.until(lambda news: len(news) == 2)
    cut = there._news._link
    assert cut is not None
    cut.abort()
    await here.append("s", [said("one")])
    async with asyncio.timeout(PROBE - 0.2):  # before the next look at the counters
        await news.until(lambda news: news.newest("s") == 1)
    anew = there._news._link
    assert anew is not cut
    await asyncio.sleep(2 * PROBE + 0.2)
    assert there._news._link is anew, "a subscription that missed nothing was dropped"


async def test_news_that_come_while_the_counters_are_read_are_not_taken_for_loss(
    behind: RedisStore,
    proxy: Proxy,
    nodes: tuple[RedisStore, RedisStore],
    caplog: pytest.LogCaptureFixture,
) -> None:
    await opened(nodes[0])
    news, link = News(behind), behind._news._link
    proxy.slow = 0.3
    with caplog.at_level(logging.INFO, "cometd_chat.store.redis_news"):
        for n in range(round(3 * PROBE / 0.02)):
            await nodes[0].append("s", [said(str(n))])
            await asyncio.sleep(0.02)
    assert news.newest("s") == n + 1
    assert behind._news._link is link
    assert not caplog.records


async def test_what_many_partitions_missed_is_read_at_the_same_time(
    behind: RedisStore, proxy: Proxy, nodes: tuple[RedisStore, RedisStore]
) -> None:
    names = [f"s{n}" for n in range(40)]
    for name in names:
        await opened(nodes[0], name)
    news = News(behind)
    proxy.deaf = True
    for name in names:
        await nodes[0].append(name, [said()])
    proxy.slow = 0.1
    async with asyncio.timeout(2 * PROBE + 2.0):  # one by one: 10 s
        await news.until(lambda news: all(news.newest(name) for name in names))


async def test_after_a_cut_all_partitions_are_asked_again_at_the_same_time(
    behind: RedisStore, proxy: Proxy
) -> None:
    await opened(behind)
    proxy.slow, proxy.cut_replies = 0.1, 1
    async with asyncio.timeout(2.0):  # one by one: more than 6 s
        found = await behind.sessions({State.WAITING}, (), 10)
    assert [session.id for session in found] == ["s"]
    assert proxy.cuts == 1


async def test_a_subscription_that_was_cut_is_made_again(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, there = nodes
    news = News(there)
    await opened(here)
    for n in (1, 2):
        await here._router.write(0, "CLIENT", "KILL", "TYPE", "pubsub")
        await here.append("s", [said()])
        await news.until(lambda news, n=n: news.newest("s") == n)  # type: ignore[misc]  # bound now


async def test_a_break_while_much_is_written_is_over_at_once(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    """What was missed meanwhile is no sign that the next subscription is deaf."""
    here, there = nodes
    names = [f"s{number}" for number in range(100)]
    for name in names:
        await opened(there, name)
    links = {here._news._link}
    await here._router.write(0, "CLIENT", "KILL", "TYPE", "pubsub")
    end = time.monotonic() + 4.5 * PROBE
    while time.monotonic() < end:
        for name in names:
            await there.append(name, [said()])
        links.add(here._news._link)
    assert len(links) == 2
    news = News(here)
    await there.append("s1", [said("quick")])
    async with asyncio.timeout(PROBE / 2):
        await news.until(lambda news: bool(news.newest("s1")))


async def test_a_storage_that_cannot_be_reached_refuses_within_its_patience(
    behind: RedisStore, proxy: Proxy
) -> None:
    await opened(behind)
    proxy.passing.clear()
    with pytest.raises(StoreUnavailableError):
        await behind.append("s", [said()], once=Once(key="k"))
    proxy.passing.set()
    stored = await behind.append("s", [said()], once=Once(key="k"))
    assert stored.position == 1


# --- bounds ----------------------------------------------------------------------


async def test_more_calls_than_there_is_room_for_are_refused_at_once(
    redis_single: Servers, prefix: str
) -> None:
    store = await RedisStore.open(redis_single, prefix=prefix, room=70)
    await opened(store)
    results = await asyncio.gather(
        *(store.append("s", [said()]) for _ in range(100)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, StoreUnavailableError)]
    assert len(refused) == 30
    assert (await store.get("s")).last == 70
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await store.get("s")


async def test_a_link_that_owes_a_reply_is_given_up(redis_single: Servers) -> None:
    link = await Link.connect(redis_single.addresses[0], LOGIN)
    assert await link.send(("PING",)) == b"PONG"
    link.abort()
    with pytest.raises(LostError):
        await link.send(("PING",))


@pytest.mark.parametrize(
    ("confirmation", "enough"),
    [
        (b":1", True),
        (b":0", False),
        (b"*2\r\n:1\r\n:0", True),
        (b"*2\r\n:0\r\n:1", False),
    ],
)
async def test_a_write_counts_once_a_replica_or_the_own_disk_has_it(
    confirmation: bytes, enough: bool
) -> None:
    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked = await reader.read(1000)
        assert asked.count(b"WAITAOF") == 1
        writer.write(b"+OK\r\n-ERR wrong\r\n" + confirmation + b"\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = Address(*listener.sockets[0].getsockname())
    link = await Link.connect(address, LOGIN, confirm=("WAITAOF", 1, 0, 1000))
    good, bad = link.send(("SET", "a", 1)), link.send(("SET", "a"))
    if enough:
        assert await good == b"OK"
    else:
        with pytest.raises(UnconfirmedError):
            await good
    with pytest.raises(RefusedError):
        await bad
    link.abort()
    await ended.wait()
    listener.close()


async def test_names_that_no_storage_could_hold_are_refused(
    nodes: tuple[RedisStore, RedisStore],
) -> None:
    here, _ = nodes
    with pytest.raises(SessionNotFoundError):
        await here.get("\ud800")
    with pytest.raises(StoreError):
        await here.mark_present("\ud800", "phone", 1.0)
    with pytest.raises(StoreError):
        await here.append("s", [said("\ud800", kind=EntryKind.MESSAGE)])


async def test_what_was_accepted_is_finished_before_the_store_closes(
    redis_single: Servers, prefix: str
) -> None:
    store = await RedisStore.open(redis_single, prefix=prefix)
    await opened(store)
    sends = [asyncio.create_task(store.append("s", [said()])) for _ in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert sorted([(await send).position for send in sends]) == list(range(1, 51))


async def test_a_store_can_be_closed_as_soon_as_it_is_open(
    redis_single: Servers, prefix: str
) -> None:
    for _ in range(20):
        store = await RedisStore.open(redis_single, prefix=prefix)
        async with asyncio.timeout(PATIENCE):
            await store.close()


async def test_the_configuration_leads_to_the_storage(
    redis_single: Servers, prefix: str
) -> None:
    loaded = loads(
        "[agents]\nsecret = a key of the tests, long enough for HS256\n"
        f"[store]\nurl = redis://{redis_single.addresses[0]}\nprefix = {prefix}\n"
    )
    assert loaded.config
    store = await open_store(loaded.config.store)
    assert isinstance(store, RedisStore)
    await opened(store)
    await store.close()
    again = await RedisStore.open(redis_single, prefix=prefix)
    assert (await again.get("s")).open
    await again.close()
