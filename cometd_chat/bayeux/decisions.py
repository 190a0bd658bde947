"""What has to be done about a message, and what happens by the passing of time."""

from typing import TypeAlias

from msgspec import Struct

from .client import Client
from .frequent import Connect, Publish
from .messages import Message, Reply


class Handshake(Struct, frozen=True):
    """Ask whether this peer may come in, then call `admit()`."""

    message: Message


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
