"""Who may come in, what each may do there, and what is left when they have gone."""

import pytest

from cometd_chat.bayeux import Message, RefusedError
from cometd_chat.chat import make_agent_token
from cometd_chat.gms import v1
from cometd_chat.model import Profile
from tests.chat.world import (
    AGENTS,
    CUSTOMERS,
    SECRET,
    World,
    desk,
    headers,
    phone,
)

JOINED = "has joined the session"


async def refusal(work) -> str:
    with pytest.raises(RefusedError) as caught:
        await work
    return str(caught.value)


def token(**claims: object) -> str:
    return make_agent_token(SECRET, claims)


async def test_an_app_is_bound_by_the_user_in_its_header(world: World):
    await world.chat("kim")
    await world.chat("eve")
    app = await phone(world, "kim")
    assert len(await app.poll()) == 1


async def test_an_app_is_bound_by_the_user_of_a_signed_header(world: World):
    world.configure(f"[auth]\ngms_user=signed\ncustomer_secret={SECRET}")
    await world.chat("kim")
    app = await phone(world, token(sub="kim"))
    assert await app.read() == [(1, JOINED)]


@pytest.mark.parametrize("mode", ["off", "signed", "trusted"])
@pytest.mark.parametrize("early", [True, False])
async def test_an_app_is_bound_by_its_service_id_in_every_mode(
    world: World, mode, early
):
    world.configure(f"[auth]\ngms_user={mode}\ncustomer_secret={SECRET}")
    session = await world.chat("")
    if early:
        app = await phone(world, "", serviceId=session.key)
    else:
        app = await phone(world, "", subscribe=False)
        await app.subscribe(CUSTOMERS, serviceId=session.key)
    assert await app.read() == [(1, JOINED)]


async def test_an_app_may_listen_before_the_chat_of_its_service_is_opened(
    world: World,
):
    world.configure("[auth]\ngms_user=off")
    session = await world.customers.create("sales", "", Profile())
    app = await phone(world, "", serviceId=session.key)
    assert await app.read() == []
    await world.customers.open(session, v1.parse_open({}), "")
    assert await app.read() == [(1, JOINED)]


NOBODY = "Send ext.serviceId, or gms_user as [auth] and [server] trusted_proxies allow"


async def test_the_header_is_not_looked_at_when_that_is_off(world: World):
    await world.chat("kim")
    world.configure("[auth]\ngms_user=off")
    app = await phone(world, "kim", subscribe=False)
    assert await refusal(app.subscribe(CUSTOMERS)) == (f"403:/_genesys:{NOBODY}")


@pytest.mark.parametrize("key", ["unknown", ""])
async def test_an_unknown_service_id_is_refused(world: World, key):
    app = await phone(world, "", subscribe=False, serviceId=key)
    answer = await refusal(app.subscribe(CUSTOMERS))
    assert answer == (
        "404:/_genesys:Unknown service" if key else f"403:/_genesys:{NOBODY}"
    )


async def test_the_service_id_of_another_user_is_as_good_as_unknown(world: World):
    session = await world.chat("kim")
    app = await phone(world, "eve", subscribe=False, serviceId=session.key)
    assert await refusal(app.subscribe(CUSTOMERS)) == "404:/_genesys:Unknown service"


@pytest.mark.parametrize("cluster", [False, True])
async def test_who_was_refused_does_not_hear_of_the_chat_later(world: World, cluster):
    if cluster:
        world.readers.follow()
    session = await world.customers.create("sales", "kim", Profile())
    app = await phone(world, "eve", subscribe=False, serviceId=session.key)
    assert "404:" in await refusal(app.subscribe(CUSTOMERS))
    asked = v1.parse_open({"userDisplayName": "Kim", "notify_by": "comet"})
    await world.customers.open(session, asked, "kim")
    assert await app.read() == []


