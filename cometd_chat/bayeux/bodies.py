"""Request bodies to messages, and replies to response bodies.

Parsing happens once, here. A message that cannot be understood becomes the reply
that refuses it, so that its neighbours in the same request are still served.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from msgspec import DecodeError, Raw, ValidationError, json

from . import channels
from .messages import (
    ABSENT,
    INVALID_ID,
    INVALID_MESSAGE,
    SECOND_CONNECT,
    Limits,
    Message,
    Reply,
)
from .replies import refusal, stopped

T = TypeVar("T")

_NO_JSON: Final = "The body is not valid JSON"
_OPENING: Final = frozenset((b"{", b"["))
_MAX_ID: Final = 66  # 64 characters and their quotes
# Possessive, and content with a string that never ends: otherwise a body of escaped
# quotes is searched from each of them to its end, which takes minutes.
_NESTING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


class BodyError(Exception):
    """A request body that holds no messages; `status` is the HTTP status for it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


_decode_all: Final = json.Decoder(list[Message] | Message).decode
_decode_parts: Final = json.Decoder(list[Raw]).decode
_decode_part: Final = json.Decoder(Raw).decode
_decode_one: Final = json.Decoder(Message).decode
_decode_fields: Final = json.Decoder(dict[str, Raw]).decode
_encode: Final = json.Encoder().encode


def parse(body: bytes, limits: Limits) -> list[Message | Reply]:
    """Return the messages of a body: an array of them, or a single one.

    A message that is wrong in itself is given as the reply that refuses it.

    Raises: BodyError with status 400 when the body is no JSON of that shape, or
    nested too deeply, and 413 when it holds too many messages.
    """
    if not body.isascii():
        _check_text(body)
    if len(body) > 2 * limits.depth:  # room enough to open and to close them
        _check_nesting(body, limits.depth)
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


def screen(batch: Iterable[Message | Reply]) -> list[Message | Reply]:
    """Apply what Bayeux 1.0 says about messages that share one request.

    A handshake is served alone and the rest is ignored ("Handshake Request");
    there is one outstanding connect, so that further ones are refused.
    """
    found = list(batch)
    for item in found:
        if item.channel == channels.HANDSHAKE:
            return [item]
    connects = 0
    for i, item in enumerate(found):
        if isinstance(item, Message) and item.channel == channels.CONNECT:
            connects += 1
            if connects > 1:
                found[i] = stopped(refusal(item, SECOND_CONNECT))
    return found


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


def _check_nesting(body: bytes, depth: int) -> None:
    if body.count(b"[") + body.count(b"{") > depth and _nested(body, depth):
        raise BodyError(400, f"More than {depth} levels of nesting")


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
    text = bytes(message.id)
    if len(text) <= _MAX_ID and text[:1] not in _OPENING:
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
