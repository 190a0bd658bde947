"""What `Place` promises, for folders and for buckets of S3."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Self

import pytest

from cometd_chat.files import Place, PlaceError
from cometd_chat.files.bucket import Account, Bucket
from cometd_chat.files.folder import Folder

from .conftest import ACCOUNT, PAGE, Opening

ROOT = Path(__file__).parents[2]


async def test_what_was_put_is_there_for_every_node(
    place: Place, open_place: Opening
) -> None:
    assert await place.put("chat/file/info", b"content")
    other = await open_place()
    assert await other.get("chat/file/info") == b"content"
    await other.close()


async def test_an_object_is_never_replaced(place: Place) -> None:
    assert await place.put("chat/file/0", b"first")
    assert not await place.put("chat/file/0", b"second")
    assert await place.get("chat/file/0") == b"first"


async def test_of_many_who_put_one_wins(place: Place, open_place: Opening) -> None:
    places = [place, *[await open_place() for _ in range(3)]]
    puts = [one.put("chat/file/0", b"%d" % n) for n, one in enumerate(places)]
    won = await asyncio.gather(*puts)
    assert won.count(True) == 1
    assert await place.get("chat/file/0") == b"%d" % won.index(True)
    for one in places[1:]:
        await one.close()


async def test_an_object_may_be_empty_or_large(place: Place) -> None:
    large = bytes(range(256)) * 4096
    assert await place.put("chat/a/0", b"")
    assert await place.put("chat/b/0", large)
    assert await place.get("chat/a/0") == b""
    assert await place.get("chat/b/0") == large


async def test_what_is_not_there_is_nothing(place: Place) -> None:
    assert await place.get("chat/file/0") is None
    assert await place.listing("chat") == []
    assert await place.folders() == []
    await place.remove(["chat/file/0"])


async def test_a_listing_has_what_is_below(place: Place) -> None:
    for name in ("one/a/0", "one/a/1", "one/b/0", "one-more/a/0", "two/a/0"):
        await place.put(name, b"x" * 3)
    names = {kept.name for kept in await place.listing("one")}
    assert names == {"one/a/0", "one/a/1", "one/b/0"}
    assert {k.name for k in await place.listing("one/a")} == {"one/a/0", "one/a/1"}
    assert {kept.size for kept in await place.listing("one")} == {3}
    assert sorted(await place.folders()) == ["one", "one-more", "two"]


async def test_a_listing_tells_when_it_was_put(place: Place) -> None:
    await place.put("chat/a/0", b"x")
    await asyncio.sleep(1.1)  # S3 tells whole seconds
    await place.put("chat/a/1", b"x")
    first, second = sorted(await place.listing("chat"), key=lambda kept: kept.name)
    assert first.at < second.at < first.at + 60


async def test_what_was_removed_is_gone_and_its_folder_too(place: Place) -> None:
    await place.put("chat/a/0", b"x")
    await place.put("chat/b/0", b"x")
    await place.remove(["chat/a/0", "chat/a/1"])
    assert [kept.name for kept in await place.listing("chat")] == ["chat/b/0"]
    await place.remove(["chat/b/0"])
    assert await place.folders() == []
    assert await place.put("chat/a/0", b"y")


async def test_more_is_listed_and_removed_than_one_answer_holds(place: Place) -> None:
    names = [f"chat/file/{n:04}" for n in range(3 * PAGE + 1)]
    await asyncio.gather(*(place.put(name, b"x") for name in names))
    assert sorted(kept.name for kept in await place.listing("chat")) == names
    await place.remove(names)
    assert await place.listing("chat") == []


async def test_a_folder_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("no folder")
    place = Folder(tmp_path / "files")
    with pytest.raises(PlaceError, match=r"Not a directory|File exists"):
        await place.put("chat/file/0", b"x")
    with pytest.raises(PlaceError, match="/files fails: Not a directory"):
        await place.listing("chat")
    await place.close()


async def test_a_folder_is_removed_only_when_nothing_is_in_it(tmp_path: Path) -> None:
    """Nodes that put and remove in the same folder do not lose what was put."""
    one, other = Folder(tmp_path), Folder(tmp_path)

    async def put_all() -> list[bool]:
        return [await one.put(f"chat/file/{n}", b"x") for n in range(200)]

    async def remove_others() -> None:
        for n in range(200):
            await other.put(f"chat/file/other-{n}", b"x")
            await other.remove([f"chat/file/other-{n}"])

    put, _ = await asyncio.gather(put_all(), remove_others())
    assert all(put)
    assert len(await one.listing("chat")) == 200
    for place in (one, other):
        await place.close()


async def test_what_comes_while_a_folder_is_removed_stays(tmp_path: Path) -> None:
    """The folder was empty a moment ago, but for what is unfinished."""

    class Raced(PosixPath):
        def iterdir(self) -> Generator[Self, None, None]:
            yield from super().iterdir()
            if self.name == "file" and not came:
                came.append((self / "0").write_bytes(b"x"))

    came: list[int] = []
    (tmp_path / "chat" / "file").mkdir(parents=True)
    place = Folder(Raced(tmp_path))
    await place.remove(["chat/file/other"])
    assert await place.get("chat/file/0") == b"x"
    await place.close()


async def test_what_was_put_is_synced_with_all_folders_above(tmp_path: Path) -> None:
    """Those that are there too: another node may have made them just now."""
    synced: list[Path] = []
    place = Folder(tmp_path / "files", sync=synced.append)
    assert await place.put("chat/one/0", b"x")
    assert set(synced) == {
        tmp_path,
        tmp_path / "files",
        tmp_path / "files" / "chat",
        tmp_path / "files" / "chat" / "one",
    }
    synced.clear()
    assert await place.put("chat/two/0", b"x")
    assert {tmp_path / "files", tmp_path / "files" / "chat"} <= set(synced)
    synced.clear()
    assert not await place.put("chat/two/0", b"x")
    assert synced == [tmp_path / "files" / "chat" / "two"]
    await place.close()


HANGING = """\
import asyncio, sys
from pathlib import Path
from cometd_chat.files.folder import Folder

