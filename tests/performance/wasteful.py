"""The program of the guard, with a server that wastes time with each request."""

import asyncio

from bench.counted import main, reference
from bench.exchanges import Factory

WASTED = 5
"""Turns of the reference loop for each request: about half of an exchange."""


class Wasteful(asyncio.Protocol):
    """A way in that does more than it needs."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        reference(WASTED)
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


def wasteful(factory: Factory) -> Factory:
    return lambda: Wasteful(factory())


if __name__ == "__main__":
    main(wasteful)
