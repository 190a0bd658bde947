"""Uploaded files in a folder: on this machine, or shared between nodes by NFS."""

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from . import Kept, PlaceError

T = TypeVar("T")

THREADS = 8
"""Threads that read and write: a file server that hangs takes no others with it."""

SLOWEST = 30.0
"""Seconds after which the folder counts as unavailable."""

UNFINISHED = "."
"""What the names of files begin with that are still being written."""

TRIES = 3
"""Tries to write where another node removes the folder meanwhile, as it is empty."""


def sync_folder(folder: Path) -> None:
    """Make durable what is in a folder, and what is not in it any more."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Folder:
    """A `Place` whose objects are files. Hard links have to be possible in it."""

    def __init__(
        self, root: Path, *, sync: Callable[[Path], None] = sync_folder
    ) -> None:
        self._root = root
        self._sync = sync
        self._threads = _Threads(THREADS)

    async def put(self, name: str, content: bytes) -> bool:
        return await self._run(lambda: self._put(self._root / name, content))

    async def get(self, name: str) -> bytes | None:
        return await self._run(lambda: _read(self._root / name))

    async def listing(self, folder: str) -> list[Kept]:
        return await self._run(lambda: list(self._kept(self._root / folder)))

    async def folders(self) -> list[str]:
        return await self._run(lambda: [path.name for path in _below(self._root)])

    async def remove(self, names: Iterable[str]) -> None:
        paths = [self._root / name for name in names]
        await self._run(lambda: self._remove(paths))

    async def close(self) -> None:
        self._threads.close()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(SLOWEST):
                return await asyncio.wrap_future(self._threads.submit(work))
        except TimeoutError:
            raise PlaceError("the folder does not answer") from None
        except OSError as error:
            raise PlaceError(f"{self._root} fails: {error.strerror}") from None

    def _put(self, path: Path, content: bytes) -> bool:
        for _ in range(TRIES - 1):
            with contextlib.suppress(FileNotFoundError):
                return self._put_once(path, content)
        return self._put_once(path, content)

    def _put_once(self, path: Path, content: bytes) -> bool:
        self._make(path.parent)
        unfinished = path.parent / f"{UNFINISHED}{secrets.token_hex(8)}"
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            kept = _link(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        # For who comes second as well: he may go on from what the first has not synced.
        self._sync(path.parent)
        return kept

    def _make(self, folder: Path) -> None:
        """Make the folder, and those it is in, so that a crash does not undo it."""
        if folder.is_dir():
            return
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            self._sync(self._root.parent)
        folder.mkdir(parents=True, exist_ok=True)
        # All of them: who made those that were there may not have come so far yet.
        for above in folder.relative_to(self._root).parents:
            self._sync(self._root / above)

    def _kept(self, folder: Path) -> Iterator[Kept]:
        for path in _below(folder):
            if path.is_dir():
                yield from self._kept(path)
                continue
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                status = path.stat()
                name = path.relative_to(self._root).as_posix()
                yield Kept(name, status.st_size, status.st_mtime)

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            self._tidy(folder)

    def _tidy(self, folder: Path) -> None:
        """Remove a folder that is empty, and those that are so without it.

        What a process that died left unfinished does not count.
        """
        if folder == self._root or not folder.is_dir() or any(_below(folder)):
            return
        with contextlib.suppress(OSError):  # somebody writes into it
            # Nothing else: an object may have come since it was found to be empty.
            for unfinished in folder.glob(f"{UNFINISHED}*"):
                unfinished.unlink(missing_ok=True)
            folder.rmdir()
            self._tidy(folder.parent)


class _Threads:
    """Threads that the end of the process does not wait for, unlike an executor's: one
    that a file server lets hang never ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._jobs = SimpleQueue()
        for _ in range(count):
            threading.Thread(target=self._serve, name="files", daemon=True).start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Queue the work and return its result to come."""
        future: Future[T] = Future()
        self._jobs.put((work, future))
        return future

    def close(self) -> None:
        """Let the threads end after what was queued, without waiting for it."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _serve(self) -> None:
        while job := self._jobs.get():
            work, future = job
            if future.set_running_or_notify_cancel():
                _settle(work, future)


def _settle(work: Callable[[], Any], future: "Future[Any]") -> None:
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
        future.set_exception(error)


def _link(unfinished: Path, path: Path) -> bool:
    try:
        # Unlike a rename, a link never replaces what is there, over NFS neither.
        os.link(unfinished, path)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _below(folder: Path) -> Iterator[Path]:
    try:
        for path in folder.iterdir():
            if not path.name.startswith(UNFINISHED):
                yield path
    except FileNotFoundError:
        return