async def main():
    place = Folder(Path(sys.argv[1]))
    reading = asyncio.create_task(place.get("chat/file/0"))
    await asyncio.wait([reading], timeout=0.2)
    assert not reading.done()
    await place.close()

asyncio.run(main())
"""


async def test_a_process_ends_though_its_folder_hangs(tmp_path: Path) -> None:
    (tmp_path / "chat" / "file").mkdir(parents=True)
    os.mkfifo(tmp_path / "chat" / "file" / "0")  # nobody ever writes into it
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, str(tmp_path), cwd=ROOT
    )
    try:
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def test_what_a_node_left_unfinished_is_no_object(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    await place.put("chat/file/0", b"x")
    (tmp_path / "chat" / "file" / ".unfinished").write_bytes(b"half")
    assert [kept.name for kept in await place.listing("chat")] == ["chat/file/0"]
    await place.remove(["chat/file/0"])
    assert await place.folders() == []
    await place.close()
    assert _nothing_in(tmp_path)


async def test_a_bucket_that_is_not_there_fails(s3: str) -> None:
    place = await Bucket.open("nobody-made-it", "", Account(endpoint=s3, **ACCOUNT))
    with pytest.raises(PlaceError, match="NoSuchBucket"):
        await place.put("chat/file/0", b"x")
    with pytest.raises(PlaceError, match="NoSuchBucket"):
        await place.listing("chat")
    await place.close()


async def test_a_server_that_is_away_fails_without_names() -> None:
    account = Account(endpoint="http://127.0.0.1:9", **ACCOUNT)
    place = await Bucket.open("bucket", "", account)
    with pytest.raises(PlaceError, match="EndpointConnectionError") as caught:
        await place.get("secret-chat/file/0")
    assert "secret-chat" not in str(caught.value)
    await place.close()


async def test_an_address_that_is_none_fails() -> None:
    with pytest.raises(PlaceError):
        await Bucket.open("bucket", "", Account(endpoint="http://", **ACCOUNT))


def _nothing_in(folder: Path) -> bool:
    return not any(folder.iterdir())
