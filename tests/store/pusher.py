"""A program for test_sqlite: announces what is due, or sends what is queued.

Arguments: database, "announce" or "send", wall time. It works with four tasks until
nothing is left, or until it is killed, and prints what it has done: `announced` with
the session; `sent` with the session before it says so to the store, `done` after.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TypeAlias

from cometd_chat.store.sqlite import SqliteStore
from tests.store.facts import push

TASKS = 4
AT_ONCE = 10
LEASE = 30.0

Work: TypeAlias = Callable[[SqliteStore, float], Coroutine[None, None, int]]


def tell(what: str, session: str) -> None:
    os.write(1, f"{what} {session}\n".encode())


async def announce(store: SqliteStore, now: float) -> int:
    claimed = await store.claim_due("sales", now, 0.0, LEASE, AT_ONCE)
    for due in claimed:
        session = due.session
        jobs = [push(f"job-{session.id}", device=device) for device in session.devices]
        if await store.announce(due, session.last, jobs):
            tell("announced", session.id)
    return len(claimed)


async def send(store: SqliteStore, now: float) -> int:
    claimed = await store.claim_jobs("apns", now, LEASE, AT_ONCE)
    for job in claimed:
        tell("sent", job.session_id)
        if await store.finish_job(job):
            tell("done", job.session_id)
    return len(claimed)


async def exhaust(work: Work, store: SqliteStore, now: float) -> None:
    while await work(store, now):
        pass


async def main(path: str, stage: str, now: str) -> None:
    store = await SqliteStore.open(path)
    work = announce if stage == "announce" else send
    await asyncio.gather(*(exhaust(work, store, float(now)) for _ in range(TASKS)))
    await store.close()


asyncio.run(main(*sys.argv[1:]))
