"""Sends odd requests in pieces, and keeps what comes back."""

import asyncio
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

QUIET = 0.15
"""Seconds without a byte after which nothing more is expected."""

LOOKS = 40
"""How often so long is waited for what a busy machine has not answered yet."""


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


class Talk:
    """A connection on which pieces are sent; `received` is what came back."""

    def __init__(self, url: str, pieces: Sequence[bytes]) -> None:
        self._url = urlsplit(url)
        self._pieces = pieces
        self.received = b""
        self.closed = False

    async def __aenter__(self) -> Self:
        opened = asyncio.open_connection(self._url.hostname, self._url.port)
        self._reader, self._writer = await opened
        try:
            for piece in self._pieces:
                await self.send(piece)
                await asyncio.sleep(0.002)
        except ConnectionError:
            self.closed = True
        return self

    async def send(self, piece: bytes) -> None:
        """Send one more piece. Raises: ConnectionError."""
        self._writer.write(piece)
        await self._writer.drain()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    async def listen(self) -> None:
        """Take in what comes, until nothing comes for a while."""
        try:
            while not self.closed:
                async with asyncio.timeout(QUIET):
                    data = await self._reader.read(65_536)
                self.received += data
                self.closed = not data
        except TimeoutError:
            pass
        except ConnectionError:
            self.closed = True

    @property
    def told(self) -> tuple[bytes, bool]:
        """What came, and whether the connection is closed."""
        return comparable(self.received), self.closed


async def both_answers(
    one: Talk, other: Talk, nameless: Callable[[bytes], bytes]
) -> list[tuple[bytes, bool]]:
    """Return what each of two servers answers, without the names that it makes.

    They are waited for until both say the same, if they ever do.
    """
    async with one, other:
        for _ in range(LOOKS):
            await asyncio.gather(one.listen(), other.listen())
            both = [(nameless(t), closed) for t, closed in (one.told, other.told)]
            if both[0] == both[1] != (b"", False):
                break
        return both


def comparable(received: bytes) -> bytes:
    """Return the responses without what differs from one moment to the next."""
    without_date = re.sub(rb"\r\nDate: [^\r]+", b"", received)
    return re.sub(rb"BAYEUX_BROWSER=[0-9a-f]{32}", b"BAYEUX_BROWSER=new", without_date)
