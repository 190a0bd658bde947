"""What customers do: ask for a chat, write, read, come back, end it."""

import pytest

from cometd_chat.chat.readers import Goodbye, Reader
from cometd_chat.delivery import Reading
from cometd_chat.gms import v1
from cometd_chat.model import CUSTOMER, Device, Profile, Role, Session, State
from cometd_chat.store import (
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    StoreUnavailableError,
)
from tests.chat.world import World, desk, phone

OPEN = v1.parse_open({"userDisplayName": "Kim"})


async def test_a_service_session_can_be_asked_for_one_chat(world: World):
    profile = Profile(user_data={"order": "7", "lang": "de"})
    session = await world.customers.create("sales", "kim", profile)
    assert session.state is State.NEW
    asked = v1.parse_open({"lang": "fr", "subject": "tea", "firstName": "Kim"})
    opened = await world.customers.open(session, asked, "kim")
    assert opened.state is State.WAITING
    assert opened.profile.user_data == {"order": "7", "lang": "fr"}
    assert (opened.profile.subject, opened.profile.first_name) == ("tea", "Kim")
    (entry,) = await world.store.read(session.id, 0)
    assert (entry.kind, entry.role, entry.participant) == (
        "ParticipantJoined",
        Role.CUSTOMER,
        CUSTOMER,
    )


async def test_a_chat_may_begin_with_a_message(world: World):
    session = await world.chat(message="hi")
    assert await world.texts(session) == ["hi"]


async def test_asking_twice_brings_the_same_chat(world: World):
    session = await world.customers.create("sales", "kim", Profile())
    first = await world.customers.open(session, OPEN, "kim")
    again = await world.customers.open(session, OPEN, "kim")
    assert again == first
    assert len(await world.entries(session)) == 1


async def test_a_session_is_found_by_its_key_unless_it_is_another_users(world: World):
    session = await world.chat("kim")
    assert (await world.customers.session(session.key, "kim")).id == session.id
    assert (await world.customers.session(session.key, "")).id == session.id
    with pytest.raises(SessionNotFoundError):
        await world.customers.session(session.key, "eve")
    with pytest.raises(SessionNotFoundError):
        await world.customers.session(session.id, "kim")


async def test_a_session_of_nobody_can_be_opened_by_anybody_with_the_key(world: World):
    session = await world.customers.create("sales", "", Profile())
    found = await world.customers.session(session.key, "kim")
    assert (await world.customers.open(found, OPEN, "kim")).user == "kim"


async def test_nothing_can_be_written_before_the_chat_is_asked_for(world: World):
    session = await world.customers.create("sales", "kim", Profile())
    with pytest.raises(SessionNotOpenError):
        await world.customers.send(session, "hello", "")
    with pytest.raises(SessionNotOpenError):
        await world.customers.end(session)


async def test_a_message_sent_again_by_its_local_id_is_stored_once(world: World):
    session = await world.chat()
    first = await world.customers.send(session, "hello", "m-1")
    again = await world.customers.send(session, "hello", "m-1")
    assert (first.repeated, again.repeated) == (False, True)
    assert first.position == again.position == 2
    await world.customers.send(session, "hello", "")
    await world.customers.send(session, "hello", "")
    assert await world.texts(session) == ["hello"] * 3


async def test_typing_is_part_of_the_transcript(world: World):
    session = await world.chat()
    await world.customers.typing(session, started=True)
    await world.customers.typing(session, started=False)
    kinds = [kind for kind, _ in await world.entries(session)]
    assert kinds == ["ParticipantJoined", "TypingStarted", "TypingStopped"]


async def test_a_chat_is_ended_once_and_nothing_is_written_after_it(world: World):
    session = await world.chat()
    ended = await world.customers.end(session)
    assert ended.ended
    assert await world.customers.end(session) == ended
    assert len(await world.entries(session)) == 2
    with pytest.raises(SessionEndedError):
        await world.customers.send(session, "hello", "")


async def test_asking_again_for_an_ended_chat_does_not_make_its_customer_present(
    world: World,
):
    session = await world.chat()
    await world.customers.end(session)
    world.store.calls.clear()
    again = await world.customers.open(session, OPEN, "kim")
    assert again.ended
    assert "mark_present" not in world.store.calls


@pytest.mark.parametrize(
    ("after", "texts", "position"),
    [(None, ["", "a", "b"], 3), (0, ["", "a", "b"], 3), (1, ["a", "b"], 3),
     (3, [], 3), (99, [], 3)],
)  # fmt: skip
async def test_a_customer_who_polls_gets_what_comes_after_his_position(
    world: World, after, texts, position
):
    session = await world.chat(notify_by="")
    for text in "ab":
        await world.customers.send(session, text, "")
    session = await world.session(session)
    shown = await world.customers.transcript(session, after)
    assert [entry.text for entry in shown.entries] == texts
    assert shown.position == position


