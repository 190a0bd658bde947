"""What agents do, and what they hear."""

import asyncio
from pathlib import Path

import pytest

from cometd_chat.bayeux import RefusedError
from cometd_chat.chat import Agent
from cometd_chat.chat.desks import Desk
from cometd_chat.chat.lists import LATELY, Recent
from cometd_chat.model import Leave, Profile, State
from cometd_chat.store import Change, Limits
from tests.chat.test_application import refusal
from tests.chat.world import Somebody, World, damage, desk, phone

NOTICE = "customer is not online"


async def accepted(world: World, name: str = "ann", **claims: object):
    """Return a chat, and the desk of the agent who has it."""
    session = await world.chat()
    agent = await desk(world, name, **claims)
    await agent.do("acceptChat", chatId=session.id)
    await agent.hear()
    return session, agent


def messages(events) -> list[tuple[int, str, str]]:
    return [
        (m["index"], m["type"], m.get("text", ""))
        for event in events
        for m in event["messages"]
        if "index" in m
    ]


async def test_accepting_a_chat_brings_its_transcript(world: World):
    session = await world.chat(message="help")
    agent = await desk(world)
    await agent.do("acceptChat", chatId=session.id, localId="l-1")
    answer, *rest = await agent.hear()
    assert answer["customer"] == {
        "nickname": "Kim",
        "online": True,
        "since": None,
        "userData": {},
    }
    assert (answer["chatId"], answer["statusCode"], answer["localId"]) == (
        session.id,
        0,
        "l-1",
    )
    assert messages(rest) == [
        (1, "ParticipantJoined", ""),
        (2, "Message", "help"),
        (3, "ParticipantJoined", ""),
    ]
    assert rest[-1]["messages"][2]["from"] == {
        "nickname": "Ann",
        "participantId": 2,
        "type": "Agent",
    }
    assert (await world.session(session)).state is State.ACTIVE


async def test_one_of_twenty_agents_gets_the_chat(world: World):
    session = await world.chat()
    agents = [await desk(world, f"agent{n}") for n in range(20)]
    done = await asyncio.gather(
        *(agent.do("acceptChat", chatId=session.id) for agent in agents),
        return_exceptions=True,
    )
    winners = [n for n, outcome in enumerate(done) if outcome is None]
    assert len(winners) == 1
    assert {str(outcome) for outcome in done if outcome} == {
        f"409::Agent{winners[0]} has this chat"
    }
    loser = agents[(winners[0] + 1) % 20]
    (answer,) = await loser.hear()
    assert (answer["chatId"], answer["statusCode"]) == (session.id, 2)
    assert answer["errors"] == [
        {"code": 409, "advice": f"Agent{winners[0]} has this chat"}
    ]
    assert len(world.delivery.watchers(session.id)) == 1


async def test_accepting_again_brings_the_transcript_again(world: World):
    session, agent = await accepted(world)
    await agent.do("acceptChat", chatId=session.id)
    assert len(messages(await agent.hear())) == 2
    assert len(await world.entries(session)) == 2


@pytest.mark.parametrize(
    ("operation", "fields", "entry"),
    [
        ("sendMessage", {"message": "hi", "messageType": "m"}, ("Message", "hi")),
        ("startTyping", {}, ("TypingStarted", "")),
        ("stopTyping", {}, ("TypingStopped", "")),
        ("pushUrl", {"pushUrl": "https://a.test/"}, ("PushUrl", "https://a.test/")),
        ("customNotice", {"message": "{}"}, ("CustomNotice", "{}")),
    ],
)
async def test_what_an_agent_says_is_stored_and_answered(
    world: World, operation, fields, entry
):
    session, agent = await accepted(world)
    await agent.do(operation, chatId=session.id, localId="l-1", **fields)
    answer, said = await agent.hear()
    assert (answer["localId"], answer["position"]) == ("l-1", 3)
    assert messages([said]) == [(3, *entry)]


