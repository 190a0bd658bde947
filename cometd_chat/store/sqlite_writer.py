"""The threads that talk to SQLite, so that the event loop never waits for a disk.

One thread writes. It takes everything that waits, does it in one transaction and
commits once: a sync of the disk costs the same for one append as for a hundred, so
the more is asked, the cheaper each becomes (group commit). Its rules:

* A piece of work decides first and writes afterwards. A refusal (`StoreError`) has
  therefore written nothing and needs no savepoint; the rest of the batch goes on.
* When the storage fails (disk full, I/O error), the whole batch is rolled back and
  refused. No position is used up, since positions live in the same transaction.
* When a value cannot be stored at all (a lone surrogate, a number beyond 64 bits),
  part of that work may have been written: the batch is rolled back and its pieces
  are done again one by one, so that the culprit fails alone.

Results go back to the loop with one call per batch; watchers are told in that same
call, and since there is one writer and one loop, in the order of the commits. Whoever
reads the file may see a commit before that: its news are `coming` until they are told.
"""

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from cometd_chat.store import Change, StoreError, StoreUnavailableError, Watcher
from cometd_chat.store.watchers import Watchers

T = TypeVar("T")

BATCH = 512
"""Most pieces of work in one transaction: bounds how long a caller waits for it."""

_Future: TypeAlias = "asyncio.Future[Any]"
_Job: TypeAlias = tuple[Callable[..., Any], _Future]
_Outcome: TypeAlias = tuple[_Future, Any, Exception | None]


class Workers:
    """Threads fed from the event loop by a bounded queue, one per connection."""

    def __init__(
        self, serve: "_Serve", connections: Sequence[sqlite3.Connection], room: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._closed = False
        self._watchers = Watchers()
        self._coming: deque[list[Change]] = deque()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=serve, args=(self, db), name="sqlite", daemon=True)
            for db in connections
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[..., T]) -> "asyncio.Future[T]":
        """Queue the work and return its result to come.

        Raises: StoreUnavailableError, at once, when too much waits already or the
        store is closed.
        """
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        if self._room <= 0:
            raise StoreUnavailableError("too much work is waiting for the database")
        self._room -= 1
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((work, future))
        return future

    def watch(self, watcher: Watcher) -> None:
        self._watchers.add(watcher)

    async def close(self) -> None:
        """Finish what waits, then end the threads."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def take(self, most: int) -> tuple[list[_Job], bool]:
        """Wait for work; return all that is there, and whether more may come."""
        batch: list[_Job] = []
        waiting = 1
        while waiting and len(batch) < most:
            job = self._jobs.get()
            if job is None:
                return batch, False
            batch.append(job)
            waiting = self._jobs.qsize()
        return batch, True

    def expect(self) -> list[Change]:
        """Return where the news of the next commit are put before it is made."""
        news: list[Change] = []
        self._coming.append(news)
        return news

    def coming(self, session_id: str) -> bool:
        """Tell whether news of this session may be in the file, but not told yet."""
        # A copy, for the writer goes on meanwhile.
        batches = tuple(self._coming)
        return any(change.session_id == session_id for n in batches for change in n)

    def answer(self, outcomes: list[_Outcome], news: list[Change]) -> None:
        """Hand results and news over to the event loop, with one call."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, outcomes, news)

    def _settle(self, outcomes: list[_Outcome], news: list[Change]) -> None:
        self._room += len(outcomes)
        for future, result, error in outcomes:
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        for change in news:
            self._watchers.tell(change)
        if self._coming:  # the writer's, whose answers come in the order of its commits
            self._coming.popleft()


_Serve: TypeAlias = Callable[[Workers, sqlite3.Connection], None]


def read(workers: Workers, db: sqlite3.Connection) -> None:
    """Serve queries, one at a time: a slow one holds up one thread only."""
    more = True
    while more:
        batch, more = workers.take(1)
        for job in batch:
            workers.answer([_alone(db, job)], [])
    db.close()


def write(pace: float, workers: Workers, db: sqlite3.Connection) -> None:
    """Serve writes, all that wait in one transaction.

    From one transaction to the next `pace` seconds pass at least: one for a single
    append costs the processor several times as much as an append among others.
    Whoever comes when nobody else does waits for nothing.
    """
    more = True
    while more:
        batch, more = workers.take(BATCH)
        began = time.monotonic()
        if batch:
            news = workers.expect()
            workers.answer(_commit(db, batch, news), news)
        # Before it waits for work: whoever brings some then need not wake this thread.
        if more and (early := began + pace - time.monotonic()) > 0:
            time.sleep(early)
    with suppress(sqlite3.Error):  # no room for a checkpoint: the log stays
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _commit(
    db: sqlite3.Connection, batch: list[_Job], news: list[Change]
) -> list[_Outcome]:
    """Do the batch in one transaction, or none of it; its news are there before."""
    before = len(news)
    try:
        db.execute("BEGIN IMMEDIATE")
        outcomes = [_attempt(db, job, news) for job in batch]
        db.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - everything is answered
        _roll_back(db)
        del news[before:]
        if len(batch) == 1 or _storage_failed(error):
            return [(future, None, _explain(error)) for _, future in batch]
        return [outcome for job in batch for outcome in _commit(db, [job], news)]
    return outcomes


def _attempt(db: sqlite3.Connection, job: _Job, *news: list[Change]) -> _Outcome:
    work, future = job
    try:
        return future, work(db, *news), None
    except StoreError as refusal:
        return future, None, refusal


def _alone(db: sqlite3.Connection, job: _Job) -> _Outcome:
    try:
        return _attempt(db, job)
    except Exception as error:  # noqa: BLE001 - everything is answered
        return job[1], None, _explain(error)


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # an I/O error has ended the transaction already
        db.execute("ROLLBACK")


def _storage_failed(error: Exception) -> bool:
    """Tell a fault of the storage, or a damaged file, from that of a value."""
    return (
        isinstance(error, sqlite3.OperationalError)
        or type(error) is sqlite3.DatabaseError
    )


def _explain(error: Exception) -> Exception:
    """Say what went wrong without the values that it went wrong with."""
    if _storage_failed(error):
        name = getattr(error, "sqlite_errorname", "")
        return StoreUnavailableError(f"the database failed: {name}")
    if isinstance(error, sqlite3.Error | ValueError | OverflowError):
        return StoreError(f"a value cannot be stored: {type(error).__name__}")
    return error
