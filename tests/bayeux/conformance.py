"""What a Bayeux server must answer, as data, and the runner for it.

A case is a request in a given state and the replies it must get. Nothing here knows
how requests travel: a `Target` does, be it the core alone or a server at some URL.

Texts in requests that begin with `$` stand for something that only the target, or
the state, knows: `$client` (the id of the client), `$ext` (what a handshake needs to
be granted), `$channel` (a channel on which this client may publish and to which it
may subscribe), `$data` (what may be published there).

In expected replies, a type stands for any value of it, `NEVER` for a field that must
be missing, and any other value for itself and its JSON type; fields that are not
mentioned may be anything.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = Any
Replies: TypeAlias = list[dict[str, Any]]

NEVER = object()
SLACK = 3.0
"""Seconds within which "at once" must happen, also over a slow network."""


class StatusError(Exception):
    """The target refused a request as a whole; `status` as HTTP has it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Target(Protocol):
    """A Bayeux server to talk to."""

    @property
    def words(self) -> Mapping[str, Json]:
        """What `$ext`, `$channel` and `$data` mean to this server."""
        ...

    async def exchange(self, body: bytes | Json) -> Replies:
        """Send a body, bytes as they are and anything else as JSON.

        Raises: StatusError.
        """
        ...

    async def held(self) -> None:
        """Wait until the request that was sent last is held."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One requirement: `clause` says whose, `name` what it is about.

    `given` is the state of the client: "new" (no handshake yet), "admitted" (no
    connect yet), "connected", or "gone" (it said goodbye). `meanwhile` is a second
    request, sent while the first is held, and `then` what it must get. `expect` is
    a list of replies in order, or the status of a refusal. A request that is
    answered after less than `hold` seconds, or much later, fails.
    """

    clause: str
    name: str
    given: str = "connected"
    send: bytes | Json
    expect: Sequence[Mapping[str, Json]] | int
    hold: float = 0.0
    meanwhile: Json = None
    then: Sequence[Mapping[str, Json]] = field(default=())


HANDSHAKE = {
    "channel": "/meta/handshake",
    "id": "h",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
    "ext": "$ext",
}
CONNECT = {
    "channel": "/meta/connect",
    "id": "c",
    "clientId": "$client",
    "connectionType": "long-polling",
}
SHORT = CONNECT | {"advice": {"timeout": 300}}
AT_ONCE = CONNECT | {"advice": {"timeout": 0}}
SUBSCRIBE = {
    "channel": "/meta/subscribe",
    "id": "s",
    "clientId": "$client",
    "subscription": "$channel",
}
UNSUBSCRIBE = SUBSCRIBE | {"channel": "/meta/unsubscribe"}
DISCONNECT = {"channel": "/meta/disconnect", "id": "d", "clientId": "$client"}
PUBLISH = {"channel": "$channel", "id": "p", "clientId": "$client", "data": "$data"}
NOBODY = {"clientId": "0000000000000000000000000000000000"}

COMPLETE = {"interval": 0, "timeout": int, "maxInterval": int}
RETRY = COMPLETE | {"reconnect": "retry"}
AGAIN = COMPLETE | {"reconnect": "handshake"}
STOP = COMPLETE | {"reconnect": "none"}

ADMITTED = {
    "channel": "/meta/handshake",
    "id": "h",
    "successful": True,
    "clientId": str,
    "version": "1.0",
    "supportedConnectionTypes": list,
    "advice": RETRY,
    "error": NEVER,
}
CONNECTED = {"channel": "/meta/connect", "id": "c", "successful": True, "error": NEVER}
FAILED = {"successful": False, "error": str, "data": NEVER, "advice": NEVER}


def _without(message: Mapping[str, Json], *names: str) -> dict[str, Json]:
    return {name: value for name, value in message.items() if name not in names}


