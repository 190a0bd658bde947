"""What becomes of files with time: of the unfinished, and of those of old chats."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.chat import Agent, Announcement, Files, NotAllowedError, Party
from cometd_chat.chat.file_limits import MOST_FILES
from cometd_chat.files import PlaceError
from cometd_chat.files.uploads import (
    ConflictError,
    File,
    NoSuchFileError,
    TooMuchError,
    Uploads,
)
from cometd_chat.model import EntryKind, Session
from cometd_chat.store import (
    SessionEndedError,
    SessionNotFoundError,
    StoreUnavailableError,
    TranscriptFullError,
)
from tests.chat.world import Desk, World, damage
from tests.chat.world import desk as agents_desk
from tests.chat.world import world as made
from tests.files.memory import Memory

DAY = 86_400
ANN = Agent(id="ann", nickname="Ann")
BEN = Agent(id="ben", nickname="Ben")

MOST_ENTRIES = 12

CONFIG = f"""\
[auth]
gms_user = trusted
[files]
upload-max-files = 2
unfinished_after = 1h
[store]
max_entries = {MOST_ENTRIES}
new_retention = 2d
ended_retention = 1d
[service.quiet]
_filtering_chat_events = Notice.Custom
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with made(tmp_path, CONFIG) as here:
        yield here


class Shelf:
    """Files of one chat in memory, and who sends them."""

    def __init__(self, world: World, session: Session) -> None:
        self.world = world
        self.place = Memory()
        self.uploads = Uploads(self.place)
        self.session = session
        store = world.store
        self.files = Files(
            store,  # type: ignore[arg-type]  # a seam before one
            self.uploads,
            world.clock,
            world.live,
        )

    async def customer(self) -> Party:
        return await self.files.customer(self.session.id, self.session.key, "kim")

    async def begin(self, party: Party, size: int = 3, key: str = "") -> File:
        self.place.at = self.world.clock.now
        wanted = Announcement(name="a.pdf", type="application/pdf", size=size, key=key)
        return await self.files.begin(party, wanted)

    async def send(self, party: Party, size: int = 3) -> File:
        file = await self.begin(party, size)
        return await self.files.write(party, file.id, 0, _body(b"abc"))

    async def arrive(self, file: File) -> None:
        """Bring all bytes of a file, by a node that dies before it is shown."""
        await self.uploads.write(file, 0, _body(b"abc"))

    async def fill(self) -> None:
        """Write messages until the transcript is full."""
        session = await self.world.session(self.session)
        for _ in range(session.last, MOST_ENTRIES):
            await self.world.customers.send(session, "Hi", "")

    async def shown(self) -> int:
        """Return how many files the transcript has."""
        entries = await self.world.entries(self.session)
        return sum(kind is EntryKind.FILE_UPLOADED for kind, _ in entries)


