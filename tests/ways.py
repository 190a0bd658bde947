"""The ways into the servers of tests: through the front, by aiohttp alone, or through
two nodes of one Redis, of which each request of a client meets another one."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

_prefixes = (f"way-{number}" for number in count())


class Way:
    """The way into servers that are made from now on.

    `store` is the address of a Redis for two nodes, and what its keys begin with.
    """

    front = True
    store: tuple[str, str] | None = None


@contextmanager
def by(*, front: bool, redis: str | None = None) -> Iterator[None]:
    """Let servers that are made meanwhile have a front, or none; or be two."""
    before, Way.front = (Way.front, Way.store), front
    Way.store = None if redis is None else (redis, next(_prefixes))
    try:
        yield
    finally:
        Way.front, Way.store = before


def nodes() -> int:
    """Return of how many nodes servers are made that are made now."""
    return 1 if Way.store is None else 2
