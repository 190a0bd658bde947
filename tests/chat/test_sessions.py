"""What a node remembers of sessions, and when it forgets it."""

import asyncio

import pytest

from cometd_chat.chat.sessions import ROOM, Sessions
from cometd_chat.model import Join, Profile, Role
from cometd_chat.store import SessionNotFoundError
from tests.chat.world import World


class Counting:
    """A store whose reads are counted."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self.reads = 0
        self.before_answer: list[asyncio.Event] = []

    def watch(self, watcher: object) -> None:
        self._store.watch(watcher)

    async def get(self, session_id: str) -> object:
        return await self._counted(self._store.get(session_id))

    async def find(self, key: str) -> object:
        return await self._counted(self._store.find(key))

    async def _counted(self, reading: object) -> object:
        self.reads += 1
        session = await reading  # type: ignore[misc]  # whatever the store returns
        for gate in self.before_answer:
            await gate.wait()
        return session


@pytest.fixture
def counting(world: World) -> Counting:
    return Counting(world)


@pytest.fixture
def sessions(counting: Counting) -> Sessions:
    return Sessions(counting)  # type: ignore[arg-type]  # as much of a store as is used


async def test_a_session_is_read_once_by_id_or_key(
    world: World, counting: Counting, sessions: Sessions
) -> None:
    session = await world.chat("kim")
    for _ in range(3):
        assert (await sessions.get(session.id)).id == session.id
        assert (await sessions.find(session.key)).id == session.id
    assert counting.reads == 1


async def test_what_was_altered_is_read_again_and_entries_alter_nothing(
    world: World, counting: Counting, sessions: Sessions
) -> None:
    session = await world.chat("kim")
    await sessions.get(session.id)
    await world.customers.send(session, "hello", "")
    await sessions.get(session.id)
    assert counting.reads == 1
    join = Join(agent_id="ann", role=Role.AGENT, nickname="Ann")
    await world.store.append(session.id, [], transition=join)
    assert (await sessions.get(session.id)).participant("ann") is not None
    assert (await sessions.find(session.key)).participant("ann") is not None
    assert counting.reads == 2


async def test_what_was_read_before_an_alteration_is_not_kept(
    world: World, counting: Counting, sessions: Sessions
) -> None:
    session = await world.chat("kim")
    gate = asyncio.Event()
    counting.before_answer = [gate]
    reading = asyncio.create_task(sessions.get(session.id))
    await asyncio.sleep(0.01)
    join = Join(agent_id="ann", role=Role.AGENT, nickname="Ann")
    await world.store.append(session.id, [], transition=join)
    gate.set()
    assert (await reading).participant("ann") is None
    assert (await sessions.get(session.id)).participant("ann") is not None


async def test_nothing_is_remembered_of_what_does_not_exist(
    world: World, sessions: Sessions
) -> None:
    for _ in range(2):
        with pytest.raises(SessionNotFoundError):
            await sessions.get("nobody")
        with pytest.raises(SessionNotFoundError):
            await sessions.find("nothing")


async def test_room_is_made_by_who_was_kept_longest(
    world: World, counting: Counting, sessions: Sessions
) -> None:
    made = [await world.customers.create("sales", "", Profile()) for _ in range(3)]
    await sessions.get(made[0].id)
    for number in range(ROOM - 1):
        sessions._known[f"s{number}"] = made[0]
    await sessions.get(made[1].id)
    assert made[0].id not in sessions._known
    assert made[0].key not in sessions._ids
    assert len(sessions._known) == ROOM
    assert counting.reads == 2
