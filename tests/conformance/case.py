"""The form of a conformance case, and the words that requests and replies are made of.

A case is a request in a given state and what must come back. Nothing here knows how
requests travel: a target does (`targets.py`), be it the core alone or a server at
some URL.

Texts that hold `$word` stand for what only the target or the state knows: `$client`
and `$other`, the ids of two clients; `$channel`, a channel of this case alone, on
which and below which clients may publish and to which they may subscribe; `$ext`,
what a handshake needs to be granted; `$service`, a service channel that sends back
what it gets; `$ack` and `$ack_before`, the newest numbers of the acknowledgement
extension.

In what is expected a type stands for any value of it, a compiled pattern for any text
that it matches as a whole, `NEVER` for a field that must be missing, `Other(text)` for
any other text, and everything else for itself and its JSON type. Fields that are not
mentioned may be anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any

NEVER = object()

EVERYWHERE = ("core", "http", "websocket")
HTTP = ("http",)
NO_SOCKET = ("core", "http")
"""Where WebSocket has no counterpart: it has no status, and closes instead."""


@dataclass(frozen=True, slots=True)
class Other:
    """Any text but this one."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a body travels over HTTP; the default is what most clients do.

    `path` is put behind the address. `form` sends the body as field `message`, or a
    list of bodies as so many fields. `callback` sends it by GET, as callback-polling
    does, and names the function; empty: the request names none. `headers` are set
    beside, or in place of, `Content-Type: application/json`. Without `cookies` the
    client forgets what the server set.
    """

    path: str = ""
    method: str = "POST"
    form: bool = False
    callback: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: bool = True


PLAIN = Way()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One requirement: `clause` says whose it is, `name` what it is about.

    `given` is the state of the client: "new" (no handshake yet), "admitted" (no
    connect yet), "connected", "acking" (connected, with the acknowledgement
    extension), or "gone" (it said goodbye). `before` are requests that lead up to
    the one that is judged, each of which must succeed.

    `send` is a body, bytes as they are and anything else as JSON, and `expect` what
    must be replied: messages in any order, or the HTTP status of a refusal. Events
    in the same response count as heard, unless `whole` asks for the whole response
    in this order. `meanwhile` is a second request, sent while the first is held, and
    `then` what it must get. `hold` is how long, in seconds, the answer must take.

    `hears` are the events that the client must have got in the end, no more, no less,
    in this order; None if that is not asked. `headers` are patterns for headers of
    the response.
    """

    clause: str
    name: str
    given: str = "connected"
    before: Sequence[Json] = ()
    send: Json
    way: Way = PLAIN
    expect: Sequence[Mapping[str, Json]] | int
    whole: bool = False
    hold: float = 0.0
    meanwhile: Json = None
    then: Sequence[Mapping[str, Json]] = ()
    hears: Sequence[Mapping[str, Json]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    over: Sequence[str] = EVERYWHERE


def without(message: Mapping[str, Json], *names: str) -> dict[str, Json]:
    """Return the message without these fields."""
    return {name: value for name, value in message.items() if name not in names}


def published(data: Json = "hi", channel: str = "$channel") -> dict[str, Json]:
    """Return a publish of another client."""
    return PUBLISH | {"clientId": "$other", "channel": channel, "data": data}


def event(data: Json = "hi", channel: str = "$channel") -> dict[str, Json]:
    """Return what subscribers must get of a publish."""
    return {"channel": channel, "data": data, "successful": NEVER}


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
UNSUBSCRIBE = SUBSCRIBE | {"channel": "/meta/unsubscribe", "id": "u"}
DISCONNECT = {"channel": "/meta/disconnect", "id": "d", "clientId": "$client"}
PUBLISH = {"channel": "$channel", "id": "p", "clientId": "$client", "data": "hi"}
NOBODY = {"clientId": "0000000000000000000000000000000000"}

COMPLETE = {"interval": 0, "timeout": int}
RETRY = COMPLETE | {"reconnect": "retry"}
AGAIN = {"reconnect": "handshake"}
STOP = {"reconnect": "none"}

ADMITTED = {
    "channel": "/meta/handshake",
    "id": "h",
    "successful": True,
    "clientId": str,
    "version": "1.0",
    "supportedConnectionTypes": list,
    "error": NEVER,
}
REFUSED = {"channel": "/meta/handshake", "successful": False, "clientId": NEVER}
CONNECTED = {"channel": "/meta/connect", "id": "c", "successful": True, "error": NEVER}
SUBSCRIBED = {"channel": "/meta/subscribe", "id": "s", "successful": True}
UNSUBSCRIBED = {"channel": "/meta/unsubscribe", "id": "u", "successful": True}
DISCONNECTED = {"channel": "/meta/disconnect", "id": "d", "successful": True}
TAKEN = {"channel": "$channel", "id": "p", "successful": True, "data": NEVER}
FAILED = {"successful": False, "error": str, "data": NEVER}