async def test_an_entry_and_its_receipt_wake_their_agent_once(world: World):
    session, agent = await accepted(world)
    await agent.hear()
    names: list[str] = []
    world.delivery.on_wake(names.append)
    await agent.do("sendMessage", chatId=session.id, message="hi", localId="l-1")
    assert names == [agent.id]


async def test_what_cannot_be_stored_keeps_nothing_from_its_agent(world: World):
    session, agent = await accepted(world)
    await agent.hear()
    names: list[str] = []
    world.delivery.on_wake(names.append)
    world.store.broken = {"append"}
    await refusal(
        agent.do("sendMessage", chatId=session.id, message="hi", localId="l-1")
    )
    assert names[-1] == agent.id
    assert [e["errors"][0]["code"] for e in await agent.hear()] == [503]


@pytest.mark.parametrize(
    ("operation", "fields", "notable"),
    [
        ("sendMessage", {"message": "hi"}, 3),
        ("sendMessage", {"message": "hi", "push": {"disabled": True}}, 2),
        ("sendMessage", {"message": "hi", "push": {"disabled": False}}, 3),
        ("startTyping", {}, 2),
        ("pushUrl", {"pushUrl": "https://a.test/"}, 3),
        ("leaveChat", {}, 3),
    ],
)
async def test_what_may_be_pushed_is_noted(world: World, operation, fields, notable):
    session, agent = await accepted(world)
    await agent.do(operation, chatId=session.id, **fields)
    assert (await world.session(session)).notable == notable


async def test_what_may_be_pushed_is_an_option(world: World):
    world.configure(
        "[service.sales]\n_filtering_chat_events=Message.Text,Notice.Joined"
    )
    session, agent = await accepted(world)
    await agent.do("sendMessage", chatId=session.id, message="hi")
    await agent.do("startTyping", chatId=session.id)
    assert (await world.session(session)).notable == 4
    await agent.do("sendMessage", chatId=session.id, message="hi")
    assert (await world.session(session)).notable == 4


async def test_a_publish_that_comes_again_is_stored_once(world: World):
    session, agent = await accepted(world)
    for _ in range(3):
        await agent.do("sendMessage", name="7", chatId=session.id, message="hi")
    assert await world.texts(session) == ["hi"]


async def test_another_content_under_the_same_id_is_another_message(world: World):
    """Ids begin anew when a page is loaded again."""
    session, agent = await accepted(world)
    for text in ("one", "two"):
        await agent.do("sendMessage", name="7", chatId=session.id, message=text)
    assert await world.texts(session) == ["one", "two"]


async def test_the_same_content_under_another_id_is_another_message(world: World):
    session, agent = await accepted(world)
    for name in ("7", "8", None, None):
        await agent.do("sendMessage", name=name, chatId=session.id, message="hi")
    assert await world.texts(session) == ["hi"] * 4


async def test_a_publish_is_remembered_for_its_window_only(world: World):
    session, agent = await accepted(world)
    for later in (0, 119, 1):
        world.clock.now += later
        await agent.do("sendMessage", name="7", chatId=session.id, message="hi")
    assert await world.texts(session) == ["hi"] * 2


async def test_a_local_id_is_remembered_for_good_and_per_agent(world: World):
    session, agent = await accepted(world)
    for _ in range(2):
        await agent.do("sendMessage", chatId=session.id, message="hi", localId="1")
        world.clock.now += 86_400
    events = await agent.hear()
    assert [e["position"] for e in events if "localId" in e] == [3, 3]
    other = await desk(world, "ann")
    await other.do("sendMessage", chatId=session.id, message="hi", localId="1")
    assert await world.texts(session) == ["hi"]


async def test_only_those_in_the_chat_may_speak_there(world: World):
    session, _ = await accepted(world)
    stranger = await desk(world, "bob")
    for operation in ("startTyping", "endChat", "requestNotifications"):
        answer = await refusal(stranger.do(operation, chatId=session.id))
        assert answer == "403::Accept the chat first"
    assert len(await world.entries(session)) == 2
    assert {e["errors"][0]["code"] for e in await stranger.hear()} == {403}


