"""Subscriptions, and what patterns match (Bayeux 1.0 §4.4, §4.5 and §2.2)."""

from collections.abc import Sequence

from tests.conformance.case import (
    FAILED,
    NEVER,
    NOBODY,
    PUBLISH,
    SUBSCRIBE,
    SUBSCRIBED,
    TAKEN,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    Case,
    Json,
    event,
    published,
    without,
)

SERVICE = "/service/conformance"


def to(*names: str) -> Json:
    """Return a subscription to these channels."""
    return SUBSCRIBE | {"subscription": list(names)}


def globbing(name: str, subscription: Sequence[str], *, hears: bool) -> Case:
    """Make a case: a publish on `$channel/a/b`, for one who subscribed otherwise."""
    channel = "$channel/a/b"
    return Case(
        clause="Bayeux 1.0 §2.2.1 Channel Globbing",
        name=name,
        before=[[to(*subscription)]],
        send=[published(channel=channel)],
        expect=[TAKEN | {"channel": channel}],
        hears=[event(channel=channel)] if hears else [],
    )


CASES = [
    Case(
        clause="Bayeux 1.0 §4.4.2 Subscribe Response",
        name="a subscription is confirmed as a text",
        send=[SUBSCRIBE],
        expect=[SUBSCRIBED | {"subscription": "$channel", "error": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §4.4.2 Subscribe Response",
        name="an array of subscriptions is confirmed as an array",
        send=[to("$channel", "$channel/*")],
        expect=[SUBSCRIBED | {"subscription": ["$channel", "$channel/*"]}],
    ),
    Case(
        clause="CometD: subscriptions are a set",
        name="to subscribe twice is no error, and gives one event",
        before=[[SUBSCRIBE, SUBSCRIBE | {"id": "2"}]],
        send=[PUBLISH],
        expect=[TAKEN],
        hears=[event()],
    ),
    Case(
        clause="Bayeux 1.0 §4.4.1 Subscribe Request",
        name="a subscription to nothing is refused",
        send=[without(SUBSCRIBE, "subscription")],
        expect=[{"id": "s"} | FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §4.4.1 Subscribe Request",
        name="a subscription to an empty array is refused",
        send=[to()],
        expect=[{"id": "s"} | FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §4.4.1 Subscribe Request",
        name="a subscription that is no text is refused",
        send=[SUBSCRIBE | {"subscription": 5}, SUBSCRIBE | {"subscription": [None]}],
        expect=[{"id": "s"} | FAILED] * 2,
    ),
    Case(
        clause="Bayeux 1.0 §2.2 Channels",
        name="a subscription to what is no channel is refused",
        send=[SUBSCRIBE | {"subscription": n} for n in ("x", "", "/", "/a/", "//a")],
        expect=[FAILED] * 5,
    ),
    Case(
        clause="Bayeux 1.0 §2.2.1 Channel Globbing",
        name="a wildcard elsewhere than at the end is refused",
        send=[
            SUBSCRIBE | {"subscription": f"$channel{rest}"}
            for rest in ("/**/b", "/*/b", "/b*", "/***")
        ],
        expect=[FAILED] * 4,
    ),
    Case(
        clause="Bayeux 1.0 §2.2.2 Meta Channels",
        name="nobody may listen to the protocol itself",
        send=[
            SUBSCRIBE | {"subscription": name}
            for name in ("/meta/connect", "/meta/**", "/meta/x/y", ["/meta/*"])
        ],
        expect=[FAILED] * 4,
    ),
    Case(
        clause="robustness",
        name="a list with one bad channel is refused as a whole",
        send=[to("$channel", "/meta/connect")],
        expect=[FAILED | {"subscription": ["$channel", "/meta/connect"]}],
    ),
    Case(
        clause="robustness",
        name="of a list with one bad channel nothing is subscribed to",
        send=[to("$channel", "/meta/connect"), PUBLISH],
        expect=[FAILED | {"id": "s"}, TAKEN],
        hears=[],
    ),
    Case(
        clause="Bayeux 1.0 §3.5 clientId",
        name="a subscription of an unknown client is refused",
        given="new",
        send=[SUBSCRIBE | NOBODY],
        expect=[{"channel": "/meta/subscribe", "subscription": "$channel"} | FAILED],
    ),
    Case(
        clause="CometD: advice for connects and handshakes only",
        name="a refused subscription gets no advice",
        given="new",
        send=[SUBSCRIBE | NOBODY],
        expect=[FAILED | {"advice": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §2.2.3 Service Channels",
        name="what is published to a service is no event, not even for subscribers",
        send=[to(SERVICE), PUBLISH | {"channel": SERVICE}],
        expect=[{"id": "s", "successful": bool}, {"id": "p", "successful": bool}],
        hears=[],
    ),
    globbing("a channel matches itself", ["$channel/a/b"], hears=True),
    globbing("* matches one segment", ["$channel/a/*"], hears=True),
    globbing("* does not match two segments", ["$channel/*"], hears=False),
    globbing("* does not match none", ["$channel/a/b/*"], hears=False),
    globbing("** matches one segment", ["$channel/a/**"], hears=True),
    globbing("** matches several segments", ["$channel/**"], hears=True),
    globbing("** does not match none", ["$channel/a/b/**"], hears=False),
    globbing(
        "the beginning of a segment matches nothing",
        ["$channel/a", "$channel/a/bc", "$channel/b/**"],
        hears=False,
    ),
    Case(
        clause="CometD: subscriptions are a set",
        name="through several patterns there comes one event",
        before=[[to("$channel/a/b", "$channel/a/*", "$channel/**")]],
        send=[published(channel="$channel/a/b")],
        expect=[TAKEN | {"channel": "$channel/a/b"}],
        hears=[event(channel="$channel/a/b")],
    ),
    Case(
        clause="Bayeux 1.0 §4.5.2 Unsubscribe Response",
        name="to unsubscribe is confirmed",
        before=[[SUBSCRIBE]],
        send=[UNSUBSCRIBE],
        expect=[UNSUBSCRIBED | {"subscription": "$channel", "error": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §4.5.2 Unsubscribe Response",
        name="to unsubscribe from what one never had is no error",
        send=[UNSUBSCRIBE | {"subscription": ["$channel/never", "$channel"]}],
        expect=[UNSUBSCRIBED | {"subscription": ["$channel/never", "$channel"]}],
    ),
    Case(
        clause="Bayeux 1.0 §4.5.1 Unsubscribe Request",
        name="to unsubscribe from nothing is refused",
        send=[without(UNSUBSCRIBE, "subscription")],
        expect=[{"id": "u"} | FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §4.5.1 Unsubscribe Request",
        name="who unsubscribed hears nothing more",
        before=[[SUBSCRIBE], [UNSUBSCRIBE]],
        send=[published()],
        expect=[TAKEN],
        hears=[],
    ),
    Case(
        clause="Bayeux 1.0 §4.5.1 Unsubscribe Request",
        name="other subscriptions stay",
        before=[[to("$channel", "$channel/*")], [UNSUBSCRIBE]],
        send=[published(), published(channel="$channel/a")],
        expect=[TAKEN, TAKEN | {"channel": "$channel/a"}],
        hears=[event(channel="$channel/a")],
    ),
    Case(
        clause="Bayeux 1.0 §3.5 clientId",
        name="to unsubscribe as an unknown client is refused",
        given="new",
        send=[UNSUBSCRIBE | NOBODY],
        expect=[{"channel": "/meta/unsubscribe", "id": "u"} | FAILED],
    ),
]
