"""Uploaded files in a folder: on this machine, or shared between nodes by NFS."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

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


class Folder:
    """A `Place` whose objects are files. Hard links have to be possible in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="files")

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
        # Without waiting: a thread that a file server lets hang never ends.
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SLOWEST):
                return await loop.run_in_executor(self._threads, work)
        except TimeoutError:
            raise PlaceError("the folder does not answer") from None
        except OSError as error:
            raise PlaceError(f"the folder fails: {error.strerror}") from None

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
            # Unlike a rename, a link never replaces what is there, over NFS neither.
            os.link(unfinished, path)
        except FileExistsError:
            return False
        finally:
            unfinished.unlink(missing_ok=True)
        _sync(path.parent)
        return True

    def _make(self, folder: Path) -> None:
        """Make the folder, and those it is in, so that a crash does not undo it."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)

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
            for unfinished in folder.iterdir():
                unfinished.unlink(missing_ok=True)
            folder.rmdir()
            self._tidy(folder.parent)


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


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