async def test_to_leave_again_changes_nothing(world: World):
    session, agent = await accepted(world)
    for _ in range(2):
        await agent.do("leaveChat", chatId=session.id)
    assert len(await world.entries(session)) == 3


@pytest.mark.parametrize("chat", ["unknown", "foreign"])
@pytest.mark.parametrize(
    "operation",
    ["acceptChat", "startTyping", "leaveChat", "endChat", "requestNotifications"],
)
async def test_foreign_chats_answer_like_unknown_ones(world: World, chat, operation):
    foreign = await world.chat()
    asked = foreign.id if chat == "foreign" else "unknown"
    agent = await desk(world, services=["other"], role="supervisor")
    answer = await refusal(agent.do(operation, chatId=asked))
    assert answer == "404::There is no such chat"
    (event,) = await agent.hear()
    assert (event["chatId"], event["errors"]) == (
        asked,
        [{"code": 404, "advice": "There is no such chat"}],
    )


async def test_a_chat_nobody_has_asked_for_yet_is_none(world: World):
    session = await world.customers.create("sales", "kim", Profile())
    agent = await desk(world)
    answer = await refusal(agent.do("acceptChat", chatId=session.id))
    assert answer == "404::There is no such chat"


async def test_an_agent_who_leaves_hears_no_more_on_any_of_his_clients(world: World):
    session, agent = await accepted(world)
    tab, other = await desk(world, "ann"), await desk(world, "bob")
    await tab.do("requestNotifications", chatId=session.id)
    await tab.hear()
    await other.do("listChats")
    await other.hear()
    await agent.do("leaveChat", chatId=session.id, localId="l-1")
    (answer,) = await agent.hear()
    assert (answer["localId"], answer["position"]) == ("l-1", 3)
    assert (await world.session(session)).state is State.WAITING
    await world.customers.send(session, "still there?", "")
    assert [await tab.hear(), await agent.hear()] == [[], []]
    assert await refusal(agent.do("startTyping", chatId=session.id)) == (
        "403::Accept the chat first"
    )
    await other.do("acceptChat", chatId=session.id)


async def test_an_agent_who_leaves_on_another_node_hears_no_more(world: World):
    session, agent = await accepted(world)
    boss = await desk(world, "eve", role="supervisor")
    await boss.do("requestNotifications", chatId=session.id)
    await world.store.append(session.id, [], transition=Leave(agent_id="ann"))
    for console in (agent, boss):
        await console.hear()
    await world.customers.send(session, "still there?", "")
    assert await agent.hear() == []
    (event,) = await boss.hear()
    assert event["messages"][0]["text"] == "still there?"


async def test_the_end_of_a_chat_is_the_end_for_everybody(world: World):
    session, agent = await accepted(world)
    app = await phone(world)
    await app.poll()
    await agent.do("endChat", chatId=session.id, localId="l-1")
    events = await agent.hear()
    assert [event["chatEnded"] for event in events] == [False, True]
    (event,) = await app.poll()
    assert event["message"]["chatIxnState"] == "DISCONNECTED"
    await agent.do("endChat", chatId=session.id)
    assert len(await world.entries(session)) == 3
    answer = await refusal(
        agent.do("sendMessage", chatId=session.id, message="x", localId="l-2")
    )
    assert answer == "410::The chat has ended"
    assert (await agent.hear())[-1]["localId"] == "l-2"
    assert not world.delivery.watchers(session.id).keys() & {agent.id}


@pytest.mark.parametrize("position", [None, 0, 1, 2, 3, 4, 99])
async def test_notifications_can_be_asked_for_from_any_position(world: World, position):
    session, agent = await accepted(world)
    await agent.do("sendMessage", chatId=session.id, message="hi")
    again = await desk(world, "ann")
    wanted = {} if position is None else {"transcriptPosition": position}
    await again.do("requestNotifications", chatId=session.id, **wanted)
    found = [index for index, *_ in messages(await again.hear())]
    assert found == list(range(max(position or 1, 1), 4))


