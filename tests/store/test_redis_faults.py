"""Servers that fall, that are promoted, and that must not be used at all."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cometd_chat.model import End
from cometd_chat.store import Once, StoreError, StoreUnavailableError
from cometd_chat.store.redis import Durability, RedisStore, parse
from cometd_chat.store.redis_check import (
    NewerLayoutError,
    UnsuitableServerError,
    examine_all,
)
from cometd_chat.store.redis_keys import (
    LAYOUT,
    TAGS,
    Keys,
    partition_of,
    slot_of,
)
from cometd_chat.store.redis_link import Address, Login, Word
from cometd_chat.store.redis_rights import COMMANDS, RIGHTS, check_rights
from cometd_chat.store.redis_scripts import SOURCES, Scripts
from cometd_chat.store.redis_topology import Servers
from tests.store.facts import asks, joins, new, opened, said
from tests.store.proxy import proxied
from tests.store.redis_server import (
    HOST,
    LOGIN,
    SAFE,
    RedisServer,
    cluster,
    cluster_servers,
    running,
    until,
)
from tests.store.test_redis import News, queued

PAGE = Path(__file__).parents[2] / "docs" / "redis.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path / "primary", *SAFE) as server:
        yield server


@pytest.fixture
def replica(tmp_path: Path, server: RedisServer) -> Iterator[RedisServer]:
    """A second server that follows the first."""
    options = (*SAFE, "--replicaof", server.address.host, str(server.port))
    with running(tmp_path / "replica", *options) as replica:
        until(lambda: replica.linked(0) and server.linked(1))
        yield replica


def both(server: RedisServer, replica: RedisServer) -> Servers:
    return Servers(addresses=(server.address, replica.address), login=LOGIN)


async def persistently(store: RedisStore, text: str) -> int:
    """Send as a customer's app does: again, with the same name, until it is stored."""
    while True:
        try:
            stored = await store.append("s", [said(text)], once=Once(key=text))
        except StoreUnavailableError:
            continue
        return stored.position


# --- falling ---------------------------------------------------------------------


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    server: RedisServer,
) -> None:
    store = await RedisStore.open(server.servers)
    await opened(store)
    positions: dict[str, int] = {}
    moments = {count: asyncio.Event() for count in (300, 800, 1300)}

    async def write(name: str) -> None:
        for n in range(250):
            text = f"{name}-{n}"
            positions[text] = await persistently(store, text)
            if len(positions) in moments:
                moments[len(positions)].set()

    writers = asyncio.gather(*(write(f"w{n}") for n in range(8)))
    for moment in moments.values():
        await asyncio.wait_for(moment.wait(), 60)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await writers
    entries = await store.read("s", 0, 5000)
    assert {e.text: e.position for e in entries} == positions
    assert len(entries) == 2000
    told = [e.position for e in entries]
    assert told == sorted(set(told))
    assert told[-1] == 2000 + 3 * 1000  # a server that fell may lack the newest
    await store.close()


async def test_a_new_primary_gives_no_position_twice_and_no_news_are_missed(
    server: RedisServer, replica: RedisServer
) -> None:
    servers = both(server, replica)
    store = await RedisStore.open(servers)
    other = await RedisStore.open(servers)
    news = News(other)
    await opened(store)
    await store.append("s", [said("kept")])
    until(lambda: replica.ask("XLEN", Keys("chat").of("s", "e")) == "1")
    replica.ask("REPLICAOF", HOST, "9")  # where nobody is
    lost = await store.append("s", [said("lost"), said("lost too")])
    await news.until(lambda news: news.newest("s") == lost.position)
    await asyncio.to_thread(server.kill)
    replica.ask("REPLICAOF", "NO", "ONE")

    position = await persistently(store, "after")
    assert position > lost.position
    await news.until(lambda news: news.newest("s") == position)
    assert [e.text for e in await other.read("s", 0)] == ["kept", "after"]
    again = await store.append("s", [said("next")])
    assert again.position == position + 1
    for one in (store, other):
        await one.close()


