"""What becomes of chats that nobody writes in."""

import asyncio
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cometd_chat.chat import Inactivity
from cometd_chat.chat.inactivity import (
    ALERT,
    BRIEF,
    CLOSE,
    LOAD,
    LONGEST_PAUSE,
    NEVER,
    Step,
    next_step,
    shortest_silence,
)
from cometd_chat.config import ChatOptions
from cometd_chat.model import SERVER, Device, Entry, EntryKind, Role, Session, State
from cometd_chat.store import Appended, StoreUnavailableError
from tests.chat.world import World, damage, desk, phone, seen
from tests.chat.world import world as made

TIMES = "[chat]\ntimeout-alert = 100\ntimeout-close = 20\n"


def entry(message_type: str = "", role: Role = Role.EXTERNAL) -> Entry:
    return Entry(
        kind=EntryKind.CUSTOM_NOTICE,
        role=role,
        participant=SERVER,
        nickname="x",
        at=1.0,
        message_type=message_type,
        position=1,
    )


TEXT, TOLD, FORGED = entry(), entry(ALERT), entry(ALERT, Role.AGENT)


def options(alert: int, alert2: int, close: int) -> ChatOptions:
    return ChatOptions(timeout_alert=alert, timeout_alert2=alert2, timeout_close=close)


@pytest.mark.parametrize(
    ("times", "newest", "step"),
    [
        ((9, 0, 4), [], Step(ALERT, 9)),
        ((9, 0, 4), [TEXT, TEXT], Step(ALERT, 9)),
        ((9, 0, 4), [TOLD, TEXT], Step(ALERT, 9)),
        ((9, 0, 4), [TEXT, FORGED], Step(ALERT, 9)),
        ((9, 0, 4), [TEXT, TOLD], Step(CLOSE, 4)),
        ((9, 0, 4), [TOLD], Step(CLOSE, 4)),
        ((9, 0, 4), [TOLD, TOLD], Step(CLOSE, 4)),
        ((9, 6, 4), [TEXT, TEXT], Step(ALERT, 9)),
        ((9, 6, 4), [TEXT, TOLD], Step(ALERT, 6)),
        ((9, 6, 4), [TOLD, TOLD], Step(CLOSE, 4)),
        ((9, 6, 0), [TEXT, TEXT], Step(ALERT, 9)),
        ((9, 6, 0), [TEXT, TOLD], Step(ALERT, 6)),
        ((9, 6, 0), [TOLD, TOLD], NEVER),
        ((9, 0, 0), [TEXT, TOLD], NEVER),
        ((0, 6, 4), [TEXT, TEXT], NEVER),
        ((0, 6, 4), [TEXT, TOLD], NEVER),
        ((0, 6, 4), [TOLD, TOLD], NEVER),
    ],
)
def test_the_newest_entries_tell_what_comes_next(
    times: tuple[int, int, int], newest: list[Entry], step: Step
) -> None:
    assert next_step(options(*times), newest) == step


@pytest.mark.parametrize(
    ("times", "silence"),
    [
        ((9, 6, 4), 4),
        ((9, 6, 0), 6),
        ((9, 0, 0), 9),
        ((3, 6, 4), 3),
        ((0, 6, 4), math.inf),
    ],
)
def test_before_the_shortest_silence_nothing_is_due(
    times: tuple[int, int, int], silence: float
) -> None:
    assert shortest_silence(options(*times)) == silence


# --- chats ------------------------------------------------------------------------


@pytest.fixture
def worker(world: World) -> Inactivity:
    world.configure(f"[auth]\ngms_user = trusted\n{TIMES}")
    return inactivity(world)


def inactivity(world: World) -> Inactivity:
    seam: Any = world.store
    return Inactivity(seam, world.clock, world.live)


async def told_until_closed(world: World, worker: Inactivity) -> None:
    for seconds in (101, 21):
        world.clock.now += seconds
        await worker.look()


async def types(world: World, session: Session) -> list[str]:
    found = await world.store.read(session.id, 0)
    return [one.message_type or one.kind for one in found]


async def test_a_customer_reads_notices_of_the_system_and_then_the_end(
    world: World, worker: Inactivity
) -> None:
    session = await world.chat()
    kim = await phone(world)
    await kim.poll()
    await told_until_closed(world, worker)
    events = await kim.poll()
    rows = [row for event in events for row in event["message"]["transcriptToShow"]]
    soon = "Chat session will be closed soon due to inactivity of chat participants."
    over = "Chat session closed due to inactivity of chat participants."
    assert rows == [
        ["Notice.Custom", "System", soon, "101", "EXTERNAL"],
        ["Notice.Custom", "System", over, "122", "EXTERNAL"],
    ]
    assert [number for number, _ in seen(events)] == [2, 3]
    assert events[-1]["message"]["chatIxnState"] == "DISCONNECTED"
    assert (await world.session(session)).ended_at == world.clock.now


