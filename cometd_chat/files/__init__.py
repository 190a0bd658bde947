"""Where uploaded files are kept. The docstrings of `Place` are its specification.

A place keeps objects, as S3 has them: bytes under a name, written once and never
changed. That is all that several nodes need to receive one file together without
talking to each other; see `uploads.py`.
"""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct


class PlaceError(Exception):
    """A place that cannot be used, or not now; never carries names or contents."""


class Kept(Struct, frozen=True):
    """An object: its name, its bytes, and when it was written (wall seconds)."""

    name: str
    size: int
    at: float


class Place(Protocol):
    """Objects by name. A name has parts of letters, digits, `-` and `.`, with slashes
    between them; no part begins with a dot.

    Any method may raise PlaceError, within seconds.
    """

    async def put(self, name: str, content: bytes) -> bool:
        """Keep an object unless there is one of this name; tell whether it is kept.

        Of several callers, on whatever nodes, one at most gets True. True promises
        that the object is durable, and that every node sees it from now on. After a
        failure, it may be there or not.
        """
        ...

    async def get(self, name: str) -> bytes | None:
        """Return the content of an object, None if there is none."""
        ...

    async def listing(self, folder: str) -> list[Kept]:
        """Return what is below this first part, or these first parts, of the name."""
        ...

    async def folders(self) -> list[str]:
        """Return the first parts of all names."""
        ...

    async def remove(self, names: Iterable[str]) -> None:
        """Remove these objects; what is not there is no failure."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...