class Repeating(Scripts):
    """Asks for the same operation each time, as after a reply that was lost."""

    async def run_at(
        self, name: str, partition: int, session_id: str, *words: Word
    ) -> Any:
        return await self._evaluate(name, partition, "the same", session_id, *words)


END_ALL = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('PTTL', key) >= 0 then redis.call('DEL', key) end
end
"""


async def test_a_new_primary_whose_clock_is_ahead_stores_no_append_twice(
    server: RedisServer, replica: RedisServer
) -> None:
    """For it, whatever was to be forgotten after a time is forgotten at once."""
    store = await RedisStore.open(both(server, replica))
    await opened(store)
    store._scripts = Repeating(store._router, store._keys)
    assert (await store.append("s", [said()])).position == 1
    until(lambda: replica.ask("XLEN", store._keys.of("s", "e")) == "1")
    await asyncio.to_thread(server.kill)
    replica.ask("REPLICAOF", "NO", "ONE")
    replica.ask("EVAL", END_ALL, "0")
    assert (await store.append("s", [said()])).position == 1
    assert len(await store.read("s", 0)) == 1
    await store.close()


async def test_a_server_that_is_away_is_told_of_once_and_once_when_it_is_back(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = await RedisStore.open(server.servers)
    await opened(store)
    await asyncio.to_thread(server.kill)
    sends = [store.append("s", [said()]) for _ in range(500)]
    failed = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(one) for one in failed} == {StoreUnavailableError}
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(60):
        while "works again" not in caplog.text:
            await persistently(store, "after")
            await asyncio.sleep(0.1)
    told = [r.getMessage() for r in caplog.records if "[store] url" in r.getMessage()]
    begun, over = told
    assert begun.startswith(f"Redis at {server.address} ([store] url)")
    assert over.startswith(f"Redis at {server.address} ([store] url)")
    await store.close()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[RedisServer]:
    """Another primary, of the same data as far as anybody knows."""
    with running(tmp_path / "second", *SAFE) as second:
        yield second


async def test_of_two_primaries_the_one_that_has_a_replica_is_used(
    server: RedisServer, replica: RedisServer, second: RedisServer
) -> None:
    for servers in (both(second, server), both(server, second)):
        store = await RedisStore.open(servers)
        assert await store._router.primaries() == [server.address]
        await store.close()
    assert second.ask("DBSIZE") == "0"


async def test_while_two_say_that_they_are_the_primary_neither_is_used(
    server: RedisServer, second: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    rivals = " and ".join(sorted([str(server.address), str(second.address)]))
    said_so = f"{rivals} both say that they are the primary"
    with pytest.raises(StoreUnavailableError, match=said_so):
        await RedisStore.open(both(server, second))
    assert second.ask("DBSIZE") == server.ask("DBSIZE") == "0"
    assert caplog.text.count(f"{said_so}, and no replica") == 1
    await asyncio.to_thread(follow, second, server)
    store = await RedisStore.open(both(server, second))
    await opened(store)
    await store.close()


async def test_a_primary_may_be_known_by_two_addresses(
    server: RedisServer, replica: RedisServer
) -> None:
    async with proxied(server.address) as line:
        known = (line.address, server.address, replica.address)
        store = await RedisStore.open(Servers(addresses=known, login=LOGIN))
        await opened(store)
        await store.close()


async def test_a_former_primary_that_comes_back_gets_no_writes(
    server: RedisServer, replica: RedisServer
) -> None:
    store = await RedisStore.open(both(server, replica))
    await opened(store)
    await store.append("s", [said("one")])
    until(lambda: replica.ask("XLEN", Keys("chat").of("s", "e")) == "1")
    await asyncio.to_thread(server.kill)
    replica.ask("REPLICAOF", "NO", "ONE")
    await persistently(store, "two")
    await asyncio.to_thread(server.start)  # as a supervisor does
    replica.ask("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(StoreUnavailableError, match="both say"):
        await store.append("s", [said("three")])
    await asyncio.to_thread(follow, server, replica)
    await persistently(store, "three")
    assert [e.text for e in await store.read("s", 0)] == ["one", "two", "three"]
    await store.close()


async def test_who_is_connected_to_a_former_primary_notices_its_successor(
    server: RedisServer, replica: RedisServer
) -> None:
    """Both answer, and neither has a replica."""
    store = await RedisStore.open(both(server, replica))
    news, key = News(store), Keys("chat").of("s", "e")
    await opened(store)
    await store.append("s", [said("one")])
    until(lambda: replica.ask("XLEN", key) == "1")
    replica.ask("REPLICAOF", "NO", "ONE")
    async with asyncio.timeout(20):
        while replica.ask("XLEN", key) == "1":
            await store.append("s", [said("two")])
            await asyncio.sleep(0.05)
    done = await store.append("s", [said("three")])
    entries = await store.read("s", 0)
    assert [e.text for e in entries] == ["one", "two", "three"]
    await news.until(lambda news: news.newest("s") == done.position)
    await store.close()


async def test_a_replica_that_fell_silent_does_not_follow(
    server: RedisServer, second: RedisServer
) -> None:
    """The network between the two is gone: neither hears that the other has."""
    async with proxied(server.address) as line:
        second.ask("REPLICAOF", line.address.host, str(line.address.port))
        await asyncio.to_thread(until, lambda: second.linked(0) and server.linked(1))
        store = await RedisStore.open(both(server, second))
        await opened(store)
        await asyncio.to_thread(until, lambda: second.ask("DBSIZE") != "0")
        line.passing.clear()
        await line.holds(1)
        second.ask("REPLICAOF", "NO", "ONE")
        async with asyncio.timeout(30):
            while second.ask("XLEN", Keys("chat").of("s", "e")) == "0":
                await store.append("s", [said()])
                await asyncio.sleep(0.5)
        assert server.linked(1)
        await store.close()


async def test_a_replica_that_refuses_us_keeps_nobody_from_the_primary(
    server: RedisServer, replica: RedisServer
) -> None:
    store = await RedisStore.open(both(server, replica))
    await opened(store)
    replica.ask("CONFIG", "SET", "masterauth", "", "requirepass", "changed")
    for one in (server, replica):
        one.ask("-a", "changed", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    for text in ("one", "two"):
        await store.append("s", [said(text)])
    assert [e.text for e in await store.read("s", 0)] == ["one", "two"]
    server.ask("CONFIG", "SET", "requirepass", "changed")
    server.ask("-a", "changed", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(StoreUnavailableError, match="NOAUTH"):
        await store.append("s", [said("three")])
    await store.close()


async def test_a_member_that_refuses_us_keeps_nobody_from_the_others(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path, replicas=1) as members:
        store = await RedisStore.open(cluster_servers(members))
        await opened(store)
        (first, *_) = [one for one in members if "role:slave" in role(one)]
        store._router._known.sort(key=lambda one: one != first.address)
        first.ask("CONFIG", "SET", "requirepass", "changed")
        for one in members:
            one.ask(
                "-a", "changed", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
            )
        for text in ("one", "two"):
            await store.append("s", [said(text)])
        await store.close()


async def test_a_write_waits_for_the_replicas_that_the_server_wants(
    server: RedisServer,
) -> None:
    """A replica that was promoted gets its own a moment later (min-replicas)."""
    store = await RedisStore.open(server.servers)
    await opened(store)
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    sent = asyncio.create_task(store.append("s", [said()]))
    await asyncio.to_thread(until, lambda: refused(server) > 0)
    server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    assert (await sent).position == 1
    await store.close()


def refused(server: RedisServer) -> int:
    """Return how many commands failed for want of a replica."""
    return server.ask("INFO", "errorstats").count("NOREPLICAS")


def role(server: RedisServer) -> str:
    return server.ask("INFO", "replication")


def follow(replica: RedisServer, primary: RedisServer) -> None:
    replica.ask("REPLICAOF", primary.address.host, str(primary.port))
    until(lambda: replica.linked(0))


async def test_replicated_means_that_a_replica_has_it(
    server: RedisServer, replica: RedisServer
) -> None:
    store = await RedisStore.open(
        both(server, replica), durability=Durability.REPLICATED
    )
    await opened(store)
    await store.append("s", [said("one")], once=Once(key="1"))
    assert replica.process
    replica.process.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailableError):
        await store.append("s", [said("two")], once=Once(key="2"))
    replica.process.send_signal(signal.SIGCONT)
    stored = await store.append("s", [said("two")], once=Once(key="2"))
    assert (stored.position, stored.repeated) == (2, True)
    await asyncio.to_thread(server.kill)
    replica.ask("REPLICAOF", "NO", "ONE")
    assert [e.text for e in await store.read("s", 0)] == ["one", "two"]
    await store.close()


async def test_chats_are_listed_while_nothing_can_be_written(
    server: RedisServer, replica: RedisServer
) -> None:
    store = await RedisStore.open(
        both(server, replica), durability=Durability.REPLICATED
    )
    await opened(store, user="kim")
    await store.mark_present("s", "phone", 50.0)
    for name, kind in (("kim", "user"), ("phone", "client")):
        await store._sessions.list_under(name, kind, "purged long ago")
    assert replica.process
    replica.process.send_signal(signal.SIGSTOP)
    for found in (await store.of_user("kim"), await store.of_client("phone")):
        assert [session.id for session in found] == ["s"]
    await store.close()


async def test_a_repeat_is_refused_too_while_no_replica_has_it(
    server: RedisServer, replica: RedisServer
) -> None:
    servers = both(server, replica)
    stores = [
        await RedisStore.open(servers, durability=Durability.REPLICATED)
        for _ in range(2)
    ]
    await opened(stores[0])
    assert replica.process
    replica.process.send_signal(signal.SIGSTOP)
    for store in stores:
        with pytest.raises(StoreUnavailableError):
            await store.append("s", [said()], once=Once(key="1"))
    replica.process.send_signal(signal.SIGCONT)
    for store in stores:
        assert (await store.append("s", [said()], once=Once(key="1"))).position == 1
        await store.close()


async def again_by_name(store: RedisStore) -> None:
    await store.append("s", [said()], once=Once(key="k"))


async def opened_again(store: RedisStore) -> None:
    await store.append("s", [said()], transition=asks())


async def joined_again(store: RedisStore) -> None:
    await store.append("s", [], transition=joins())


async def ended_again(store: RedisStore) -> None:
    await store.append("s", [], transition=End())


async def deregistered_again(store: RedisStore) -> None:
    await store.deregister_device("s", None)


async def listed_again(store: RedisStore) -> None:
    await store._sessions.list_under("phone", "client", "s")


async def key_claimed_again(store: RedisStore) -> None:
    words = ("s", "key-s")
    await store._scripts.run_at("claim_key", partition_of("key-s"), *words)


async def asked_again_for_a_lost_reply(store: RedisStore) -> None:
    words = ("the same operation", "s", 1, "2.0")
    await store._scripts._evaluate("set_base", partition_of("s"), *words)


@pytest.mark.parametrize(
    "again",
    [
        again_by_name,
        opened_again,
        joined_again,
        ended_again,
        deregistered_again,
        listed_again,
        key_claimed_again,
        asked_again_for_a_lost_reply,
    ],
)
async def test_a_repeat_writes_something_that_a_replica_can_confirm(
    server: RedisServer,
    replica: RedisServer,
    again: Callable[[RedisStore], Awaitable[None]],
) -> None:
    """From Redis 7.2 on, WAIT says yes to a connection that has written nothing."""
    server.ask("CONFIG", "SET", "repl-ping-replica-period", "3600")
    store = await RedisStore.open(both(server, replica))
    await opened(store)
    await again(store)
    before = server.offset
    await again(store)
    assert server.offset > before
    await store.close()


async def test_a_cluster_goes_on_when_a_primary_falls(tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=1) as nodes:
        servers = replace(cluster_servers(nodes), addresses=(nodes[0].address,))
        store = await RedisStore.open(servers, durability=Durability.REPLICATED)
        await opened(store)
        positions = [await persistently(store, str(n)) for n in range(20)]
        fallen = owner(nodes, "s")
        assert fallen
        await asyncio.to_thread(fallen.kill)
        with pytest.raises(StoreUnavailableError):
            await store.append("s", [said("20")], once=Once(key="20"))
        left = [node for node in nodes if node is not fallen]
        await asyncio.to_thread(until, lambda: owner(left, "s"))
        await asyncio.to_thread(fallen.start)  # as the replica of its replica
        positions += [await persistently(store, str(n)) for n in range(20, 40)]
        entries = await store.read("s", 0)
        assert [e.text for e in entries] == [str(n) for n in range(40)]
        assert [e.position for e in entries] == positions
        await store.append("s", [], transition=joins())
        assert len((await store.get("s")).agents) == 1
        await store.close()


async def test_a_member_that_forgot_the_others_does_not_speak_for_all(
    moving: list[RedisServer],
) -> None:
    first, *others = moving
    first.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    for other in others:
        first.ask("CLUSTER", "FORGET", other.ask("CLUSTER", "MYID"))
    store = await RedisStore.open(cluster_servers(moving))
    for _ in range(20):
        await store._router._searching()
        assert None not in store._router._owners
    await opened(store)
    await store.close()


def owner(nodes: list[RedisServer], name: str) -> RedisServer | None:
    """Return the primary of the session's partition, None while there is none."""
    slot = slot_of(partition_of(name))
    for node in nodes:
        mine = [
            line
            for line in node.ask("CLUSTER", "NODES").split("\n")
            if "myself" in line
        ]
        ranges = [r.split("-") for r in mine[0].split()[8:]]
        if "master" in mine[0] and any(int(r[0]) <= slot <= int(r[-1]) for r in ranges):
            return node
    return None


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """A cluster whose slots may be moved."""
    with cluster(tmp_path) as nodes:
        yield nodes


