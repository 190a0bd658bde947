"""The Bayeux server without I/O: decisions, replies and the passing of time."""

import gc
import math
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from cometd_chat.bayeux import (
    BayeuxServer,
    Client,
    Disconnect,
    Expired,
    Farewell,
    Handshake,
    Limits,
    Message,
    Publish,
    Release,
    Reply,
    Silent,
    Subscribe,
    Unsubscribe,
    parse,
    screen,
)

from .core import (
    COMPLETE,
    FORGET,
    OFFLINE,
    TIMEOUT,
    admit,
    connect,
    hello,
    join,
    message,
    new_server,
    receive,
    wire,
)

FULL_ADVICE = {"interval": 0, "timeout": 25_000, "maxInterval": 600_000}
UNKNOWN = "402::Unknown client"


@pytest.fixture
def server() -> BayeuxServer:
    return new_server()


def send(
    server: BayeuxServer,
    channel: str,
    client: Client | str | None,
    now: float = 0.0,
    **fields: Any,
) -> object:
    """Return the decision about one message."""
    name = client.id if isinstance(client, Client) else client
    return receive(server, message(channel, name, **fields), now, alone=True)


# Handshake


def test_a_handshake_is_a_question_to_the_application(server: BayeuxServer) -> None:
    sent = hello()
    assert receive(server, sent, 0, alone=True) == Handshake(sent)
    assert len(server) == 0


def test_a_granted_handshake_makes_a_client_and_says_all_about_it(
    server: BayeuxServer,
) -> None:
    assert wire(server.admit(hello(), "identity", 0)) == {
        "channel": "/meta/handshake",
        "id": "1",
        "successful": True,
        "clientId": "client1",
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": ["long-polling"],
        "advice": {"reconnect": "retry"} | FULL_ADVICE,
    }
    client = server.client("client1")
    assert client is not None
    assert client.identity == "identity"
    assert len(server) == 1


def test_a_second_handshake_makes_a_second_client(server: BayeuxServer) -> None:
    first = admit(server)
    sent = message(
        "/meta/handshake", first.id, supportedConnectionTypes=["long-polling"]
    )
    assert receive(server, sent, 0, alone=True) == Handshake(sent)
    assert wire(server.admit(sent, None, 0))["clientId"] == "client2"
    assert server.client("client1") is first


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"supportedConnectionTypes": []},
        {"supportedConnectionTypes": ["websocket", "LONG-POLLING"]},
    ],
)
def test_without_a_common_connection_type_the_handshake_fails_for_good(
    server: BayeuxServer, fields: dict[str, Any]
) -> None:
    answer = wire(receive(server, message("/meta/handshake", **fields), 0, alone=True))
    assert answer["successful"] is False
    assert answer["error"].startswith("301:")
    assert answer["supportedConnectionTypes"] == ["long-polling"]
    assert answer["advice"] == {"reconnect": "none"} | FULL_ADVICE
    assert "clientId" not in answer


@pytest.mark.parametrize("reconnect", ["none", "handshake"])
def test_a_refused_handshake_carries_the_reason_and_advice(
    server: BayeuxServer, reconnect: str
) -> None:
    answer = wire(server.refuse(hello(), "403::No", reconnect))
    assert answer["successful"] is False
    assert answer["error"] == "403::No"
    assert answer["advice"] == {"reconnect": reconnect} | FULL_ADVICE
    assert "clientId" not in answer


def test_no_more_clients_come_in_than_the_server_may_hold() -> None:
    server = new_server(max_clients=500)
    clients = [admit(server) for _ in range(500)]
    answer = wire(server.admit(hello(), None, 0))
    assert answer["successful"] is False
    assert answer["error"].startswith("503:")
    assert answer["advice"]["reconnect"] == "handshake"
    assert len(server) == 500

    send(server, "/meta/disconnect", clients[0])
    assert wire(server.admit(hello(), None, 0))["successful"] is True


def test_who_is_silent_for_the_longest_makes_room_for_others() -> None:
    server = new_server(max_clients=3)
    polls, first, second = (join(server) for _ in range(3))
    connect(server, polls)
    assert server.sweep(OFFLINE) == [Silent(first), Silent(second)]
    connect(server, first, OFFLINE)  # and so is the second one now
    third = admit(server, OFFLINE)
    assert server.client(second.id) is None
    assert server.sweep(OFFLINE) == [Expired(second)]
    assert server.sweep(OFFLINE) == []
    assert wire(server.admit(hello(), None, OFFLINE))["error"].startswith("503:")
    assert [server.client(c.id) for c in (polls, first, third)] == [polls, first, third]