CASES = [
    # Envelope
    Case(
        clause="Bayeux 1.0, Message Field Definitions",
        name="an array is answered by an array",
        given="new",
        send=[HANDSHAKE],
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0, Message Field Definitions",
        name="a single object is answered by an array",
        given="new",
        send=HANDSHAKE,
        expect=[ADMITTED],
    ),
    Case(
        clause="Faye",
        name="an empty array is answered by an empty array",
        send=[],
        expect=[],
    ),
    Case(clause="RFC 8259", name="no JSON is refused", send=b"[{]", expect=400),
    Case(
        clause="RFC 8259 §8.1", name="no UTF-8 is refused", send=b'"\xff"', expect=400
    ),
    Case(
        clause="RFC 8259 §9",
        name="what is nested without end is refused",
        send=b"[" * 5000,
        expect=400,
    ),
    Case(
        clause="limits",
        name="more messages than anyone needs are refused",
        send=[UNSUBSCRIBE] * 200,
        expect=413,
    ),
    Case(
        clause="Bayeux 1.0, channel",
        name="a message without a channel is refused",
        send=[{"clientId": "$client", "id": "1", "data": {}}],
        expect=[FAILED],
    ),
    Case(
        clause="robustness",
        name="a malformed message does not spoil its neighbours",
        send=[UNSUBSCRIBE | {"ext": 1}, UNSUBSCRIBE | {"id": "2"}, 5],
        expect=[
            {"channel": "/meta/unsubscribe", "id": "s"} | FAILED,
            {"channel": "/meta/unsubscribe", "id": "2", "successful": True},
            FAILED,
        ],
    ),
    Case(
        clause="Bayeux 1.0, id",
        name="a number as id comes back as that number",
        send=[UNSUBSCRIBE | {"id": 7}],
        expect=[{"id": 7, "successful": True}],
    ),
    Case(
        clause="Bayeux 1.0, id",
        name="a text as id comes back as that text",
        send=[UNSUBSCRIBE | {"id": "007"}],
        expect=[{"id": "007", "successful": True}],
    ),
    Case(
        clause="Bayeux 1.0, id",
        name="where there was no id there is none in the reply",
        send=[_without(UNSUBSCRIBE, "id")],
        expect=[{"id": NEVER, "successful": True}],
    ),
    # Handshake
    Case(
        clause="Bayeux 1.0, Handshake Request",
        name="what shares a request with a handshake is ignored",
        given="new",
        send=[PUBLISH | NOBODY, HANDSHAKE, CONNECT | NOBODY],
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0, Handshake Response",
        name="without a common connection type the handshake fails",
        given="new",
        send=[HANDSHAKE | {"supportedConnectionTypes": ["carrier-pigeon"]}],
        expect=[
            {"channel": "/meta/handshake", "id": "h", "clientId": NEVER}
            | FAILED
            | {"advice": STOP}
        ],
    ),
    Case(
        clause="CometD",
        name="a second handshake makes a second client",
        send=[HANDSHAKE | {"clientId": "$client"}],
        expect=[ADMITTED],
    ),
    Case(
        clause="GFayeSwift",
        name="an odd version is welcome",
        given="new",
        send=[HANDSHAKE | {"version": "1.0beta", "minimumVersion": "0.9"}],
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0, Handshake Request",
        name="a malformed handshake gets advice",
        given="new",
        send=[HANDSHAKE | {"supportedConnectionTypes": 1}],
        expect=[{"channel": "/meta/handshake"} | FAILED | {"advice": STOP}],
    ),
    # Connect
    Case(
        clause="CometD",
        name="the first connect is answered at once, with advice",
        given="admitted",
        send=[CONNECT],
        expect=[CONNECTED | {"advice": RETRY}],
    ),
    Case(
        clause="Bayeux 1.0, timeout advice",
        name="a connect is held as long as the client asks for",
        send=[SHORT],
        expect=[CONNECTED | {"advice": RETRY}],
        hold=0.3,
    ),
    Case(
        clause="Bayeux 1.0, timeout advice",
        name="a connect with timeout 0 is answered at once",
        send=[AT_ONCE],
        expect=[CONNECTED | {"advice": RETRY}],
    ),
    Case(
        clause="CometD",
        name="a connect among others is answered at once, and last",
        send=[CONNECT, UNSUBSCRIBE],
        expect=[{"channel": "/meta/unsubscribe", "successful": True}, CONNECTED],
    ),
    Case(
        clause="Bayeux 1.0, Connect Request",
        name="of two connects in one request the second is refused, with advice",
        send=[CONNECT, CONNECT | {"id": "2"}],
        expect=[{"id": "2"} | FAILED | {"advice": STOP}, CONNECTED],
    ),
    Case(
        clause="Bayeux 1.0, Connect Request",
        name="a newer connect takes the place of the held one",
        send=[SHORT],
        meanwhile=[AT_ONCE | {"id": "2"}],
        expect=500,
        then=[CONNECTED | {"id": "2"}],
    ),
    Case(
        clause="Bayeux 1.0, reconnect advice",
        name="a connect of an unknown client must shake hands again",
        given="new",
        send=[CONNECT | NOBODY],
        expect=[{"channel": "/meta/connect", "id": "c"} | FAILED | {"advice": AGAIN}],
    ),
    Case(
        clause="Bayeux 1.0, clientId",
        name="a connect of nobody must shake hands again",
        given="new",
        send=[_without(CONNECT, "clientId")],
        expect=[FAILED | {"advice": AGAIN}],
    ),
    Case(
        clause="CometD issue 921",
        name="a connect of one who said goodbye is told to stop",
        given="gone",
        send=[CONNECT],
        expect=[FAILED | {"advice": STOP}],
    ),
    Case(
        clause="Faye",
        name="a malformed connect gets advice",
        send=[CONNECT | {"advice": "none"}],
        expect=[{"channel": "/meta/connect"} | FAILED | {"advice": STOP}],
    ),
    # Subscribe
    Case(
        clause="Bayeux 1.0, Subscribe Response",
        name="a subscription is confirmed as a text",
        send=[SUBSCRIBE],
        expect=[
            {
                "channel": "/meta/subscribe",
                "id": "s",
                "successful": True,
                "subscription": "$channel",
                "error": NEVER,
            }
        ],
    ),
    Case(
        clause="Bayeux 1.0, Subscribe Response",
        name="an array of subscriptions is confirmed as an array",
        send=[SUBSCRIBE | {"subscription": ["$channel"]}],
        expect=[{"successful": True, "subscription": ["$channel"]}],
    ),
    Case(
        clause="CometD",
        name="to subscribe twice is no error",
        send=[SUBSCRIBE, SUBSCRIBE | {"id": "2"}],
        expect=[{"id": "s", "successful": True}, {"id": "2", "successful": True}],
    ),
    Case(
        clause="Bayeux 1.0, Subscribe Request",
        name="a subscription to nothing is refused",
        send=[_without(SUBSCRIBE, "subscription"), SUBSCRIBE | {"subscription": []}],
        expect=[FAILED, FAILED | {"subscription": []}],
    ),
    Case(
        clause="Bayeux 1.0, Channels",
        name="a subscription to what is no channel is refused",
        send=[SUBSCRIBE | {"subscription": n} for n in ("x", "/a/", "//a", "/a/**/b")],
        expect=[FAILED] * 4,
    ),
    Case(
        clause="Bayeux 1.0, Meta Channels",
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
        send=[SUBSCRIBE | {"subscription": ["$channel", "/meta/connect"]}],
        expect=[FAILED | {"subscription": ["$channel", "/meta/connect"]}],
    ),
    Case(
        clause="CometD",
        name="a subscription of an unknown client is refused without advice",
        given="new",
        send=[SUBSCRIBE | NOBODY],
        expect=[{"channel": "/meta/subscribe", "subscription": "$channel"} | FAILED],
    ),
    # Unsubscribe
    Case(
        clause="Bayeux 1.0, Unsubscribe Response",
        name="to unsubscribe from what one never had is no error",
        send=[UNSUBSCRIBE | {"subscription": ["/never", "$channel"]}],
        expect=[
            {
                "channel": "/meta/unsubscribe",
                "id": "s",
                "successful": True,
                "subscription": ["/never", "$channel"],
            }
        ],
    ),
    Case(
        clause="Bayeux 1.0, Unsubscribe Request",
        name="to unsubscribe from nothing is refused",
        send=[_without(UNSUBSCRIBE, "subscription")],
        expect=[FAILED],
    ),
    # Publish
    Case(
        clause="Bayeux 1.0, Publish Response",
        name="a message is acknowledged without its data",
        send=[PUBLISH],
        expect=[
            {
                "channel": "$channel",
                "id": "p",
                "successful": True,
                "data": NEVER,
                "error": NEVER,
            }
        ],
    ),
    Case(
        clause="Bayeux 1.0, Publish Request",
        name="a message of nobody is refused, and answered all the same",
        given="new",
        send=[_without(PUBLISH, "clientId"), PUBLISH | NOBODY],
        expect=[{"channel": "$channel", "id": "p"} | FAILED] * 2,
    ),
    Case(
        clause="Bayeux 1.0, Channels",
        name="nobody can publish to a pattern or to what is no channel",
        send=[PUBLISH | {"channel": n} for n in ("/**", "/a/*", "/a/", "a", "/a//b")],
        expect=[FAILED] * 5,
    ),
    Case(
        clause="CVE-2020-11020",
        name="what only looks like a channel of the protocol is refused",
        send=[
            SUBSCRIBE | {"channel": name}
            for name in ("/meta/subscribe/x", "/meta/subscribe/", "/meta/", "/meta/x")
        ],
        expect=[FAILED | {"subscription": NEVER}] * 4,
    ),
    # Disconnect
    Case(
        clause="Bayeux 1.0, Disconnect Response",
        name="a goodbye is confirmed",
        send=[DISCONNECT],
        expect=[{"channel": "/meta/disconnect", "id": "d", "successful": True}],
    ),
    Case(
        clause="Bayeux 1.0, Disconnect Request",
        name="a goodbye releases the held connect, which tells to stop",
        send=[CONNECT],
        meanwhile=[DISCONNECT],
        expect=[CONNECTED | {"advice": STOP}],
        then=[{"channel": "/meta/disconnect", "id": "d", "successful": True}],
    ),
    Case(
        clause="CometD",
        name="after a goodbye nothing is granted any more",
        given="gone",
        send=[SUBSCRIBE, PUBLISH],
        expect=[FAILED, FAILED],
    ),
    Case(
        clause="CometD",
        name="a goodbye of nobody is refused without advice",
        given="new",
        send=[_without(DISCONNECT, "clientId")],
        expect=[{"channel": "/meta/disconnect", "id": "d"} | FAILED],
    ),
]


