"""Growing and reading transcripts, once each, with the transitions of sessions."""

import asyncio
import random
from dataclasses import replace

import msgspec
import pytest

from cometd_chat.model import (
    CUSTOMER,
    JOINING,
    Draft,
    End,
    Entry,
    EntryKind,
    Leave,
    Participant,
    Profile,
    PushOverride,
    Role,
    State,
)
from cometd_chat.store import (
    ConflictError,
    Once,
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    Store,
    StoreError,
    TakenError,
    TranscriptFullError,
)
from tests.store.conftest import Place
from tests.store.facts import (
    DEVICE,
    ROOM,
    answered,
    asks,
    joins,
    new,
    opened,
    said,
)


def positions(entries: list[Entry] | tuple[Entry, ...]) -> list[int]:
    return [entry.position for entry in entries]


# --- appending and reading -------------------------------------------------------


async def test_entries_are_kept_in_every_detail(store: Store) -> None:
    await opened(store)
    draft = Draft(
        kind=EntryKind.CUSTOM_NOTICE,
        role=Role.EXTERNAL,
        participant=9,
        nickname="Bot",
        at=10.25,
        text="line\nnul \0 emoji 😀",
        message_type="text",
        user_data={"a": "ä", "b": ""},
        notable=True,
    )
    stored = await store.append("s", [draft])
    (entry,) = await store.read("s", 0)
    assert stored.entries == (entry,)
    assert stored.position == entry.position == 1
    assert not stored.repeated
    for name in Draft.__struct_fields__:
        assert getattr(entry, name) == getattr(draft, name)


async def test_entries_that_differ_in_one_thing_are_told_apart(store: Store) -> None:
    await opened(store)
    plain = answered("same")
    drafts = [
        plain,
        msgspec.structs.replace(plain, kind=EntryKind.CUSTOM_NOTICE),
        msgspec.structs.replace(plain, role=Role.SUPERVISOR),
        msgspec.structs.replace(plain, participant=2**53 + 1),
        msgspec.structs.replace(plain, nickname='"Ann", nul \0 \\ 😀'),
        msgspec.structs.replace(plain, message_type='{"a": 1}'),
        msgspec.structs.replace(plain, user_data={"a": '"\n'}),
        msgspec.structs.replace(plain, notable=False),
        msgspec.structs.replace(plain, push=PushOverride(title='"\\')),
        plain,
    ]
    stored = await store.append("s", drafts)
    entries = await store.read("s", 0)
    assert stored.entries == tuple(entries)
    for entry, draft in zip(entries, drafts, strict=True):
        for name in Draft.__struct_fields__:
            assert getattr(entry, name) == getattr(draft, name)


async def test_reading_gives_a_page_after_a_position_and_takes_nothing_away(
    store: Store,
) -> None:
    await opened(store)
    await store.append("s", [said(str(n)) for n in range(1, 8)])
    for _ in range(2):
        assert positions(await store.read("s", 0)) == [1, 2, 3, 4, 5, 6, 7]
        assert positions(await store.read("s", 2, limit=3)) == [3, 4, 5]
    assert await store.read("s", 7) == []
    assert await store.read("s", 2**70) == []
    assert await store.read("s", 0, limit=0) == []
    assert positions(await store.read("s", -5, limit=2**70)) == [1, 2, 3, 4, 5, 6, 7]
    assert await store.read("unknown", 0) == []


async def test_of_several_who_saw_the_same_transcript_one_stores(
    store: Store,
) -> None:
    await opened(store)
    for newest in (0, 1):
        results = await asyncio.gather(
            *(store.append("s", [said(str(n))], expected=newest) for n in range(9)),
            return_exceptions=True,
        )
        lost = [r for r in results if isinstance(r, ConflictError)]
        assert len(lost) == 8
        assert (await store.get("s")).last == newest + 1