async def _body(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def shelf(world: World, service: str = "sales") -> Shelf:
    return Shelf(world, await world.chat("kim", service))


class AnnsDesk:
    """Ann, who has accepted the chat, and comes and goes."""

    def __init__(self, desk: Desk, here: Shelf) -> None:
        self._desk = desk
        self._here = here

    async def accept(self) -> Party:
        await self._desk.do("acceptChat", chatId=self._here.session.id)
        return await self._here.files.agent(self._here.session.id, ANN)

    async def leave(self) -> None:
        await self._desk.do("leaveChat", chatId=self._here.session.id)


async def anns_desk(world: World, here: Shelf) -> AnnsDesk:
    return AnnsDesk(await agents_desk(world, "ann"), here)


async def test_an_unfinished_file_has_its_time(world: World) -> None:
    here = await shelf(world)
    party = await here.customer()
    file = await here.begin(party)
    assert here.files.expires_at(file) == world.clock.now + 3600
    world.clock.now += 3599
    assert (await here.files.progress(party, file.id)).id == file.id
    world.clock.now += 2
    with pytest.raises(NoSuchFileError):
        await here.files.progress(party, file.id)
    with pytest.raises(NoSuchFileError):
        await here.files.write(party, file.id, 0, _body(b"abc"))


async def test_what_has_expired_makes_room(world: World) -> None:
    here = await shelf(world)
    party = await here.customer()
    whole = await here.send(party)
    await here.begin(party)
    with pytest.raises(TooMuchError):
        await here.begin(party)
    world.clock.now += 3601
    file = await here.begin(party)
    kept = {one.id for one in await here.uploads.of_chat(here.session.id)}
    assert kept == {whole.id, file.id}


@pytest.mark.parametrize("already", [0, 1])
async def test_limits_hold_for_those_who_announce_at_the_same_time(
    world: World, already: int
) -> None:
    """And none is refused for others that are refused as well."""
    here = await shelf(world)
    party = await here.customer()
    for _ in range(already):
        await here.begin(party)
        world.clock.now += 1
    announcing = (here.begin(party) for _ in range(5))
    done = await asyncio.gather(*announcing, return_exceptions=True)
    assert {type(one) for one in done} == {File, TooMuchError}
    assert sum(isinstance(one, File) for one in done) == 2 - already
    assert len(await here.uploads.of_chat(here.session.id)) == 2


async def test_limits_hold_for_empty_files_that_come_at_the_same_time(
    world: World,
) -> None:
    here = await shelf(world)
    party = await here.customer()
    beginning = (here.begin(party, size=0) for _ in range(5))
    done = await asyncio.gather(*beginning, return_exceptions=True)
    assert {type(one) for one in done} == {File, TooMuchError}
    assert sum(isinstance(one, File) for one in done) == 2
    assert await here.shown() == len(await here.files.all(party)) == 2


async def test_an_empty_file_that_a_repeat_has_shown_is_not_refused(
    world: World,
) -> None:
    here = await shelf(world)
    party = await here.customer()

    async def elder() -> None:
        world.clock.now -= 1
        for _ in range(2):
            await here.begin(party)
        world.clock.now += 1
        here.place.meanwhile = again

    async def again() -> None:
        await here.begin(party, size=0, key="one")

    async def after_the_first_look() -> None:
        here.place.meanwhile = elder

    here.place.meanwhile = after_the_first_look
    file = await here.begin(party, size=0, key="one")
    assert await here.shown() == 1
    assert [one.id for one in await here.files.all(party)] == [file.id]


async def test_no_file_waits_for_one_that_stays(world: World) -> None:
    """One that is younger, but was there first: clocks of nodes differ."""
    here = await shelf(world)
    party = await here.customer()
    await here.begin(party)

    async def younger() -> None:
        world.clock.now += 60
        await here.begin(party)
        world.clock.now -= 60

    here.place.meanwhile = younger
    with pytest.raises(TooMuchError):
        await here.begin(party)
    assert len(await here.uploads.of_chat(here.session.id)) == 2


async def test_a_chat_of_which_many_files_were_given_up_shows_the_others(
    world: World,
) -> None:
    here = await shelf(world)
    party = await here.customer()
    file = await here.send(party)
    folder = here.session.id
    ends = {f"{folder}/{n:032x}/{0:012}": b"" for n in range(MOST_FILES)}
    here.place.objects |= ends
    here.place.times |= dict.fromkeys(ends, 0.0)
    with pytest.raises(TooMuchError):
        await here.begin(party)
    assert [one.id for one in await here.files.all(party)] == [file.id]


async def test_the_key_of_a_file_that_is_gone_is_that_of_no_other(world: World) -> None:
    """Not one that is announced, and then cannot be sent."""
    here = await shelf(world)
    party = await here.customer()
    given_up = await here.begin(party, key="one")
    await here.files.cancel(party, given_up.id)
    with pytest.raises(ConflictError):
        await here.begin(party, key="one")
    await here.begin(party, key="two")
    world.clock.now += 3601
    with pytest.raises(ConflictError):
        await here.begin(party, key="two")


async def test_what_has_expired_stays_if_its_last_byte_comes_first(
    world: World,
) -> None:
    """A request may go on past the time of its file: what it was told stays true."""
    here = await shelf(world)
    party = await here.customer()
    file = await here.begin(party)
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        begun.set()
        await go.wait()
        yield b"abc"

    async def finished() -> None:
        go.set()
        assert (await writing).whole

    writing = asyncio.create_task(here.files.write(party, file.id, 0, slow()))
    await begun.wait()
    world.clock.now += 3601
    here.place.meanwhile = finished
    await here.begin(party)
    assert [one.id for one in await here.files.all(party)] == [file.id]


async def test_files_go_with_their_chat(world: World) -> None:
    here = await shelf(world)
    await here.send(await here.customer())
    world.clock.now += 10 * DAY
    await here.files.purge()
    assert here.place.objects  # the chat still goes on
    await world.customers.end(await world.session(here.session))
    world.clock.now += DAY + 1
    assert await world.store.purge(0, world.clock.now - DAY) == 1
    await here.files.purge()
    assert here.place.objects == {}


async def test_files_of_a_chat_that_another_database_has_are_kept(
    world: World,
) -> None:
    """Until all chats of their age are forgotten: a wrong `[store] url` loses none."""
    here = await shelf(world)
    file = await here.send(await here.customer())
    elsewhere = "e" * 32
    here.place.objects = {
        name.replace(here.session.id, elsewhere): content
        for name, content in here.place.objects.items()
    }
    here.place.times = dict.fromkeys(here.place.objects, world.clock.now)
    world.clock.now += 2 * DAY - 1
    await here.files.purge()
    assert (await here.uploads.find(elsewhere, file.id)).whole
    world.clock.now += 2
    await here.files.purge()
    assert here.place.objects == {}


async def test_files_of_a_damaged_chat_are_kept_and_hold_up_no_others(
    world: World, tmp_path: Path
) -> None:
    here = await shelf(world)
    await here.send(await here.customer())
    there = dict(here.place.objects)
    others = "0" * 32, "f" * 32  # before and behind it, of no chat
    for other in others:
        for name, content in there.items():
            await here.place.put(name.replace(here.session.id, other), content)
    damage(tmp_path, here.session)
    world.clock.now += 10 * DAY
    await here.files.purge()
    assert here.place.objects == there


async def test_what_is_not_of_a_chat_is_kept(world: World) -> None:
    """A folder may be named that has been there for other things."""
    here = await shelf(world)
    await here.place.put("photos/2019/rome.jpg", b"x")
    world.clock.now += 10 * DAY
    await here.files.purge()
    assert here.place.objects == {"photos/2019/rome.jpg": b"x"}


async def test_no_file_is_removed_while_the_store_is_away(world: World) -> None:
    here = await shelf(world)
    await here.send(await here.customer())
    world.clock.now += 10 * DAY
    world.store.broken.add("get")
    with pytest.raises(StoreUnavailableError):
        await here.files.purge()
    assert here.place.objects


async def test_a_file_that_came_too_late_is_not_kept(world: World) -> None:
    here = await shelf(world)
    party = await here.customer()
    file = await here.begin(party)
    await world.customers.end(await world.session(here.session))
    with pytest.raises(SessionEndedError):
        await here.files.write(party, file.id, 0, _body(b"abc"))
    assert await here.uploads.of_chat(here.session.id) == []
    assert b"abc" not in here.place.objects.values()


@pytest.mark.parametrize("size", [0, 3])
async def test_a_file_that_finds_the_transcript_full_is_not_kept(
    world: World, size: int
) -> None:
    here = await shelf(world)
    party = await here.customer()
    await here.fill()
    with pytest.raises(TranscriptFullError):
        await here.send(party, size)
    assert await here.files.all(party) == []
    assert b"abc" not in here.place.objects.values()


async def test_a_file_that_took_the_last_place_is_kept(world: World) -> None:
    here = await shelf(world)
    party = await here.customer()
    file = await here.send(party)
    await here.fill()
    assert (await here.files.progress(party, file.id)).whole
    assert await here.shown() == 1


async def test_nothing_is_taken_in_a_chat_that_has_ended(world: World) -> None:
    here = await shelf(world)
    file = await here.begin(await here.customer())
    await world.customers.end(await world.session(here.session))

    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("it was asked for its bytes")
        yield b""

    with pytest.raises(SessionEndedError):
        await here.files.write(await here.customer(), file.id, 0, unread())
    assert await here.uploads.of_chat(here.session.id) == []


async def test_the_file_of_an_agent_who_leaves_meanwhile_is_not_kept(
    world: World,
) -> None:
    here = await shelf(world)
    desk = await anns_desk(world, here)
    ann = await desk.accept()
    file = await here.begin(ann)

    async def leaving() -> AsyncIterator[bytes]:
        yield b"ab"
        await desk.leave()
        yield b"c"

    with pytest.raises(NotAllowedError):
        await here.files.write(ann, file.id, 0, leaving())
    assert await here.shown() == 0
    assert await here.uploads.of_chat(here.session.id) == []
    assert b"abc" not in here.place.objects.values()


async def test_an_agent_who_has_left_hears_that_his_file_has_arrived(
    world: World,
) -> None:
    """The answer to its last byte may have been lost; who else asks hears nothing."""
    here = await shelf(world)
    desk = await anns_desk(world, here)
    file = await here.send(await desk.accept())
    await desk.leave()
    for _ in range(2):
        gone = await here.files.agent(here.session.id, ANN, file.id)
        assert (await here.files.progress(gone, file.id)).whole
        assert (await here.files.write(gone, file.id, 3, _body(b""))).whole
        await world.customers.end(await world.session(here.session))
    assert await here.shown() == 1
    for agent, name in ((ANN, ""), (ANN, "0" * 32), (ANN, "../x"), (BEN, file.id)):
        with pytest.raises(SessionNotFoundError):
            await here.files.agent(here.session.id, agent, name)


async def test_an_agent_who_has_left_sends_nothing(world: World) -> None:
    here = await shelf(world)
    desk = await anns_desk(world, here)
    file = await here.begin(await desk.accept())
    await desk.leave()
    with pytest.raises(SessionNotFoundError):
        await here.files.agent(here.session.id, ANN, file.id)


async def test_an_agent_who_is_back_goes_on_with_his_file(world: World) -> None:
    here = await shelf(world)
    desk = await anns_desk(world, here)
    file = await here.begin(await desk.accept())
    await desk.leave()
    back = await desk.accept()
    assert (await here.files.write(back, file.id, 0, _body(b"abc"))).whole
    assert await here.shown() == 1
    await here.begin(back)
    with pytest.raises(TooMuchError):  # the first one counts
        await here.begin(back)


async def test_of_two_requests_one_decides_whether_a_file_is_shown(
    world: World,
) -> None:
    """One has seen the agent in the chat, the other has not: no entry is of a file
    that was removed."""
    here = await shelf(world)
    desk = await anns_desk(world, here)
    ann = await desk.accept()
    file = await here.begin(ann)
    await here.arrive(file)
    await world.told()
    first = asyncio.create_task(here.files.progress(ann, file.id))
    async with world.store.holding("get", asyncio.wait([first])):
        await desk.leave()
        with pytest.raises(NotAllowedError):
            await here.files.progress(ann, file.id)
    with pytest.raises(NotAllowedError):
        await first
    assert await here.shown() == 0
    assert await here.uploads.of_chat(here.session.id) == []


async def test_a_file_is_not_shown_before_it_is_stored(world: World) -> None:
    here = await shelf(world)
    party = await here.customer()
    file = await here.begin(party)
    here.place.away = True
    with pytest.raises(PlaceError):
        await here.files.write(party, file.id, 0, _body(b"abc"))
    assert EntryKind.FILE_UPLOADED not in dict(await world.entries(here.session))
    here.place.away = False
    await here.files.write(party, file.id, 0, _body(b"abc"))
    assert EntryKind.FILE_UPLOADED in dict(await world.entries(here.session))


@pytest.mark.parametrize(("service", "notable"), [("sales", True), ("quiet", False)])
async def test_the_file_of_an_agent_is_pushed_as_the_service_wants(
    world: World, service: str, notable: bool
) -> None:
    here = await shelf(world, service)
    ann = await (await anns_desk(world, here)).accept()
    await here.send(await here.customer())
    await here.send(ann)
    shown = [
        (entry.nickname, entry.notable)
        for entry in await world.store.read(here.session.id, 0)
        if entry.kind is EntryKind.FILE_UPLOADED
    ]
    assert shown == [("Kim", False), ("Ann", notable)]
