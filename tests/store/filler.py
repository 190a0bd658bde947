"""A program for test_sqlite: fills a file that may not grow beyond 600 kB.

Argument: database. It writes until the system refuses, reads, removes the limit,
writes again, and prints the position before and after, and what refused it.
"""

import asyncio
import resource
import signal
import sys
from itertools import count

from cometd_chat.store import StoreUnavailableError
from cometd_chat.store.sqlite import SqliteStore
from tests.store.facts import opened, said

UNLIMITED = resource.RLIM_INFINITY


async def fill(store: SqliteStore) -> tuple[int, str]:
    for n in count(1):
        try:
            await store.append("s", [said("z" * 900)])
        except StoreUnavailableError as error:
            return n - 1, str(error)
    raise AssertionError("count never ends")


async def main(path: str) -> None:
    store = await SqliteStore.open(path)
    await opened(store)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, UNLIMITED))
    stored, error = await fill(store)
    readable = len(await store.read("s", 0, 5000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
    after = await store.append("s", [said("again")])
    sys.stdout.write(f"{stored}|{readable}|{after.position}|{error}\n")
    await store.close()


asyncio.run(main(*sys.argv[1:]))