async def test_while_a_slot_moves_its_sessions_wait_and_stay_whole(
    moving: list[RedisServer],
) -> None:
    nodes = moving
    store = await RedisStore.open(cluster_servers(nodes))
    await queued(store)
    slot = str(slot_of(partition_of("s")))
    here = owner(nodes, "s")
    assert here
    there = next(node for node in nodes if node is not here)
    ids = {node.port: node.ask("CLUSTER", "MYID") for node in nodes}
    there.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here.port])
    here.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there.port])
    with pytest.raises(StoreUnavailableError):
        await store.append("s", [said("refused")])
    keys = here.ask("CLUSTER", "GETKEYSINSLOT", slot, "1000").split("\n")
    move = (there.address.host, str(there.port), "", "0", "5000", "KEYS")
    content = Keys("chat").of("s", "b")
    here.ask("MIGRATE", *move, content)
    with pytest.raises(StoreUnavailableError):
        await store.claim_jobs("apns", 2e9, 30.0)
    keys.remove(content)
    rest = [key for key in keys if not key.endswith((":s:s", ":partition"))]
    here.ask("MIGRATE", *move, *[key for key in keys if key not in rest])
    assert (await store.get("s")).last == 1
    with pytest.raises(StoreUnavailableError):
        await store.append("s", [said("refused")])
    here.ask("MIGRATE", *move, *rest)
    for node in (there, here):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[there.port])
    await store.append("s", [said("after")])
    assert [e.text for e in await store.read("s", 0)] == ["yes?", "after"]
    assert [job.id for job in await store.claim_jobs("apns", 200.0, 30.0)] == ["j"]
    await store.close()