async def test_agents_see_the_notices_and_leave_a_chat_that_is_closed(
    world: World, worker: Inactivity
) -> None:
    session = await world.chat()
    ann = await desk(world)
    await ann.do("acceptChat", chatId=session.id)
    await ann.hear()
    await told_until_closed(world, worker)
    heard = await ann.hear()
    messages = [message for data in heard for message in data["messages"]]
    notice = messages[0]
    assert notice["from"] == {
        "nickname": "System",
        "participantId": SERVER,
        "type": "External",
    }
    assert notice["text"].startswith("Chat session will be closed soon")
    assert [(m["type"], m.get("messageType"), m["index"]) for m in messages] == [
        ("CustomNotice", ALERT, 3),
        ("CustomNotice", CLOSE, 4),
        ("ParticipantLeft", None, 5),
    ]
    assert messages[2]["from"]["nickname"] == "Ann"
    assert heard[-1]["chatEnded"]


async def test_whatever_somebody_does_in_the_chat_begins_the_silence_anew(
    world: World, worker: Inactivity
) -> None:
    session = await world.chat()
    ann = await desk(world)
    for doing in (
        ann.do("acceptChat", chatId=session.id),
        world.customers.send(session, "hello", ""),
        world.customers.typing(session, started=True),
        ann.do("leaveChat", chatId=session.id),
    ):
        world.clock.now += 99
        await doing
        await worker.look()
    assert ALERT not in await types(world, session)
    world.clock.now += 101
    await worker.look()
    await world.customers.send(session, "still here", "")
    world.clock.now += 99
    await worker.look()
    assert (await types(world, session))[-2:] == [ALERT, "Message"]
    world.clock.now += 2
    await worker.look()
    assert (await types(world, session))[-1] == ALERT


async def test_a_message_between_the_look_and_the_close_keeps_the_chat_open(
    world: World, worker: Inactivity
) -> None:
    session = await world.chat()
    world.clock.now += 101
    await worker.look()
    world.clock.now += 21
    async with world.store.holding("get", worker.look()):
        await world.customers.send(session, "wait", "")
    assert await types(world, session) == ["ParticipantJoined", ALERT, "Message"]
    assert (await world.session(session)).state is State.WAITING


async def test_a_chat_that_ends_or_vanishes_meanwhile_keeps_no_other_waiting(
    world: World, worker: Inactivity
) -> None:
    ended, gone, other = [await world.chat(user) for user in ("a", "b", "c")]
    world.clock.now += 101
    await worker.look()
    world.clock.now += 21
    async with world.store.holding("read", worker.look()):
        for session in (ended, gone):
            await world.customers.end(session)
        await world.store.purge(0.0, world.clock.now + 1)
    assert (await world.session(other)).ended
    assert CLOSE in await types(world, other)


async def test_a_damaged_chat_keeps_no_other_open(
    world: World, worker: Inactivity, tmp_path: Path
) -> None:
    bad, good = [await world.chat(user) for user in ("a", "b")]
    damage(tmp_path, bad)
    await told_until_closed(world, worker)
    await worker.look()
    assert (await types(world, bad))[-1] == ALERT
    assert (await types(world, good))[-1] == CLOSE


