"""Every place for files must pass the suite in this folder."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from cometd_chat.files import Place
from cometd_chat.files.bucket import Account, Bucket
from cometd_chat.files.folder import Folder

from .s3_server import make_bucket, running

ACCOUNT = {"region": "us-east-1", "access_key": "tests", "secret_key": "tests"}
_names = (f"files-{number}" for number in count())

PAGE = 10
"""Objects that one answer of the bucket holds."""

Opening = Callable[[], Awaitable[Place]]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server, for all tests of this process."""
    with running(tmp_path_factory.mktemp("s3") / "moto.log") as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def open_place(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Open the same place, as another node would."""
    if request.param == "folder":

        async def opened() -> Place:
            return Folder(tmp_path / "files")

        return opened
    url, name = request.getfixturevalue("s3"), next(_names)
    make_bucket(url, name)
    account = Account(endpoint=url, **ACCOUNT)
    return lambda: Bucket.open(name, "in/here", account, page=PAGE)


@pytest.fixture
async def place(open_place: Opening) -> AsyncIterator[Place]:
    place = await open_place()
    yield place
    await place.close()