@pytest.mark.parametrize(
    "leave",
    [
        lambda server, client: send(server, "/meta/disconnect", client, OFFLINE),
        lambda server, client: server.part(client),
        lambda server, client: server.expel(client),
        lambda server, client: server.sweep(OFFLINE + FORGET),
    ],
)
def test_who_is_gone_already_makes_no_room(
    leave: Callable[[BayeuxServer, Client], object],
) -> None:
    server = new_server(max_clients=1)
    client = join(server)
    assert server.sweep(OFFLINE) == [Silent(client)]
    leave(server, client)
    admit(server, OFFLINE)
    assert wire(server.admit(hello(), None, OFFLINE))["error"].startswith("503:")
    assert server.sweep(OFFLINE) == []


class Someone:
    """An identity that shows whether its client is still kept."""


def test_no_flood_of_clients_keeps_those_who_made_room() -> None:
    server = new_server(max_clients=10)
    kept: list[ref[Someone]] = []
    for round_ in range(int(FORGET / OFFLINE)):
        for _ in range(10):
            identity = Someone()
            server.admit(hello(), identity, round_ * OFFLINE)
            kept.append(ref(identity))
            del identity
        server.sweep((round_ + 1) * OFFLINE)
    gc.collect()
    assert sum(one() is not None for one in kept) < 100


# Several messages in one request


def batch(*messages: dict[str, Any]) -> list[Message | Reply]:
    """Return what a request with these messages is cut down to."""
    return screen([message(**m) for m in messages])


def test_a_handshake_is_served_alone_wherever_it_stands() -> None:
    found = batch(
        {"channel": "/a", "client": "c"},
        {"channel": "/meta/handshake"},
        {"channel": "/meta/connect", "client": "c"},
        {"channel": "/meta/handshake", "id": "9"},
    )
    (served,) = found
    assert isinstance(served, Message)
    assert served.channel == "/meta/handshake"
    assert bytes(served.id) == b'"1"'


def test_a_malformed_handshake_is_answered_alone_as_well() -> None:
    body = b'[{"channel":"/a","clientId":"c"},{"channel":"/meta/handshake","ext":5}]'
    (answer,) = screen(parse(body, Limits()))
    assert wire(answer)["channel"] == "/meta/handshake"
    assert wire(answer)["advice"]["reconnect"] == "none"


def test_of_several_connects_in_one_request_only_the_first_is_served() -> None:
    found = batch(
        {"channel": "/meta/connect", "client": "c"},
        {"channel": "/a", "client": "c"},
        {"channel": "/meta/connect", "client": "c", "id": "2"},
        {"channel": "/meta/connect", "client": "c", "id": "3"},
    )
    assert [isinstance(item, Message) for item in found] == [True, True, False, False]
    for item in found[2:]:
        answer = wire(item)
        assert answer["successful"] is False
        assert answer["error"].startswith("400:")
        assert set(answer["advice"]) == COMPLETE


def test_refusals_from_parsing_stay_in_their_places() -> None:
    broken = Reply(channel="/meta/connect", successful=False)
    sent = message("/meta/connect", "c")
    assert screen([broken, sent]) == [broken, sent]


# Connect


def test_the_first_connect_is_answered_at_once_and_with_advice(
    server: BayeuxServer,
) -> None:
    decision = connect(server, admit(server))
    assert not decision.wait
    assert wire(decision.reply) == {
        "channel": "/meta/connect",
        "id": "1",
        "successful": True,
        "advice": {"reconnect": "retry"} | FULL_ADVICE,
    }


def test_later_connects_are_held_and_answered_without_advice(
    server: BayeuxServer,
) -> None:
    decision = connect(server, join(server), 7)
    assert decision.wait
    assert decision.deadline == 7 + TIMEOUT
    assert wire(decision.reply) == {
        "channel": "/meta/connect",
        "id": "1",
        "successful": True,
    }


def test_a_first_connect_that_got_no_answer_does_not_count_as_one(
    server: BayeuxServer,
) -> None:
    client = admit(server)
    connect(server, client)
    repeated = connect(server, client)
    assert not repeated.wait
    assert "advice" in wire(repeated.reply)


