"""A SQLite file belongs to one server; a second one is told so at its start.

Each of two would keep from its clients what the other one stores: they would seem to
work, and entries come late or not at all.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cometd_chat.config import StoreOptions
from cometd_chat.store import StoreError
from cometd_chat.store.opening import is_shared


@contextmanager
def sole_owner(options: StoreOptions) -> Iterator[None]:
    """Keep other servers from the storage, unless nodes may share it.

    Raises: StoreError if another process serves it, or it cannot be had.
    """
    if is_shared(options):
        yield
        return
    path = Path(options.url.removeprefix("sqlite:///")).resolve()
    lock = _lock(path)
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """Return what is to be closed in the end; the kernel does so for who is killed."""
    # Beside the file: who closes a file gives up the locks that SQLite has on it.
    beside = Path(f"{path}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as opened:
            lock = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
            opened.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            opened.pop_all()
    except BlockingIOError:
        raise StoreError(
            f"{path} is served by another process: stop that one, or name another file "
            "in [store] url"
        ) from None
    except OSError as error:
        raise StoreError(f"{beside} cannot be opened: {error.strerror}") from None
    return lock
