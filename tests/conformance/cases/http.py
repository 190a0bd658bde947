"""What HTTP adds: the polling transports, cookies and statuses."""

from tests.conformance.case import (
    ADMITTED,
    AT_ONCE,
    CONNECTED,
    HANDSHAKE,
    HTTP,
    PUBLISH,
    SUBSCRIBE,
    SUBSCRIBED,
    TAKEN,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    Case,
    Json,
    Way,
    event,
)

LONG_POLLING = 'Bayeux 1.0 "long-polling" Transport'
CALLBACK_POLLING = 'Bayeux 1.0 "callback-polling" Transport'
MULTIPLE = "Bayeux 1.0 Multiple Clients Operation"

TIMESYNC = {"ext": {"timesync": {"tc": 1000, "l": 0, "o": 0}}}


def posted(clause: str, name: str, way: Way, send: Json = None, **other: Json) -> Case:
    """Make a case about a way of sending a handshake, unless it is another body."""
    return Case(
        clause=clause,
        name=name,
        way=way,
        over=HTTP,
        send=[HANDSHAKE] if send is None else send,
        **{"given": "new", "expect": [ADMITTED], **other},
    )


CASES = [
    posted(
        LONG_POLLING,
        "a response is JSON by its type",
        Way(),
        headers={"Content-Type": r"application/json(;.*)?"},
    ),
    posted(
        "RFC 9111 §5.2.2.5 no-store",
        "a response must not be kept by caches",
        Way(),
        headers={"Cache-Control": ".*no-(store|cache).*"},
    ),
    posted(
        LONG_POLLING,
        "the type may name the encoding",
        Way(headers={"Content-Type": "application/json;charset=UTF-8"}),
    ),
    posted(
        "CometD: any content type",
        "JSON as text/plain is welcome",
        Way(headers={"Content-Type": "text/plain"}),
    ),
    posted(LONG_POLLING, "a form with a message is welcome", Way(form=True)),
    posted(
        LONG_POLLING,
        "a form with an array and single messages is welcome",
        Way(form=True),
        given="connected",
        send=[[UNSUBSCRIBE | {"id": "1"}, SUBSCRIBE], UNSUBSCRIBE],
        expect=[UNSUBSCRIBED | {"id": "1"}, SUBSCRIBED, UNSUBSCRIBED],
    ),
    posted("CometD: any path", "a slash may follow the address", Way(path="/")),
    posted(
        "CometD: any path",
        "the type of the message may follow the address",
        Way(path="/handshake"),
    ),
    posted(
        "CometD: any path",
        "the path does not decide what a message is",
        Way(path="/connect"),
    ),
    posted(
        CALLBACK_POLLING,
        "a script calls the function with the messages",
        Way(callback="__jsonp1__"),
        headers={"callback": "__jsonp1__", "Content-Type": r"\w+/javascript(;.*)?"},
    ),
    posted(
        CALLBACK_POLLING,
        "a function without a name is called jsonpcallback",
        Way(callback=""),
        headers={"callback": "jsonpcallback"},
    ),
    posted(
        "CometD: names of functions",
        "a name that is none is refused",
        Way(callback="alert(1)//"),
        expect=400,
    ),
    posted(
        "CVE-2014-4671",
        "a script does not begin with the name that was asked for",
        Way(callback="CWSMIKI0hCD0Up0IZUn"),
        headers={"beginning": r"/\*\*/"},
    ),
    posted(
        CALLBACK_POLLING,
        "a connect by a script is answered",
        Way(callback="f"),
        given="connected",
        send=[AT_ONCE | {"connectionType": "callback-polling"}],
        expect=[CONNECTED],
    ),
    posted(
        "RFC 9110 §15.5.6 Method Not Allowed",
        "other methods are refused",
        Way(method="PUT"),
        expect=405,
    ),
    posted(
        "RFC 9110 §15.5.16 Unsupported Media Type",
        "a body in an encoding that was not agreed on is refused",
        Way(headers={"Content-Encoding": "x-secret"}),
        expect=415,
    ),
    posted(
        MULTIPLE,
        "a handshake sets the cookie BAYEUX_BROWSER",
        Way(),
        headers={"Set-Cookie": "BAYEUX_BROWSER=[A-Za-z0-9]+;.*"},
    ),
    posted(
        "CometD: BAYEUX_BROWSER",
        "the cookie is nothing for scripts",
        Way(),
        headers={"Set-Cookie": "(?i).*; *httponly.*"},
    ),
    posted(
        "CometD: BAYEUX_BROWSER",
        "a browser that has the cookie gets no other one",
        Way(),
        given="connected",
        headers={"Set-Cookie": ""},
    ),
    posted(
        "robustness",
        "a client without cookies is served",
        Way(cookies=False),
        given="connected",
        send=[AT_ONCE, SUBSCRIBE, PUBLISH],
        expect=[CONNECTED, SUBSCRIBED, TAKEN],
        hears=[event()],
    ),
    Case(
        clause="CometD: timesync extension",
        name="a message that asks for the time is told it",
        send=[AT_ONCE | TIMESYNC],
        expect=[
            CONNECTED
            | {"ext": {"timesync": {"tc": 1000, "ts": int, "p": int, "a": int}}}
        ],
        over=("http", "websocket"),
    ),
    Case(
        clause="CometD: timesync extension",
        name="a time that is no number does no harm",
        send=[AT_ONCE | {"ext": {"timesync": {"tc": "noon", "l": None}}}],
        expect=[CONNECTED],
    ),
]
