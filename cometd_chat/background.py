"""Work that is done again and again, as long as the server runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

log = logging.getLogger(__name__)

REMINDER = 60.0
"""Seconds after which a job that still fails is logged again."""


@contextlib.asynccontextmanager
async def repeated(
    period: float, job: Callable[[], Awaitable[None]], *, reminder: float = REMINDER
) -> AsyncIterator[None]:
    """Do a job again and again while the block runs, `period` seconds apart.

    Whatever it may raise. That is logged, but not each time: a storage that is away
    for an hour would fill the disk with tracebacks. `reminder` is in seconds.
    """
    failures = _Failures(job.__qualname__, reminder)
    task = asyncio.create_task(_for_ever(period, job, failures))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _for_ever(
    period: float, job: Callable[[], Awaitable[None]], failures: "_Failures"
) -> None:
    while True:
        await asyncio.sleep(period)
        try:
            await job()
        except Exception as exc:  # noqa: BLE001 - one must not end what runs for months
            failures.add(exc)
        else:
            failures.end()


class _Failures:
    """The failures of one job in a row, and what is said of them."""

    def __init__(self, name: str, reminder: float) -> None:
        self._name = name
        self._reminder = reminder
        self._count = 0
        self._kind: type[Exception] | None = None
        self._said_at = 0.0

    def add(self, exc: Exception) -> None:
        """Log it if it is the first of its kind, or the last word was long ago."""
        self._count += 1
        now = asyncio.get_running_loop().time()
        if type(exc) is not self._kind:
            log.error("background job %s failed", self._name, exc_info=exc)
        elif now - self._said_at >= self._reminder:
            log.error("background job %s still fails: %d times", *self._told())
        else:
            return
        self._kind, self._said_at = type(exc), now

    def end(self) -> None:
        """Note that it did what it should."""
        if self._count:
            log.info("background job %s works again: it failed %d times", *self._told())
        self._count, self._kind = 0, None

    def _told(self) -> tuple[str, int]:
        return self._name, self._count
