"""Bayeux messages: request bodies to values and values to response bodies.

Parsing happens once, here. A message that cannot be understood becomes the reply
that refuses it, so that its neighbours in the same request are still served.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec import (
    UNSET,
    DecodeError,
    Raw,
    Struct,
    UnsetType,
    ValidationError,
    field,
    json,
)

from . import channels

Ext: TypeAlias = dict[str, Any]
T = TypeVar("T")

ABSENT = Raw(b"")
"""Value of a raw field that the message did not have."""

_ABOUT_SUBSCRIPTIONS = {channels.SUBSCRIBE, channels.UNSUBSCRIBE}
_NO_JSON = "The body is not valid JSON"
_OPENING = frozenset((b"{", b"["))
_MAX_ID = 66  # 64 characters and their quotes
# Possessive, and content with a string that never ends: otherwise a body of escaped
# quotes is searched from each of them to its end, which takes minutes.
_NESTING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


class BodyError(Exception):
    """A request body that holds no messages; `status` is the HTTP status for it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


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

STOP = Advice(reconnect="none")
"""Advice after which a client neither reconnects nor shakes hands again."""


def reply(message: Message, *, successful: bool = True) -> Reply:
    """Begin the answer to a message: its channel, its id untouched.

    A subscription comes back in the form it was asked for; clients look for it.
    """
    # A copy, or a held reply would keep the whole body of its request.
    echo = UNSET if message.id is ABSENT else message.id.copy()
    answer = Reply(channel=message.channel, id=echo, successful=successful)
    if message.subscription is not None and message.channel in _ABOUT_SUBSCRIPTIONS:
        answer.subscription = message.subscription
    return answer


def refusal(message: Message, problem: str) -> Reply:
    """Return the unsuccessful answer to a message."""
    answer = reply(message, successful=False)
    answer.error = problem
    return answer


def stopped(answer: Reply) -> Reply:
    """Add the advice to give up where a client must not go on without any.

    A client whose connect is malformed would send the same again at once, for ever:
    some reconnect without any pause when no advice tells them otherwise.
    """
    if answer.channel in {channels.HANDSHAKE, channels.CONNECT}:
        answer.advice = STOP
    return answer


_decode_all = json.Decoder(list[Message] | Message).decode
_decode_parts = json.Decoder(list[Raw]).decode
_decode_part = json.Decoder(Raw).decode
_decode_one = json.Decoder(Message).decode
_decode_fields = json.Decoder(dict[str, Raw]).decode
_encode = json.Encoder().encode


def parse(body: bytes, limits: Limits) -> list[Message | Reply]:
    """Return the messages of a body: an array of them, or a single one.

    A message that is wrong in itself is given as the reply that refuses it.

    Raises: BodyError with status 400 when the body is no JSON of that shape, or
    nested too deeply, and 413 when it holds too many messages.
    """
    if not body.isascii():
        _check_text(body)
    depth = limits.depth
    if body.count(b"[") + body.count(b"{") > depth and _nested(body, depth):
        raise BodyError(400, f"More than {depth} levels of nesting")
    try:
        decoded = _decode_all(body)
    except ValidationError:
        return _part_by_part(body, limits.messages)
    except (DecodeError, RecursionError) as exc:
        raise BodyError(400, _NO_JSON) from exc
    messages = decoded if isinstance(decoded, list) else [decoded]
    if len(messages) == 1:
        return [_checked(messages[0])]
    return [_checked(message) for message in _bounded(messages, limits.messages)]


def encode(messages: Sequence[Reply | Raw]) -> bytes:
    """Return the response body: always an array, whatever the request was."""
    return _encode(messages)


def _check_text(body: bytes) -> None:
    # Raw fields are not looked into by the decoder, so that bytes which are no
    # UTF-8 would go through to other clients and break them.
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise BodyError(400, "The body is not UTF-8") from exc


def _nested(body: bytes, depth: int) -> bool:
    """Tell whether the body is nested more deeply than that."""
    level = 0
    for match in _NESTING.finditer(body):
        if match[1]:
            level += 1
            if level > depth:
                return True
        elif match[2]:
            level -= 1
    return False


def _part_by_part(body: bytes, most: int) -> list[Message | Reply]:
    """Parse a body with a message that is none, for the sake of the others."""
    try:
        return [_parse_one(part) for part in _bounded(_split(body), most)]
    except (DecodeError, RecursionError) as exc:
        raise BodyError(400, _NO_JSON) from exc


def _split(body: bytes) -> list[Raw]:
    is_array = body.lstrip().startswith(b"[")
    return _decode_parts(body) if is_array else [_decode_part(body)]


def _bounded(items: list[T], most: int) -> list[T]:
    if len(items) > most:
        raise BodyError(413, f"More than {most} messages in one request")
    return items


def _parse_one(part: Raw) -> Message | Reply:
    try:
        return _checked(_decode_one(part))
    except ValidationError:
        return _refuse_shape(part)


def _checked(message: Message) -> Message | Reply:
    if len(message.id) <= _MAX_ID and bytes(message.id)[:1] not in _OPENING:
        return message
    message.id = ABSENT
    return stopped(refusal(message, INVALID_ID))


def _refuse_shape(part: Raw) -> Reply:
    """Refuse what is no message, with as much of an echo as can be trusted."""
    try:
        fields = _decode_fields(part)
        channel = json.decode(fields.get("channel", b'""'), type=str)
    except ValidationError:
        return Reply(successful=False, error=INVALID_MESSAGE)
    if not channel:
        return Reply(successful=False, error=INVALID_MESSAGE)
    message = Message(channel=channel, id=fields.get("id", ABSENT))
    checked = _checked(message)
    if isinstance(checked, Reply):
        return checked
    return stopped(refusal(message, INVALID_MESSAGE))
