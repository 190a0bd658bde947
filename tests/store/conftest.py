"""Every store must pass this suite: adding one means adding one parameter here."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from cometd_chat.store import Store
from cometd_chat.store.sqlite import SqliteStore

Place: TypeAlias = Callable[[], Awaitable[Store]]
"""Opens the same storage; a transcript of it has room for `facts.ROOM` entries."""


def _sqlite(folder: Path) -> Place:
    return lambda: SqliteStore.open(folder / "chat.db", max_entries=400)


@pytest.fixture(params=[pytest.param(_sqlite, id="sqlite")])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    store = await place()
    yield store
    await store.close()