def test_a_connect_that_travels_with_others_is_not_held(server: BayeuxServer) -> None:
    decision = connect(server, join(server), alone=False)
    assert not decision.wait
    assert decision.deadline == math.inf


@pytest.mark.parametrize(
    ("timeout", "hold"),
    [
        (0, 0),
        (-1, 0),
        (-1e300, 0),
        (1, 0.001),
        (1500.5, 1.5005),
        (10_000, 10),
        (25_000, TIMEOUT),
        (86_400_000, TIMEOUT),
        (1e300, TIMEOUT),
        (10**400, TIMEOUT),
        (-(10**400), 0),
    ],
)
def test_a_client_may_ask_for_a_shorter_hold_and_is_told_the_usual_one(
    server: BayeuxServer, timeout: float, hold: float
) -> None:
    decision = connect(server, join(server), 100, advice={"timeout": timeout})
    assert decision.wait is (hold > 0)
    assert decision.deadline == (100 + hold if hold else math.inf)
    assert wire(decision.reply)["advice"] == {"reconnect": "retry"} | FULL_ADVICE


@pytest.mark.parametrize(
    "advice", [{}, {"timeout": True}, {"timeout": "0"}, {"timeout": None}, None]
)
def test_a_timeout_that_is_no_number_is_no_wish(
    server: BayeuxServer, advice: dict[str, Any] | None
) -> None:
    decision = connect(server, join(server), advice=advice)
    assert decision.wait
    assert decision.deadline == TIMEOUT
    assert "advice" not in wire(decision.reply)


def test_a_server_that_must_not_hold_answers_every_connect_at_once() -> None:
    server = new_server(timeout=0)
    assert not connect(server, join(server)).wait


def test_a_newer_connect_displaces_the_held_one(server: BayeuxServer) -> None:
    client = join(server)
    former = connect(server, client)
    newer = connect(server, client, 1)
    assert newer is not former
    assert client.poll is newer


def test_an_answered_connect_is_not_displaced(server: BayeuxServer) -> None:
    client = join(server)
    server.answered(connect(server, client), 1)
    assert client.poll is None


# Unknown clients


@pytest.mark.parametrize("client", [None, "", "nobody"])
@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("/meta/subscribe", {"subscription": "/a"}),
        ("/meta/unsubscribe", {"subscription": ["/a"]}),
        ("/meta/nonsense", {}),
        ("/service/x", {"data": {}}),
        ("/a", {"data": {}}),
        ("no channel", {}),
    ],
)
def test_an_unknown_client_is_refused_without_advice(
    server: BayeuxServer, channel: str, fields: dict[str, Any], client: str | None
) -> None:
    assert wire(send(server, channel, client, **fields)) == {
        "channel": channel,
        "id": "1",
        "successful": False,
        "error": UNKNOWN,
    } | {k: v for k, v in fields.items() if k == "subscription"}


@pytest.mark.parametrize("client", [None, "", "nobody"])
def test_a_connect_of_an_unknown_client_must_shake_hands_again(
    server: BayeuxServer, client: str | None
) -> None:
    assert wire(send(server, "/meta/connect", client)) == {
        "channel": "/meta/connect",
        "id": "1",
        "successful": False,
        "error": UNKNOWN,
        "advice": {"reconnect": "handshake"} | FULL_ADVICE,
    }


def test_a_goodbye_of_an_unknown_client_is_for_the_application(
    server: BayeuxServer,
) -> None:
    decision = send(server, "/meta/disconnect", "nobody")
    assert isinstance(decision, Farewell)
    assert decision.message.client_id == "nobody"
    answer = wire(decision.reply)
    assert answer["error"] == UNKNOWN
    assert "advice" not in answer


@pytest.mark.parametrize("client", [None, ""])
def test_a_goodbye_of_nobody_is_refused(
    server: BayeuxServer, client: str | None
) -> None:
    assert wire(send(server, "/meta/disconnect", client))["error"] == UNKNOWN


# Disconnect and tombstones


def test_a_goodbye_is_granted_and_the_client_is_unknown_from_then_on(
    server: BayeuxServer,
) -> None:
    client = join(server)
    decision = send(server, "/meta/disconnect", client)
    assert isinstance(decision, Disconnect)
    assert decision.client is client
    assert wire(decision.reply) == {
        "channel": "/meta/disconnect",
        "id": "1",
        "successful": True,
    }
    assert server.client(client.id) is None
    assert wire(send(server, "/a", client))["error"] == UNKNOWN