async def test_a_supervisor_may_follow_every_chat_of_his_services(world: World):
    session, _ = await accepted(world)
    supervisor = await desk(world, "sue", role="supervisor", services=["sales"])
    await supervisor.do("requestNotifications", chatId=session.id)
    assert len(messages(await supervisor.hear())) == 2
    other = await desk(world, "sam", role="supervisor", services=["other"])
    assert "404" in await refusal(other.do("requestNotifications", chatId=session.id))


async def test_a_supervisor_joins_as_such(world: World):
    session, _ = await accepted(world, role="supervisor")
    (_, joined) = await world.store.read(session.id, 0)
    assert joined.role == "Supervisor"


@pytest.mark.parametrize("operation", ["listChats", "nonsense", ""])
async def test_what_is_no_operation_is_refused_in_both_ways(world: World, operation):
    agent = await desk(world)
    answer = await refusal(agent.do(operation, chatId="x", state="gone"))
    assert answer.startswith("400::")
    (event,) = await agent.hear()
    assert (event["statusCode"], event["errors"][0]["code"]) == (2, 400)


async def test_a_store_that_fails_asks_for_another_try(world: World):
    session, agent = await accepted(world)
    world.store.broken = {"append"}
    answer = await refusal(agent.do("startTyping", chatId=session.id, localId="l"))
    assert answer == "503::The chat cannot be stored now"
    (event,) = await agent.hear()
    assert (event["statusCode"], event["localId"]) == (1, "l")


async def test_a_full_transcript_refuses_more(world: World):
    session, agent = await accepted(world)
    world.store._store._limits = Limits(entries=3)
    await agent.do("startTyping", chatId=session.id)
    answer = await refusal(agent.do("startTyping", chatId=session.id))
    assert answer == "413::The transcript is full"
    await agent.do("endChat", chatId=session.id)


async def test_a_chat_that_is_damaged_is_told_to_be(world: World, tmp_path: Path):
    session, agent = await accepted(world)
    damage(tmp_path, session)
    for _ in range(2):
        operation = agent.do("leaveChat", chatId=session.id)
        assert await refusal(operation) == "500::The chat is damaged"
    assert [e["statusCode"] for e in await agent.hear() if "statusCode" in e] == [2, 2]


async def test_what_cannot_be_stored_at_all_is_refused(world: World):
    session = await world.chat()
    agent = await desk(world)
    agent.client.identity = Agent(id="\ud800", nickname="Ann")
    answer = await refusal(agent.do("acceptChat", chatId=session.id))
    assert answer == "400::This cannot be stored"


# Lists


def listed(events) -> list[list[tuple[str, str]]]:
    return [
        [(chat["chatId"], chat["state"]) for chat in event["chats"]]
        for event in events
        if "chats" in event
    ]


async def test_a_list_shows_the_chats_that_go_on(world: World):
    first = await world.chat()
    world.clock.now += 1
    second = await world.chat()
    over = await world.chat()
    await world.customers.end(over)
    agent = await desk(world)
    await agent.do("listChats", localId="l")
    events = await agent.hear()
    assert listed(events) == [[(first.id, "waiting"), (second.id, "waiting")]]
    assert events[0]["localId"] == "l"


async def test_customers_with_much_to_tell_leave_room_for_others(world: World):
    """What is too large for a mailbox would be dropped, and the list with it."""
    session = await world.chat("kim", order="17")
    for n in range(50):
        more = {"subject": "s" * 8_000, "notes": "d" * 8_000, "message": "t" * 8_000}
        await world.chat(f"user-{n}", **more)
    agent = await desk(world)
    await agent.do("listChats", localId="all")
    (event,) = await agent.hear()
    assert event["localId"] == "all"
    chats = {chat["chatId"]: chat for chat in event["chats"]}
    assert len(chats) == 51
    assert chats.pop(session.id)["customer"]["userData"] == {"order": "17"}
    for chat in chats.values():
        assert chat["customer"]["userData"] == {}
        assert (chat["subject"], chat["lastText"]) == ("s" * 100, "t" * 100)