async def test_who_is_refused_another_chat_goes_on_with_his_own(world: World):
    app = await phone(world, "eve")
    theirs = await world.chat("kim")
    assert "404:" in await refusal(app.subscribe(CUSTOMERS, serviceId=theirs.key))
    await world.chat("eve")
    assert await app.read() == [(1, JOINED)]


@pytest.mark.parametrize("ext", [{"serviceId": 7}, {"serviceId": None}, {}])
async def test_a_service_id_that_is_no_text_is_none(world: World, ext):
    app = await phone(world, "", subscribe=False, **ext)
    assert "403" in await refusal(app.subscribe(CUSTOMERS))


async def test_a_store_that_fails_asks_for_another_try_which_may_succeed(world: World):
    session = await world.chat()
    await world.customers.send(session, "one", "")
    app = await phone(world, subscribe=False, transcriptPosition="1")
    world.store.broken = {"of_user"}
    assert await refusal(app.subscribe(CUSTOMERS)) == "503:/_genesys:Try again"
    world.store.broken = set()
    await app.subscribe(CUSTOMERS)
    assert await app.read() == [(2, "one")]


@pytest.mark.parametrize("name", [AGENTS, "/other", "/_genesys/**", "/service/chat"])
async def test_customers_may_subscribe_to_their_channel_only(world: World, name):
    app = await phone(world, subscribe=False)
    assert await refusal(app.subscribe(CUSTOMERS, name)) == (
        f"403:{name}:Subscription denied"
    )
    assert not any(world.traces)


@pytest.mark.parametrize("name", [CUSTOMERS, "/other", "/service/**"])
async def test_agents_may_subscribe_to_theirs_only(world: World, name):
    agent = await desk(world)
    assert "Subscription denied" in await refusal(agent.subscribe(name))


@pytest.mark.parametrize("channel", [AGENTS, CUSTOMERS, "/other"])
async def test_customers_may_not_publish(world: World, channel):
    app = await phone(world)
    work = world.publish(app.client, Message(channel=channel))
    assert await refusal(work) == f"403:{channel}:Publish denied"


async def test_agents_may_publish_on_their_channel_only(world: World):
    agent = await desk(world)
    work = world.publish(agent.client, Message(channel=CUSTOMERS))
    assert await refusal(work) == f"403:{CUSTOMERS}:Publish denied"


@pytest.mark.parametrize(
    "auth", [{"token": "x"}, {"token": ""}, {"token": 7}, {}, "text", [], 0]
)
async def test_whoever_fails_to_prove_that_he_is_an_agent_stays_out(world: World, auth):
    message = Message(channel="/meta/handshake", ext={"auth": auth})
    text = await refusal(world.application.handshake(message, headers()))
    assert text.startswith("403::")


async def test_a_wrong_header_is_refused_at_the_handshake(world: World):
    world.configure(f"[auth]\ngms_user=signed\ncustomer_secret={SECRET}")
    message = Message(channel="/meta/handshake")
    peer = headers(gms_user="kim")
    text = await refusal(world.application.handshake(message, peer))
    assert text == "403::the token is refused: it is no JSON Web Token"


async def test_another_user_may_not_speak_for_a_client(world: World):
    app = await phone(world, "kim")
    allows = world.application.allows
    assert allows(app.client, headers(gms_user="kim"))
    assert allows(app.client, headers())
    assert not allows(app.client, headers(gms_user="eve"))


async def test_a_header_that_proves_nothing_any_more_is_not_allowed(world: World):
    world.configure(f"[auth]\ngms_user=signed\ncustomer_secret={SECRET}")
    app = await phone(world, token(sub="kim"))
    assert world.application.allows(app.client, headers(gms_user=token(sub="kim")))
    assert not world.application.allows(app.client, headers(gms_user="kim"))


async def test_clients_without_a_user_are_known_by_their_id_alone(world: World):
    session = await world.chat("")
    app = await phone(world, "", serviceId=session.key)
    agent = await desk(world)
    for client in (app.client, agent.client):
        assert world.application.allows(client, headers(gms_user="eve"))