async def test_what_comes_in_between_keeps_a_chat_open(store: Store) -> None:
    await opened(store)
    await store.append("s", [said("one")])
    await store.append("s", [said("two")])
    for transition in (None, joins(), End()):
        with pytest.raises(ConflictError):
            await store.append("s", [said()], transition=transition, expected=1)
    session = await store.get("s")
    assert (session.last, session.state) == (2, State.WAITING)
    await store.append("s", [said("bye")], transition=End(), expected=2)
    assert (await store.get("s")).ended


async def test_a_repeat_is_no_conflict(store: Store) -> None:
    await opened(store)
    once = Once(key="k")
    first = await store.append("s", [said()], once=once, expected=0)
    again = await store.append("s", [said()], once=once, expected=0)
    assert (again.entries, again.repeated) == (first.entries, True)
    await store.append("s", [said()], transition=End(), expected=1)
    assert (await store.append("s", [], transition=End(), expected=1)).repeated
    with pytest.raises(SessionEndedError):
        await store.append("s", [said()], expected=1)


async def test_appending_nothing_stores_nothing(store: Store) -> None:
    await opened(store)
    stored = await store.append("s", [])
    assert stored.entries == ()
    assert stored.position == 0
    assert (await store.get("s")).last == 0


async def test_times_never_go_back_within_a_session(store: Store) -> None:
    await opened(store)
    await store.append("s", [said(at=10.0), said(at=8.0), said(at=12.0)])
    stored = await store.append("s", [said(at=11.0)])
    assert [e.at for e in await store.read("s", 0)] == [10.0, 10.0, 12.0, 12.0]
    assert stored.entries[0].at == 12.0
    assert (await store.get("s")).last_at == 12.0


async def test_concurrent_appends_of_several_roles_get_one_order(
    store: Store,
) -> None:
    await opened(store)
    makers = (said, answered, said, lambda text: answered(text, role=Role.SUPERVISOR))
    stored = await asyncio.gather(
        *(store.append("s", [makers[n % 4](str(n))]) for n in range(40))
    )
    assert sorted(a.position for a in stored) == list(range(1, 41))
    readings = await asyncio.gather(*(store.read("s", 0) for _ in range(5)))
    assert all(reading == readings[0] for reading in readings)
    assert positions(readings[0]) == list(range(1, 41))
    by_position = {e.position: e for a in stored for e in a.entries}
    assert [by_position[n] for n in range(1, 41)] == readings[0]


async def test_drafts_of_one_call_stay_together(store: Store) -> None:
    await opened(store)
    stored = await asyncio.gather(
        *(store.append("s", [said("a"), said("b"), said("c")]) for _ in range(20))
    )
    for appended in stored:
        first = appended.entries[0].position
        assert positions(appended.entries) == [first, first + 1, first + 2]


async def test_the_session_tells_what_its_transcript_says(store: Store) -> None:
    await opened(store)
    await store.append("s", [said("one", 11.0), said("two", 12.0)])
    await store.append("s", [said("f.pdf", 13.0, kind=EntryKind.FILE_UPLOADED)])
    await store.append("s", [said("", 14.0, kind=EntryKind.TYPING_STARTED)])
    session = await store.get("s")
    assert (session.last, session.last_at, session.last_text) == (4, 14.0, "two")
    assert (session.unread, session.notable) == (3, 0)

    await store.append("s", [answered("", 15.0, kind=EntryKind.TYPING_STARTED)])
    await store.append("s", [answered("bot", 15.0, role=Role.EXTERNAL, notable=False)])
    session = await store.get("s")
    assert (session.unread, session.notable) == (3, 5)

    await store.append("s", [answered("hi", 16.0), said("thanks", 17.0)])
    session = await store.get("s")
    assert (session.unread, session.notable, session.last) == (1, 7, 8)
    assert session.last_text == "thanks"

    arrival = answered("", 18.0, kind=EntryKind.JOINED, role=Role.SUPERVISOR)
    await store.append("s", [arrival])
    assert (await store.get("s")).unread == 0