async def test_a_chat_that_cannot_be_written_to_keeps_no_other_open(
    world: World, worker: Inactivity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = [await world.chat(user) for user in ("a", "b")]
    with closing(sqlite3.connect(tmp_path / "chat.db")) as db, db:
        db.execute("UPDATE session SET last = 0 WHERE id = ?", (bad.id,))
    await told_until_closed(world, worker)
    assert ALERT not in await types(world, bad)
    assert (await types(world, good))[-1] == CLOSE
    assert "cannot be looked after: a value cannot be stored" in caplog.text


@pytest.mark.parametrize(("close", "end"), [(20, CLOSE), (0, "Message")])
async def test_where_nobody_can_write_any_more_nobody_is_told_before_the_end(
    tmp_path: Path, close: int, end: str
) -> None:
    text = "[store]\nmax_entries = 10\n[chat]\ntimeout-alert = 100\n"
    async with made(tmp_path, f"{text}timeout-close = {close}\n") as world:
        session = await world.chat()
        for _ in range(9):
            await world.customers.send(session, "full", "")
        worker = inactivity(world)
        world.clock.now += 101
        for _ in range(2):
            await worker.look()
        assert (await types(world, session))[-1] == end
        assert (await world.session(session)).ended == (end == CLOSE)


async def test_an_absent_customer_is_pushed_the_notices_unless_filtered_or_wordless(
    world: World, worker: Inactivity
) -> None:
    mute = "[service.mute]\n_filtering_chat_events = Notice.Custom\n"
    wordless = "[chat.wordless]\nmessage-alert =\nmessage-close =\n"
    world.configure(f"{TIMES}{mute}{wordless}")
    for service, notable in (("loud", True), ("mute", False), ("wordless", False)):
        session = await world.chat(service, service)
        device = Device(id=service, type="ios")
        await world.store.register_device(session.id, device, world.clock.now)
        await world.store.mark_absent(session.id, "rest", world.clock.now)
        for seconds in (101, 21):
            world.clock.now += seconds
            await worker.look()
            now = world.clock.now
            due = await world.store.claim_due(service, now, 0.0, 1.0)
            assert len(due) == notable
            for one in due:
                assert await world.store.announce(one, one.session.last, [])


# --- the looks --------------------------------------------------------------------


async def test_options_of_a_reload_are_those_of_the_next_look(
    world: World, worker: Inactivity
) -> None:
    world.configure(TIMES.replace("100", "1000"))
    session = await world.chat()
    world.clock.now += 500
    await worker.look()
    world.configure(f"{TIMES}message-alert = wake up\n")
    await worker.look()
    assert [t for _, t in await world.entries(session)][-1] == "wake up"
    world.configure(TIMES.replace("100", "0"))
    world.clock.now += 10_000
    await worker.look()
    world.configure(TIMES)
    await worker.look()
    assert (await types(world, session))[1:] == [ALERT, CLOSE]


async def test_a_silence_that_a_reload_shortens_is_noticed_at_once(
    world: World, worker: Inactivity
) -> None:
    world.configure(TIMES.replace("100", "1000"))
    session = await world.chat()
    world.clock.now += 500
    await worker.sweep()
    world.configure(TIMES)
    world.store.broken = {"quiet"}
    with pytest.raises(StoreUnavailableError):
        await worker.sweep()
    world.store.broken.clear()
    await worker.sweep()
    assert (await types(world, session))[-1] == ALERT


async def test_who_could_not_write_while_the_server_was_down_can_before_the_end(
    world: World, worker: Inactivity
) -> None:
    session = await world.chat()
    world.clock.now += 101
    await worker.look()
    world.clock.now += 1000
    begun = inactivity(world)
    await begun.sweep()
    assert (await types(world, session))[-1] == ALERT
    world.clock.now += LONGEST_PAUSE - 1
    await begun.sweep()
    await world.customers.send(session, "here again", "")
    world.clock.now += 1
    await begun.sweep()
    assert (await types(world, session))[-1] == "Message"
    world.clock.now += 101
    await begun.sweep()
    assert (await types(world, session))[-1] == ALERT


async def test_a_chat_that_is_only_quiet_is_read_once(
    world: World, worker: Inactivity
) -> None:
    await world.chat()
    for _ in range(5):
        world.clock.now += 15
        await worker.look()
    assert world.store.calls.count("read") == 1


class Promoted:
    """A store that answers one write, and loses it with the server that had it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, *args: Any, **kwargs: Any) -> Any:
        if self._lost:
            return await self._store.append(*args, **kwargs)
        self._lost = True
        return Appended(entries=())


async def test_a_warning_that_is_lost_with_a_server_of_the_storage_is_given_again(
    world: World,
) -> None:
    world.configure(TIMES)
    session = await world.chat()
    seam: Any = Promoted(world.store)
    worker = Inactivity(seam, world.clock, world.live)
    world.clock.now += 101
    await worker.look()
    assert ALERT not in await types(world, session)
    await worker.look()
    assert (await types(world, session))[-1] == ALERT


async def test_nothing_is_looked_at_where_no_chat_is_ever_closed(
    world: World, worker: Inactivity
) -> None:
    world.configure("[chat]\ntimeout-alert = 0\n")
    await worker.sweep()
    assert "quiet" not in world.store.calls


@pytest.mark.parametrize(
    ("text", "longest"), [("", LONGEST_PAUSE), (TIMES, 2.0), ("[chat.a]\n", 60.0)]
)
async def test_looks_are_rare_where_silences_are_long(
    world: World, text: str, longest: float
) -> None:
    world.configure(text)
    worker = inactivity(world)
    world.clock.now += LONGEST_PAUSE
    for _ in range(round(20 * longest * 4)):
        await worker.sweep()
        world.clock.now += 0.25
    looks = world.store.calls.count("quiet") / 2  # one for each state
    assert 17 < looks < 42


async def test_looks_that_take_long_are_rare(world: World, worker: Inactivity) -> None:
    world.clock.now += LONGEST_PAUSE
    async with world.store.holding("quiet", worker.sweep()):
        world.clock.now += 3.0
    looks = world.store.calls.count("quiet")
    world.clock.now += (3.0 - BRIEF) / LOAD - 1.0
    await worker.sweep()
    assert world.store.calls.count("quiet") == looks
    world.clock.now += 2.0
    await worker.sweep()
    assert world.store.calls.count("quiet") > looks


async def test_after_an_outage_the_looks_go_on(
    world: World, worker: Inactivity
) -> None:
    session = await world.chat()
    world.clock.now += 101
    world.store.broken = {"quiet"}
    with pytest.raises(StoreUnavailableError):
        await worker.sweep()
    for method in ("read", "append"):
        world.store.broken = {method}
        await worker.sweep()
        world.clock.now += 2
    world.store.broken.clear()
    await asyncio.gather(*(worker.sweep() for _ in range(3)))
    assert await types(world, session) == ["ParticipantJoined", ALERT]
