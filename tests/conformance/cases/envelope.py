"""Bodies, and what all messages have in common (Bayeux 1.0 §2.5 and §3)."""

import re

from tests.conformance.case import (
    ADMITTED,
    FAILED,
    HANDSHAKE,
    NEVER,
    NO_SOCKET,
    PUBLISH,
    SUBSCRIBE,
    TAKEN,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    Case,
    Json,
    event,
    published,
    without,
)

ERROR = re.compile(r"[0-9]{3}:[^:]*:.*")

VALUES: list[Json] = [0, "", False, [], {}, [1, {"a": [2.5]}]]

CASES = [
    Case(
        clause="Bayeux 1.0 §2.5 Messages",
        name="an array is answered by an array",
        given="new",
        send=[HANDSHAKE],
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0 §2.5 Messages",
        name="a single object is answered by an array",
        given="new",
        send=HANDSHAKE,
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0 §2.5 Messages",
        name="several messages of one request are all answered",
        send=[UNSUBSCRIBE, PUBLISH, UNSUBSCRIBE | {"id": "2"}],
        expect=[UNSUBSCRIBED, TAKEN, UNSUBSCRIBED | {"id": "2"}],
    ),
    Case(
        clause="Faye",
        name="an empty array is answered by an empty array",
        send=[],
        expect=[],
        over=NO_SOCKET,
    ),
    Case(
        clause="RFC 8259 §2 JSON Grammar",
        name="no JSON is refused",
        send=b"[{]",
        expect=400,
        over=NO_SOCKET,
    ),
    Case(
        clause="RFC 8259 §8.1 Character Encoding",
        name="no UTF-8 is refused",
        send=b'"\xff"',
        expect=400,
        over=NO_SOCKET,
    ),
    Case(
        clause="RFC 8259 §9 Parsers",
        name="what is nested without end is refused",
        send=b"[" * 5000,
        expect=400,
        over=NO_SOCKET,
    ),
    Case(
        clause="robustness",
        name="more messages than anyone needs are refused",
        send=[UNSUBSCRIBE] * 200,
        expect=413,
        over=NO_SOCKET,
    ),
    Case(
        clause="robustness",
        name="what is no message is refused",
        send=[5, "x", None, []],
        expect=[FAILED] * 4,
    ),
    Case(
        clause="robustness",
        name="a malformed message does not spoil its neighbours",
        send=[UNSUBSCRIBE | {"ext": 1}, UNSUBSCRIBE | {"id": "2"}],
        expect=[
            {"channel": "/meta/unsubscribe", "id": "u"} | FAILED,
            UNSUBSCRIBED | {"id": "2"},
        ],
    ),
    Case(
        clause="robustness",
        name="fields that nobody knows are ignored",
        send=[UNSUBSCRIBE | {"colour": "blue", "__proto__": {"successful": False}}],
        expect=[UNSUBSCRIBED],
    ),
    Case(
        clause="Bayeux 1.0 §3.1 channel",
        name="a message without a channel is refused",
        send=[{"clientId": "$client", "id": "1", "data": {}}],
        expect=[FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §3.1 channel",
        name="a channel that is no text is refused",
        send=[PUBLISH | {"channel": 5}],
        expect=[FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §3.8 id",
        name="a number as id comes back as that number",
        send=[UNSUBSCRIBE | {"id": 7}],
        expect=[UNSUBSCRIBED | {"id": 7}],
    ),
    Case(
        clause="Bayeux 1.0 §3.8 id",
        name="a text as id comes back as that text",
        send=[UNSUBSCRIBE | {"id": "007"}],
        expect=[UNSUBSCRIBED | {"id": "007"}],
    ),
    Case(
        clause="Bayeux 1.0 §3.8 id",
        name="where there was no id there is none in the reply",
        send=[without(UNSUBSCRIBE, "id")],
        expect=[UNSUBSCRIBED | {"id": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §3.8 id",
        name="an id that is neither text nor number is refused",
        send=[UNSUBSCRIBE | {"id": {"a": 1}}],
        expect=[FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §3.12 successful",
        name="a failure and a success in one request do not mix",
        send=[without(SUBSCRIBE, "subscription"), UNSUBSCRIBE],
        expect=[{"id": "s"} | FAILED, UNSUBSCRIBED | {"error": NEVER}],
    ),
    Case(
        clause="Bayeux 1.0 §3.14 error",
        name="an error has a code, arguments and a text",
        send=[SUBSCRIBE | {"subscription": "/meta/connect"}],
        expect=[{"successful": False, "error": ERROR}],
    ),
    Case(
        clause="Bayeux 1.0 §3.15 ext",
        name="extensions that nobody knows are ignored",
        send=[UNSUBSCRIBE | {"ext": {"com.example.colour": {"blue": True}}}],
        expect=[UNSUBSCRIBED],
    ),
    Case(
        clause="Bayeux 1.0 §3.10 data",
        name="texts of all languages arrive as they were sent",
        before=[[SUBSCRIBE]],
        send=[published("Grüße 你好 \u2028 😀 \u0000 </script> \\u0041")],
        expect=[TAKEN],
        hears=[event("Grüße 你好 \u2028 😀 \u0000 </script> \\u0041")],
    ),
    Case(
        clause="Bayeux 1.0 §3.10 data",
        name="any JSON value is data",
        before=[[SUBSCRIBE]],
        send=[published(data) for data in VALUES],
        expect=[TAKEN] * 6,
        hears=[event(data) for data in VALUES],
    ),
]