def test_the_held_connect_of_one_who_says_goodbye_tells_it_to_stop(
    server: BayeuxServer,
) -> None:
    client = join(server)
    held = connect(server, client)
    send(server, "/meta/disconnect", client, 1)
    assert wire(held.reply)["successful"] is True
    assert wire(held.reply)["advice"] == {"reconnect": "none"} | FULL_ADVICE
    server.answered(held, 1)
    assert server.sweep(1 + 2 * FORGET) == []


def test_the_answer_to_one_who_said_goodbye_sets_no_alarm(
    server: BayeuxServer,
) -> None:
    client = join(server)
    held = connect(server, client)
    assert server.sweep(OFFLINE) == []
    send(server, "/meta/disconnect", client, OFFLINE)
    alarms = len(server._alarms)
    server.answered(held, OFFLINE)
    assert len(server._alarms) == alarms


def test_whoever_said_goodbye_is_not_called_back_by_a_late_connect(
    server: BayeuxServer,
) -> None:
    client = join(server)
    send(server, "/meta/disconnect", client, 100)
    for now in (100, 100 + FORGET - 1):
        server.sweep(now)
        answer = wire(send(server, "/meta/connect", client, now))
        assert answer["error"] == UNKNOWN
        assert answer["advice"] == {"reconnect": "none"} | FULL_ADVICE
    server.sweep(100 + FORGET)
    answer = wire(send(server, "/meta/connect", client, 100 + FORGET))
    assert answer["advice"]["reconnect"] == "handshake"


def test_a_goodbye_that_is_noted_again_keeps_no_other_one(server: BayeuxServer) -> None:
    for name, now in (("again", 0), ("once", 1), ("again", 2)):
        server.bury(name, now)
    server.sweep(1 + FORGET)
    for name, reconnect in (("again", "none"), ("once", "handshake")):
        late = message("/meta/connect", name)
        answer = wire(receive(server, late, 1 + FORGET, alone=True))
        assert answer["advice"]["reconnect"] == reconnect


def test_whoever_expired_is_called_back(server: BayeuxServer) -> None:
    client = join(server)
    server.sweep(FORGET)
    answer = wire(send(server, "/meta/connect", client, FORGET))
    assert answer["advice"]["reconnect"] == "handshake"


def test_goodbyes_are_remembered_in_bounds_and_the_newest_the_longest() -> None:
    server = new_server(max_clients=2)
    gone = []
    for _ in range(3):
        gone.append(admit(server))
        send(server, "/meta/disconnect", gone[-1])
    reconnect = [
        wire(send(server, "/meta/connect", client))["advice"]["reconnect"]
        for client in gone
    ]
    assert reconnect == ["handshake", "none", "none"]


# Subscribe and unsubscribe


@pytest.mark.parametrize(
    ("subscription", "names"),
    [
        ("/a", ("/a",)),
        ("/a/*", ("/a/*",)),
        ("/**", ("/**",)),
        ("/service/agent", ("/service/agent",)),
        (["/a"], ("/a",)),
        (["/a", "/b/**", "/a"], ("/a", "/b/**", "/a")),
    ],
)
def test_a_subscription_is_a_question_and_echoed_in_its_own_form(
    server: BayeuxServer, subscription: str | list[str], names: tuple[str, ...]
) -> None:
    client = join(server)
    decision = send(server, "/meta/subscribe", client, subscription=subscription)
    assert isinstance(decision, Subscribe)
    assert decision.channels == names
    assert client.subscriptions == set()
    assert wire(server.subscribe(client, decision.message)) == {
        "channel": "/meta/subscribe",
        "id": "1",
        "successful": True,
        "subscription": subscription,
    }
    assert client.subscriptions == {n for n in names if not n.startswith("/service/")}


@pytest.mark.parametrize(
    "subscription",
    [
        "",
        "a",
        "/",
        "/a/",
        "/a/*/b",
        "/meta/connect",
        "/meta/subscribe/x",
        "/meta/*",
        "/meta/**",
        "/meta/",
        [],
        ["/a", "/meta/connect"],
        ["/a", "no channel"],
    ],
)
def test_a_subscription_with_anything_invalid_in_it_is_refused_as_a_whole(
    server: BayeuxServer, subscription: str | list[str]
) -> None:
    client = join(server)
    answer = wire(send(server, "/meta/subscribe", client, subscription=subscription))
    assert answer["successful"] is False
    assert answer["error"].startswith("403:")
    assert answer["subscription"] == subscription
    assert "advice" not in answer
    assert client.subscriptions == set()