# --- refusing to start -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "durability", "reason"),
    [
        ((), "relaxed", "appendonly yes"),
        (("--appendonly", "yes"), "durable", "appendfsync always"),
        (
            (*SAFE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            "relaxed",
            "noeviction",
        ),
    ],
)
async def test_a_server_that_would_lose_chats_is_refused(
    tmp_path: Path, options: tuple[str, ...], durability: str, reason: str
) -> None:
    known = Durability(durability)
    with running(tmp_path, *options) as server:
        if known is Durability.DURABLE and server.version >= (7, 2):
            store = await RedisStore.open(server.servers, durability=known)
        else:
            with pytest.raises(UnsuitableServerError, match=reason):
                await RedisStore.open(server.servers, durability=known)
            store = await RedisStore.open(
                server.servers, durability=known, allow_volatile=True
            )
        await opened(store)
        assert (await store.append("s", [said()])).position == 1
        await store.close()


async def test_a_replica_that_would_lose_chats_is_refused(
    server: RedisServer, replica: RedisServer
) -> None:
    replica.ask("CONFIG", "SET", "appendonly", "no")
    with pytest.raises(UnsuitableServerError, match=f"{replica.address} keeps no"):
        await RedisStore.open(both(server, replica))
    await asyncio.to_thread(replica.kill)
    store = await RedisStore.open(both(server, replica))
    await store.close()


