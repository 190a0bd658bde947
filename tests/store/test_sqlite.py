"""What is special to the store in a file: crashes, full disks, threads, migrations."""

import asyncio
import json
import os
import random
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from cometd_chat.model import Device, End, State
from cometd_chat.store import (
    DAMAGED,
    UNREADABLE,
    Change,
    Limits,
    Once,
    SessionDamagedError,
    SessionNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from cometd_chat.store.sqlite import (
    COUNTED_AFTER,
    LONG_OVER,
    NEVER_OPENED,
    READERS,
    SqliteStore,
)
from cometd_chat.store.sqlite_devices import HOLDERS, OTHERS
from cometd_chat.store.sqlite_outbox import PROVIDERS, READY, TOO_LATE
from cometd_chat.store.sqlite_presence import BADGED, DUE, EXPIRED, PARTED, SERVICES
from cometd_chat.store.sqlite_schema import MIGRATIONS, NewerSchemaError
from tests.store.facts import (
    answered,
    asks,
    new,
    opened,
    phone,
    push,
    said,
    spellings,
    walk,
)

SEARCHES = re.compile(r"SEARCH .*(INDEX|INTEGER PRIMARY KEY) ")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    yield store
    await store.close()


class Gate:
    """Work that keeps a thread busy until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.free = threading.Event()

    def __call__(self, db: sqlite3.Connection, *news: list[Change]) -> None:
        self.entered.set()
        assert self.free.wait(30)

    async def is_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 30)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.free.set()


def program(name: str, *arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.store.{name}", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


# --- crashes and full disks ------------------------------------------------------


def run_and_kill(path: Path, name: str, acks: int) -> list[list[str]]:
    """Let the appender run until so many acknowledgements; return all it gave."""
    with program("appender", path, name) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(acks)]
        running.kill()
        lines += running.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n")]


async def transcript(store: SqliteStore, session: str) -> list[str]:
    """Return all texts in order, after having looked for holes."""
    entries = await store.read(session, 0, 10**6)
    assert [e.position for e in entries] == list(range(1, len(entries) + 1))
    return [e.text for e in entries]


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    path: Path,
) -> None:
    store = await SqliteStore.open(path)
    for n in range(5):
        await opened(store, f"s{n}")
    await store.close()
    acknowledged: list[list[str]] = []
    for name in ("first", "second", "third"):
        acks = random.Random(name).randrange(2000, 6000)
        acknowledged += await asyncio.to_thread(run_and_kill, path, name, acks)

        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        store = await SqliteStore.open(path)
        kept = {f"s{n}": await transcript(store, f"s{n}") for n in range(5)}
        await store.close()
        for session, text, position in acknowledged:
            assert kept[session][int(position) - 1] == text
        for texts in kept.values():
            assert len(set(texts)) == len(texts)
    assert len(acknowledged) >= 6000


def push_and_kill(path: Path, stage: str, now: float, lines: int) -> list[list[str]]:
    """Let the pusher run until it has printed so much; return all it printed."""
    with program("pusher", path, stage, str(now)) as running:
        assert running.stdout is not None
        told = [running.stdout.readline() for _ in range(lines)]
        running.kill()
        told += running.stdout.readlines()
    return [line.split() for line in told if line.endswith("\n")]


def push_to_the_end(path: Path, stage: str, now: float) -> list[list[str]]:
    with program("pusher", path, stage, str(now)) as running:
        output, _ = running.communicate()
    assert running.returncode == 0
    return [line.split() for line in output.splitlines()]


async def thousand_due(path: Path) -> set[str]:
    """Leave 1,000 sessions whose customers must be told by push."""
    store = await SqliteStore.open(path)
    names = [f"s{n}" for n in range(1000)]
    await asyncio.gather(*(opened(store, name) for name in names))
    await asyncio.gather(*(store.mark_absent(n, "phone", 100.0) for n in names))
    await asyncio.gather(*(store.append(n, [answered(at=100.0)]) for n in names))
    await store.close()
    return set(names)


def queued(path: Path) -> list[str]:
    """Return the sessions of all jobs that were stored."""
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT s.id FROM job j JOIN session s ON s.number = session")
        names = [name for (name,) in rows]
    db.close()
    return names


async def test_every_due_push_is_queued_once_when_the_process_is_killed(
    path: Path,
) -> None:
    due = await thousand_due(path)
    told: list[list[str]] = []
    for now in (200.0, 300.0):
        some = await asyncio.to_thread(push_and_kill, path, "announce", now, 300)
        told += some
        kept = queued(path)
        assert {name for _, name in told} <= set(kept)
        assert len(kept) == len(set(kept)) < 1000
    told += await asyncio.to_thread(push_to_the_end, path, "announce", 400.0)
    assert len(told) <= 1000
    kept = queued(path)
    assert len(kept) == 1000
    assert set(kept) == due


async def test_every_queued_push_is_sent_and_only_those_in_flight_twice(
    path: Path,
) -> None:
    due = await thousand_due(path)
    await asyncio.to_thread(push_to_the_end, path, "announce", 200.0)
    told: list[list[str]] = []
    in_flight: set[str] = set()
    for now in (200.0, 300.0):
        some = await asyncio.to_thread(push_and_kill, path, "send", now, 500)
        sent = {name for what, name in some if what == "sent"}
        done = {name for what, name in some if what == "done"}
        assert not done & set(queued(path))
        in_flight |= sent - done
        told += some
    told += await asyncio.to_thread(push_to_the_end, path, "send", 400.0)
    sent_names = [name for what, name in told if what == "sent"]
    assert set(sent_names) == due
    twice = {name for name, times in Counter(sent_names).items() if times > 1}
    assert twice <= in_flight
    assert (
        len(in_flight) <= 2 * 4
    )  # tasks of the program, and each has been killed twice
    assert queued(path) == []


async def filled(store: SqliteStore) -> int:
    """Append until the disk is full; return how many entries were stored."""
    with pytest.raises(StoreUnavailableError, match="SQLITE_FULL"):  # noqa: PT012 - until it fails
        while True:
            await store.append("s", [said("z" * 900)])
    return (await store.get("s")).last


async def test_a_full_disk_refuses_writes_only_and_uses_up_no_position(
    store: SqliteStore,
) -> None:
    await opened(store)
    news: list[Change] = []
    store.watch(news.append)

    async def pages(most: int) -> None:
        await store._writer.submit(
            lambda db, news: db.execute(f"PRAGMA max_page_count = {most}").close()
        )

    await pages(60)
    stored = await filled(store)
    batch = await asyncio.gather(
        *(store.append("s", [said("z" * 9000)], once=Once(key="k")) for _ in range(9)),
        return_exceptions=True,
    )
    assert {type(result) for result in batch} == {StoreUnavailableError}
    assert len({id(result) for result in batch}) == 9  # each caller its own
    assert len(await store.read("s", 0)) == stored == len(news)
    assert (await store.get("s")).last == stored

    await pages(100_000)
    after = await store.append("s", [said()], once=Once(key="k"))
    assert (after.position, after.repeated) == (stored + 1, False)


async def test_a_file_that_may_not_grow_refuses_until_it_may(path: Path) -> None:
    running = program("filler", path)
    output, _ = await asyncio.to_thread(running.communicate)
    stored, readable, after, error = output.strip().split("|")
    assert int(stored) > 10
    assert int(readable) == int(stored)
    assert int(after) == int(stored) + 1
    assert "SQLITE_IOERR" in error or "SQLITE_FULL" in error
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def overwrite_tables(path: Path) -> None:
    """Overwrite where each begins, but not the schema that says where that is."""
    with sqlite3.connect(path) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        pages = db.execute("SELECT rootpage FROM sqlite_master").fetchall()
    db.close()
    with path.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


async def test_a_damaged_file_is_unavailable_and_nothing_else(path: Path) -> None:
    store = await SqliteStore.open(path)
    await opened(store)
    for _ in range(20):
        await store.append("s", [said("z" * 900)] * 10)
    await store.close()
    overwrite_tables(path)
    store = await SqliteStore.open(path)
    with pytest.raises(StoreUnavailableError, match="SQLITE_"):
        await store.read("s", 0)
    with pytest.raises(StoreUnavailableError, match="SQLITE_"):
        await store.append("s", [said()])
    await store.close()


async def test_another_process_that_holds_the_file_makes_it_unavailable(
    store: SqliteStore, path: Path
) -> None:
    await opened(store)
    await store._writer.submit(
        lambda db, news: db.execute("PRAGMA busy_timeout = 20").close()
    )
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="SQLITE_BUSY"):
        await store.append("s", [said()])
    assert await store.read("s", 0) == []
    other.execute("ROLLBACK")
    other.close()
    assert (await store.append("s", [said()])).position == 1


# --- the writer and its batches --------------------------------------------------


async def test_a_commit_is_synced_to_the_disk(store: SqliteStore) -> None:
    full = await store._writer.submit(
        lambda db, news: db.execute("PRAGMA synchronous").fetchone()
    )
    assert full == (2,)


async def test_what_waits_is_done_in_one_transaction(
    store: SqliteStore, gate: Gate
) -> None:
    await opened(store)
    commits: list[str] = []
    await store._writer.submit(
        lambda db, news: db.set_trace_callback(
            lambda sql: commits.append(sql) if sql == "COMMIT" else None
        )
    )
    held = store._writer.submit(gate)
    await gate.is_entered()
    commits.clear()
    waiting = [asyncio.create_task(store.append("s", [said()])) for _ in range(100)]
    await asyncio.sleep(0)
    assert store._writer._jobs.qsize() == 100
    gate.free.set()
    await held
    await asyncio.gather(*waiting)
    assert len(commits) == 2  # that of the gate, and one for all others


async def test_a_full_queue_refuses_at_once(path: Path, gate: Gate) -> None:
    store = await SqliteStore.open(path, room=3)
    await opened(store)
    held = store._writer.submit(gate)
    await gate.is_entered()
    waiting = [asyncio.ensure_future(store.append("s", [said()])) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError, match="waiting"):
        await store.append("s", [said()])
    assert await store.read("s", 0) == []  # readers have a queue of their own
    gate.free.set()
    await held
    assert [(await one).position for one in waiting] == [1, 2]
    assert (await store.append("s", [said()])).position == 3
    await store.close()


async def test_who_comes_is_not_refused_because_nobody_can_go(path: Path) -> None:
    """The answer would say that nothing was kept, while it was."""
    store = await SqliteStore.open(path, limits=Limits(new=1))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TRIGGER broken BEFORE DELETE ON session"
            " BEGIN DELETE FROM missing; END"
        )
    for n in range(COUNTED_AFTER):
        await store.create(new(f"{n}"))
    assert (await store.get(f"{COUNTED_AFTER - 1}")).created_at == 1.0
    await store.close()


async def test_a_cancelled_caller_disturbs_nobody(
    store: SqliteStore, gate: Gate
) -> None:
    await opened(store)
    held = store._writer.submit(gate)
    await gate.is_entered()
    tasks = [asyncio.create_task(store.append("s", [said(str(n))])) for n in range(9)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    gate.free.set()
    await held
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(r, asyncio.CancelledError) for r in results[::2]] == [True] * 5
    positions = [r.position for r in results if not isinstance(r, BaseException)]
    assert positions == [2, 4, 6, 8]  # what was accepted is stored all the same
    assert len(await store.read("s", 0)) == 9


async def test_a_fault_in_one_piece_of_work_is_undone_alone(
    store: SqliteStore, gate: Gate
) -> None:
    await opened(store)

    def faulty(db: sqlite3.Connection, news: list[Change]) -> None:
        db.execute("UPDATE session SET acked = 7")
        news.append(Change(session_id="s", altered=True))
        raise ZeroDivisionError

    news: list[Change] = []
    store.watch(news.append)
    held = store._writer.submit(gate)
    await gate.is_entered()
    results = asyncio.gather(
        store.append("s", [said()]),
        store._writer.submit(faulty),
        store.append("s", [said()]),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    gate.free.set()
    await held
    first, fault, second = await results
    assert isinstance(fault, ZeroDivisionError)
    assert [getattr(r, "position", None) for r in (first, second)] == [1, 2]
    assert (await store.get("s")).acked == 0
    assert [c.entries[0].position for c in news] == [1, 2]


async def test_a_lost_transaction_is_refused_and_the_next_one_works(
    store: SqliteStore,
) -> None:
    await opened(store)
    with pytest.raises(StoreUnavailableError):
        await store._writer.submit(lambda db, news: db.execute("ROLLBACK").close())
    assert (await store.append("s", [said()])).position == 1


@pytest.mark.parametrize("value", [2**70, float("nan")], ids=["too-large", "no-number"])
async def test_a_value_that_sqlite_cannot_hold_is_refused(
    store: SqliteStore, value: float
) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        await store.create(new(last_at=value, last=value))


# --- readers ---------------------------------------------------------------------


async def test_a_slow_reader_holds_up_neither_writers_nor_other_readers(
    store: SqliteStore, gate: Gate
) -> None:
    await opened(store)

    def slow(db: sqlite3.Connection) -> None:
        db.execute("BEGIN")
        db.execute("SELECT * FROM session").fetchall()
        gate(db)
        db.execute("COMMIT")

    held = store._readers.submit(slow)
    await gate.is_entered()
    assert (await store.append("s", [said()])).position == 1
    assert len(await store.read("s", 0)) == 1
    assert not held.done()
    gate.free.set()
    await held


async def test_commits_keep_a_distance_and_the_first_one_does_not_wait(
    path: Path,
) -> None:
    store = await SqliteStore.open(path, pace=0.2)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await store.create(new())
    await opened(store, "other")  # two more writes
    assert loop.time() - begun >= 0.4
    together = [store.append("other", [said()]) for _ in range(20)]
    begun = loop.time()
    await asyncio.gather(*together)
    assert loop.time() - begun < 0.2 * len(together)  # not one after the other
    await store.close()


async def test_readers_cannot_write(store: SqliteStore) -> None:
    with pytest.raises(StoreUnavailableError, match="SQLITE_READONLY"):
        await store._readers.submit(lambda db: db.execute("DELETE FROM session"))


async def test_a_fault_while_reading_reaches_its_caller(store: SqliteStore) -> None:
    with pytest.raises(ZeroDivisionError):
        await store._readers.submit(lambda db: 1 // 0)
    assert await store.read("s", 0) == []


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (EXPIRED, (0, 1)),
        (PARTED, (0, 1)),
        (" ".join(("SELECT * FROM session s", DUE)), ("sales", 0, 0, 0, 1)),
        (" ".join(("SELECT * FROM session s", BADGED)), (0, 1)),
        (NEVER_OPENED, (0, 1)),
        (LONG_OVER, (0, 1)),
        (READY, ("apns", 0, 1)),
        (TOO_LATE, (0, 1)),
        (OTHERS, ("ios", "phone", 1, "kim")),
        (HOLDERS, ("ios", "phone")),
    ],
)
async def test_what_is_asked_all_the_time_never_scans_a_table(
    store: SqliteStore, query: str, values: tuple[object, ...]
) -> None:
    plan = await store._readers.submit(
        lambda db: db.execute("EXPLAIN QUERY PLAN " + query, values).fetchall()
    )
    steps = [row[3] for row in plan]
    assert all(SEARCHES.match(step) for step in steps), steps


@pytest.mark.parametrize("query", [SERVICES, PROVIDERS])
async def test_what_there_is_to_do_is_found_by_jumping(
    store: SqliteStore, query: str
) -> None:
    plan = await store._readers.submit(
        lambda db: db.execute("EXPLAIN QUERY PLAN " + query).fetchall()
    )
    scanned = {row[3] for row in plan if row[3].startswith("SCAN")}
    assert scanned == {"SCAN found"}  # the values found so far, and no table


# --- what is in memory -----------------------------------------------------------


async def test_what_was_written_is_read_while_the_readers_are_busy(
    store: SqliteStore,
) -> None:
    gates = [Gate() for _ in range(READERS)]
    held = [store._readers.submit(gate) for gate in gates]
    for gate in gates:
        await gate.is_entered()
    await opened(store)
    for n in range(9):
        stored = await store.append("s", [said(str(n))])
        assert await store.read("s", n) == list(stored.entries)
    assert len(await store.read("s", 0)) == 9
    assert await store.read("s", 9) == []
    for gate in gates:
        gate.free.set()
    await asyncio.gather(*held)


async def test_what_is_from_before_a_restart_is_read_from_the_file(path: Path) -> None:
    store = await SqliteStore.open(path)
    await opened(store)
    facts = {"user_data": {"k": "v"}, "message_type": "html"}
    for n in range(4):
        await store.append("s", [said(str(n), 10 + n / 3, **facts)])
    before = await store.read("s", 0)
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.read("s", 0) == before
    for n in range(4, 7):
        await store.append("s", [said(str(n))])
    for after in range(8):
        for limit in range(8):
            found = [int(entry.text) for entry in await store.read("s", after, limit)]
            assert found == list(range(after, min(after + limit, 7)))
    await store.close()


def wait_until_stored(path: Path, position: int) -> None:
    """Wait in the way of the event loop, so that nothing is told meanwhile."""
    with closing(sqlite3.connect(path)) as db:
        for _ in range(3000):
            if db.execute("SELECT max(position) FROM entry").fetchone() == (position,):
                return
            time.sleep(0.01)
    raise AssertionError("nothing was stored")


async def test_what_the_file_shows_already_is_read_before_it_is_told(
    store: SqliteStore, path: Path
) -> None:
    """Or a session would tell of an entry that reading does not find."""
    await opened(store)
    await store.append("s", [said("a")])
    store.watch(lambda change: told.append(change.session_id))
    told: list[str] = []
    appending = asyncio.ensure_future(store.append("s", [said("b")]))
    await asyncio.sleep(0)
    wait_until_stored(path, 2)
    assert told == []
    assert [entry.text for entry in await store.read("s", 1)] == ["b"]
    await appending
    assert not store._writer.coming("s")


async def test_who_reads_while_others_write_sees_no_hole_and_nothing_older(
    path: Path,
) -> None:
    store = await SqliteStore.open(path, kept=200_000, pace=0.0)
    await opened(store)
    seen = 0
    writing = True

    async def write() -> None:
        for _ in range(150):
            await store.append("s", [said()] * random.randint(1, 3))

    async def read() -> None:
        nonlocal seen
        while writing:
            sure = max(seen, (await store.get("s")).last)
            after = random.randint(0, sure)
            found = [entry.position for entry in await store.read("s", after, 10**6)]
            assert found == list(range(after + 1, after + 1 + len(found)))
            assert after + len(found) >= sure
            seen = max(seen, after + len(found))

    reading = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.gather(*(write() for _ in range(4)))
    writing = False
    await asyncio.gather(*reading)
    assert seen <= (await store.get("s")).last == len(await store.read("s", 0, 10**6))
    await store.close()


async def test_a_purged_chat_is_in_memory_no_more(store: SqliteStore) -> None:
    for name in ("s", "t"):
        await opened(store, name)
        await store.append(name, [said()])
    await store.append("s", [], transition=End())
    assert await store.purge(0.0, 1e9) == 1
    assert await store.read("s", 0) == []
    assert len(await store.read("t", 0)) == 1


async def test_a_purge_that_is_cancelled_leaves_nothing_in_memory(
    store: SqliteStore, gate: Gate
) -> None:
    await opened(store)
    await store.append("s", [said()], transition=End())
    held = store._writer.submit(gate)
    await gate.is_entered()
    purging = asyncio.create_task(store.purge(0.0, 1e9))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    purging.cancel()
    with suppress(asyncio.CancelledError):
        await purging
    gate.free.set()
    await held
    with pytest.raises(SessionNotFoundError):
        await store.acknowledge("s", 1)  # written after the purge
    assert await store.read("s", 0) == []


# --- files and schemas -----------------------------------------------------------


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_a_new_file_is_made_with_its_folder_for_its_owner_only(
    tmp_path: Path,
) -> None:
    path = tmp_path / "var" / "lib" / "chat.db"
    store = await SqliteStore.open(str(path))
    await store.create(new())
    assert names(path.parent) == {"chat.db", "chat.db-shm", "chat.db-wal"}
    assert modes(path.parent) == {0o600}
    await store.close()
    assert names(path.parent) == {"chat.db"}


async def test_an_empty_file_is_brought_up_to_date(path: Path) -> None:
    chosen = 0o640
    os.close(os.open(path, os.O_CREAT, chosen))
    store = await SqliteStore.open(path)
    await store.create(new())
    await store.close()
    assert modes(path.parent) == {chosen}
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


async def test_a_path_with_odd_characters_is_opened_for_reading_too(
    tmp_path: Path,
) -> None:
    store = await SqliteStore.open(tmp_path / "50% off? #1 ä.db")
    await store.create(new())
    assert await store.get("s") == new()
    await store.close()


async def test_two_that_open_a_new_file_at_once_both_succeed(path: Path) -> None:
    stores = await asyncio.gather(*(SqliteStore.open(path) for _ in range(4)))
    await stores[0].create(new())
    assert await stores[3].get("s") == new()
    for store in stores:
        await store.close()


VERSION_1 = """
INSERT INTO session (number, id, key, service, user, state, created_at, started_at,
  ended_at, comet, profile, device, participants, last, last_at, last_text, unread,
  acked, announced, notable, absent_since, seats, unheard_since, pushes, lease)
VALUES (?, ?, ?, 'sales', ?, 'waiting', 1.0, ?, 0.0, 0, '', ?, '', 1, 50.0, 'hello', 0,
  0, 0, 1, 100.0, 1, 100.0, 0, 0.0)
"""
ENTRY_1 = """
INSERT INTO entry VALUES (?, 1, 'Message', 'Agent', 2, 'Ann', 50.0, 'hello', '', '', 1)
"""


def old_file(path: Path, sessions: Iterable[tuple[str, str, float, str]]) -> None:
    """Write a file as version 1 did: sessions with user, start and device."""
    with sqlite3.connect(path) as db:
        for statement in MIGRATIONS[0]:
            db.execute(statement)
        for number, (name, user, start, token) in enumerate(sessions, 1):
            device = json.dumps(
                {
                    "id": token,
                    "type": "ios",
                    "provider": "p",
                    "language": "de",
                    "debug": True,
                }
            )
            values = (number, name, f"key-{name}", user, start)
            db.execute(VERSION_1, (*values, device if token else None))
            db.execute(ENTRY_1, (number,))
        db.execute("PRAGMA user_version = 1")
    db.close()


async def test_a_file_of_version_1_is_converted_with_its_devices(path: Path) -> None:
    old_file(path, [("s", "kim", 30.0, 'tok"en'), ("bare", "", 40.0, "")])
    store = await SqliteStore.open(path)
    session = await store.get("s")
    assert session.devices == (
        Device(
            id='tok"en',
            type="ios",
            provider="p",
            language="de",
            debug=True,
            registered_at=30.0,
        ),
    )
    assert (await store.get("bare")).devices == ()
    assert await store.badge("s") == 1
    assert await store.unheard_services() == ["sales"]
    (due,) = await store.claim_due("sales", 200.0, 0.0, 30.0)
    assert due.session == session
    assert await store.announce(due, 1, [push(device=session.devices[0])])
    assert await store.forget_device("ios", 'tok"en', 30.0) == 1
    assert await store.claim_jobs("apns", 200.0, 30.0) == []
    await store.close()


async def test_of_several_users_of_a_device_the_last_one_keeps_it_in_a_conversion(
    path: Path,
) -> None:
    sessions = [
        ("kim", "kim", 10.0, "shared"),
        ("lee-later", "lee", 30.0, "shared"),
        ("lee", "lee", 20.0, "shared"),
        ("kim-too", "kim", 25.0, "shared"),
        ("lee-last", "lee", 35.0, "shared"),
        ("nobody", "", 40.0, "alone"),
        ("nobody-later", "", 40.0, "alone"),
        ("nobody-else", "", 40.0, "other"),
    ]
    old_file(path, sessions)
    store = await SqliteStore.open(path)
    keep = {name for name, *_ in sessions if (await store.get(name)).devices}
    assert keep == {"lee-later", "lee-last", "nobody-later", "nobody-else"}
    reachable = await store.claim_due("sales", 200.0, 0.0, 30.0)
    assert {due.session.id for due in reachable} == keep
    await store.close()


@pytest.mark.parametrize("device", ["'{'", "'[]'", "''", "CAST(x'7bff' AS TEXT)"])
async def test_a_damaged_push_is_dropped_and_the_others_are_lent(
    path: Path, store: SqliteStore, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    await opened(store)
    await store.mark_absent("s", "phone", 100.0)
    await store.append("s", [answered(at=100.0)])
    (due,) = await store.claim_due("sales", 100.0, 0.0, 30.0)
    assert await store.announce(due, 1, [push("bad"), push("good"), push("late")])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE job SET device = {device} WHERE id = 'bad'")  # noqa: S608 - of the test
    assert [j.id for j in await store.claim_jobs("apns", 200.0, 30.0, 2)] == ["good"]
    assert [j.id for j in await store.claim_jobs("apns", 200.0, 30.0, 2)] == ["late"]
    assert caplog.messages == [UNREADABLE % ("s", "apns")]
    assert await store.cancel_jobs("s") == 2


# --- damaged sessions ------------------------------------------------------------

DAMAGE = [
    "profile = '{'",
    "profile = '[]'",
    "devices = '{'",
    "participants = '[{}]'",
    "last_text = CAST(x'ff' AS TEXT)",
    "user = 'kim' || CAST(x'ff' AS TEXT)",
]


async def damaged(path: Path, store: SqliteStore, damage: str) -> str:
    """Open two chats of one user, and damage the row of the first; return its id."""
    bad = f"chat with {damage}"  # told once by a process: each test has its own
    for name in (bad, "good"):
        await opened(store, name, user="kim")
        await store.mark_present(name, "phone", 50.0)
        await store.append(name, [answered()])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE session SET {damage} WHERE id = ?", (bad,))  # noqa: S608 - of the test
    return bad


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_session_is_told_once_and_holds_up_nobody(
    path: Path, store: SqliteStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await damaged(path, store, damage)
    gone = await store.expire_presence(100.0)
    assert [session.id for session in gone] == ["good"]
    lists = [
        await store.sessions([State.WAITING], [], 10),
        await store.sessions([State.WAITING], ["sales"], 10),
        await store.of_user("kim"),
        await store.of_client("phone"),
    ]
    assert [[one.id for one in found] for found in lists] == [["good"]] * 4
    assert await store.badge("good") >= 1
    for service in await store.unheard_services():
        due = [await store.claim_due(service, 100.0, 0.0, 30.0, 1) for _ in range(2)]
        (one,) = [one for lent in due for one in lent]
    assert await store.announce(one, 1, [push("good")])
    (job,) = await store.claim_jobs("apns", 100.0, 30.0)
    assert await store.finish_job(job, 100.0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE session SET badged = 1, acked = last")
    badges = [await store.claim_badges(200.0, 30.0, 1) for _ in range(2)]
    assert [one.session.id for lent in badges for one in lent] == ["good"]
    assert caplog.messages == [DAMAGED % bad]


async def test_a_damaged_session_keeps_no_other_from_being_found_quiet(
    path: Path, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await damaged(path, store, "service = CAST(x'ff' AS TEXT)")
    for _ in range(2):
        assert [one.session_id for one in await walk(store, 100.0)] == ["good"]
    assert caplog.messages == [DAMAGED % bad]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_session_itself_is_refused_until_it_is_purged(
    path: Path, store: SqliteStore, damage: str
) -> None:
    bad = await damaged(path, store, damage)
    for asked in (store.get(bad), store.find(f"key-{bad}")):
        with pytest.raises(SessionDamagedError):
            await asked
    with pytest.raises(SessionDamagedError):
        await store.append(bad, [], transition=End())
    assert await store.read(bad, 0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE session SET state = 'ended', ended_at = 20")
    assert await store.purge(0.0, 1000.0) == 2


async def test_a_damaged_session_loses_the_device_that_another_user_has(
    path: Path, store: SqliteStore
) -> None:
    bad = await damaged(path, store, "devices = '[{'")
    await store.register_device("good", phone("x"), 5.0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE session SET devices = '[{' WHERE id = 'good'")
    for name in (bad, "good"):
        with pytest.raises(SessionDamagedError):
            await store.register_device(name, phone(), 5.0)
        with pytest.raises(SessionDamagedError):
            await store.deregister_device(name, None)
    await opened(store, "other", user="lee")
    await store.register_device("other", phone(bad), 5.0)
    assert (await store.get("other")).devices[-1].id == phone(bad).id
    assert (await store.get(bad)).devices == ()
    assert await store.forget_device("ios", phone("x").id, 5.0) == 1
    assert (await store.get("good")).devices == ()


@pytest.mark.parametrize("damage", ["user_data = '{'", "kind = 'New'", "push = '[]'"])
async def test_a_transcript_with_a_damaged_entry_is_refused(
    path: Path, store: SqliteStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await damaged(path, store, f"user = '{len(damage)}'")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE entry SET {damage} WHERE session = 1")  # noqa: S608 - of the test
    for _ in range(2):
        with pytest.raises(SessionDamagedError):
            await store._read(bad, 0, 10)
    assert len(await store._read("good", 0, 10)) == 1
    assert caplog.messages == [DAMAGED % bad]


async def test_a_state_that_nobody_knows_costs_its_own_session_only(
    path: Path, store: SqliteStore, gate: Gate
) -> None:
    bad = await damaged(path, store, "state = CAST(x'ff' AS TEXT)")
    held = store._writer.submit(gate)
    await gate.is_entered()
    appended = [
        asyncio.ensure_future(store.append(name, [said()])) for name in (bad, "good")
    ]
    await asyncio.sleep(0)
    gate.free.set()
    await held
    refused, stored = await asyncio.gather(*appended, return_exceptions=True)
    assert isinstance(refused, SessionDamagedError)
    assert not isinstance(stored, BaseException)


OLD_NAMES = """
UPDATE session SET devices =
  replace(devices, '{"id":"TOKEN","type":"fcm"', '{"id":"phone","type":"NAME"');
UPDATE device SET type = 'NAME', id = 'phone' WHERE id = 'TOKEN';
UPDATE job SET type = 'NAME', device_id = 'phone',
  device = replace(device, '{"id":"TOKEN","type":"fcm"', '{"id":"phone","type":"NAME"')
WHERE device_id = 'TOKEN';
PRAGMA user_version = 4;
"""


async def with_old_names(
    path: Path, having: dict[str, tuple[str, ...]], muted: str = ""
) -> None:
    """Write a file as version 4 did: sessions, each of its own user, that registered
    one phone under these names of its type one after the other."""
    store = await SqliteStore.open(path)
    for at, (name, types) in enumerate(having.items()):
        await store.create(new(name, user=name))
        await store.append(name, [answered(at=50.0)], transition=asks())
        for kind in types:
            device = Device(id=f"{name}-{kind}", type="fcm", muted=kind == muted)
            await store.register_device(name, device, 60.0 + at)
        await store.mark_absent(name, "phone", 70.0)
    for due in await store.claim_due("sales", 70.0, 0.0, 30.0):
        jobs = [push(d.id, device=d) for d in due.session.devices if not d.muted]
        assert await store.announce(due, 1, jobs)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        for name, types in having.items():
            for kind in types:
                token = f"{name}-{kind}"
                script = OLD_NAMES.replace("TOKEN", token).replace("NAME", kind)
                db.executescript(script)


async def test_of_the_names_of_one_type_a_conversion_makes_one_device(
    path: Path,
) -> None:
    await with_old_names(path, {"s": ("gcm", "fcm"), "t": ("android",)}, muted="gcm")
    store = await SqliteStore.open(path)
    # The phone is that of t's user, who registered it last.
    assert (await store.get("s")).devices == ()
    (device,) = (await store.get("t")).devices
    assert (device.type, device.id) == ("fcm", "phone")
    (job,) = await store.claim_jobs("apns", 80.0, 0.0)
    assert (job.session_id, job.device) == ("t", device)
    await store.append("t", [answered(at=90.0)])
    await store.append("s", [answered(at=90.0)])
    (due,) = await store.claim_due("sales", 100.0, 0.0, 30.0)
    assert due.session.id == "t"
    await store.register_device("t", Device(id="phone", type="gcm"), 110.0)
    assert len((await store.get("t")).devices) == 1
    assert len(await store.claim_jobs("apns", 110.0, 30.0)) == 1
    await store.register_device("s", Device(id="phone", type="android"), 120.0)
    assert (await store.get("t")).devices == ()
    await store.close()


@pytest.mark.parametrize("muted", ["gcm", "fcm"])
async def test_a_conversion_keeps_what_was_said_of_a_device_last(
    path: Path, muted: str
) -> None:
    await with_old_names(path, {"s": ("gcm", "fcm")}, muted)
    store = await SqliteStore.open(path)
    (device,) = (await store.get("s")).devices
    assert device.muted == (muted == "fcm")
    jobs = await store.claim_jobs("apns", 80.0, 0.0)
    assert [job.device.type for job in jobs] == ["fcm"] * (muted == "gcm")
    await store.append("s", [answered(at=90.0)])
    due = await store.claim_due("sales", 100.0, 0.0, 30.0)
    assert len(due) == (muted == "gcm")
    await store.close()


async def test_a_row_that_cannot_be_read_stops_no_conversion(path: Path) -> None:
    await with_old_names(path, {"s": ("gcm",), "t": ("gcm",)})
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE session SET devices = '{' WHERE id = 's'")
    store = await SqliteStore.open(path)
    assert [device.type for device in (await store.get("t")).devices] == ["fcm"]
    await store.close()


OLD_SPELLINGS = """
UPDATE device SET id = 'ID' WHERE id = 'NAME';
UPDATE job SET device_id = 'ID' WHERE id = 'ID';
PRAGMA user_version = 5;
"""


async def with_old_spellings(path: Path, *having: tuple[str, Device]) -> None:
    """Write a file as version 5 did: sessions, each of its own user, with a browser."""
    store = await SqliteStore.open(path)
    for at, (name, device) in enumerate(having):
        await store.create(new(name, user=name))
        await store.append(name, [answered(at=50.0)], transition=asks())
        await store.register_device(name, device, 60.0 + at)
        await store.mark_absent(name, "phone", 70.0)
        (due,) = await store.claim_due("sales", 70.0, 0.0, 30.0)
        assert await store.announce(due, 1, [push(device.id, device=device)])
        # The next one would take it, if it knew.
        await store._writer.submit(partial(as_spelled, device))
    await store.close()


def as_spelled(device: Device, db: sqlite3.Connection, news: list[Change]) -> None:
    script = OLD_SPELLINGS.replace("NAME", device.name).replace("ID", device.id)
    for statement in script.split(";"):
        db.execute(statement)


async def test_of_the_spellings_of_one_subscription_a_conversion_makes_one_device(
    path: Path,
) -> None:
    first, second, third = spellings("a")
    odd = Device(id="{", type="webpush")
    await with_old_spellings(path, ("s", first), ("t", second), ("u", odd))
    store = await SqliteStore.open(path)
    # The browser is that of t's user, who registered it last.
    assert (await store.get("s")).devices == ()
    jobs = await store.claim_jobs("apns", 80.0, 0.0)
    assert [(job.session_id, job.device.id) for job in jobs] == [
        ("t", second.id),
        ("u", "{"),
    ]
    await store.register_device("t", third, 90.0)
    assert [device.id for device in (await store.get("t")).devices] == [third.id]
    assert len(await store.claim_jobs("apns", 90.0, 0.0)) == 2
    await store.register_device("s", first, 100.0)
    assert (await store.get("t")).devices == ()
    assert [job.session_id for job in await store.claim_jobs("apns", 110.0, 0.0)] == [
        "u"
    ]
    await store.close()


async def test_a_file_is_converted_once(path: Path) -> None:
    old_file(path, [("s", "kim", 30.0, "token")])
    for _ in range(2):
        store = await SqliteStore.open(path)
        assert len((await store.get("s")).devices) == 1
        await store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(NewerSchemaError, match="newer program"):
        await SqliteStore.open(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []
    db.close()


def obstructed(path: Path, fault: str) -> Path:
    """Return a path at which there can be no database."""
    if fault == "folder":
        path.mkdir()
        return path
    path.write_text("this is no database, but long enough to be one\n" * 20)
    return path if fault == "text" else path / "below-a-file.db"


@pytest.mark.parametrize("fault", ["text", "folder", "parent"])
async def test_what_cannot_be_opened_says_so_with_its_path(
    path: Path, fault: str
) -> None:
    path = obstructed(path, fault)
    with pytest.raises(StoreUnavailableError, match="cannot be opened") as refused:
        await SqliteStore.open(path)
    assert str(path) in str(refused.value)


# --- the end ---------------------------------------------------------------------


async def test_closing_finishes_what_was_accepted(path: Path, gate: Gate) -> None:
    store = await SqliteStore.open(path)
    await opened(store)
    held = store._writer.submit(gate)
    await gate.is_entered()
    waiting = [asyncio.create_task(store.append("s", [said()])) for _ in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    gate.free.set()
    await closing
    await held
    assert [(await one).position for one in waiting] == [1, 2, 3, 4, 5]
    assert names(path.parent) == {"chat.db"}


async def test_a_closed_store_refuses_and_may_be_closed_again(path: Path) -> None:
    store = await SqliteStore.open(path)
    await opened(store)
    await store.append("s", [said()])
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.create(new("t"))
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.read("s", 0)


def test_a_loop_that_is_gone_does_not_break_the_threads(path: Path) -> None:
    gate = Gate()

    async def abandon() -> SqliteStore:
        store = await SqliteStore.open(path)
        store._writer.submit(gate).cancel()
        await gate.is_entered()
        return store

    store = asyncio.run(abandon())
    gate.free.set()
    for workers in (store._readers, store._writer):
        for _ in workers._threads:
            workers._jobs.put(None)
        for thread in workers._threads:
            thread.join(30)
            assert not thread.is_alive()
    assert names(path.parent) == {"chat.db"}  # both have closed it
