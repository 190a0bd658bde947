"""Bayeux messages as values, and the texts of errors."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType, field

Ext: TypeAlias = dict[str, Any]

ABSENT = Raw(b"")
"""Value of a raw field that the message did not have."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one request may hold: messages in its array, levels of nesting."""

    messages: int = 100
    depth: int = 64


class Message(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A message of a client (Bayeux 1.0, "Message Field Definitions").

    `id` and `data` keep their JSON text: an id must come back byte for byte, and
    data belongs to the application. Both are `ABSENT` when the message had none.
    """

    channel: str
    id: Raw = ABSENT
    client_id: str | None = None
    version: str | None = None
    connection_type: str | None = None
    supported_connection_types: list[str] | None = None
    subscription: str | list[str] | None = None
    advice: Ext | None = None
    ext: Ext | None = None
    data: Raw = ABSENT


class Advice(Struct, frozen=True, kw_only=True, rename="camel"):
    """How to go on (Bayeux 1.0, "advice"); durations in milliseconds.

    Always complete: clients replace the former advice as a whole, and what is
    missing falls back to defaults of their own.
    """

    reconnect: str
    interval: int = 0
    timeout: int = 0
    max_interval: int = 0
    multiple_clients: bool | UnsetType = field(name="multiple-clients", default=UNSET)


class Reply(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A message of the server in answer to one of a client."""

    channel: str | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    successful: bool
    client_id: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    minimum_version: str | UnsetType = UNSET
    supported_connection_types: Sequence[str] | UnsetType = UNSET
    subscription: str | list[str] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    advice: Advice | UnsetType = UNSET
    ext: Ext | UnsetType = UNSET
    timestamp: str | UnsetType = UNSET


class Event(Struct, frozen=True, kw_only=True):
    """What a client published, as its readers get it."""

    channel: str
    data: Raw
    ext: Ext | UnsetType = UNSET


def error(code: int, text: str, *args: str) -> str:
    """Return the wire form `code:args:text` (Bayeux 1.0, "error")."""
    return f"{code}:{','.join(args)}:{text}"


UNKNOWN_CLIENT = error(402, "Unknown client")
INVALID_CHANNEL = error(405, "Invalid channel")
UNKNOWN_CHANNEL = error(404, "Unknown channel")
INVALID_SUBSCRIPTION = error(403, "Invalid subscription")
TOO_MANY_SUBSCRIPTIONS = error(403, "Too many subscriptions")
INVALID_ID = error(405, "Invalid message id")
INVALID_MESSAGE = error(400, "Invalid message")
NO_TRANSPORT = error(301, "Connection types not supported")
SECOND_CONNECT = error(400, "One connect for each request")
OVERLOADED = error(503, "Too many clients")
UNAVAILABLE = error(503, "Try again")

STOP = Advice(reconnect="none")
"""Advice after which a client neither reconnects nor shakes hands again."""
