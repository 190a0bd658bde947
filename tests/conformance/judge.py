"""Tells in what an answer differs from what a case expects."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from tests.conformance.case import NEVER, Json, Other

LONGEST = 60


class DifferenceError(Exception):
    """What came back is not what the case expects; `str()` says in what."""


def is_event(message: Json) -> bool:
    """Tell an event from a reply: it has data and no verdict (Bayeux 1.0 §5.2)."""
    return isinstance(message, dict) and "data" in message and not _verdict(message)


def _verdict(message: Mapping[str, Json]) -> bool:
    return "successful" in message


def compare(found: Sequence[Json], expected: Sequence[Json]) -> None:
    """Compare messages one by one. Raises: DifferenceError."""
    _count(found, expected)
    for message, pattern in zip(found, expected, strict=True):
        if differs := difference(message, pattern):
            raise DifferenceError(differs)


def compare_set(found: Sequence[Json], expected: Sequence[Json]) -> None:
    """Compare messages in any order. Raises: DifferenceError."""
    _count(found, expected)
    left = list(found)
    for pattern in expected:
        left.remove(_best(left, pattern))


def _count(found: Sequence[Json], expected: Sequence[Json]) -> None:
    if len(found) != len(expected):
        raise DifferenceError(f"{len(found)} messages, not {len(expected)}")


def _best(left: Sequence[Json], pattern: Json) -> Json:
    """Return the message that the pattern describes.

    Raises: DifferenceError about the one that comes closest.
    """
    differences = [(difference(message, pattern), message) for message in left]
    for differs, message in differences:
        if not differs:
            return message
    same = [d for d, m in differences if _about_the_same(m, pattern)]
    raise DifferenceError((same or [differences[0][0]])[0])


def _about_the_same(message: Json, pattern: Mapping[str, Json]) -> bool:
    names = [name for name in ("channel", "id") if name in pattern]
    return isinstance(message, dict) and all(
        message.get(name) == pattern[name] for name in names
    )


def difference(value: Json, pattern: Json, name: str = "") -> str:
    """Return in what the value differs, empty if in nothing."""
    match pattern:
        case dict():
            return _fields(value, pattern, name)
        case type():
            fits = type(value) is pattern
            expected = pattern.__name__
        case re.Pattern():
            fits = isinstance(value, str) and bool(pattern.fullmatch(value))
            expected = pattern.pattern
        case Other(text):
            fits = isinstance(value, str) and value != text
            expected = "another one"
        case _:
            fits = type(value) is type(pattern) and bool(value == pattern)
            expected = _short(pattern)
    return "" if fits else f"`{name}` is {_short(value)}, not {expected}"


def _fields(value: Json, pattern: Mapping[str, Json], name: str) -> str:
    if not isinstance(value, dict):
        return f"`{name or 'message'}` is {_short(value)}"
    found = (_field(value, field, want, name) for field, want in pattern.items())
    return _first(found)


def _field(value: Mapping[str, Json], field: str, want: Json, name: str) -> str:
    inner = f"{name}.{field}" if name else field
    if want is NEVER:
        return f"there is `{inner}`" if field in value else ""
    if field not in value:
        return f"`{inner}` is missing"
    return difference(value[field], want, inner)


def _first(differences: Iterable[str]) -> str:
    return next((differs for differs in differences if differs), "")


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