async def test_a_list_is_kept_up_to_date(world: World):
    agent = await desk(world)
    await agent.do("listChats")
    await agent.hear()
    session = await world.chat()
    assert listed(await agent.hear())[-1] == [(session.id, "waiting")]
    other = await desk(world, "bob")
    await other.do("acceptChat", chatId=session.id)
    assert listed(await agent.hear()) == [[(session.id, "active")]]
    await world.customers.send(session, "hi", "")
    (event,) = await agent.hear()
    assert event["chats"][0]["lastText"] == "hi"
    assert event["chats"][0]["unread"] == 1
    await world.customers.end(session)
    assert listed(await agent.hear()) == [[(session.id, "ended")]]
    await world.store.purge(0, world.clock.now + 1)
    assert listed(await agent.hear()) == []


async def test_what_changes_while_a_list_is_read_comes_behind_it(world: World):
    agent = await desk(world)
    session = await world.chat()
    async with world.store.holding("sessions", agent.do("listChats")):
        await world.customers.end(session)
        await world.told()
    assert listed(await agent.hear()) == [
        [(session.id, "waiting")],
        [(session.id, "ended")],
    ]


async def test_what_is_purged_while_a_list_is_read_is_forgotten(world: World):
    agent = await desk(world)
    session = await world.chat()
    await world.customers.end(session)
    reading = agent.do("listChats", state="ended")
    async with world.store.holding("sessions", reading):
        await world.store.purge(0, world.clock.now + 1)
        await world.told()
    await world.told()
    assert not world.desks._lists._followed[agent.id].listed


async def test_what_changes_while_a_list_moves_comes_behind_it(world: World):
    agent = await desk(world)
    session = await world.chat()
    await agent.do("listChats")
    await agent.hear()
    packed = away(world, agent)
    identity = agent.client.identity
    coming = world.desks.unpack(agent.id, identity, packed, whole=False)
    async with world.store.holding("get", coming):
        await world.customers.end(session)
        await world.told()
    assert [e[-1] for e in listed(await agent.hear())][-1] == (session.id, "ended")


@pytest.mark.parametrize(
    ("wanted", "states"),
    [
        ({"state": "waiting"}, ["waiting", "active"]),
        ({"state": "active"}, ["active", "ended"]),
        ({"state": "ended"}, ["ended"]),
        ({}, ["waiting", "active", "ended"]),
    ],
)
async def test_a_chat_is_told_of_once_more_when_it_falls_out_of_the_list(
    world: World, wanted, states
):
    agent, other = await desk(world), await desk(world, "bob")
    await agent.do("listChats", **wanted)
    session = await world.chat()
    await world.told()
    await other.do("acceptChat", chatId=session.id)
    await world.told()
    await other.do("endChat", chatId=session.id)
    found = [state for event in listed(await agent.hear()) for _, state in event]
    assert list(dict.fromkeys(found)) == states


async def test_a_change_that_no_list_shows_is_not_told(world: World):
    session = await world.chat()
    agent = await desk(world)
    await agent.do("listChats")
    await agent.hear()
    world.desks._changed(Change(session_id=session.id, altered=True))
    assert listed(await agent.hear()) == []


def test_what_changed_long_ago_is_forgotten_though_nothing_changes():
    recent = Recent()
    recent.begin()
    recent.note("a", 1.0)
    assert recent.names(1.0 + LATELY) == {"a"}
    assert recent.names(1.1 + LATELY) == set()