@pytest.mark.parametrize("channel", ["/meta/subscribe", "/meta/unsubscribe"])
@pytest.mark.parametrize("fields", [{}, {"subscription": None}])
def test_a_subscription_to_nothing_is_refused(
    server: BayeuxServer, channel: str, fields: dict[str, Any]
) -> None:
    answer = wire(send(server, channel, join(server), **fields))
    assert answer["error"].startswith("403:")
    assert "subscription" not in answer


def test_a_client_has_so_many_subscriptions_and_none_of_a_list_that_is_too_long() -> (
    None
):
    server = new_server(max_subscriptions=2)
    client = join(server)

    def subscribe(*names: str) -> dict[str, Any]:
        sent = message("/meta/subscribe", client.id, subscription=list(names))
        asked = receive(server, sent, 0, alone=True)
        if isinstance(asked, Subscribe):
            return wire(server.subscribe(asked.client, asked.message))
        assert isinstance(asked, Reply)
        return wire(asked)

    assert subscribe("/a", "/a")["successful"] is True
    refused = subscribe("/b", "/c")
    assert refused["successful"] is False
    assert refused["error"].startswith("403:")
    assert refused["subscription"] == ["/b", "/c"]
    assert client.subscriptions == {"/a"}
    assert subscribe("/a", "/b", "/service/x", "/service/y")["successful"] is True
    assert client.subscriptions == {"/a", "/b"}


def test_what_is_granted_to_a_client_that_left_meanwhile_comes_too_late(
    server: BayeuxServer,
) -> None:
    client = join(server)
    sent = message("/meta/subscribe", client.id, subscription="/a")
    send(server, "/meta/disconnect", client)
    assert wire(server.subscribe(client, sent)) == {
        "channel": "/meta/subscribe",
        "id": "1",
        "successful": False,
        "error": UNKNOWN,
        "subscription": "/a",
    }
    assert client.subscriptions == set()


@pytest.mark.parametrize("subscription", ["/a", ["/a", "/never"], "/never", "garbage"])
def test_to_unsubscribe_always_succeeds(
    server: BayeuxServer, subscription: str | list[str]
) -> None:
    client = join(server)
    client.subscriptions |= {"/a", "/b"}
    decision = send(server, "/meta/unsubscribe", client, subscription=subscription)
    assert isinstance(decision, Unsubscribe)
    assert wire(decision.reply) == {
        "channel": "/meta/unsubscribe",
        "id": "1",
        "successful": True,
        "subscription": subscription,
    }
    assert client.subscriptions == {"/a", "/b"} - set(decision.channels)


# Publish


@pytest.mark.parametrize("channel", ["/a", "/chat/room", "/service/agent"])
def test_a_message_on_a_plain_channel_is_for_the_application(
    server: BayeuxServer, channel: str
) -> None:
    client = join(server)
    decision = send(server, channel, client, data={"text": "hi"})
    assert isinstance(decision, Publish)
    assert decision.client is client
    assert bytes(decision.message.data) == b'{"text": "hi"}'


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("/meta/subscribe/x", "404"),
        ("/meta/handshake/", "404"),
        ("/meta/connect2", "404"),
        ("/meta/", "404"),
        ("/meta/unknown", "404"),
        ("/meta//connect", "404"),
        ("/Meta/connect ?", "405"),
        ("//meta/connect", "405"),
        ("meta/connect", "405"),
        ("/a/", "405"),
        ("/a/*", "405"),
        ("/**", "405"),
        ("", "405"),
    ],
)
def test_meta_channels_are_matched_exactly_and_bad_names_refused(
    server: BayeuxServer, channel: str, code: str
) -> None:
    client = join(server)
    answer = wire(send(server, channel, client, subscription="/a", data={}))
    assert answer["channel"] == channel
    assert answer["successful"] is False
    assert answer["error"].startswith(code + ":")
    assert not answer.keys() & {"data", "advice", "subscription"}
    assert client.subscriptions == set()


# Time