async def test_replicated_without_a_replica_is_refused(server: RedisServer) -> None:
    with pytest.raises(UnsuitableServerError, match="has no replica"):
        await RedisStore.open(server.servers, durability=Durability.REPLICATED)
    store = await RedisStore.open(
        server.servers, durability=Durability.REPLICATED, allow_volatile=True
    )
    await opened(store)
    await store.close()


@pytest.mark.parametrize("differing", [0, 1, 2])
async def test_of_servers_that_differ_one_is_enough_to_have_writes_confirmed(
    differing: int,
) -> None:
    """Each may have any slot one day. Of Redis 7.2 it is, which can be asked to."""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                telling("everysec" if number == differing else "always")
            )
            for number in range(3)
        ]
        known = Servers(addresses=tuple(servers), login=LOGIN)
        confirm = await examine_all(
            known, servers[:2], servers[2:], Durability.DURABLE, volatile=False
        )
    assert confirm
    assert confirm[0] == "WAITAOF"


@asynccontextmanager
async def telling(appendfsync: str) -> AsyncIterator[Address]:
    """A server of Redis 7.2 as far as it says."""
    info = b"redis_version:7.2.4\r\nrole:master\r\naof_enabled:1\r\n"
    config = [b"appendonly", b"yes", b"appendfsync", appendfsync.encode()]
    words = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in config)

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while asked := await reader.read(1000):
            if b"INFO" in asked:
                writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
            elif b"CONFIG" in asked:
                writer.write(b"*4\r\n" + words)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield Address(*listener.sockets[0].getsockname())
    listener.close()


