"""Publishes and their answers (Bayeux 1.0 §5.1)."""

import re

from tests.conformance.case import (
    AT_ONCE,
    CONNECTED,
    FAILED,
    NEVER,
    NOBODY,
    PUBLISH,
    SUBSCRIBE,
    TAKEN,
    Case,
    without,
)

CASES = [
    Case(
        clause="Bayeux 1.0 §5.1.2 Publish Response",
        name="a publish is confirmed, with its channel and id",
        send=[PUBLISH],
        expect=[{"channel": "$channel", "id": "p", "successful": True, "error": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §5.1.2 Publish Response",
        name="the confirmation has no data, or it would look like an event",
        send=[PUBLISH],
        expect=[TAKEN | {"data": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §5.1.1 Publish Request",
        name="a publish without data is refused",
        send=[without(PUBLISH, "data")],
        expect=[{"id": "p"} | FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §5.1.1 Publish Request",
        name="a publish may share a request with a connect",
        send=[PUBLISH, AT_ONCE],
        expect=[TAKEN, CONNECTED],
    ),
    Case(
        clause="Bayeux 1.0 §5.1.2 Publish Response",
        name="a publish without a clientId is answered",
        given="new",
        send=[without(PUBLISH, "clientId")],
        expect=[{"channel": "$channel", "id": "p", "successful": bool, "data": NEVER}],
    ),
    Case(
        clause="CometD: only those who shook hands may publish",
        name="a publish without a clientId is refused",
        given="new",
        send=[without(PUBLISH, "clientId")],
        expect=[{"id": "p"} | FAILED],
    ),
    Case(
        clause="CometD: only those who shook hands may publish",
        name="a publish of an unknown client is refused",
        given="new",
        send=[PUBLISH | NOBODY],
        expect=[{"id": "p"} | FAILED],
    ),
    Case(
        clause="CometD: error 402",
        name="an unknown client is told 402",
        given="new",
        send=[PUBLISH | NOBODY],
        expect=[{"error": re.compile("402:.*")}],
    ),
    Case(
        clause="Bayeux 1.0 §2.2 Channels",
        name="nobody can publish to a pattern",
        send=[PUBLISH | {"channel": f"$channel/{n}"} for n in ("*", "**", "a*")],
        expect=[FAILED] * 3,
    ),
    Case(
        clause="Bayeux 1.0 §2.2 Channels",
        name="nobody can publish to what is no channel",
        send=[PUBLISH | {"channel": n} for n in ("a", "/", "/a/", "/a//b", "/ä", "")],
        expect=[FAILED] * 6,
    ),
    Case(
        clause="Bayeux 1.0 §2.1 Common Elements",
        name="all characters of the grammar are good in a channel's name",
        send=[PUBLISH | {"channel": "$channel/aZ0-_!~()@"}],
        expect=[TAKEN | {"channel": "$channel/aZ0-_!~()@"}],
    ),
    Case(
        clause="CVE-2020-11020",
        name="what only looks like a channel of the protocol is refused",
        send=[
            SUBSCRIBE | {"channel": name}
            for name in ("/meta/subscribe/x", "/meta/subscribe/", "/meta/x")
        ],
        expect=[FAILED | {"subscription": NEVER}] * 3,
    ),
    Case(
        clause="CVE-2020-11020",
        name="what was refused as no channel of the protocol did nothing",
        send=[SUBSCRIBE | {"channel": "/meta/subscribe/x"}, PUBLISH],
        expect=[FAILED, TAKEN],
        hears=[],
    ),
]