def test_a_held_connect_is_released_once_when_its_time_is_up(
    server: BayeuxServer,
) -> None:
    client = join(server)
    connect(server, client, 1)
    assert server.sweep(1 + TIMEOUT - 0.001) == []
    assert server.sweep(1 + TIMEOUT) == [Release(client)]
    assert server.sweep(1 + TIMEOUT + FORGET * 2) == []


def test_the_hold_a_client_asked_for_ends_when_it_wanted(server: BayeuxServer) -> None:
    client = join(server)
    connect(server, client, 0, advice={"timeout": 2000})
    assert server.sweep(1.9) == []
    assert server.sweep(2) == [Release(client)]


def test_silence_is_reported_once_and_the_end_once_as_well(
    server: BayeuxServer,
) -> None:
    client = join(server, 100)
    assert server.sweep(100 + OFFLINE - 0.001) == []
    assert server.sweep(100 + OFFLINE) == [Silent(client)]
    assert server.sweep(100 + OFFLINE + 1) == []
    assert server.sweep(100 + FORGET - 0.001) == []
    assert server.sweep(100 + FORGET) == [Expired(client)]
    assert server.sweep(100 + FORGET * 3) == []
    assert server.client(client.id) is None


def test_a_sweep_that_comes_late_reports_both_in_order(server: BayeuxServer) -> None:
    client = join(server)
    assert server.sweep(FORGET * 2) == [Silent(client), Expired(client)]


def test_a_client_that_never_connects_is_silent_and_expires_too(
    server: BayeuxServer,
) -> None:
    client = admit(server, 5)
    assert server.sweep(5 + OFFLINE) == [Silent(client)]
    assert server.sweep(5 + FORGET) == [Expired(client)]


def test_when_memory_is_shorter_than_patience_the_client_still_falls_silent_first() -> (
    None
):
    server = new_server(max_interval=3)
    client = join(server)
    assert server.sweep(OFFLINE - 0.001) == []
    assert server.sweep(OFFLINE) == [Silent(client), Expired(client)]


def test_nothing_expires_while_a_connect_is_open(server: BayeuxServer) -> None:
    client = join(server)
    first = connect(server, client, 1)
    assert server.sweep(FORGET * 2) == [Release(client)]
    assert server.sweep(FORGET * 4) == []
    server.answered(first, FORGET * 4)
    assert server.sweep(FORGET * 4 + OFFLINE) == [Silent(client)]


def test_silence_counts_from_the_answer_and_not_from_the_connect(
    server: BayeuxServer,
) -> None:
    client = join(server)
    server.answered(connect(server, client, 1), 20)
    assert server.sweep(20 + OFFLINE - 0.001) == []
    assert server.sweep(20 + OFFLINE) == [Silent(client)]
    assert server.sweep(20 + FORGET - 0.001) == []
    assert server.sweep(20 + FORGET) == [Expired(client)]


@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("/a", {"data": {}}),
        ("/meta/subscribe", {"subscription": []}),
        ("/meta/unsubscribe", {"subscription": "/a"}),
        ("/meta/nonsense", {}),
    ],
)
def test_any_word_of_a_client_renews_its_memory_but_not_its_presence(
    server: BayeuxServer, channel: str, fields: dict[str, Any]
) -> None:
    client = join(server)
    send(server, channel, client, OFFLINE - 1, **fields)
    assert server.sweep(OFFLINE) == [Silent(client)]
    send(server, channel, client, FORGET - 1, **fields)
    assert server.sweep(FORGET) == []
    assert server.sweep(FORGET - 1 + FORGET - 0.001) == []
    assert server.sweep(FORGET - 1 + FORGET) == [Expired(client)]


def test_a_client_can_come_back_and_fall_silent_again(server: BayeuxServer) -> None:
    client = join(server)
    assert server.sweep(OFFLINE) == [Silent(client)]
    back = connect(server, client, 300)
    assert back.wait
    server.answered(back, 301)
    assert server.sweep(301 + OFFLINE - 0.001) == []
    assert server.sweep(301 + OFFLINE) == [Silent(client)]
    assert server.sweep(301 + FORGET) == [Expired(client)]


