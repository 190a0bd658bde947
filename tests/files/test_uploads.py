"""Files that arrive in pieces, at several nodes, from senders that break off."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.files import PlaceError
from cometd_chat.files.uploads import (
    PIECE,
    SPARE_PIECES,
    TRIES,
    ConflictError,
    File,
    Info,
    NoSuchFileError,
    TooMuchError,
    Uploads,
)

from .memory import Memory

CHAT, FILE = "chat", "file"


class BrokenError(Exception):
    """The line is cut."""


def info(size: int, **fields: object) -> Info:
    known = {"name": "a.pdf", "type": "application/pdf", "participant": 1, "at": 5.0}
    return Info(size=size, **{**known, **fields})  # type: ignore[arg-type]  # facts of a test


async def body(*chunks: bytes, broken: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk
    if broken:
        raise BrokenError


async def content(
    node: Uploads, file: File, start: int = 0, stop: int = 2**40
) -> bytes:
    return b"".join([some async for some in node.read(file, start, stop)])


async def sent(node: Uploads, size: int, *chunks: bytes) -> File:
    file = await node.begin(CHAT, FILE, info(size))
    return await node.write(file, 0, body(*chunks))


async def test_a_file_is_whole_when_all_has_arrived() -> None:
    node = Uploads(Memory())
    file = await node.begin(CHAT, FILE, info(6))
    assert (file.arrived, file.whole) == (0, False)
    file = await node.write(file, 0, body(b"abc"))
    assert (file.arrived, file.whole) == (3, False)
    file = await node.write(file, 3, body(b"d", b"ef"))
    assert (file.arrived, file.whole) == (6, True)
    assert await content(node, file) == b"abcdef"


async def test_a_file_of_nothing_is_whole_at_once() -> None:
    assert (await Uploads(Memory()).begin(CHAT, FILE, info(0))).whole


async def test_another_node_knows_how_far_it_came() -> None:
    place = Memory()
    await sent(Uploads(place), 6, b"abc")
    other = Uploads(place)
    file = await other.find(CHAT, FILE)
    assert (file.arrived, file.info.name) == (3, "a.pdf")
    file = await other.write(file, 3, body(b"def"))
    assert await content(Uploads(place), file) == b"abcdef"


async def test_a_body_is_kept_in_pieces_of_a_bounded_size() -> None:
    place = Memory()
    data = random.Random(1).randbytes(3 * PIECE + 5)
    chunks = [data[at : at + 70_000] for at in range(0, len(data), 70_000)]
    file = await sent(Uploads(place), len(data), *chunks)
    assert [piece.size for piece in file.pieces] == [PIECE, PIECE, PIECE, 5]
    assert await content(Uploads(place), file) == data


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (2, 3), (1, 5), (2, 8), (3, 3), (7, 9), (0, 9)]
)
async def test_a_part_is_read_across_pieces(start: int, stop: int) -> None:
    node = Uploads(Memory())
    file = await sent(node, 9, b"abc")
    file = await node.write(file, 3, body(b"def"))
    file = await node.write(file, 6, body(b"ghi"))
    assert await content(node, file, start, stop) == b"abcdefghi"[start:stop]


async def test_what_arrived_before_a_break_is_kept() -> None:
    place = Memory()
    node = Uploads(place)
    file = await node.begin(CHAT, FILE, info(6))
    with pytest.raises(BrokenError):
        await node.write(file, 0, body(b"ab", b"c", broken=True))
    assert (await node.find(CHAT, FILE)).arrived == 3


async def test_nothing_is_taken_at_another_offset() -> None:
    node = Uploads(Memory())
    file = await sent(node, 6, b"abc")
    for offset in (0, 2, 4):
        with pytest.raises(ConflictError):
            await node.write(file, offset, body(b"x"))
    assert (await node.find(CHAT, FILE)).arrived == 3


async def test_nothing_is_taken_beyond_the_size() -> None:
    node = Uploads(Memory())
    file = await node.begin(CHAT, FILE, info(3))
    with pytest.raises(TooMuchError):
        await node.write(file, 0, body(b"ab", b"cd"))
    assert (await node.find(CHAT, FILE)).arrived == 0


async def test_who_was_overtaken_stops() -> None:
    """A request that still holds bytes, when its sender has gone on elsewhere."""
    place = Memory()
    slow, fast = Uploads(place), Uploads(place)
    file = await slow.begin(CHAT, FILE, info(6))
    ready, go = asyncio.Event(), asyncio.Event()

    async def half_dead() -> AsyncIterator[bytes]:
        yield b"abc"
        ready.set()
        await go.wait()

    stuck = asyncio.create_task(slow.write(file, 0, half_dead()))
    await ready.wait()
    whole = await fast.write(file, 0, body(b"abcdef"))
    go.set()
    with pytest.raises(ConflictError):
        await stuck
    assert await content(fast, await fast.find(CHAT, FILE)) == b"abcdef"
    assert whole.whole


async def test_an_answer_of_the_place_that_was_lost_does_no_harm() -> None:
    place = Memory()
    node = Uploads(place)
    file = await node.begin(CHAT, FILE, info(6))
    place.lost = True
    file = await node.write(file, 0, body(b"abcdef"))
    assert file.whole


async def test_a_file_may_be_announced_twice() -> None:
    node = Uploads(Memory())
    await sent(node, 6, b"abc")
    again = await node.begin(CHAT, FILE, info(6, at=9.0))
    assert (again.arrived, again.info.at) == (3, 5.0)


@pytest.mark.parametrize(
    "other", [{"name": "b.pdf"}, {"type": "text/plain"}, {"sender": "ann"}]
)
async def test_two_files_have_not_one_id(other: dict[str, object]) -> None:
    node = Uploads(Memory())
    await node.begin(CHAT, FILE, info(6))
    with pytest.raises(ConflictError):
        await node.begin(CHAT, FILE, info(6, **other))
    with pytest.raises(ConflictError):
        await node.begin(CHAT, FILE, info(7))


async def test_senders_who_break_off_too_often_begin_again() -> None:
    node = Uploads(Memory())
    file = await node.begin(CHAT, FILE, info(SPARE_PIECES + 9))
    for offset in range(SPARE_PIECES + 1):
        file = await node.write(file, offset, body(b"x"))
    with pytest.raises(TooMuchError, match="begin the file again"):
        await node.write(file, file.arrived, body(b"x"))


async def test_the_files_of_a_chat_are_told_apart() -> None:
    node = Uploads(Memory())
    for number, name in enumerate(("b", "a", "c")):
        file = await node.begin(CHAT, name, info(1, at=float(number)))
        if name != "c":
            await node.write(file, 0, body(b"x"))
    await node.begin("chat2", "d", info(1))
    found = await node.of_chat(CHAT)
    assert [(file.id, file.whole) for file in found] == [
        ("b", True),
        ("a", True),
        ("c", False),
    ]
    assert sorted(await node.chats()) == ["chat", "chat2"]


async def test_a_file_that_is_removed_is_gone() -> None:
    place = Memory()
    node = Uploads(place)
    file = await sent(node, 3, b"abc")
    await node.remove(file)
    assert b"abc" not in place.objects.values()
    assert await node.of_chat(CHAT) == []
    with pytest.raises(NoSuchFileError):
        await node.find(CHAT, FILE)
    with pytest.raises(NoSuchFileError):
        await content(node, file)
    with pytest.raises(ConflictError):
        await node.begin(CHAT, FILE, info(3))


async def test_a_file_is_not_removed_once_it_is_whole() -> None:
    """Both at once, at two nodes: the one who removes saw it before its last byte."""
    place = Memory()
    node, other = Uploads(place), Uploads(place)
    before = await sent(node, 3, b"ab")
    assert (await other.write(before, 2, body(b"c"))).whole
    with pytest.raises(ConflictError):
        await node.remove(before)
    assert await content(node, await node.find(CHAT, FILE)) == b"abc"


async def test_a_file_that_goes_on_meanwhile_is_removed_where_it_ends() -> None:
    node = Uploads(Memory())
    before = await sent(node, 9, b"abc")
    after = await node.write(before, 3, body(b"def"))
    await node.remove(before)
    with pytest.raises(ConflictError):
        await node.write(after, 6, body(b"ghi"))


async def test_who_gives_up_a_file_is_told_whether_it_is_gone() -> None:
    node = Uploads(Memory())
    before = await sent(node, 4, b"ab")
    assert await node.give_up(before)
    with pytest.raises(NoSuchFileError):
        await node.find(CHAT, FILE)

    node = Uploads(Memory())
    before = await sent(node, 3, b"ab")
    await node.write(before, 2, body(b"c"))
    assert not await node.give_up(before)
    assert (await node.find(CHAT, FILE)).whole


async def test_a_file_that_somebody_else_removed_is_gone() -> None:
    """He is not done yet: what he saw arrive is still there, what it is is not."""
    place = Memory()
    node = Uploads(place)
    before = await sent(node, 9, b"abc")
    await node.write(before, 3, body(b"def"))
    del place.objects[f"{CHAT}/{FILE}/info"]
    with pytest.raises(NoSuchFileError):
        await node.remove(before)
    assert await node.give_up(before)


async def test_who_was_far_behind_when_a_file_was_removed_does_not_end_it() -> None:
    """His pieces go where others were, past the end that was set."""
    place = Memory()
    slow, fast = Uploads(place), Uploads(place)
    start = await slow.begin(CHAT, FILE, info(9))
    await fast.remove(await fast.write(start, 0, body(b"abcd")))
    with pytest.raises(NoSuchFileError):
        await slow.write(start, 0, body(b"abcdefghi"))
    assert await slow.of_chat(CHAT) == []


async def test_files_of_a_chat_can_be_bounded() -> None:
    """Those that were removed count: a listing is as long with them."""
    node = Uploads(Memory())
    await node.remove(await node.begin(CHAT, FILE, info(3)))
    file = await node.begin(CHAT, "other", info(3))
    assert await node.of_chat(CHAT) == await node.of_chat(CHAT, most=2) == [file]
    with pytest.raises(TooMuchError):
        await node.of_chat(CHAT, most=1)


async def test_what_is_left_of_a_file_that_was_half_removed_is_none() -> None:
    place = Memory()
    node = Uploads(place)
    file = await sent(node, 3, b"abc")
    del place.objects[f"{CHAT}/{FILE}/info"]
    with pytest.raises(NoSuchFileError):
        await node.find(CHAT, FILE)
    assert await node.of_chat(CHAT) == []
    await node.remove(file)


async def test_a_chat_is_removed_when_nothing_in_it_is_new() -> None:
    place = Memory()
    node = Uploads(place)
    await sent(node, 3, b"abc")
    place.at = 100.0
    await node.begin(CHAT, "other", info(1))
    assert not await node.remove_chat(CHAT, before=50.0)
    assert len(place.objects) == 3
    assert await node.remove_chat(CHAT, before=100.0)
    assert place.objects == {}


async def test_a_damaged_object_is_a_failure_of_the_place() -> None:
    place = Memory()
    node = Uploads(place)
    await node.begin(CHAT, FILE, info(1))
    place.objects[f"{CHAT}/{FILE}/info"] = b"{}"
    with pytest.raises(PlaceError):
        await node.find(CHAT, FILE)


@given(
    size=st.integers(1, 40),
    plans=st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    ),
    piece=st.integers(1, 7),
)
async def test_whatever_senders_do_a_file_is_what_was_sent(
    size: int, plans: Sequence[Sequence[tuple[int, bool]]], piece: int
) -> None:
    """Several requests for one file, at several nodes, at the same time: what has
    arrived is always a beginning of what was sent, and it can always be finished."""
    data = bytes(range(size))
    place = Memory()
    await Uploads(place).begin(CHAT, FILE, info(size))
    nodes = [Uploads(place, piece=piece) for _ in plans]
    sending = (_send(node, data, plan) for node, plan in zip(nodes, plans, strict=True))
    await asyncio.gather(*sending)
    file = await nodes[0].find(CHAT, FILE)
    assert await content(nodes[0], file) == data[: file.arrived]
    await _send(nodes[-1], data, [(size, False)])
    file = await Uploads(place).find(CHAT, FILE)
    assert file.whole
    assert await content(Uploads(place), file) == data


@given(
    plans=st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
        min_size=1,
        max_size=3,
    ),
    waits=st.lists(st.integers(0, 40), min_size=1, max_size=2),
    piece=st.integers(1, 7),
)
async def test_a_file_is_either_whole_or_removed(
    plans: Sequence[Sequence[tuple[int, bool]]], waits: Sequence[int], piece: int
) -> None:
    """What one request has said of a file, none makes untrue."""
    data = bytes(range(12))
    place = Memory()
    await Uploads(place).begin(CHAT, FILE, info(len(data)))
    node = Uploads(place, piece=piece)
    said = await asyncio.gather(
        *(_send(Uploads(place, piece=piece), data, plan) for plan in plans),
        *(_remove(Uploads(place), wait) for wait in waits),
    )
    assert not {"whole", "removed"} <= set(said)
    if "whole" in said:
        assert await content(node, await node.find(CHAT, FILE)) == data
    if "removed" in said:
        with pytest.raises(NoSuchFileError):
            await node.find(CHAT, FILE)


async def _remove(node: Uploads, wait: int) -> str:
    """Remove the file some time from now, unless it is whole."""
    for _ in range(wait):
        await asyncio.sleep(0)
    try:
        if (file := await node.find(CHAT, FILE)).whole:
            return ""
        await node.remove(file)
    except (ConflictError, NoSuchFileError):
        return ""
    return "removed"


async def _send(node: Uploads, data: bytes, plan: Sequence[tuple[int, bool]]) -> str:
    """Send from where the file ends, as often as there is a plan for it."""
    for length, broken in plan:
        try:
            file = await node.find(CHAT, FILE)
            rest = data[file.arrived : file.arrived + length]
            chunks = [rest[at : at + 2] for at in range(0, len(rest), 2)]
            sending = body(*chunks, broken=broken)
            if (await node.write(file, file.arrived, sending)).whole:
                return "whole"
        except (ConflictError, BrokenError):
            continue
        except NoSuchFileError:
            break
    return ""


async def test_a_file_that_goes_on_to_arrive_is_not_removed() -> None:
    class Faster(Memory):
        """Somebody is always there before the end."""

        async def put(self, name: str, content: bytes) -> bool:
            if content:
                return await super().put(name, content)
            await super().put(name, b"x")
            return False

    node = Uploads(Faster())
    file = await node.begin(CHAT, FILE, info(100))
    with pytest.raises(ConflictError):
        await node.remove(file)
    assert (await node.find(CHAT, FILE)).arrived == TRIES


async def test_a_body_may_end_with_a_piece_or_bring_nothing() -> None:
    node = Uploads(Memory(), piece=3)
    file = await sent(node, 6, b"abc")
    assert [piece.size for piece in file.pieces] == [3]
    assert (await node.write(file, 3, body())).arrived == 3
