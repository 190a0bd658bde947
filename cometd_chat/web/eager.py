"""Starts work at once, and makes a task only of work that has to wait.

Most requests never wait, and a task would cost as much as their answer. Python 3.12
has eager tasks, 3.11 has not.
"""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, None]


def begin(work: Work) -> asyncio.Task[None] | None:
    """Run the work until it waits; return the task that goes on, or None if it ended.

    Up to there the work runs in no task, so that `asyncio.timeout` is not for it.
    Raises: what the work raises before it waits.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    return asyncio.create_task(_go_on(work, awaited))


async def _go_on(work: Work, awaited: object) -> None:
    await _Rest(work, awaited)


class _Rest:
    """What is left of work that waits for something already."""

    def __init__(self, work: Work, awaited: object) -> None:
        self._work = work
        self._awaited = awaited

    def __await__(self) -> Generator[object, None, None]:
        awaited = self._awaited
        while True:
            try:
                yield awaited
            except BaseException as exc:  # noqa: BLE001 - it is the work's, also a cancellation
                go_on = partial(self._work.throw, exc)
            else:
                go_on = partial(self._work.send, None)
            try:
                awaited = go_on()
            except StopIteration:
                return