async def test_a_list_that_comes_from_another_node_reads_what_changed_once(
    world: World,
):
    world.desks.follow()
    first, second = await desk(world), await desk(world, "bob")
    for agent in (first, second):
        await agent.do("listChats")
        await agent.hear()
    packed = [(agent, away(world, agent)) for agent in (first, second)]
    session = await world.chat()
    for agent, desk_of in packed:
        world.store.calls.clear()
        identity = agent.client.identity
        await world.desks.unpack(agent.id, identity, desk_of, whole=True)
        assert listed(await agent.hear()) == [[(session.id, "waiting")]]
        assert world.store.calls.count("get") == (1 if agent is first else 0)


async def test_what_changes_while_it_is_read_is_read_again(world: World):
    world.desks.follow()
    agent = await desk(world)
    await agent.do("listChats")
    packed = away(world, agent)
    session = await world.chat()

    async def come() -> None:
        identity = agent.client.identity
        await world.desks.unpack(agent.id, identity, packed, whole=True)

    async with world.store.holding("get", come()):
        away(world, agent)
        world.clock.now += 1
        await world.customers.send(session, "hi", "")
    await come()
    assert (await agent.hear())[-1]["chats"][0]["lastText"] == "hi"


def away(world: World, agent: Somebody) -> Desk:
    """Let the agent's client leave for another node."""
    packed = world.desks.pack(agent.id)
    world.desks.forget(agent.id)
    return packed


async def test_a_list_shows_the_agents_services_only(world: World):
    sales, other = await world.chat(), await world.chat(service="other")
    agent = await desk(world, services=["sales"])
    await agent.do("listChats")
    assert listed(await agent.hear()) == [[(sales.id, "waiting")]]
    await world.customers.send(other, "x", "")
    assert listed(await agent.hear()) == []


async def test_a_list_may_be_of_one_service(world: World):
    other = await world.chat(service="other")
    session = await world.chat()
    agent = await desk(world, services=["sales", "other"])
    await agent.do("listChats", service="other", limit=1)
    assert listed(await agent.hear()) == [[(other.id, "waiting")]]
    await world.customers.send(session, "x", "")
    assert listed(await agent.hear()) == []


async def test_a_foreign_service_is_refused_and_keeps_the_former_list(world: World):
    agent = await desk(world, services=["sales"])
    assert "404" in await refusal(agent.do("listChats", service="other"))
    assert not world.desks._lists.wanted


async def test_a_list_remembers_nothing_of_chats_that_are_purged(world: World):
    agent = await desk(world)
    await agent.do("listChats", state="ended")
    session = await world.chat()
    await world.customers.end(session)
    await world.told()
    assert world.desks._lists._followed[agent.id].listed
    await world.store.purge(0, world.clock.now + 1)
    await world.told()
    assert not world.desks._lists._followed[agent.id].listed


async def test_a_purge_takes_no_news_of_other_chats_away(world: World):
    """Both are looked at together, and one of them is not there any more."""
    agent = await desk(world)
    await agent.do("listChats")
    await agent.hear()
    over = await world.chat()
    await world.customers.end(over)
    first, second = await world.chat(), await world.chat("eve")
    await agent.hear()
    async with world.store.holding("get", world.customers.send(first, "a", "")):
        await world.store.purge(0, world.clock.now + 1)
        await world.customers.send(second, "b", "")
    chats = [chat for event in await agent.hear() for chat in event["chats"]]
    assert [chat["lastText"] for chat in chats] == ["a", "b"]


async def test_a_chat_that_cannot_be_read_is_told_of_with_its_next_change(
    world: World,
):
    session = await world.chat()
    agent = await desk(world)
    await agent.do("listChats")
    await agent.hear()
    world.store.broken = {"get"}
    await world.customers.send(session, "a", "")
    assert await agent.hear() == []
    world.store.broken = set()
    await world.customers.send(session, "b", "")
    (event,) = await agent.hear()
    assert event["chats"][0]["lastText"] == "b"


