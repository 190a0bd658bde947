"""Work of an endpoint that no request waits for."""

import asyncio
import logging

from .eager import Work

log = logging.getLogger(__name__)


class Tasks:
    """The tasks that have not ended yet."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Work) -> None:
        """Do it in a task; what it raises is logged."""
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ended(self) -> None:
        """Wait for those that there are now."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _guarded(work: Work) -> None:
    try:
        await work
    except Exception:
        log.exception("background work of the Bayeux endpoint failed")