async def test_where_config_is_forbidden_the_server_tells_what_it_can(
    server: RedisServer,
) -> None:
    _, _, rules = PAGE.read_text("utf-8").partition("ACL SETUSER chat on >password ")
    words = rules.partition("\n")[0].split()
    server.ask("ACL", "SETUSER", "chat", "on", ">password", *words)
    login = Login(user="chat", password="password")
    servers = replace(server.servers, login=login)
    store = await RedisStore.open(servers)
    await opened(store)
    await store.close()
    server.ask("ACL", "SETUSER", "chat", "-config|get")
    if server.version < (7, 2):
        with pytest.raises(UnsuitableServerError, match="appendfsync"):
            await RedisStore.open(servers)
    store = await RedisStore.open(servers, durability=Durability.RELAXED)
    assert (await store.append("s", [said()])).position == 1
    await store.close()


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("~other:* &chat:* +@all", "'DEL' with what begins with 'chat'"),
        ("~chat:* &other:* +@all", "'PUBLISH' with what begins with 'chat'"),
        ("~chat:* &chat:* +@all -subscribe", "'SUBSCRIBE'"),
        ("~chat:* &chat:* +@all -xadd", "'XADD'"),
        ("~chat:* &chat:* +@all -role", "'ROLE'"),
        ("~chat:* &chat:* +@all -eval", "'EVAL'"),
        ("~chat:* &chat:* +@all -info", "INFO"),
    ],
)
async def test_a_user_who_may_not_do_all_is_refused_at_the_start(
    server: RedisServer, rules: str, told: str
) -> None:
    server.ask("ACL", "SETUSER", "chat", "on", ">password", *rules.split())
    servers = replace(server.servers, login=Login(user="chat", password="password"))
    with pytest.raises(UnsuitableServerError) as refused:
        await RedisStore.open(servers)
    assert told in str(refused.value)
    assert "docs/redis.md" in str(refused.value) or RIGHTS in str(refused.value)
    assert server.ask("DBSIZE") == "0"