async def test_a_position_that_is_given_is_acknowledged_and_no_other(world: World):
    session = await world.chat(notify_by="")
    await world.customers.send(session, "a", "")
    await world.customers.transcript(await world.session(session), None)
    assert (await world.session(session)).acked == 0
    await world.customers.transcript(await world.session(session), 1)
    session = await world.session(session)
    assert session.acked == 1
    shown = await world.customers.transcript(session, None)
    assert [entry.text for entry in shown.entries] == ["a"]


async def ended_by_agent(world: World, session: Session) -> Session:
    agent = await desk(world)
    await agent.do("acceptChat", chatId=session.id)
    await agent.do("endChat", chatId=session.id)
    return await world.session(session)


async def test_who_polls_to_the_end_has_read_it_and_can_read_it_again(world: World):
    """He stops there, so nothing that he does later could keep a push from him."""
    session = await ended_by_agent(world, await world.chat(notify_by=""))
    for _ in range(2):
        shown = await world.customers.transcript(session, 1)
        assert [entry.position for entry in shown.entries] == [2, 3]
        assert (await world.session(session)).acked == 3


@pytest.mark.parametrize(
    ("notify_by", "after", "acked"), [("comet", 1, 1), ("", None, 0)]
)
async def test_the_end_is_not_read_by_who_listens_or_says_no_position(
    world: World, notify_by: str, after: int | None, acked: int
):
    session = await ended_by_agent(world, await world.chat(notify_by=notify_by))
    shown = await world.customers.transcript(session, after)
    assert shown.position == 3
    assert (await world.session(session)).acked == acked


async def test_a_refresh_of_a_listening_customer_consumes_nothing(world: World):
    """Apps call it without a position when they were killed, before they listen."""
    session = await world.session(await world.chat())
    shown = await world.customers.transcript(session, None)
    assert (shown.entries, shown.position) == ((), 1)
    app = await phone(world)
    assert await app.read() == [(1, "has joined the session")]


async def test_a_customer_who_listens_may_still_ask_from_a_position(world: World):
    session = await world.session(await world.chat())
    shown = await world.customers.transcript(session, 0)
    assert len(shown.entries) == 1


async def test_a_chat_that_is_opened_later_reaches_the_listening_app(world: World):
    app = await phone(world)
    other = await phone(world, "eve")
    session = await world.chat()
    assert await app.read() == [(1, "has joined the session")]
    assert await other.read() == []
    await world.customers.open(session, OPEN, "kim")
    assert await app.read() == []


async def test_all_apps_of_a_user_get_all_his_chats(world: World):
    first = await world.chat()
    apps = [await phone(world), await phone(world)]
    second = await world.chat()
    for app in apps:
        ids = {event["message"]["chatSessionId"] for event in await app.poll()}
        assert ids == {first.id, second.id}


async def test_entries_carry_an_index_where_the_option_says_so(world: World):
    world.configure("[auth]\ngms_user=trusted\n[chat.sales]\n"
                    "enable-fast-chat-transcript-refresh=true")  # fmt: skip
    await world.chat()
    (event,) = await (await phone(world)).poll()
    assert event["message"]["transcriptToShow"][0][5] == "1"