async def test_a_damaged_chat_takes_no_news_of_other_chats_away(
    world: World, tmp_path: Path
):
    damaged, good, other = [await world.chat(user) for user in ("kim", "eve", "bob")]
    agent = await desk(world)
    await agent.do("listChats")
    await agent.hear()
    damage(tmp_path, damaged)
    async with world.store.holding("get", world.customers.send(other, "a", "")):
        await world.customers.send(damaged, "b", "")
        await world.customers.send(good, "c", "")
    chats = [chat for event in await agent.hear() for chat in event["chats"]]
    assert [chat["lastText"] for chat in chats] == ["a", "c"]


# Presence of the customer


async def test_agents_are_told_once_that_the_customer_went_and_came(world: World):
    session, agent = await accepted(world)
    app = await phone(world)
    await app.poll()
    assert await agent.notices() == []
    await app.disconnect()
    assert await agent.notices() == [(False, [NOTICE])]
    await world.customers.send(session, "by another way", "")
    await agent.do("sendMessage", chatId=session.id, message="hello?")
    assert await agent.notices() == []
    again = await phone(world)
    await again.poll()
    assert await agent.notices() == [(True, [])]
    await again.fall_silent()
    assert await agent.notices() == [(False, [NOTICE])]


async def test_the_notice_has_no_position_and_is_no_entry(world: World):
    session, agent = await accepted(world)
    app = await phone(world)
    await app.disconnect()
    (event,) = await agent.hear()
    (notice,) = event["messages"]
    assert notice["type"] == "CustomNotice"
    assert notice["from"] == {"nickname": "Kim", "participantId": 1, "type": "Client"}
    assert notice["utcTime"] == event["customer"]["since"]
    assert "index" not in notice
    assert event["nextPosition"] == 3
    assert len(await world.entries(session)) == 2


@pytest.mark.parametrize("text", ["", "Gone fishing"])
async def test_the_text_of_the_notice_is_an_option_and_may_be_empty(world: World, text):
    _, agent = await accepted(world)
    app = await phone(world)
    world.configure(
        "[auth]\ngms_user=trusted\n"
        f"[service.sales]\n_agent_timeout_notification_message={text}"
    )
    await app.disconnect()
    assert await agent.notices() == [(False, [text] if text else [])]


async def test_an_agent_who_comes_later_is_told_with_his_answer(world: World):
    session, agent = await accepted(world)
    app = await phone(world)
    await app.disconnect()
    await agent.notices()
    again = await desk(world, "ann")
    await again.do("requestNotifications", chatId=session.id)
    assert await again.notices() == [(False, [])]
    assert await agent.notices() == []


async def test_an_agent_is_told_although_his_former_page_knew_better(world: World):
    """What an earlier client was told is nothing to a later one."""
    session, agent = await accepted(world)
    app = await phone(world)
    await app.disconnect()
    assert len(await agent.notices()) == 1
    await agent.disconnect()
    back = await phone(world)
    await back.poll()
    again = await desk(world, "ann")
    await again.do("requestNotifications", chatId=session.id)
    assert await again.notices() == [(True, [])]
    await back.disconnect()
    assert await again.notices() == [(False, [NOTICE])]


async def test_two_absences_in_quick_succession_are_both_told(world: World):
    _, agent = await accepted(world)
    app = await phone(world)
    await app.disconnect()
    assert len(await agent.notices()) == 1
    other = await world.chat("eve")
    await agent.do("listChats")
    world.clock.now += 5
    async with world.store.holding("get", world.customers.send(other, "x", "")):
        await (await phone(world)).disconnect()
    assert await agent.notices() == [(False, [NOTICE])]