@pytest.mark.parametrize("position", ["2", 2])
async def test_the_position_of_the_handshake_holds_for_the_first_subscription(
    world: World, position
):
    session = await world.chat()
    for text in "abc":
        await world.customers.send(session, text, "")
    app = await phone(world, transcriptPosition=position)
    assert await app.read() == [(3, "b"), (4, "c")]
    assert await app.read() == []
    await world.presence.flush()
    await app.subscribe(CUSTOMERS)
    assert await app.read() == []


@pytest.mark.parametrize("position", [True, -1, "x", 1.5, [], {}, "9" * 17, 2**60])
async def test_a_wrong_position_says_nothing(world: World, position):
    await world.chat()
    app = await phone(world, transcriptPosition=position)
    assert await app.read() == [(1, JOINED)]


async def test_a_poll_may_say_its_position(world: World):
    session = await world.chat()
    await world.customers.send(session, "a", "")
    app = await phone(world)
    assert len(await app.read()) == 2
    assert await app.read(transcriptPosition="1") == [(2, "a")]


async def test_the_background_and_the_way_back(world: World):
    """Background at position 2; what was missed comes in one event."""
    session = await world.chat()
    app, agent = await phone(world), await desk(world)
    await agent.do("acceptChat", chatId=session.id)
    assert [position for position, _ in await app.read()] == [1, 2]
    await app.disconnect(transcriptPosition="2")
    assert (await world.session(session)).acked == 2
    for text in ("one", "two"):
        await agent.do("sendMessage", chatId=session.id, message=text)
    again = await phone(world)
    events = await again.poll()
    assert len(events) == 1
    rows = events[0]["message"]["transcriptToShow"]
    assert [row[2] for row in rows] == ["one", "two"]
    assert events[0]["message"]["transcriptPosition"] == "4"
    assert events[0]["tag"] == f"service.chat.refresh.{session.key}"
    assert (await world.session(session)).present


async def test_a_goodbye_may_set_the_position_back(world: World):
    session = await world.chat()
    for text in "abc":
        await world.customers.send(session, text, "")
    app = await phone(world)
    await app.poll()
    await app.poll()
    await app.disconnect(transcriptPosition="2")
    assert (await world.session(session)).acked == 2


