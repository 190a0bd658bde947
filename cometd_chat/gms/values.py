"""What both versions of the Chat API read and write in the same way."""

import re

from msgspec import Struct

from cometd_chat.model import CUSTOMER

LARGEST_POSITION = 2**53
"""The largest integer that every JSON reader keeps exact (RFC 8259 §6)."""

LONGEST_ID = 128
"""Bytes of an id that a client made, of a message type or of a service name."""

POSITIONS = f"a whole number from 0 to {LARGEST_POSITION}"

USER_ID = f"{CUSTOMER:016X}"
"""The customer's `userId`: his participant number in sixteen hexadecimal digits."""

ALIAS = "1"
"""The `alias` of every reply: clients see one server, whichever node answers."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one request may bring: bytes of UTF-8, and a number of user data keys.

    `text` is for messages, `nickname` for names of people, `user_data` for all keys
    and values together and for everything that has no limit of its own.
    """

    text: int = 8 * 1024
    nickname: int = 128
    user_data: int = 16 * 1024
    user_data_keys: int = 64


DEFAULT_LIMITS = Limits()


def fault(text: str, at_most: int) -> str:
    """Say what is wrong with a text from outside; empty if nothing is.

    The answer tells sizes, never content, so that it may be logged. Unpaired
    surrogates could be stored but never sent again; NUL ends texts in some databases.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "unpaired surrogates read, Unicode characters are allowed"
    if "\0" in text:
        return "NUL read, every other character is allowed"
    if size > at_most:
        return f"{size} bytes read, at most {at_most} are allowed"
    return ""


def read_position(value: object) -> int | None:
    """Return the position that a number or its decimal digits tell, else None."""
    match value:
        case bool():
            return None
        case int():
            position = value
        case str() if re.fullmatch("[0-9]{1,16}", value):
            position = int(value)
        case _:
            return None
    return position if 0 <= position <= LARGEST_POSITION else None


def measure(value: object) -> str:
    """Describe a wrong value without telling it."""
    match value:
        case None:
            return "nothing read"
        case str():
            return f"a text of length {len(value)} read"
        case bool():
            return "a boolean read"
        case int() | float():
            return "a number read"
        case dict():
            return "an object read"
        case _:
            return "an array read"