def test_the_late_answer_of_an_older_connect_changes_nothing(
    server: BayeuxServer,
) -> None:
    client = join(server)
    older, newer = connect(server, client, 1), connect(server, client, 2)
    server.answered(older, 3)
    assert client.poll is newer
    assert server.sweep(2 + TIMEOUT) == [Release(client)]
    server.answered(newer, 30)
    server.answered(newer, 35)
    server.answered(older, 36)
    assert server.sweep(30 + OFFLINE) == [Silent(client)]


def test_an_answer_to_an_expired_client_brings_nobody_back(
    server: BayeuxServer,
) -> None:
    client = join(server)
    poll = connect(server, client, 1)
    server.answered(poll, 2)
    server.sweep(2 + FORGET)
    server.answered(poll, 2 + FORGET)
    assert len(server) == 0
    assert server.sweep(FORGET * 5) == []


def test_alarms_come_in_the_order_of_time_over_all_clients(
    server: BayeuxServer,
) -> None:
    late, early = join(server, 5), join(server, 0)
    polling = join(server, 0)
    connect(server, polling, 0, advice={"timeout": 12_000})
    assert server.sweep(20) == [Silent(early), Release(polling), Silent(late)]


def test_after_many_clients_that_vanished_nothing_of_them_is_left(
    server: BayeuxServer,
) -> None:
    for i in range(2000):
        now = i / 1000
        client = admit(server, now)
        if i % 2:
            server.answered(connect(server, client, now), now)
        if i % 5 == 0:
            server.answered(connect(server, client, now), now)
        if i % 4 == 0:
            send(server, "/meta/disconnect", client, now)
    happened = server.sweep(2 + FORGET)
    assert sum(isinstance(h, Silent) for h in happened) == 1500
    assert sum(isinstance(h, Expired) for h in happened) == 1500
    assert len(server) == len(server._alarms) == len(server._tombstones) == 0


def test_a_client_that_polls_all_day_needs_a_handful_of_alarms(
    server: BayeuxServer,
) -> None:
    client = join(server)
    for i in range(10_000):
        now = i / 10
        poll = connect(server, client, now)
        assert server.sweep(now + 0.02) == []
        server.answered(poll, now + 0.05)
        assert len(server._alarms) <= 5


# What every reply has to keep to


def every_reply(server: BayeuxServer) -> list[dict[str, Any]]:
    """Return one reply of every sort that the core can give."""
    client = join(server)
    gone = join(server)
    send(server, "/meta/disconnect", gone)
    decisions = [
        send(server, "/meta/handshake", None),
        server.admit(hello(), None, 0),
        server.refuse(hello(), "403::No"),
        send(server, "/meta/connect", None),
        send(server, "/meta/connect", gone),
        send(server, "/meta/subscribe", client, subscription=[]),
        send(server, "/meta/subscribe", None, subscription="/a"),
        send(server, "/meta/unsubscribe", client, subscription="/a"),
        send(server, "/meta/disconnect", "nobody"),
        send(server, "/meta/nonsense", client, data={}),
        send(server, "/a/*", client, data={}),
        connect(server, admit(server)).reply,
        connect(server, client).reply,
        connect(server, client, advice={"timeout": 0}).reply,
        *batch(
            {"channel": "/meta/connect", "client": "c"},
            {"channel": "/meta/connect", "client": "c"},
        )[1:],
        *screen(parse(b'[{"channel":"/meta/connect","ext":1}]', Limits())),
        send(server, "/meta/disconnect", client),
    ]
    return [wire(getattr(d, "reply", d)) for d in decisions]


def test_every_reply_says_whether_it_succeeded_and_why_not(
    server: BayeuxServer,
) -> None:
    for answer in every_reply(server):
        assert isinstance(answer["successful"], bool)
        assert ("error" in answer) is not answer["successful"]
        assert "data" not in answer


def test_advice_is_complete_wherever_it_is(server: BayeuxServer) -> None:
    given = [a["advice"] for a in every_reply(server) if "advice" in a]
    assert given
    for advice in given:
        assert set(advice) == COMPLETE
        assert advice["interval"] == 0


def test_failed_connects_and_handshakes_tell_how_to_go_on(
    server: BayeuxServer,
) -> None:
    meta = {"/meta/connect", "/meta/handshake"}
    answers = [a for a in every_reply(server) if a["channel"] in meta]
    assert len(answers) == 10
    for answer in answers:
        reconnect = answer.get("advice", {}).get("reconnect")
        if answer["successful"]:
            assert reconnect != "handshake"
        else:
            assert reconnect in {"none", "handshake"}