async def test_a_full_transcript_takes_no_more_but_can_be_ended(store: Store) -> None:
    await opened(store)
    await store.append("s", [said()] * (ROOM - 1))
    with pytest.raises(TranscriptFullError):
        await store.append("s", [said(), said()], transition=joins())
    session = await store.get("s")
    assert (session.last, session.state) == (ROOM - 1, State.WAITING)
    await store.append("s", [said()])
    with pytest.raises(TranscriptFullError):
        await store.append("s", [said()], once=Once(key="late"))
    with pytest.raises(TranscriptFullError):
        await store.append("s", [said()], once=Once(key="late"))
    ended = await store.append("s", [said()], transition=End())
    assert ended.position == ROOM + 1


async def test_nothing_is_appended_to_an_unknown_session(store: Store) -> None:
    with pytest.raises(SessionNotFoundError):
        await store.append("nobody", [said()], once=Once(key="k"))
    with pytest.raises(SessionNotFoundError):
        await store.append("nobody", [], transition=asks())


@pytest.mark.parametrize("transition", [None, joins(), Leave(agent_id="ann"), End()])
async def test_only_opening_is_possible_before_the_chat_was_asked_for(
    store: Store, transition: End | None
) -> None:
    await store.create(new())
    with pytest.raises(SessionNotOpenError):
        await store.append("s", [said()], transition=transition)
    assert await store.get("s") == new()


@pytest.mark.parametrize("value", ["\ud800", "x" * 10 + "\udfff"])
async def test_text_that_is_no_unicode_is_refused_alone(
    store: Store, value: str
) -> None:
    """A lone surrogate, that JSON may smuggle in, must not harm the others."""
    await opened(store)
    drafts = [[said("a")], [said(value)], [said("b")], [said("c"), said(value)]]
    results = await asyncio.gather(
        *(store.append("s", d, once=Once(key=str(n))) for n, d in enumerate(drafts)),
        return_exceptions=True,
    )
    assert [isinstance(r, StoreError) for r in results] == [False, True, False, True]
    assert [e.text for e in await store.read("s", 0)] == ["a", "b"]
    assert all(value not in repr(r) for r in results)
    assert (await store.append("s", [said("d")], once=Once(key="3"))).position == 3


async def test_a_refusal_harms_nobody_who_writes_at_the_same_time(
    store: Store,
) -> None:
    await opened(store)
    await opened(store, "over")
    await store.append("over", [], transition=End())
    results = await asyncio.gather(
        *(
            store.append("over" if n % 2 else "s", [said(str(n))], once=Once(key="k"))
            if n % 3 == 0
            else store.append("over" if n % 2 else "s", [said(str(n))])
            for n in range(60)
        ),
        return_exceptions=True,
    )
    refused = [n for n, r in enumerate(results) if isinstance(r, SessionEndedError)]
    assert refused == list(range(1, 60, 2))
    assert await store.read("over", 0) == []
    entries = await store.read("s", 0)
    assert positions(entries) == list(range(1, len(entries) + 1))
    assert len(entries) == 30 - 9  # ten of them share one key


# --- once ------------------------------------------------------------------------


async def test_each_key_is_stored_once_whatever_the_order(
    store: Store, place: Place
) -> None:
    """300 sends, each three times in random order, and again after a restart."""
    await opened(store)
    sends = [str(n) for n in range(300)] * 3
    random.Random(7).shuffle(sends)

    async def send(to: Store, name: str) -> tuple[str, int, bool]:
        result = await to.append("s", [said(name)], once=Once(key=name))
        return name, result.position, result.repeated

    answers = await asyncio.gather(*(send(store, name) for name in sends))
    first = {name: position for name, position, repeated in answers if not repeated}
    assert sorted(first.values()) == list(range(1, 301))
    assert all(first[name] == position for name, position, _ in answers)
    assert [e.text for e in await store.read("s", 0)] == sorted(first, key=first.get)  # type: ignore[arg-type]  # every name is there

    await store.close()
    again = await place()
    answers = await asyncio.gather(*(send(again, name) for name in sends[:300]))
    assert all(a == (a[0], first[a[0]], True) for a in answers)
    assert (await again.get("s")).last == 300
    await again.close()


