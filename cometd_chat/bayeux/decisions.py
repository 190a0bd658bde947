"""What has to be done about a message, and what happens by the passing of time."""

from typing import TypeAlias

from msgspec import Struct

from .client import Client, Rewind
from .messages import Message, Reply


class Handshake(Struct, frozen=True):
    """Ask whether this peer may come in, then call `admit()`."""

    message: Message


class Count(Struct, frozen=True):
    """`batch` is the number that the answer to a connect will have; `rewind` takes
    back what came after the answer which the client says it got. None if that carried
    nothing: then nothing of what is not acknowledged arrived."""

    batch: int
    rewind: Rewind | None


class Connect(Struct, eq=False):
    """Answer this connect: at once, or (`wait`) hold it at most until `deadline`; then
    call `answered()`.

    One that was held for this client until now is displaced. It must end without a
    Bayeux reply, or the client would run two loops of connects.
    `count` is None for clients that do not speak the acknowledgement extension.
    """

    client: Client
    message: Message
    reply: Reply
    wait: bool
    deadline: float
    count: Count | None


class Subscribe(Struct, frozen=True):
    """Ask whether the client may have these channels, then call `subscribe()`."""

    client: Client
    message: Message
    channels: tuple[str, ...]


class Unsubscribe(Struct, frozen=True):
    """The client gave these channels up; send the reply."""

    client: Client
    channels: tuple[str, ...]
    reply: Reply


class Publish(Struct, frozen=True):
    """Hand the message to the application; the reply tells whether it took it."""

    client: Client
    message: Message


class Disconnect(Struct, frozen=True):
    """The client said goodbye; its held connect, if any, is to be released."""

    client: Client
    message: Message
    reply: Reply


class Farewell(Struct, frozen=True):
    """A goodbye of a client that is no longer known here: perhaps to the chat.

    `reply` refuses it; the application may know better.
    """

    message: Message
    reply: Reply


SlowRequest: TypeAlias = Handshake | Farewell | Subscribe | Unsubscribe | Disconnect
"""Decisions that come once or twice in the life of a client."""

Request: TypeAlias = Reply | Publish | SlowRequest
"""Decisions that lead to one reply; all but a connect."""

Decision: TypeAlias = Request | Connect


class Release(Struct, frozen=True):
    """The time of a held connect is up: answer it."""

    client: Client


class Silent(Struct, frozen=True):
    """No connect for `offline_after`; the client is still remembered."""

    client: Client


class Expired(Struct, frozen=True):
    """No word for `max_interval`: the client is forgotten."""

    client: Client


Occurrence: TypeAlias = Release | Silent | Expired
