from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chat.world import World
from tests.chat.world import world as made


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with made(tmp_path, "[auth]\ngms_user = trusted\n") as here:
        yield here