async def test_a_repeat_is_answered_with_the_entries_of_the_first_time(
    store: Store,
) -> None:
    await opened(store)
    await store.append("s", [said("before")])
    once = Once(key="k")
    first = await store.append("s", [said("a"), said("b")], once=once)
    await store.append("s", [said("after")])
    again = await store.append("s", [said("changed", 99.0)], once=once)
    assert again == msgspec.structs.replace(first, repeated=True)
    assert positions(again.entries) == [2, 3]


async def test_keys_belong_to_their_session(store: Store) -> None:
    for name in ("a", "b"):
        await opened(store, name)
        stored = await store.append(name, [said()], once=Once(key="k"))
        assert not stored.repeated


async def test_a_window_limits_how_long_a_key_is_remembered(store: Store) -> None:
    await opened(store)
    once = Once(key="k", window=120.0)
    await store.append("s", [said(at=1000.0)], once=once)
    assert (await store.append("s", [said(at=1119.0)], once=once)).repeated
    again = await store.append("s", [said(at=1121.0)], once=once)
    assert (again.position, again.repeated) == (2, False)
    assert (await store.append("s", [said(at=1200.0)], once=once)).position == 2
    unlimited = Once(key="k")
    assert (await store.append("s", [said(at=9e9)], once=unlimited)).position == 2


async def test_a_key_names_a_transition_without_entries_too(store: Store) -> None:
    await opened(store)
    once = Once(key="join", window=60.0)
    assert not (await store.append("s", [], transition=joins(), once=once)).repeated
    again = await store.append("s", [], transition=joins("bo"), once=once)
    assert again.repeated
    assert again.entries == ()
    assert [p.id for p in (await store.get("s")).agents] == ["ann"]


async def test_a_repeat_never_meets_the_end_of_the_chat(store: Store) -> None:
    await opened(store)
    first = await store.append("s", [said()], once=Once(key="k"))
    await store.append("s", [], transition=End())
    again = await store.append("s", [said()], once=Once(key="k"))
    assert again == msgspec.structs.replace(first, repeated=True)
    with pytest.raises(SessionEndedError):
        await store.append("s", [said()], once=Once(key="other"))


async def test_a_refused_send_leaves_its_key_unused(store: Store) -> None:
    await store.create(new())
    with pytest.raises(SessionNotOpenError):
        await store.append("s", [said()], once=Once(key="k"))
    await store.append("s", [], transition=asks())
    assert not (await store.append("s", [said()], once=Once(key="k"))).repeated


# --- transitions -----------------------------------------------------------------


async def test_opening_keeps_what_the_customer_told(store: Store) -> None:
    await store.create(new())
    profile = Profile(nickname="Kim", subject="order", user_data={"n": "1"})
    wish = asks(profile=profile, device=DEVICE, comet=True, user="kim")
    stored = await store.append("s", [said(at=20.0)], transition=wish)
    assert positions(stored.entries) == [1]
    session = await store.get("s")
    assert (session.state, session.open, session.started_at) == ("waiting", True, 20.0)
    assert session.profile == profile
    assert session.devices == (replace(DEVICE, registered_at=session.started_at),)
    assert (session.comet, session.user, session.present) == (True, "kim", True)
    customer = Participant(number=CUSTOMER, role=Role.CUSTOMER, nickname="Kim")
    assert session.participants == (customer,)


async def test_a_chat_asked_for_without_entries_starts_at_its_creation(
    store: Store,
) -> None:
    await opened(store, created_at=3.0)
    assert (await store.get("s")).started_at == 3.0


async def test_opening_keeps_a_device_that_was_there_before(store: Store) -> None:
    await store.create(new(devices=(DEVICE,)))
    await store.append("s", [], transition=asks())
    assert (await store.get("s")).devices == (DEVICE,)