async def test_who_comes_from_another_node_tells_nobody_what_is_old(world: World):
    session, agent = await accepted(world)
    world.desks.follow()
    app = await phone(world)
    await app.disconnect()
    assert await agent.notices() == [(False, [NOTICE])]
    mover = await desk(world, "sue", role="supervisor")
    await mover.do("requestNotifications", chatId=session.id)
    assert await mover.notices() == [(False, [])]
    packed = world.desks.pack(mover.id)
    world.desks.forget(mover.id)
    identity = mover.client.identity
    coming = world.desks.unpack(mover.id, identity, packed, whole=True)
    world.clock.now += 1
    async with world.store.holding("get", coming):
        world.clock.now += 1
        await (await phone(world)).poll()
        assert await agent.notices() == [(True, [])]
    assert await agent.notices() == []
    assert await mover.notices() == [(True, [])]


async def test_what_changes_while_a_chat_is_read_for_somebody_comes_behind_it(
    world: World,
):
    session, _ = await accepted(world)
    app = await phone(world)
    await app.poll()
    watcher = await desk(world, "sue", role="supervisor")
    listening = watcher.do("requestNotifications", chatId=session.id)
    async with world.store.holding("get", listening):
        await app.disconnect()
        await world.told()
    assert await watcher.notices() == [(True, []), (False, [NOTICE])]
    again = watcher.do("requestNotifications", chatId=session.id)
    async with world.store.holding("get", again):
        world.clock.now += 1
        await (await phone(world)).poll()
        assert await watcher.notices() == [(True, [])]
    assert await watcher.notices() == [(False, []), (True, [])]


async def test_what_was_asked_for_before_is_old_though_it_comes_later(world: World):
    session, agent = await accepted(world)
    await agent.do("listChats")
    app = await phone(world)
    await app.disconnect()
    assert await agent.notices() == [(False, [NOTICE])]
    async with world.store.holding("get", world.customers.send(session, "x", "")):
        world.clock.now += 1
        await (await phone(world)).poll()
        await agent.do("requestNotifications", chatId=session.id)
    assert await agent.notices() == [(True, [])]


async def test_nothing_is_remembered_of_customers_whose_chats_have_ended(world: World):
    session, agent = await accepted(world)
    await agent.do("endChat", chatId=session.id)
    await agent.hear()
    (there,) = world.desks._desks.values()
    assert (there.absences, there.asked) == ({}, {})


async def test_nor_of_those_that_had_ended_before_they_were_looked_at(world: World):
    session, agent = await accepted(world)
    await agent.do("endChat", chatId=session.id)
    supervisor = await desk(world, "sue", role="supervisor")
    await supervisor.do("requestNotifications", chatId=session.id)
    there = world.desks._desks[supervisor.id]
    assert (there.absences, there.asked) == ({}, {})


async def test_nobody_is_told_of_absence_after_the_end(world: World):
    session, agent = await accepted(world)
    app = await phone(world)
    await app.poll()
    await agent.do("endChat", chatId=session.id)
    await agent.hear()
    await app.disconnect()
    assert await agent.notices() == []


async def test_agents_of_other_chats_are_told_nothing(world: World):
    _, agent = await accepted(world)
    other = await desk(world, "bob")
    await other.do("listChats")
    await other.hear()
    await (await phone(world)).disconnect()
    assert await other.notices() == []
    assert len(await agent.notices()) == 1


async def left_meanwhile(world: World, agent, method: str, work) -> None:
    async with world.store.holding(method, work):
        await agent.disconnect()


@pytest.mark.parametrize(
    ("operation", "method"),
    [("acceptChat", "append"), ("acceptChat", "get"), ("listChats", "sessions")],
)
async def test_an_agent_who_leaves_in_the_middle_of_it_leaves_nothing(
    world: World, operation, method
):
    session = await world.chat()
    agent = await desk(world)
    await left_meanwhile(world, agent, method, agent.do(operation, chatId=session.id))
    await world.told()
    assert not any(world.traces)


async def test_an_agent_who_leaves_before_he_is_refused_leaves_nothing(world: World):
    session = await world.chat()
    agent = await desk(world)
    work = agent.do("startTyping", chatId=session.id)
    with pytest.raises(RefusedError):
        await left_meanwhile(world, agent, "get", work)
    assert not any(world.traces)
