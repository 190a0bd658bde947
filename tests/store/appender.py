"""A program for test_sqlite: appends with 16 tasks until it is killed.

Arguments: database, name of the run. Each line it prints was acknowledged:
session, text, position.
"""

import asyncio
import os
import sys
from itertools import count

from cometd_chat.store import Limits, Once
from cometd_chat.store.sqlite import SqliteStore
from tests.store.facts import said

SESSIONS = 5


async def append(store: SqliteStore, task: str) -> None:
    for n in count():
        session, text = f"s{n % SESSIONS}", f"{task}-{n}"
        stored = await store.append(session, [said(text)], once=Once(key=text))
        os.write(1, f"{session} {text} {stored.position}\n".encode())


async def main(path: str, name: str) -> None:
    store = await SqliteStore.open(path, limits=Limits(entries=10**6))
    await asyncio.gather(*(append(store, f"{name}-{task}") for task in range(16)))


asyncio.run(main(*sys.argv[1:]))
