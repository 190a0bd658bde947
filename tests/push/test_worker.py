"""Who is pushed, when, and what becomes of it: both halves on a real store."""

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cometd_chat.chat.customers import MOST_DEVICES
from cometd_chat.model import Device, Draft, EntryKind, Role, Session
from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Outcome,
    Retry,
    Scope,
)
from cometd_chat.push import worker as module
from cometd_chat.push.lanes import AT_ONCE, FAILING
from tests.push.facts import at
from tests.push.office import CONFIG, Office, office, says
from tests.store.facts import spellings
from tests.web.conftest import until

MAIN, OTHER = "customhttp:main", "customhttp:other"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


def device(name: str, **facts: object) -> Device:
    return Device(id=name, type="customhttp", **facts)  # type: ignore[arg-type]  # facts of a test


# Who is due


async def test_the_first_push_waits_and_the_others_do_not(here: Office) -> None:
    session, ann = await here.away(service="sales")
    await says(ann, session, "one", "two")
    await here.wait(89)
    assert here.sender.sent == []
    await here.wait(1)
    await says(ann, session, "three")
    await here.wait(1)
    assert here.sender.texts == [["one", "two"], ["three"]]
    await here.wait(1000)
    assert len(here.sender.sent) == 2


async def test_each_absence_has_a_first_push_of_its_own(here: Office) -> None:
    session, ann = await here.away(service="sales")
    await says(ann, session, "one")
    await here.wait(90)
    await here.visit()
    await says(ann, session, "two")
    await here.wait(89)
    assert here.sender.texts == [["one"]]
    await here.wait(1)
    assert here.sender.texts == [["one"], ["two"]]


