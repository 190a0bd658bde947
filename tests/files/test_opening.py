"""Which place the configuration means, and what is found out before it is used."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest

from cometd_chat.config import FilesOptions, StoreOptions
from cometd_chat.files import PlaceError
from cometd_chat.files.folder import Folder
from cometd_chat.files.opening import open_place, try_out

from .conftest import ACCOUNT
from .memory import Memory
from .s3_server import make_bucket

REDIS = StoreOptions(url="redis://127.0.0.1:6379/0")


async def test_beside_the_database_if_nothing_is_said(tmp_path: Path) -> None:
    store = StoreOptions(url=f"sqlite:///{tmp_path}/chat.db")
    place = await open_place(FilesOptions(), store)
    assert place is not None
    await place.put("chat/file/0", b"x")
    assert (tmp_path / "files" / "chat" / "file" / "0").read_bytes() == b"x"
    await place.close()


async def test_nowhere_with_redis_if_nothing_is_said() -> None:
    assert await open_place(FilesOptions(), REDIS) is None


async def test_in_the_folder_that_is_named(tmp_path: Path) -> None:
    place = await open_place(FilesOptions(folder=str(tmp_path / "here")), REDIS)
    assert isinstance(place, Folder)
    assert (tmp_path / "here").is_dir()
    await place.close()


async def test_not_where_a_share_is_not_mounted(tmp_path: Path) -> None:
    folder = tmp_path / "mount" / "files"
    with pytest.raises(PlaceError, match="mount is no directory"):
        await open_place(FilesOptions(folder=str(folder)), REDIS)
    assert not folder.parent.exists()


async def test_in_the_bucket_that_is_named(
    s3: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_bucket(s3, "named")
    place = await open_place(_bucket(s3, "named/below"), REDIS)
    assert place is not None
    assert await place.folders() == []  # nothing is left of having tried
    await place.close()
    assert ACCOUNT["secret_key"] not in caplog.text
    for name in ("aiobotocore", "botocore"):
        assert logging.getLogger(name).level == logging.ERROR


async def test_not_in_a_bucket_that_is_not_there(s3: str) -> None:
    with pytest.raises(PlaceError, match="NoSuchBucket"):
        await open_place(_bucket(s3, "missing"), REDIS)


async def test_not_where_objects_are_replaced() -> None:
    place = Memory(replaces=True)
    with pytest.raises(PlaceError, match="If-None-Match"):
        await try_out(place)
    assert place.objects == {}


async def test_two_nodes_that_try_it_out_do_not_meet() -> None:
    class Watched(Memory):
        async def remove(self, names: Iterable[str]) -> None:
            removed.extend(names)

    removed: list[str] = []
    place = Watched()
    await try_out(place)
    await try_out(place)
    assert len({name.partition("/")[0] for name in removed}) == 2


async def test_not_where_everything_is_there_already() -> None:
    class Strange(Memory):
        async def put(self, name: str, content: bytes) -> bool:
            return False

    with pytest.raises(PlaceError, match="never put"):
        await try_out(Strange())


def _bucket(endpoint: str, name: str) -> FilesOptions:
    return FilesOptions(
        s3_bucket=name,
        s3_endpoint=endpoint,
        s3_region=ACCOUNT["region"],
        s3_access_key=ACCOUNT["access_key"],
        s3_secret_key=ACCOUNT["secret_key"],
    )
