"""Waiting for what a client has seen, instead of sleeping."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Watched:
    """Something that changes; others wait until a condition on it holds."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def changed(self) -> None:
        """Tell those who wait that their condition is worth a look."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait_for(
        self, condition: Callable[[], T | None], within: float = 5.0
    ) -> T:
        """Return the first true value of `condition`, tried after every change.

        Raises: TimeoutError after `within` seconds.
        """
        async with asyncio.timeout(within):
            while not (value := condition()):
                await self._next_change()
        return value

    async def _next_change(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