async def test_nobody_is_pushed_who_came_back_between_announcing_and_sending(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    await here.comes()
    await here.round()
    assert here.sender.sent == []


async def test_nobody_is_pushed_who_comes_back_while_it_is_announced(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    async with here.store.holding("badge", here.announcer.announce()):
        await here.comes()
    await here.round()
    assert here.sender.sent == []


async def test_a_push_that_failed_is_not_repeated_to_somebody_who_is_back(
    here: Office,
) -> None:
    session, ann = await here.away()
    here.sender.say[MAIN] = [Retry("busy", after=5.0), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.comes()
    await here.wait(60)
    assert len(here.sender.sent) == 1


async def test_nobody_is_pushed_who_comes_back_while_the_push_is_taken(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    async with here.store.holding("claim_jobs", here.push.send()):
        await here.comes()
    await here.push.close()
    assert here.sender.sent == []


async def test_who_logs_out_while_the_push_is_taken_gets_none(here: Office) -> None:
    session, ann = await here.away("phone")
    await here.gives(session, device("tablet"))
    await says(ann, session, "one")
    await here.announcer.announce()
    async with here.store.holding("claim_jobs", here.push.send()):
        await here.customers.deregister(session, "phone")
        await here.gives(session, device("tablet", muted=True))
    await here.push.close()
    assert here.sender.sent == []


async def test_nobody_is_told_what_he_has_read_by_other_means_meanwhile(
    here: Office,
) -> None:
    """His app has asked for the transcript, and is away all the same."""
    session, ann = await here.away()
    here.sender.say[MAIN] = [Retry("busy"), Retry("busy"), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.store.acknowledge(session.id, (await here.session(session)).last)
    await says(ann, session, "two")
    await here.wait()
    await here.wait(60)
    assert here.sender.texts == [["one"], ["two"], ["two"]]
    assert await here.store.job_providers() == []


async def test_a_push_is_sent_though_its_chat_cannot_be_looked_up(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    here.store.broken.add("get")
    await here.wait()
    assert here.sender.texts == [["one"]]


async def test_more_is_unheard_than_the_store_reads_at_once(here: Office) -> None:
    session, ann = await here.away()
    customers = Draft(
        kind=EntryKind.MESSAGE,
        role=Role.CUSTOMER,
        participant=1,
        nickname="Kim",
        at=here.clock.now,
        text="by the web",
    )
    await here.store.append(session.id, [customers] * 1100)
    await says(ann, session, "one")
    await here.wait()
    assert here.sender.texts == [["one"]]
    agents = Draft(
        kind=EntryKind.MESSAGE,
        role=Role.AGENT,
        participant=2,
        nickname="Ann",
        at=here.clock.now,
        text="flood",
        notable=True,
    )
    await here.store.append(session.id, [agents] * 1100)
    await says(ann, session, "last")
    await here.wait()
    await here.wait()
    assert [sent.texts[-1] for sent in here.sender.sent] == ["one", "last"]
    assert here.sender.sent[1].push.badge == 1102
    assert len(here.sender.sent[1].texts) == 100


async def test_one_who_cannot_be_announced_does_not_keep_the_others(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """His quiet hours are in a zone that the system has lost."""
    session, ann = await here.away("lost", user="a")
    await here.store.register_device(
        session.id, device("lost", quiet="22:00-07:00", zone="Moon/Base"), 1.0
    )
    other, _ = await here.away("good", user="b")
    await says(ann, session, "secret one")
    await says(ann, other, "secret two")
    await here.wait()
    assert here.sender.devices == ["good"]
    assert "ZoneInfoNotFoundError" in caplog.text
    assert "secret" not in caplog.text


async def test_hundreds_who_are_due_together_are_announced_together(
    here: Office,
) -> None:
    for number in range(65):
        session, ann = await here.away(f"p{number}", user=f"u{number}")
        await says(ann, session, "one")
    await here.wait()
    await here.round()
    assert sorted(here.sender.devices) == sorted(f"p{n}" for n in range(65))


async def test_entries_after_the_first_push_wait_for_each_other(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, "[push.provider.event.chat.newagentmessage]\n") as here:
        here.configure(CONFIG.replace("provider.main]", "provider.main]\ncoalesce=30s"))
        session, ann = await here.away()
        await says(ann, session, "one")
        await here.wait()
        await here.wait(1)
        await says(ann, session, "two")
        await here.wait(20)
        await says(ann, session, "three")
        await here.wait(9)
        assert here.sender.texts == [["one"]]
        await here.wait(1)
        assert here.sender.texts == [["one"], ["two", "three"]]


# What becomes of a push


async def test_delivered_is_sent_once(here: Office) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.wait()
    await here.wait(7200)
    assert here.sender.texts == [["one"]]
    assert await here.store.job_providers() == []


async def test_a_retry_comes_later_each_time_and_under_the_same_id(
    here: Office,
) -> None:
    session, ann = await here.away()
    begun = here.clock.now
    here.sender.say[MAIN] = [Retry("busy")] * 4 + [Delivered()]
    await says(ann, session, "one")
    for _ in range(300):
        await here.wait(1)
    times = [sent.at - begun for sent in here.sender.sent]
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert len(pauses) == 4
    for number, pause in enumerate(pauses):
        assert 5 * 2**number <= pause <= 10 * 2**number + 1
    assert len({sent.push.id for sent in here.sender.sent}) == 1


async def test_what_waited_a_day_for_an_admin_is_not_tried_all_the_time(
    here: Office, tmp_path: Path
) -> None:
    session, ann = await here.away()
    here.sender.say[MAIN] = [Retry("busy")]
    await says(ann, session, "one")
    await here.announcer.announce()
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as db, db:
        db.execute("UPDATE job SET attempts = 1400")
    await here.wait()
    await here.wait(1790)
    assert len(here.sender.sent) == 1
    await here.wait(1810)
    assert len(here.sender.sent) == 2


async def test_a_retry_waits_as_long_as_the_service_says(here: Office) -> None:
    session, ann = await here.away()
    here.sender.say[MAIN] = [Retry("busy", after=600.0), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.wait(599)
    assert len(here.sender.sent) == 1
    await here.wait(1)
    assert len(here.sender.sent) == 2


async def test_a_push_is_given_up_after_a_day(here: Office) -> None:
    session, ann = await here.away()
    here.sender.say[MAIN] = [Retry("busy")]
    await says(ann, session, "one")
    for _ in range(60):
        await here.wait(1800)
    tries = len(here.sender.sent)
    assert here.sender.sent[-1].at - here.sender.sent[0].at < 86_400
    await here.wait(7200)
    assert len(here.sender.sent) == tries
    assert await here.store.job_providers() == []


async def test_a_device_that_is_surely_dead_is_forgotten(here: Office) -> None:
    session, ann = await here.away("old")
    here.sender.say["old"] = [DeadDevice("unregistered", since=here.clock.now + 1)]
    await says(ann, session, "one")
    await here.wait()
    assert (await here.session(session)).devices == ()
    await says(ann, session, "two")
    await here.wait(100)
    assert here.sender.devices == ["old"]


async def test_a_device_registered_after_it_was_said_to_be_dead_stays(
    here: Office,
) -> None:
    session, ann = await here.away("new")
    here.sender.say["new"] = [DeadDevice("gone", since=here.clock.now - 60)]
    await says(ann, session, "one")
    await here.wait()
    assert [d.id for d in (await here.session(session)).devices] == ["new"]


BAD = DeadDevice("bad token", doubtful=True)


async def pushed(here: Office, *names: str) -> list[Session]:
    """Let each of these devices be pushed to; return their chats."""
    sessions = []
    for name in names:
        session, ann = await here.away(name, user=name)
        await says(ann, session, "one")
        sessions.append(session)
    await here.wait()
    return sessions


async def lost(here: Office, sessions: Sequence[Session]) -> int:
    """Return how many of the chats have no device any more."""
    found = [await here.session(session) for session in sessions]
    return sum(not session.devices for session in found)


async def test_one_doubtful_death_is_believed_when_it_is_said_again(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await pushed(here, *(f"good{n}" for n in range(20)))
    here.sender.say["alone"] = [BAD]
    sessions = await pushed(here, "alone")
    assert await lost(here, sessions) == 0
    await here.wait(60)
    assert await lost(here, sessions) == 1
    assert "device removed, bad token" in caplog.text
    await here.wait(7200)
    assert here.sender.devices.count("alone") == 2


async def test_of_many_doubtful_deaths_none_is_believed(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """The admin has set up the wrong app: all devices live on."""
    names = [f"p{number}" for number in range(30)]
    for name in names:
        here.sender.say[name] = [BAD] * 3 + [Delivered()]
    sessions = await pushed(here, *names)
    await here.wait(60)
    # A worker that has just begun knows even less.
    here.push = here.worker()
    await here.wait(60)
    assert await lost(here, sessions) == 0
    assert "device kept, bad token" in caplog.text
    await here.wait(3600)
    assert await here.store.job_providers() == []
    assert len(here.sender.sent) == 4 * 30


async def test_what_waited_for_our_own_fault_is_not_said_again(here: Office) -> None:
    """First Apple takes no key of ours, then a key of the wrong environment."""
    names = [f"p{number}" for number in range(30)]
    for name in names:
        here.sender.say[name] = [Misconfigured("bad key"), BAD]
    sessions = await pushed(here, *names)
    for _ in range(6):
        await here.wait(60)
    assert here.sender.devices.count("p0") > 2
    assert await lost(here, sessions) == 0


async def test_a_try_that_failed_otherwise_does_not_make_a_death_certain(
    here: Office,
) -> None:
    await pushed(here, *(f"good{n}" for n in range(20)))
    here.sender.say["alone"] = [Retry("busy"), BAD]
    sessions = await pushed(here, "alone")
    await here.wait(10)
    assert here.sender.devices.count("alone") == 2
    assert await lost(here, sessions) == 0
    await here.wait(60)
    assert await lost(here, sessions) == 1


async def test_a_push_to_a_device_that_was_registered_anew_is_sent_again(
    here: Office,
) -> None:
    session, ann = await here.away("new")
    gone = DeadDevice("gone", since=here.clock.now - 60)
    here.sender.say["new"] = [gone, Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.wait(60)
    assert here.sender.texts == [["one"], ["one"]]


async def test_a_device_that_gets_too_much_is_left_alone_for_a_while(
    here: Office,
) -> None:
    session, ann = await here.away("phone")
    await here.gives(session, device("tablet"))
    here.sender.say["phone"] = [
        Retry("slow down", after=60.0, scope=Scope.DEVICE),
        Delivered(),
    ]
    for text in ("one", "two", "three"):
        await says(ann, session, text)
        await here.wait(1)
    assert here.sender.devices.count("phone") == 1
    assert here.sender.devices.count("tablet") == 3
    await here.wait(60)
    assert here.sender.devices.count("phone") == 2
    assert here.sender.sent[-1].texts == ["one", "two", "three"]
    await says(ann, session, "four")
    await here.wait(600)
    assert here.sender.sent[-1].texts == ["four"]


async def test_what_gathered_is_sent_as_one_push_until_that_succeeds(
    here: Office,
) -> None:
    session, ann = await here.away("phone")
    too_much = Retry("slow down", after=60.0, scope=Scope.DEVICE)
    here.sender.say["phone"] = [too_much, too_much, Delivered()]
    for text in ("one", "two"):
        await says(ann, session, text)
        await here.wait(1)
    await here.wait(60)
    await says(ann, session, "three")
    await here.wait(600)
    assert here.sender.texts == [["one"], ["one", "two"], ["one", "two", "three"]]
    assert [push.position for push in await here.store.sent_pushes(session.id)] == [5]


async def test_more_may_gather_than_is_sent_at_once(here: Office) -> None:
    session, ann = await here.away("phone")
    too_much = Retry("slow down", after=600.0, scope=Scope.DEVICE)
    here.sender.say["phone"] = [too_much, Delivered()]
    texts = [f"text {number}" for number in range(2 * AT_ONCE)]
    for text in texts:
        await says(ann, session, text)
        await here.wait(1)
    await here.wait(600)
    await here.wait(1)
    assert here.sender.texts == [texts[:1], texts[:AT_ONCE], texts[AT_ONCE:]]


async def test_of_what_gathered_only_what_cannot_be_read_is_dropped(
    here: Office, tmp_path: Path
) -> None:
    session, ann = await here.away("phone")
    too_much = Retry("slow down", after=60.0, scope=Scope.DEVICE)
    here.sender.say["phone"] = [too_much, Delivered()]
    for text in ("one", "two"):
        await says(ann, session, text)
        await here.wait(1)
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as db, db:
        db.execute("UPDATE job SET content = x'00' WHERE position = 3")
    await here.wait(60)
    assert here.sender.texts == [["one"], ["two"]]


async def test_a_provider_that_wants_no_more_gets_none_for_a_while(
    here: Office,
) -> None:
    here.sender.say[MAIN] = [
        Retry("too many tokens", after=60.0, scope=Scope.PROVIDER),
        Delivered(),
    ]
    await pushed(here, "first")
    await pushed(here, "second")
    await here.wait(30)
    assert here.sender.devices == ["first"]
    await here.wait(31)
    assert sorted(here.sender.devices) == ["first", "first", "second"]


async def test_how_long_one_push_has_waited_does_not_close_its_provider_for_longer(
    here: Office,
) -> None:
    too_many = Retry("too many tokens", after=60.0, scope=Scope.PROVIDER)
    here.sender.say["old"] = [Retry("busy")] * 8 + [too_many, Delivered()]
    await pushed(here, "old")
    while len(here.sender.sent) < 9:
        await here.wait(60)
    await pushed(here, "new")
    await here.wait(60)
    assert here.sender.devices[9:] == ["new"]


async def test_a_provider_that_fails_gets_one_push_at_a_time_until_one_succeeds(
    here: Office,
) -> None:
    here.sender.say[MAIN] = [Retry("no answer")] * FAILING + [Delivered()]
    await pushed(here, *(f"p{n}" for n in range(FAILING)))
    for number in range(5):
        session, ann = await here.away(f"q{number}", user=f"q{number}")
        await says(ann, session, "one")
    await here.wait()
    assert len(here.sender.sent) == FAILING + 1
    await here.wait()
    assert len(here.sender.sent) == FAILING + 5


async def test_an_admin_is_told_once_that_a_provider_cannot_be_reached(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Else nobody would know of pushes that are given up after a day."""
    here.sender.say[MAIN] = [Retry("cannot connect")]
    await pushed(here, *(f"p{n}" for n in range(FAILING - 1)))
    assert "cannot connect" not in caplog.text
    for _ in range(3):
        await here.wait(60)
    assert len(here.sender.sent) > FAILING
    assert caplog.text.count("customhttp:main has failed 10 times in a row") == 1
    assert caplog.text.count("cannot connect") == 1


async def test_a_push_that_cannot_be_read_is_dropped(
    here: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as db, db:
        db.execute("UPDATE job SET content = x'7b'")
    await here.wait(1)
    assert here.sender.sent == []
    assert "cannot be read" in caplog.text
    assert await here.store.job_providers() == []


async def test_what_cannot_be_sent_is_dropped_and_the_device_stays(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    session, ann = await here.away()
    here.sender.say[MAIN] = [Dropped("too large"), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.wait(600)
    assert here.sender.texts == [["one"]]
    assert "too large" in caplog.text
    await says(ann, session, "two")
    await here.wait()
    assert here.sender.texts == [["one"], ["two"]]


async def test_a_provider_that_refuses_us_is_left_alone_and_loses_nothing(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    here.sender.say[MAIN] = [Misconfigured("bad key")] * 3 + [Delivered()]
    for number in range(3):
        session, ann = await here.away(f"p{number}", user=f"u{number}")
        await says(ann, session, "one")
    await here.wait()
    assert len(here.sender.sent) == 3
    assert caplog.text.count("bad key") == 1
    await says(ann, session, "two")
    await here.wait(30)
    assert len(here.sender.sent) == 3
    await here.wait(30)
    assert len(here.sender.sent) == 3 + 4


async def test_those_whom_a_wrong_setting_does_not_concern_are_pushed(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Firebase has lost the key for iPhones; Android phones need none."""
    iphones = [f"iphone{n}" for n in range(3)]
    for name in iphones:
        here.sender.say[name] = [Misconfigured("bad key", Scope.PUSH), Delivered()]
    await pushed(here, *iphones)
    await pushed(here, "android")
    assert sorted(here.sender.devices) == ["android", *iphones]
    assert caplog.text.count("bad key") == 1
    await here.wait(60)
    assert sorted(here.sender.devices[4:]) == iphones


async def test_those_whom_it_concerns_are_tried_less_and_less_often(
    here: Office,
) -> None:
    """Or thousands of iPhones, each once a minute, would hold Android phones up."""
    here.sender.say["iphone"] = [Misconfigured("bad key", Scope.PUSH)] * 1000
    await pushed(here, "iphone")
    for _ in range(600):
        await here.wait(60)
    assert 10 <= len(here.sender.sent) <= 40


async def test_a_fault_of_a_driver_is_a_retry_and_no_word_of_it_is_logged(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    session, ann = await here.away()
    here.sender.say[MAIN] = [ValueError("my secret token"), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.wait(10)
    assert here.sender.texts == [["one"], ["one"]]
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


async def test_an_outcome_that_cannot_be_stored_is_sent_again_by_id(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    here.store.broken.add("finish_job")
    await here.wait()
    here.store.broken.clear()
    await here.wait(module.LEASE - 1)
    assert len(here.sender.sent) == 1
    await here.wait(1)
    first, again = here.sender.sent
    assert first.push.id == again.push.id
    assert "may be repeated" in caplog.text


async def test_an_outcome_is_stored_when_the_store_is_back_in_a_moment(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    here.store.broken.add("finish_job")
    here.push = here.worker(noting=[0.01] * 1000)
    working = asyncio.create_task(here.round())
    await until(lambda: "finish_job" in here.store.calls)
    here.store.broken.clear()
    await working
    await here.wait(module.LEASE)
    assert len(here.sender.sent) == 1
    assert await here.store.job_providers() == []


# Several workers, providers and devices


async def test_another_worker_takes_over_when_the_lease_is_over(here: Office) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    here.sender.hold[MAIN] = asyncio.Event()
    await here.announcer.announce()
    await here.push.send()
    await until(lambda: len(here.sender.sent) == 1)
    second = here.worker()
    hung = here.sender.hold.pop(MAIN)
    here.clock.now += module.LEASE
    await here.round(second)
    assert len(here.sender.sent) == 2
    hung.set()
    await here.push.close()
    assert await here.store.job_providers() == []


async def test_two_of_each_kind_send_each_push_once(here: Office) -> None:
    for number in range(30):
        session, ann = await here.away(f"p{number}", user=f"u{number}")
        await says(ann, session, "one")
    second, other = here.worker(), here.another_announcer()
    await asyncio.gather(here.announcer.announce(), other.announce())
    await asyncio.gather(here.push.send(), second.send())
    await asyncio.gather(here.push.close(), second.close())
    assert sorted(here.sender.devices) == sorted(f"p{n}" for n in range(30))


async def test_a_provider_that_hangs_takes_nothing_from_the_others(
    here: Office,
) -> None:
    here.sender.hold[OTHER] = asyncio.Event()
    for number in range(60):
        session, ann = await here.away(f"hung{number}", user=f"u{number}")
        await here.gives(session, device(f"hung{number}", provider="other"))
        await says(ann, session, "one")
    await here.announcer.announce()
    await here.push.send()
    await until(lambda: len(here.sender.sent) == AT_ONCE)
    session, ann = await here.away("good", user="good")
    for text in ("one", "two"):
        await says(ann, session, f"good {text}")
        await here.announcer.announce()
        await here.push.send()
        pushed = f"good {text}"
        await until(lambda pushed=pushed: here.sender.sent[-1].texts == [pushed])
    here.sender.hold[OTHER].set()
    await here.push.close()


async def test_a_damaged_push_is_told_once_and_holds_up_no_other(
    here: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, ann = await here.away("damaged")
    good, bob = await here.away("good", user="lee")
    await says(ann, damaged, "secret")
    await says(bob, good, "two")
    await here.announcer.announce()
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as db, db:
        db.execute("UPDATE job SET device = '{' WHERE device_id = 'damaged'")
    for _ in range(2):
        await here.wait(1)
    assert here.sender.devices == ["good"]
    (told,) = (r.getMessage() for r in caplog.records)
    assert (
        told == f"a push of chat {damaged.id} by {MAIN} cannot be read, and is dropped"
    )
    assert await here.store.job_providers() == []


async def test_a_damaged_chat_is_told_once_and_holds_up_no_other(
    here: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, ann = await here.away("damaged")
    good, eve = await here.away("good", user="lee")
    await says(ann, damaged, "one")
    await says(eve, good, "two")
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as db, db:
        db.execute("UPDATE session SET profile = '{' WHERE id = ?", (damaged.id,))
    for _ in range(3):
        await here.wait(60)
    assert here.sender.devices == ["good"]
    assert caplog.messages == [f"chat {damaged.id} cannot be read, and is left out"]


async def test_closing_waits_a_little_and_gives_up_what_hangs(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    here.sender.hold[MAIN] = asyncio.Event()
    await here.announcer.announce()
    await here.push.send()
    begun = asyncio.get_running_loop().time()
    await here.push.close()
    assert asyncio.get_running_loop().time() - begun < module.LAST_WORDS + 1
    assert here.sender.closed
    assert await here.store.job_providers() == [MAIN]  # for who comes next


async def test_one_token_gets_one_push_by_whatever_name_of_its_type(
    here: Office,
) -> None:
    session, ann = await here.away("hook")
    for kind in ("gcm", "android", "fcm", "gcm"):
        await here.gives(session, Device(id="phone", type=kind))
    await says(ann, session, "one")
    await here.wait()
    assert sorted(here.sender.devices) == ["hook", "phone"]
    former, bob = await here.away("other", user="lee")
    await here.gives(former, Device(id="phone", type="fcm"))
    await says(ann, session, "two")
    await says(bob, former, "not to kim")
    await here.wait()
    pushed = {(sent.device, *sent.texts) for sent in here.sender.sent[2:]}
    assert pushed == {
        ("hook", "two"),
        ("other", "not to kim"),
        ("phone", "not to kim"),
    }


async def test_of_a_push_that_nobody_can_send_it_is_said_whose_and_why(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    session, ann = await here.away("muted")
    await here.gives(session, device("muted", muted=True))
    for kind, provider in (("webpush", ""), ("ios", "invented\nline")):
        phone = Device(id="token", type=kind, provider=provider)
        await here.gives(session, phone)
    await says(ann, session, "secret")
    await here.wait()
    (told,) = (r.getMessage() for r in caplog.records if "is due" in r.getMessage())
    assert told == (
        f"chat {session.id}: a push is due, but no provider serves the device: "
        "webpush, [push] pushEnabled has no webpush; "
        "ios, there is no [push.provider.<name>] of the name that it brings"
    )


@pytest.mark.parametrize("first", ["customer", "agent"])
async def test_who_ends_a_chat_is_pushed_nothing_of_what_he_left_unread(
    here: Office, first: str
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    if first == "agent":
        await ann.do("endChat", chatId=session.id)
    else:  # as if the server were killed as soon as the chat is over
        here.store.broken.add("deregister_device")
    await here.customers.end(session)
    await here.wait(200)
    assert (await here.store.get(session.id)).devices == ()
    assert here.sender.sent == []


async def test_one_subscription_gets_one_push_however_it_is_spelled(
    here: Office,
) -> None:
    here.configure(CONFIG.replace("comet,", "comet, webpush,"))
    session, ann = await here.away("hook")
    first, second, third = spellings("a")
    for device in (first, second):
        await here.gives(session, device)
    await says(ann, session, "one")
    await here.announcer.announce()
    await here.gives(session, third)
    await here.wait()
    assert sorted(here.sender.devices) == ["hook", third.id]


async def test_each_device_gets_the_push_but_the_one_that_is_muted(
    here: Office,
) -> None:
    session, ann = await here.away("one")
    await here.gives(session, device("two", provider="other"))
    await here.gives(session, device("three", muted=True))
    await says(ann, session, "hello")
    await here.wait()
    assert sorted((s.device, s.sender) for s in here.sender.sent) == [
        ("one", MAIN),
        ("two", OTHER),
    ]
    assert len({sent.push.id for sent in here.sender.sent}) == 2


async def test_a_device_that_is_not_muted_any_more_hears_what_it_missed(
    here: Office,
) -> None:
    session, ann = await here.away("phone")
    await here.gives(session, device("phone", muted=True))
    await says(ann, session, "one")
    await here.wait()
    assert here.sender.sent == []
    await here.gives(session, device("phone"))
    await here.wait()
    assert here.sender.texts == [["one"]]


async def test_of_more_devices_than_a_chat_may_have_the_oldest_give_way(
    here: Office,
) -> None:
    session, ann = await here.away("p0")
    for number in range(1, MOST_DEVICES + 2):
        await here.gives(session, device(f"p{number}"))
    await says(ann, session, "one")
    await here.wait()
    assert here.sender.devices == [f"p{n}" for n in range(2, MOST_DEVICES + 2)]


async def test_a_device_belongs_to_the_user_who_has_it_now(here: Office) -> None:
    first, ann = await here.away("phone", user="first")
    await says(ann, first, "for the first")
    await here.announcer.announce()
    second, ben = await here.away("phone", user="second")
    await says(ben, second, "for the second")
    await here.wait()
    assert here.sender.texts == [["for the second"]]


async def test_a_provider_that_a_customer_invents_sends_nothing(here: Office) -> None:
    session, ann = await here.away("phone")
    for name in ("invented", "main:debug"):
        await here.gives(session, device("phone", provider=name))
        await says(ann, session, "one")
        await here.wait()
    assert here.sender.sent == []
    assert await here.store.job_providers() == []


async def test_a_type_that_is_switched_off_gets_nothing(here: Office) -> None:
    session, ann = await here.away("phone")
    here.configure(CONFIG.replace("comet, customhttp", "comet"))
    await says(ann, session, "one")
    await here.wait()
    here.configure(CONFIG)
    await says(ann, session, "two")
    await here.wait()
    assert here.sender.texts == [["two"]]


# What is worth a push


async def test_filters_and_disabled_messages_cause_none(here: Office) -> None:
    here.configure(CONFIG + "_filtering_chat_events = Notice.Custom, Notice.PushUrl\n")
    session, ann = await here.away()
    chat = {"chatId": session.id}
    await ann.do("startTyping", **chat)  # not filtered: the service's list counts
    await here.wait()
    await ann.do("customNotice", message="x", **chat)
    await ann.do("pushUrl", pushUrl="https://example.com/", **chat)
    await says(ann, session, "whispered", push={"disabled": True})
    await here.wait()
    assert [[line.event for line in s.push.lines] for s in here.sender.sent] == [
        ["Notice.TypingStarted"]
    ]
    await says(ann, session, "said")
    await here.wait()
    assert here.sender.texts[1:] == [["said"]]


async def test_pages_and_notices_may_want_another_push_or_none(here: Office) -> None:
    session, ann = await here.away()
    fields = {"chatId": session.id, "push": {"title": "Your invoice"}}
    await ann.do("pushUrl", pushUrl="https://example.com/9", **fields)
    await here.wait()
    assert here.sender.sent[0].push.title == "Your invoice"
    quiet = {"chatId": session.id, "push": {"disabled": True}}
    await ann.do("pushUrl", pushUrl="https://example.com/10", **quiet)
    await ann.do("customNotice", message="refresh", **quiet)
    await here.wait(1)
    assert len(here.sender.sent) == 1


async def test_the_last_words_reach_a_phone_that_was_silent_already(
    here: Office,
) -> None:
    session, ann = await here.away()
    app = await here.comes()
    await says(ann, session, "your bike is ready", "goodbye")
    await ann.do("endChat", chatId=session.id)
    await app.fall_silent()
    await here.wait()
    told = ["your bike is ready", "goodbye", "has left the session"]
    assert here.sender.texts == [told]
    await here.visit()
    await here.wait(7200)
    assert len(here.sender.sent) == 1


async def test_who_comes_back_after_the_end_is_not_pushed_any_more(
    here: Office,
) -> None:
    session, ann = await here.away(service="sales")
    app = await here.comes()
    await says(ann, session, "goodbye")
    await ann.do("endChat", chatId=session.id)
    await app.fall_silent()
    await here.wait(80)
    await here.comes()
    await here.wait(7200)
    assert here.sender.sent == []


async def test_who_ends_the_chat_himself_is_not_pushed_any_more(here: Office) -> None:
    session, ann = await here.away()
    app = await here.comes()
    await says(ann, session, "goodbye")
    await here.customers.end(session)
    await app.fall_silent()
    await here.wait(7200)
    assert here.sender.sent == []


async def test_what_the_customer_writes_himself_causes_none(here: Office) -> None:
    session, _ = await here.away()
    await here.customers.send(session, "from the web", "")
    await here.wait(1000)
    assert here.sender.sent == []


# Quiet hours


async def asleep(here: Office, quiet: str = "22:00-07:00") -> None:
    """Let two messages come in the quiet hours of the only device."""
    session, ann = await here.away("phone")
    await here.gives(session, device("phone", quiet=quiet, zone="Europe/Berlin"))
    await says(ann, session, "one")
    await here.wait()
    await says(ann, session, "two")
    await here.wait(1)


@pytest.mark.parametrize(
    ("night", "hours"), [("2024-03-30", 8), ("2024-10-26", 10), ("2024-06-01", 9)]
)
async def test_quiet_hours_end_by_the_clock_on_the_wall(
    here: Office, night: str, hours: int
) -> None:
    """In the nights in which it is put forward or back, too: one push, at 07:00."""
    here.clock.now = at(f"{night}T22:00:00")
    await asleep(here)
    await here.wait(hours * 3600 - 2)
    assert here.sender.sent == []
    await here.wait(1)
    assert here.sender.texts == [["one", "two"]]
    assert here.sender.sent[0].push.badge == 2


async def test_quiet_hours_of_one_device_do_not_keep_another(here: Office) -> None:
    here.clock.now = at("2024-06-01T23:00:00")
    session, ann = await here.away("awake")
    await here.gives(
        session, device("asleep", quiet="22:00-07:00", zone="Europe/Berlin")
    )
    await says(ann, session, "one")
    await here.wait()
    assert here.sender.devices == ["awake"]
    await here.wait(8 * 3600)
    assert here.sender.devices == ["awake", "asleep"]


async def test_not_even_a_second_try_rings_in_the_quiet_hours(here: Office) -> None:
    here.clock.now = at("2026-03-28 21:59:58")
    session, ann = await here.away("u")
    await here.gives(session, device("u", quiet="22:00-07:00", zone="Europe/Berlin"))
    here.sender.say["u"] = [Retry("busy"), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    assert len(here.sender.sent) == 1
    for _ in range(9):
        await here.wait(3000)
    assert len(here.sender.sent) == 1
    await here.wait(3000)
    assert len(here.sender.sent) == 2


async def test_quiet_hours_count_from_the_moment_they_are_set(here: Office) -> None:
    """A push is under way, and its user goes to bed."""
    here.clock.now = at("2024-06-01T22:30:00", "UTC")
    session, ann = await here.away("phone")
    here.sender.say["phone"] = [Retry("busy"), Delivered()]
    await says(ann, session, "one")
    await here.wait()
    await here.gives(session, device("phone", quiet="22:00-07:00"))
    await here.wait(3600)
    assert len(here.sender.sent) == 1
    await here.wait(8 * 3600)
    assert here.sender.texts == [["one"], ["one"]]


async def test_the_badge_is_that_of_the_moment_in_which_a_push_is_sent(
    here: Office,
) -> None:
    session, ann = await here.away("phone")
    here.sender.say["phone"] = [Retry("busy"), Delivered()]
    for text in ("one", "two", "three"):
        await says(ann, session, text)
        await here.wait()
    await here.wait(10)
    assert [s.push.badge for s in here.sender.sent] == [1, 2, 3, 3]


async def test_who_comes_back_in_the_quiet_hours_is_not_woken(here: Office) -> None:
    here.clock.now = at("2024-06-01T23:00:00")
    await asleep(here)
    await here.comes()
    await here.wait(10 * 3600)
    assert here.sender.sent == []


async def test_quiet_hours_that_are_lifted_end_at_once(here: Office) -> None:
    here.clock.now = at("2024-06-01T23:00:00", "UTC")
    session, ann = await here.away("phone")
    await here.gives(session, device("phone", quiet="22:00-07:00"))
    await says(ann, session, "one")
    await here.wait()
    assert here.sender.sent == []
    await here.gives(session, device("phone"))
    await here.wait(1)
    assert here.sender.texts == [["one"]]


async def test_what_was_passed_on_costs_itself_and_never_the_push(
    here: Office,
) -> None:
    session, ann = await here.away("phone")
    here.sender.say["phone"] = [Dropped("refused"), Delivered()]
    await says(ann, session, "one", push={"title": "A", "android": {"ttl": "never"}})
    await here.wait()
    assert [s.push.android for s in here.sender.sent] == [{"ttl": "never"}, {}]
    assert {s.push.title for s in here.sender.sent} == {"A"}
    await here.wait(7200)
    assert len(here.sender.sent) == 2


# On and off


OFF = CONFIG.replace("[service.at-once]\n", "[service.at-once]\npush = off\n")


async def test_a_service_without_pushes_forgets_what_was_due_meanwhile(
    here: Office,
) -> None:
    session, ann = await here.away()
    here.configure(OFF)
    await says(ann, session, "one")
    await here.wait(1)
    here.configure(CONFIG)
    await says(ann, session, "two")
    await here.wait(1)
    assert here.sender.texts == [["two"]]


async def test_what_is_queued_when_pushes_are_switched_off_is_not_sent(
    here: Office,
) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    here.configure(OFF)
    await here.wait(1)
    here.configure(CONFIG)
    await here.wait(7200)
    assert here.sender.sent == []
    assert await here.store.job_providers() == []


async def test_a_type_that_is_switched_off_loses_what_is_queued(here: Office) -> None:
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.announcer.announce()
    here.configure(CONFIG.replace("comet, customhttp, ios, fcm", ""))
    await here.wait(1)
    assert here.sender.sent == []
    assert await here.store.job_providers() == []


async def test_a_return_that_confirms_nothing_begins_an_absence_all_the_same(
    here: Office,
) -> None:
    """Its first push is not put together with what comes after it."""
    here.configure(CONFIG.replace("main]\n", "main]\ncoalesce = 30s\n"))
    session, ann = await here.away()
    await says(ann, session, "one")
    await here.wait()
    app = await here.comes()
    await here.goes(app, transcriptPosition="2")
    await says(ann, session, "two")
    await here.wait()
    assert here.sender.texts == [["one"], ["two"]]
    await says(ann, session, "three")
    await here.wait()
    assert len(here.sender.sent) == 2
    await here.wait(30)
    assert here.sender.texts[2:] == [["three"]]


# The number on the icon


async def test_the_badge_counts_all_chats_of_the_user_and_what_the_app_counts(
    here: Office,
) -> None:
    """Three chats, two devices, and an app with seven other unread messages."""
    chats = []
    for _ in range(3):
        session, ann = await here.away("phone")
        await here.gives(session, device("tablet"))
        chats.append((session, ann))
    app = await here.comes()
    await app.disconnect(unreadCount=7)
    for number, (session, ann) in enumerate(chats):
        await says(ann, session, f"text {number}")
        await here.wait(1)
    assert [(s.device, s.push.badge) for s in here.sender.sent] == [
        ("phone", 8),
        ("tablet", 8),
        ("phone", 9),
        ("tablet", 9),
        ("phone", 10),
        ("tablet", 10),
    ]
    await here.visit()  # has read everything, and says nothing of others
    here.sender.sent.clear()
    await says(chats[0][1], chats[0][0], "again")
    await here.wait()
    assert [s.push.badge for s in here.sender.sent] == [1, 1]


async def test_a_badge_that_went_down_is_told_to_all_devices_once(
    here: Office,
) -> None:
    session, ann = await here.away("phone")
    for name, muted in (("tablet", False), ("muted", True)):
        await here.gives(session, Device(id=name, type="ios", muted=muted))
    await says(ann, session, "one", "two")
    await here.wait()
    here.sender.sent.clear()
    app = await here.comes()
    await here.corrected()
    assert [(s.device, s.push.badge, s.push.silent) for s in here.sender.sent] == [
        ("tablet", 0, True),
        ("muted", 0, True),
    ]
    await here.goes(app)
    await here.corrected(3600)
    assert len(here.sender.sent) == 2


async def test_in_quiet_hours_not_even_a_badge_is_put_right(here: Office) -> None:
    session, ann = await here.away("phone")
    await here.gives(session, Device(id="tablet", type="ios"))
    await says(ann, session, "one")
    await here.wait()
    here.sender.sent.clear()
    hour = datetime.fromtimestamp(here.clock.now, ZoneInfo("UTC")).hour
    quiet = f"{hour:02}:00-{(hour + 2) % 24:02}:00"
    await here.gives(session, Device(id="tablet", type="ios", quiet=quiet))
    await here.visit()
    await here.corrected()
    assert here.sender.sent == []
    await here.wait(7200)
    assert [(s.device, s.push.silent) for s in here.sender.sent] == [("tablet", True)]


async def test_the_badge_that_went_down_is_that_of_all_chats(here: Office) -> None:
    first, ann = await here.away("phone")
    await here.gives(first, Device(id="tablet", type="ios"))
    second, bob = await here.away("phone")
    await says(ann, first, "one")
    await says(bob, second, "two", "three")
    await here.wait()
    here.sender.sent.clear()
    await here.store.acknowledge(first.id, (await here.store.get(first.id)).last)
    await here.corrected()
    assert [(s.device, s.push.badge) for s in here.sender.sent] == [("tablet", 2)]


async def test_a_badge_is_not_corrected_to_what_has_been_overtaken(
    here: Office,
) -> None:
    """The customer has read, and something new comes while the badge is counted."""
    session, ann = await here.away("phone")
    await here.gives(session, Device(id="tablet", type="ios"))
    await says(ann, session, "one")
    await here.wait()
    here.sender.sent.clear()
    await here.visit()
    async with here.store.holding("badge", here.announcer.correct()):
        await says(ann, session, "two")
    await here.wait(90)
    assert {(s.device, s.push.badge) for s in here.sender.sent} == {
        ("phone", 1),
        ("tablet", 1),
    }
    assert len(here.sender.sent) == 2


OUTCOMES: list[Outcome] = [
    Delivered(),
    Retry("x"),
    DeadDevice("x"),
    Dropped("x"),
    Misconfigured("x"),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: type(o).__name__)
async def test_no_outcome_harms_somebody_who_deregistered_meanwhile(
    here: Office, outcome: Outcome
) -> None:
    session, ann = await here.away("phone")
    await says(ann, session, "one")
    here.sender.say["phone"] = [outcome]
    here.sender.hold[MAIN] = asyncio.Event()
    await here.announcer.announce()
    await here.push.send()
    await until(lambda: here.sender.sent)
    await here.customers.deregister(session, None)
    here.sender.hold.pop(MAIN).set()
    await here.push.close()
    here.sender.closed = False
    await here.wait(7200)
    assert len(here.sender.sent) == 1
    assert await here.store.job_providers() == []