async def test_rights_that_are_taken_away_are_told_in_the_log(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    rules = f"on >password ~chat:* &chat:* {RIGHTS}".split()
    server.ask("ACL", "SETUSER", "chat", *rules)
    login = Login(user="chat", password="password")
    store = await RedisStore.open(replace(server.servers, login=login))
    await opened(store)
    server.ask("ACL", "SETUSER", "chat", "-xadd")
    with pytest.raises(StoreUnavailableError, match="may not run what a script"):
        await store.append("s", [said()])
    server.ask("ACL", "SETUSER", "chat", "resetkeys", "~other:*")
    with pytest.raises(StoreUnavailableError, match=r"keys of \[store\] prefix"):
        await store.append("s", [said()])
    assert "docs/redis.md has the rights" in caplog.text
    await store.close()


def test_all_that_scripts_call_is_asked_for() -> None:
    called = re.findall(r"call\('([A-Z]+)'", "".join(SOURCES.values()))
    assert called
    assert set(called) <= {line.split()[0] for line in COMMANDS.split(",")}


async def test_to_ask_for_rights_changes_nothing_and_needs_no_right(
    server: RedisServer,
) -> None:
    server.ask("ACL", "SETUSER", "chat", *f"on >p ~chat:* &chat:* {RIGHTS}".split())
    server.ask("ACL", "SETUSER", "chat", "-multi")
    login = Login(user="chat", password="p")
    known = replace(server.servers, login=login)
    for servers in (known, server.servers):
        await check_rights(servers, servers.addresses, "chat", ("WAIT", 1, 1000))
    assert server.ask("DBSIZE") == "0"


def test_the_page_has_the_rights_that_a_user_needs() -> None:
    assert f"~chat:* &chat:* {RIGHTS}\n" in PAGE.read_text("utf-8")


@pytest.mark.parametrize(("databases", "last"), [("16", 15), ("100", 99)])
async def test_a_database_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, databases: str, last: int
) -> None:
    with running(tmp_path, *SAFE, "--databases", databases) as server:
        there = replace(server.servers, login=Login(database=last))
        await (await RedisStore.open(there)).close()
        missing = replace(server.servers, login=Login(database=last + 1))
        with pytest.raises(UnsuitableServerError) as refused:
            await RedisStore.open(missing)
    assert f"has no database {last + 1}" in str(refused.value)
    assert f"expected 0 to {last}" in str(refused.value)