async def test_the_end_of_the_last_chat_is_still_delivered(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.read()
    await app.poll()
    await app.disconnect()
    await world.customers.end(session)
    (event,) = await (await phone(world)).poll()
    assert event["message"]["chatIxnState"] == "DISCONNECTED"
    assert event["message"]["transcriptPosition"] == "2"


async def test_a_chat_that_was_read_to_its_end_is_not_delivered_again(world: World):
    session = await world.chat()
    app = await phone(world)
    await world.customers.end(session)
    assert len(await app.read()) == 2
    assert await app.read() == []
    assert world.delivery.cursors(app.id) == {}
    assert (await world.session(session)).acked == 2
    assert await (await phone(world)).read() == []


async def test_a_message_between_the_look_and_the_subscription_arrives(world: World):
    """The store answered, then somebody wrote, then the app was attached."""
    session = await world.chat()
    app = await phone(world, subscribe=False)
    async with world.store.holding("of_user", app.subscribe("/_genesys")):
        await world.customers.send(session, "hello", "")
    assert await app.read() == [(1, "has joined the session"), (2, "hello")]


async def test_a_chat_opened_while_the_app_subscribes_arrives_once(world: World):
    app = await phone(world, subscribe=False)
    async with world.store.holding("of_user", app.subscribe("/_genesys")):
        await world.chat()
    assert await app.read() == [(1, "has joined the session")]


async def test_an_app_that_leaves_while_it_subscribes_leaves_nothing(world: World):
    await world.chat()
    app = await phone(world, subscribe=False)
    async with world.store.holding("of_user", app.subscribe("/_genesys")):
        await app.disconnect()
    assert not any(world.traces)


async def test_an_app_that_leaves_while_it_polls_leaves_nothing(world: World):
    """It reads two chats, and says goodbye while the first is being written."""
    for _ in range(2):
        await world.chat()
    app = await phone(world)
    world.clock.now += 30
    async with world.store.holding("mark_present", app.poll()):
        await app.disconnect()
    assert not any(world.traces)
    for session in await world.store.of_user("kim"):
        assert not session.present


async def test_the_store_may_fail_when_a_chat_is_opened_and_again_be_asked(
    world: World,
):
    session = await world.customers.create("sales", "kim", Profile())
    world.store.broken = {"mark_present"}
    with pytest.raises(StoreUnavailableError):
        await world.customers.open(session, OPEN, "kim")
    world.store.broken = set()
    await world.customers.open(session, OPEN, "kim")
    world.clock.now += 46
    await world.presence.sweep()
    assert not (await world.session(session)).present


async def test_a_cut_position_is_said_of_the_only_chat(world: World):
    session = await world.chat()
    for text in "abc":
        await world.customers.send(session, text, "")
    app = await phone(world, subscribe=False)
    await app.subscribe("/_genesys", transcriptPosition="2")
    assert await app.read() == [(3, "b"), (4, "c")]
    assert (await world.session(session)).acked == 2


async def test_a_position_says_nothing_of_several_chats(world: World):
    """Positions are those of one chat; which one, no client of version 1 can tell."""
    sessions = [await world.chat() for _ in range(2)]
    app = await phone(world, transcriptPosition="1")
    assert len(await app.read()) == 2
    await app.disconnect(transcriptPosition="1")
    again = await phone(world)
    assert len(await again.read()) == 2
    assert await world.readers.remembered("gone", "kim", Goodbye(position=1))
    for session in sessions:
        assert (await world.session(session)).acked == 0


async def test_a_goodbye_is_about_the_only_chat_that_can_be_there(world: World):
    """An app that was killed has left a chat, which nobody has ended."""
    left, session = await world.chat(), await world.chat()
    await world.customers.send(session, "a", "")
    app = await phone(world)
    await app.read()
    await world.customers.send(session, "b", "")
    assert await app.read() == [(3, "b")]
    await app.disconnect(transcriptPosition="3")
    assert (await world.session(session)).acked == 3
    assert (await world.session(left)).acked == 1


async def test_a_goodbye_is_no_word_about_what_was_not_sent(world: World):
    left, session = await world.chat(), await world.chat()
    app = await phone(world)
    await app.read()
    await app.disconnect(transcriptPosition="2")
    for chat in (left, session):
        assert (await world.session(chat)).acked == 0


async def test_what_an_agent_wrote_is_read_by_the_customer(world: World):
    session = await world.chat()
    app, agent = await phone(world), await desk(world)
    await app.read()
    await agent.do("acceptChat", chatId=session.id)
    await agent.do("sendMessage", chatId=session.id, message="hello")
    (event,) = await app.poll()
    assert [row[:3] + row[4:] for row in event["message"]["transcriptToShow"]] == [
        ["Notice.Joined", "Ann", "has joined the session", "AGENT"],
        ["Message.Text", "Ann", "hello", "AGENT"],
    ]


async def test_a_device_that_came_with_the_service_is_that_of_the_chat(
    world: World,
) -> None:
    device = Device(id="token", type="ios")
    session = await world.customers.create("sales", "kim", Profile(), device)
    await world.customers.open(session, OPEN, "kim")
    (known,) = (await world.session(session)).devices
    assert (known.id, known.registered_at) == ("token", world.clock.now)


async def test_who_comes_from_another_node_has_all_his_chats_read_at_once(world: World):
    chats = [await world.chat() for _ in range(3)]
    reading = [Reading(chat.id, 0, 0) for chat in chats]
    reader = Reader(reads="kim", cursors=reading, leases={})
    world.store.calls.clear()
    coming = world.readers.unpack("c", "kim", reader, whole=True)
    async with world.store.holding("get", coming):
        assert sorted(world.store.calls) == ["get"] * 3 + ["of_user"]
    assert world.delivery.cursors("c").keys() == {chat.id for chat in chats}