async def run(case: Case, target: Target) -> None:
    """Bring the target into the state, send the request, and judge the replies.

    Raises: AssertionError telling what differs.
    """
    words = dict(target.words)
    words["client"] = await _reach(case.given, target, words)
    started = time.monotonic()
    first = asyncio.create_task(_outcome(target, _filled(case.send, words)))
    second = None
    if case.meanwhile is not None:
        await target.held()
        second = await _outcome(target, _filled(case.meanwhile, words))
    outcome, elapsed = await first, time.monotonic() - started
    _judge(outcome, _filled(case.expect, words))
    if second is not None:
        _judge(second, _filled(case.then, words))
    assert case.hold <= elapsed < case.hold + SLACK, f"answered after {elapsed} s"


async def _reach(given: str, target: Target, words: Mapping[str, Json]) -> str:
    if given == "new":
        return ""
    (answer,) = await target.exchange(_filled([HANDSHAKE], words))
    words = {**words, "client": answer["clientId"]}
    steps: dict[str, list[Json]] = {
        "admitted": [],
        "connected": [AT_ONCE],
        "gone": [AT_ONCE, DISCONNECT],
    }
    for step in steps[given]:
        (done,) = await target.exchange(_filled([step], words))
        assert done["successful"], f"{given}: {done}"
    return str(words["client"])