async def test_joining_makes_active_and_leaving_makes_waiting(store: Store) -> None:
    await opened(store)
    draft = answered("", 20.0, kind=EntryKind.JOINED, participant=JOINING)
    stored = await store.append("s", [draft, said()], transition=joins("ann"))
    assert [e.participant for e in stored.entries] == [2, CUSTOMER]
    ann = Participant(number=2, role=Role.AGENT, nickname="ann", id="ann")
    session = await store.get("s")
    assert (session.state, session.agents) == (State.ACTIVE, (ann,))

    stored = await store.append("s", [draft], transition=joins("bo"))
    assert stored.entries[0].participant == 3
    await store.append("s", [answered("")], transition=Leave(agent_id="ann"))
    session = await store.get("s")
    assert (session.state, [p.id for p in session.agents]) == (State.ACTIVE, ["bo"])
    await store.append("s", [], transition=Leave(agent_id="bo"))
    session = await store.get("s")
    assert (session.state, session.agents) == (State.WAITING, ())
    assert session.participants[0].number == CUSTOMER


async def test_an_agent_without_a_name_does_not_take_the_customer_along(
    store: Store,
) -> None:
    await opened(store)
    await store.append("s", [], transition=joins(""))
    await store.append("s", [], transition=Leave(agent_id=""))
    assert [p.number for p in (await store.get("s")).participants] == [CUSTOMER]


async def test_a_number_is_never_given_to_a_second_agent(
    store: Store, place: Place
) -> None:
    await opened(store)
    await store.append("s", [], transition=joins("ann"))
    await store.append("s", [], transition=Leave(agent_id="ann"))
    await store.close()
    again = await place()
    await again.append("s", [], transition=joins("bo"))
    assert [p.number for p in (await again.get("s")).agents] == [3]
    await again.close()


async def test_only_a_join_gives_a_joining_draft_its_number(store: Store) -> None:
    await opened(store)
    stored = await store.append("s", [answered(participant=JOINING)])
    assert stored.entries[0].participant == JOINING


async def test_of_twenty_agents_who_want_the_chat_alone_one_gets_it(
    store: Store,
) -> None:
    await opened(store)
    results = await asyncio.gather(
        *(
            store.append("s", [answered()], transition=joins(f"agent-{n}", alone=True))
            for n in range(20)
        ),
        return_exceptions=True,
    )
    taken = [r for r in results if isinstance(r, TakenError)]
    assert len(taken) == 19
    (winner,) = (await store.get("s")).agents
    assert {error.by for error in taken} == {winner}
    assert (await store.get("s")).last == 1


async def test_the_winner_may_ask_again_and_others_may_join_beside_him(
    store: Store,
) -> None:
    await opened(store)
    alone = joins("ann", alone=True)
    await store.append("s", [answered()], transition=alone)
    again = await store.append("s", [answered()], transition=alone)
    assert (again.repeated, again.entries) == (True, ())
    await store.append("s", [], transition=joins("bo", role=Role.SUPERVISOR))
    assert [p.id for p in (await store.get("s")).agents] == ["ann", "bo"]


async def test_ending_is_for_everybody_and_tells_who_took_part(store: Store) -> None:
    await opened(store)
    await store.append("s", [], transition=joins())
    await store.append("s", [answered("bye", 30.0)], transition=End())
    session = await store.get("s")
    assert (session.state, session.ended, session.ended_at) == ("ended", True, 30.0)
    assert [p.id for p in session.agents] == ["ann"]
    for transition in (None, joins("bo"), Leave(agent_id="ann")):
        with pytest.raises(SessionEndedError):
            await store.append("s", [said()], transition=transition)
    assert (await store.get("s")) == session


@pytest.mark.parametrize(
    "transition", [asks(), joins(), Leave(agent_id="gone"), End()], ids=repr
)
async def test_a_transition_made_already_is_a_repeat_without_entries(
    store: Store, transition: End
) -> None:
    await opened(store)
    await store.append("s", [], transition=joins())
    if isinstance(transition, End):
        await store.append("s", [], transition=End())
    before = await store.get("s")
    again = await store.append("s", [said()], transition=transition)
    assert (again.repeated, again.entries, again.position) == (True, (), 0)
    assert await store.get("s") == before


async def test_a_late_request_for_an_ended_chat_is_a_repeat(store: Store) -> None:
    await opened(store)
    await store.append("s", [], transition=End())
    assert (await store.append("s", [said()], transition=asks())).repeated
    assert (await store.get("s")).ended