@pytest.mark.parametrize("login", [Login(), Login(user="chat", password="wrong")])
async def test_a_wrong_password_is_told_and_not_shown(
    server: RedisServer, login: Login
) -> None:
    server.ask("ACL", "SETUSER", "default", "off")
    with pytest.raises(StoreError) as refused:
        await RedisStore.open(replace(server.servers, login=login))
    assert "password" in str(refused.value)
    assert "wrong" not in str(refused.value).replace("may be wrong", "")


async def test_a_newer_layout_is_refused_and_left_alone(server: RedisServer) -> None:
    key = Keys("chat").layout
    server.ask("SET", key, str(LAYOUT + 1))
    with pytest.raises(NewerLayoutError, match="use the newer program"):
        await RedisStore.open(server.servers)
    assert server.ask("KEYS", "*") == key
    assert TAGS[0] in key


async def test_a_cluster_is_not_taken_for_a_server_nor_the_other_way_round(
    server: RedisServer, redis_cluster: Servers
) -> None:
    alone = replace(redis_cluster, cluster=False)
    with pytest.raises(UnsuitableServerError, match=r"redis\+cluster://"):
        await RedisStore.open(alone)
    with pytest.raises(UnsuitableServerError, match="redis://"):
        await RedisStore.open(replace(server.servers, cluster=True))


@pytest.fixture
async def stranger() -> AsyncIterator[Address]:
    """A server that speaks something else."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    yield Address(host, port)
    listener.close()


async def test_a_server_of_another_kind_is_refused(stranger: Address) -> None:
    servers = Servers(addresses=(stranger,), login=LOGIN)
    with pytest.raises(StoreUnavailableError, match="protocol of Redis"):
        await RedisStore.open(servers)


async def test_nobody_at_all_is_told(stranger: Address) -> None:
    nobody = Address("127.0.0.1", 1)
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await RedisStore.open(Servers(addresses=(nobody,), login=LOGIN))


# --- addresses -------------------------------------------------------------------


def test_an_address_says_where_and_who() -> None:
    servers = parse("redis://kim:a%40b@one,two:6380/3")
    assert servers.addresses == (Address("one", 6379), Address("two", 6380))
    assert servers.login == Login(user="kim", password="a@b", database=3)
    assert not servers.cluster
    servers = parse("rediss+cluster://[::1]:7000", "kim", "hidden")
    assert servers.cluster
    assert servers.addresses == (Address("::1", 7000),)
    assert servers.login.tls
    assert (servers.login.user, servers.login.password) == ("kim", "hidden")
    assert "hidden" not in repr(servers)
    with pytest.raises(StoreError):
        parse("redis://one:port")


# --- a memory that is full -------------------------------------------------------


async def test_a_full_memory_is_made_room_in_by_what_is_old(
    server: RedisServer,
) -> None:
    """Else a Redis that is full once would be full for ever."""
    store = await RedisStore.open(server.servers)
    await opened(store, user="kim")
    await store.mark_present("s", "phone", 100.0)
    await store.append("s", [said("goodbye")], transition=End())
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailableError, match="OOM"):
        await store.create(new("other"))
    assert await store.purge(0.0, 100.0) == 1
    assert server.ask("KEYS", "*:s:*") == server.ask("KEYS", "*:e:*") == ""
    await store.close()


async def test_a_push_that_was_sent_is_noted_in_a_full_memory(
    server: RedisServer,
) -> None:
    """Else it would be sent again as soon as there is room."""
    store = await RedisStore.open(server.servers)
    await queued(store)
    (job,) = await store.claim_jobs("apns", 200.0, 30.0)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await store.finish_job(job, sent_at=201.0)
    assert await store.cancel_jobs("s") == 0
    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert [sent.sent_at for sent in await store.sent_pushes("s")] == [201.0]
    assert await store.claim_jobs("apns", 300.0, 30.0) == []
    await store.close()