async def _outcome(target: Target, body: bytes | Json) -> Replies | int:
    try:
        return await target.exchange(body)
    except StatusError as exc:
        return exc.status


def _filled(value: Json, words: Mapping[str, Json]) -> Json:
    """Return the value with the target's words put in."""
    match value:
        case str() if value.startswith("$"):
            return words[value[1:]]
        case dict():
            return {k: _filled(v, words) for k, v in value.items()}
        case list() | tuple():
            return [_filled(v, words) for v in value]
        case _:
            return value


def _judge(outcome: Replies | int, expected: Sequence[Json] | int) -> None:
    if isinstance(outcome, int) or isinstance(expected, int):
        assert outcome == expected, f"got {outcome}, expected {expected}"
        return
    assert isinstance(outcome, list), "a response is an array"
    assert len(outcome) == len(expected), f"got {outcome}"
    for reply, pattern in zip(outcome, expected, strict=True):
        assert _matches(reply, pattern), f"got {reply}, expected {pattern}"


def _matches(value: Json, pattern: Json) -> bool:
    match pattern:
        case type():
            return type(value) is pattern
        case dict():
            return isinstance(value, dict) and all(
                name not in value if want is NEVER else _matches(value.get(name), want)
                for name, want in pattern.items()
            )
        case _:
            return type(value) is type(pattern) and bool(value == pattern)