async def test_a_goodbye_without_position_keeps_what_was_confirmed(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await app.poll()
    await world.customers.send(session, "sent but not confirmed", "")
    await app.poll()
    await app.disconnect()
    assert (await world.session(session)).acked == 1


async def test_an_app_that_leaves_at_the_end_of_the_chat_has_read_it(world: World):
    session = await world.chat()
    app = await phone(world)
    await world.customers.end(session)
    await app.poll()
    await app.disconnect()
    assert await (await phone(world)).read() == []


async def test_unsubscribing_ends_the_listening(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    await world.application.unsubscribe(app.client, ["/other"])
    assert world.delivery.watchers(session.id)
    await world.application.unsubscribe(app.client, [CUSTOMERS])
    assert not any(world.traces)
    assert not (await world.session(session)).present
    await world.customers.send(session, "a", "")
    assert await app.poll() == []


async def test_agents_lose_nothing_by_unsubscribing(world: World):
    session = await world.chat()
    agent = await desk(world)
    await agent.do("acceptChat", chatId=session.id)
    await world.application.unsubscribe(agent.client, [AGENTS, CUSTOMERS])
    assert world.delivery.watchers(session.id)


@pytest.mark.parametrize("way", ["disconnect", "expire"])
async def test_nothing_is_left_of_a_client_that_left(world: World, way):
    session = await world.chat()
    app, agent = await phone(world), await desk(world)
    await agent.do("listChats")
    await agent.do("acceptChat", chatId=session.id)
    await agent.do("sendMessage", chatId=session.id, message="x", localId="1")
    await agent.poll()
    await app.poll()
    await app.poll()
    for somebody in (app, agent):
        await getattr(somebody, way)()
    await world.told()
    assert not any(world.traces)


@pytest.mark.parametrize("way", ["disconnect", "expire"])
async def test_nothing_is_left_even_if_the_goodbye_cannot_be_stored(world: World, way):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    world.store.broken = {"mark_absent"}
    if way == "disconnect":
        await app.disconnect()
    else:
        with pytest.raises(Exception, match="broken by the test"):
            await app.expire()
    assert not any(world.traces)
    world.store.broken = set()
    world.clock.now += 40
    await world.presence.sweep()
    assert not (await world.session(session)).present


async def test_a_poll_is_held_although_presence_cannot_be_stored(world: World):
    await world.chat()
    app = await phone(world)
    world.clock.now += 30
    world.store.broken = {"mark_present"}
    assert await app.read() == [(1, JOINED)]


async def test_silence_of_agents_means_nothing(world: World):
    agent = await desk(world)
    world.store.calls.clear()
    await agent.fall_silent()
    assert world.store.calls == []


def farewell(world: World, client_id: str | None, user: str = "", **ext: object):
    message = Message(channel="/meta/disconnect", client_id=client_id, ext=ext)
    peer = headers(gms_user=user) if user else headers()
    return world.application.farewell(message, peer)


async def forgotten(world: World) -> str:
    """Let an app poll on a node that dies then; return its client's id."""
    app = await phone(world)
    await app.poll()
    world.readers.deafen(app.id)
    return app.id


@pytest.mark.parametrize("user", ["", "kim"])
async def test_the_goodbye_of_a_forgotten_client_counts(world: World, user):
    session = await world.chat()
    for text in "abc":
        await world.customers.send(session, text, "")
    client_id = await forgotten(world)
    assert await farewell(world, client_id, user, transcriptPosition="3")
    session = await world.session(session)
    assert (session.present, session.acked) == (False, 3)


async def test_a_goodbye_finds_the_chats_by_their_user(world: World):
    session = await world.chat()
    world.clock.now += 11
    assert await farewell(world, "never-heard-of", "kim", transcriptPosition="1")
    session = await world.session(session)
    assert (session.present, session.acked) == (False, 1)


async def test_a_goodbye_by_user_leaves_those_present_who_are_there(world: World):
    session = await world.chat()
    app = await phone(world)
    await app.poll()
    assert await farewell(world, "never-heard-of", "kim")
    assert (await world.session(session)).present


@pytest.mark.parametrize(
    ("client_id", "user"), [(None, ""), ("", ""), ("unknown", ""), ("unknown", "eve")]
)
async def test_a_goodbye_of_nobody_is_unknown(world: World, client_id, user):
    session = await world.chat()
    assert not await farewell(world, client_id, user, transcriptPosition="1")
    assert (await world.session(session)).acked == 0


async def test_another_user_cannot_say_goodbye_for_a_forgotten_client(world: World):
    session = await world.chat()
    client_id = await forgotten(world)
    assert not await farewell(world, client_id, "eve", transcriptPosition="1")
    session = await world.session(session)
    assert (session.present, session.acked) == (True, 0)


async def test_a_goodbye_after_the_end_is_of_no_chat(world: World):
    world.configure("[auth]\ngms_user=off")
    session = await world.chat("")
    app = await phone(world, "", serviceId=session.key)
    await app.poll()
    world.readers.deafen(app.id)
    await world.customers.end(session)
    assert not await farewell(world, app.id)


async def test_a_goodbye_with_a_wrong_header_is_refused(world: World):
    world.configure(f"[auth]\ngms_user=signed\ncustomer_secret={SECRET}")
    assert not await farewell(world, "unknown", "kim")


async def test_a_goodbye_that_cannot_be_looked_up_is_unknown(world: World):
    world.store.broken = {"of_client"}
    assert not await farewell(world, "unknown", "kim")


async def test_a_new_client_resumes_where_the_old_one_was(world: World):
    session = await world.chat()
    old = await phone(world)
    await old.poll()
    await old.poll()
    await world.customers.send(session, "unconfirmed", "")
    await old.poll()
    new = await phone(world, subscribe=False)
    assert await old.resumed(new)
    assert await new.read() == [(2, "unconfirmed")]
    assert await old.read() == []
    await world.chat()
    assert len(await new.poll()) == 1
    await new.disconnect()
    assert not any(world.traces)
    assert not (await world.session(session)).present


async def test_a_client_that_resumes_may_say_what_it_has(world: World):
    session = await world.chat()
    for text in "ab":
        await world.customers.send(session, text, "")
    old = await phone(world)
    await old.poll()
    new = await phone(world, subscribe=False)
    assert await old.resumed(new, 2)
    assert await new.read() == [(3, "b")]


async def test_a_client_that_never_listened_may_be_resumed(world: World):
    old, new = await phone(world, subscribe=False), await phone(world, subscribe=False)
    assert await old.resumed(new)
    assert not any(world.traces)


async def test_resuming_succeeds_although_presence_cannot_be_stored(world: World):
    """The old client has nothing any more: a failure would leave the new one deaf."""
    await world.chat()
    old, new = await phone(world), await phone(world, subscribe=False)
    world.clock.now += 30
    world.store.broken = {"mark_present"}
    assert await old.resumed(new)
    assert await new.read() == [(1, JOINED)]


async def test_nobody_resumes_as_somebody_else(world: World):
    app, agent = await phone(world), await desk(world)
    others = [
        (app, await phone(world, "eve")),
        (app, agent),
        (agent, app),
        (agent, await desk(world, "bob")),
        (agent, await desk(world, services=["sales"])),
    ]
    for old, new in others:
        assert not await old.resumed(new)


async def test_an_agent_resumes_with_his_chats_and_his_list(world: World):
    session = await world.chat()
    old = await desk(world)
    await old.do("listChats")
    await old.do("acceptChat", chatId=session.id)
    await old.hear()
    new, empty = await desk(world), await desk(world)
    assert await old.resumed(new)
    assert await empty.resumed(await desk(world))
    await old.disconnect()
    events = await new.hear()
    assert any(event["messages"] for event in events)
    await world.customers.send(session, "hi", "")
    assert ["chats" in event for event in await new.hear()] == [True, False]


@pytest.mark.parametrize(
    ("replay", "texts", "told"),
    [
        (-1, [], {"from": 3, "tip": 3, "gap": False}),
        ("-1", [], {"from": 3, "tip": 3, "gap": False}),
        (-2, [JOINED, "a", "b"], {"from": 0, "tip": 3, "gap": False}),
        (1, ["a", "b"], {"from": 1, "tip": 3, "gap": False}),
        (9, [], {"from": 3, "tip": 3, "gap": True}),
    ],
)
async def test_a_subscription_may_ask_for_a_replay(world: World, replay, texts, told):
    session = await world.chat()
    for text in "ab":
        await world.customers.send(session, text, "")
    app = await phone(world, subscribe=False)
    answer = await app.subscribe(CUSTOMERS, replay={CUSTOMERS: replay})
    assert answer == {"replay": {CUSTOMERS: told}}
    assert [text for _, text in await app.read()] == texts


async def test_there_is_no_answer_about_the_replay_of_several_chats(world: World):
    for _ in range(2):
        await world.chat()
    app = await phone(world, subscribe=False)
    assert await app.subscribe(CUSTOMERS, replay={CUSTOMERS: -1}) is None
    assert len(await app.read()) == 2


async def test_a_wrong_replay_is_none(world: World):
    await world.chat()
    app = await phone(world, subscribe=False)
    assert await app.subscribe(CUSTOMERS, replay={CUSTOMERS: "x"}) is None
    assert len(await app.read()) == 1
