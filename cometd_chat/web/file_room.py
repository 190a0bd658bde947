"""Room for requests that hold pieces of files in memory."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from .file_requests import RefusedError

AT_ONCE: Final = 64
"""Requests with bytes of files that a node serves at once: each may hold a piece."""

AT_ONCE_OF_CUSTOMER: Final = 8
"""Those of them that may be of the chats of one customer, his agents' too."""

MOST_WAITING: Final = 256
"""Downloads that wait for room at a node; further ones are refused at once."""

RETRY_AFTER: Final = 2
"""Seconds after which a request that found no room may come again."""


class Room:
    """How many requests hold pieces of files, and who waits to be one of them."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._waiting = 0
        self._left = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self, customer: str, wait: float = 0.0) -> AsyncIterator[None]:
        """Count a request of a customer's chats while the block runs.

        It may wait so many seconds for room.

        Raises: RefusedError.
        """
        if not (self._free(customer) or await self._freed(customer, wait)):
            raise RefusedError(
                503, "Too many files at once: try again", Retry_After=str(RETRY_AFTER)
            )
        self._taken[customer] += 1
        try:
            yield
        finally:
            self._taken[customer] -= 1
            self._taken += Counter()  # forget those with none
            self._left.set()
            self._left = asyncio.Event()

    def _free(self, customer: str) -> bool:
        full = self._taken.total() >= AT_ONCE
        return not full and self._taken[customer] < AT_ONCE_OF_CUSTOMER

    async def _freed(self, customer: str, wait: float) -> bool:
        """Wait for room; who came first is asked first whenever somebody leaves."""
        if not wait or self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(wait):
                while not self._free(customer):
                    await self._left.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True
