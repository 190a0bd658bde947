"""A place in memory, for tests of what stands on it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from cometd_chat.files import Kept, PlaceError


class Memory:
    """A `Place` that gives way to others at each call, and fails when it is told to.

    `lost`: the next put is done, but its answer does not come. `at` is the time of what
    is put. `meanwhile` is done once, while the answer to a listing is under way.
    """

    def __init__(self, *, replaces: bool = False) -> None:
        self.objects: dict[str, bytes] = {}
        self.times: dict[str, float] = {}
        self.at = 0.0
        self.lost = False
        self.away = False
        self.closed = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self._replaces = replaces

    async def put(self, name: str, content: bytes) -> bool:
        await self._asked()
        if name in self.objects and not self._replaces:
            return False
        self.objects[name] = content
        self.times[name] = self.at
        if self.lost:
            self.lost = False
            return False  # what a client of S3 sees that sent the request twice
        return True

    async def get(self, name: str) -> bytes | None:
        await self._asked()
        return self.objects.get(name)

    async def listing(self, folder: str) -> list[Kept]:
        await self._asked()
        kept = [
            Kept(name, len(content), self.times[name])
            for name, content in self.objects.items()
            if name.startswith(f"{folder}/")
        ]
        if meanwhile := self.meanwhile:
            self.meanwhile = None
            await meanwhile()
        return kept

    async def folders(self) -> list[str]:
        await self._asked()
        return sorted({name.partition("/")[0] for name in self.objects})

    async def remove(self, names: Iterable[str]) -> None:
        await self._asked()
        for name in names:
            self.objects.pop(name, None)

    async def close(self) -> None:
        self.closed = True

    async def _asked(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise PlaceError("away")
