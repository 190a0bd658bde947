"""Publish and subscribe between clients, from the rules to the mailboxes."""

import json
from typing import Any

import pytest
from msgspec import Raw

from cometd_chat.bayeux import ABSENT, RefusedError
from cometd_chat.bayeux.broadcast import Broadcast, Rules
from cometd_chat.bayeux.mailbox import Bounds, Mailboxes
from cometd_chat.bayeux.subscriptions import Patterns

ALLOWED = Patterns(["/news/**", "/team"])


class Node:
    """A broadcast with its mailboxes, and what they asked for."""

    def __init__(self, **rules: Any) -> None:
        self.boxes = Mailboxes(Bounds())
        self.broadcast = Broadcast(Rules(**({"allowed": ALLOWED} | rules)), self.boxes)
        self.woken: list[str] = []
        self.boxes.on_wake(self.woken.append)

    def publish(self, channel: str, data: object = "hi", **fields: Any) -> int:
        sent = {"sender": None, "now": 100.0} | fields
        return self.broadcast.publish(channel, Raw(json.dumps(data).encode()), **sent)

    def got(self, client: str) -> list[dict[str, Any]]:
        events = self.boxes.take(client)
        self.boxes.acknowledge(client)
        return [json.loads(bytes(event)) for event in events]


def test_every_subscriber_gets_the_event_once_and_is_woken() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/news/a", "/news/*", "/news/**"])
    node.broadcast.subscribe("bob", ["/news/**"])
    node.broadcast.subscribe("cy", ["/team"])

    assert node.publish("/news/a", {"text": "hi"}, sender="dee") == 2
    event = {"channel": "/news/a", "data": {"text": "hi"}}
    assert node.got("ann") == [event]
    assert node.got("bob") == [event]
    assert node.got("cy") == []
    assert sorted(node.woken) == ["ann", "bob"]


@pytest.mark.parametrize("data", [None, 0, "", [], {"a": [1, {"ü": None}]}])
def test_data_of_any_kind_arrives_as_it_was_sent(data: object) -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/team"])
    node.publish("/team", data)

    assert node.got("ann") == [{"channel": "/team", "data": data}]


def test_the_text_of_the_data_is_not_touched() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/team"])
    node.broadcast.publish(
        "/team", Raw(b'{"n": 1.0e2, "b":"\\u00e9"}'), sender=None, now=0.0
    )
    (event,) = node.boxes.take("ann")

    assert bytes(event) == b'{"channel":"/team","data":{"n": 1.0e2, "b":"\\u00e9"}}'


def test_an_event_has_an_ext_only_if_the_caller_gives_one() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/team"])
    node.publish("/team", 1, ext={"at": 5})

    assert node.got("ann") == [{"channel": "/team", "data": 1, "ext": {"at": 5}}]


def test_all_receivers_share_the_bytes_of_an_event() -> None:
    node = Node()
    for client in ("ann", "bob"):
        node.broadcast.subscribe(client, ["/team"])
    node.publish("/team")

    (first,), (second,) = node.boxes.take("ann"), node.boxes.take("bob")
    assert first is second


def test_events_of_one_publisher_keep_their_order() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/news/**"])
    for number in range(20):
        node.publish(f"/news/{number % 2}", number, sender="bob")

    assert [event["data"] for event in node.got("ann")] == list(range(20))


@pytest.mark.parametrize(("to_sender", "receivers"), [(True, 2), (False, 1)])
def test_the_publisher_gets_his_own_event_if_the_rules_say_so(
    *, to_sender: bool, receivers: int
) -> None:
    node = Node(to_sender=to_sender)
    for client in ("ann", "bob"):
        node.broadcast.subscribe(client, ["/team"])

    assert node.publish("/team", sender="ann") == receivers
    assert bool(node.got("ann")) is to_sender
    assert node.got("bob")


def test_a_publisher_need_not_be_subscribed_nor_be_a_client() -> None:
    node = Node(to_sender=False)
    node.broadcast.subscribe("ann", ["/team"])

    assert node.publish("/team", sender="bob") == 1
    assert node.publish("/team", sender=None) == 1
    assert len(node.got("ann")) == 2
    assert node.got("bob") == []


def test_publishing_where_nobody_listens_is_no_error() -> None:
    node = Node()

    assert node.publish("/team") == 0
    assert len(node.boxes) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/team", True),
        ("/news/a/**", True),
        ("/news", False),
        ("/**", False),
        ("/meta/connect", False),
        ("/service/agent", False),
    ],
)
def test_only_allowed_channels_may_be_used(name: str, *, expected: bool) -> None:
    assert Node().broadcast.allows(name) is expected


def test_a_subscription_is_granted_for_all_names_or_for_none() -> None:
    node = Node()
    with pytest.raises(RefusedError) as refused:
        node.broadcast.subscribe("ann", ["/team", "/secret", "/news/a"])

    assert str(refused.value) == "403:/secret:Subscription denied"
    assert node.broadcast.subscriptions.names("ann") == set()


@pytest.mark.parametrize(
    "channel", ["/secret", "/news/*", "/service/a", "/meta/a", "x"]
)
def test_nobody_publishes_on_a_channel_that_is_not_allowed(channel: str) -> None:
    node = Node(allowed=Patterns(["/news/**", "/meta/a", "/service/a", "x"]))
    for name in ("/secret", "/**", channel):
        node.broadcast.subscriptions.add(name, "ann")
    with pytest.raises(RefusedError) as refused:
        node.publish(channel, sender="ann")

    assert str(refused.value) == f"403:{channel}:Publish denied"
    assert node.got("ann") == []


@pytest.mark.parametrize("data", [ABSENT, Raw(b"")])
def test_a_message_without_data_is_refused(data: Raw) -> None:
    node = Node()
    with pytest.raises(RefusedError) as refused:
        node.broadcast.publish("/team", data, sender="ann", now=0.0)

    assert str(refused.value) == "400:/team:Data missing"


def test_without_rules_nothing_is_allowed() -> None:
    assert not Broadcast(Rules(), Mailboxes(Bounds())).allows("/team")


def test_new_rules_hold_at_once_and_silence_old_subscriptions() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/news/**"])
    node.broadcast.rules = Rules(allowed=Patterns(["/news/a"]))

    assert node.publish("/news/a") == 1
    with pytest.raises(RefusedError):
        node.publish("/news/b")
    with pytest.raises(RefusedError):
        node.broadcast.subscribe("bob", ["/news/**"])


def test_after_unsubscribing_only_what_waits_already_arrives() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/team", "/news/a"])
    node.publish("/team", 1)
    node.broadcast.unsubscribe("ann", ["/team", "/never"])

    assert node.publish("/team", 2) == 0
    assert node.publish("/news/a", 3) == 1
    assert [event["data"] for event in node.got("ann")] == [1, 3]


def test_a_client_that_is_gone_leaves_nothing() -> None:
    node = Node()
    node.broadcast.subscribe("ann", ["/team", "/news/**"])
    node.publish("/team")
    node.broadcast.forget("ann")

    assert len(node.broadcast.subscriptions) == 0
    assert len(node.boxes) == 0
    assert node.publish("/team") == 0


LAZY = {"/news/**": 5.0, "/news/slow/*": 60.0, "/team": 1.0, "/news/slow/now": 0.0}


@pytest.mark.parametrize(
    ("channel", "deadline"),
    [
        ("/team", 101.0),
        ("/news/a", 105.0),
        ("/news/slow/a", 160.0),
        ("/news/slow/now", 100.0),
        ("/news/slow/a/b", 105.0),
    ],
)
def test_events_of_lazy_channels_wait_as_long_as_the_most_specific_name_says(
    channel: str, deadline: float
) -> None:
    node = Node(lazy=LAZY)
    node.broadcast.subscribe("ann", [channel])
    node.publish(channel)

    assert node.woken == []
    assert node.boxes.due(deadline - 0.1) == []
    assert node.boxes.due(deadline) == ["ann"]


def test_a_plain_lazy_channel_does_not_make_its_children_lazy() -> None:
    node = Node(lazy={"/news/a": 5.0})
    node.broadcast.subscribe("ann", ["/news/**"])
    node.publish("/news/a/b")

    assert node.woken == ["ann"]
