"""Reads the fields of an operation out of JSON that nobody has looked at yet."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from cometd_chat.gms.values import (
    LONGEST_ID,
    POSITIONS,
    Limits,
    fault,
    measure,
    read_position,
)
from cometd_chat.model import PushOverride, State

LONGEST_URL = 2048
"""Bytes of a URL that every browser still opens."""

MOST_CHATS = 500
"""Chats in the answer to one `listChats`."""

LARGEST_PUSH = 2048
"""Bytes of `push` as JSON: half of what Apple and Google take, the rest is ours."""

DEEPEST_PUSH = 8
"""Levels of objects and arrays in `push`; no push service asks for more than four."""

_LISTED = {state.value: state for state in (State.WAITING, State.ACTIVE, State.ENDED)}

_PUSH: Mapping[str, type | tuple[str, ...]] = {
    "disabled": bool,
    "title": str,
    "body": str,
    "ext": str,
    "sound": str,
    "badge": ("count", "ignore"),
    "collapse": str,
    "apns": dict,
    "android": dict,
    "webpush": dict,
}

_TYPES: Mapping[type, str] = {bool: "true or false", str: "a text", dict: "an object"}


class OperationError(ValueError):
    """The data is no operation; the text is fit for the reply and for logs."""


def decode(data: bytes) -> dict[str, Any]:
    """Return the JSON object.

    Raises: OperationError.
    """
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        # The cause goes no further, as it may quote what was read.
        raise OperationError("data: no valid JSON read, an object is needed") from None
    if not isinstance(value, dict):
        raise OperationError(f"data: {measure(value)}, an object is needed")
    return value


class Fields:
    """Reads untrusted fields one by one, each with what is allowed in it.

    Null and the empty text mean the same as no field. What is refused is named in an
    `OperationError`, with what is allowed in its place, and never quoted.
    """

    def __init__(self, values: Mapping[str, Any], limits: Limits) -> None:
        self._values = values
        self.limits = limits

    def text(self, name: str, at_most: int = LONGEST_ID) -> str:
        """Return a text that must be there."""
        if text := self.optional(name, at_most):
            return text
        raise _refused(name, None, "a text")

    def optional(self, name: str, at_most: int = LONGEST_ID) -> str:
        """Return a text, empty if there is none."""
        value = self._get(name)
        if not isinstance(value, str | None):
            raise _refused(name, value, "a text")
        if wrong := fault(value or "", at_most):
            raise OperationError(f"{name}: {wrong}")
        return value or ""

    def one_of(self, name: str, allowed: Mapping[str, object]) -> str:
        """Return one of these words, which must be there."""
        value = self._get(name)
        if isinstance(value, str) and value in allowed:
            return value
        raise _refused(name, value, "one of " + ", ".join(allowed))

    def state(self) -> State | None:
        """Return the state of chats to be listed, if there is one."""
        if self._get("state") is None:
            return None
        return _LISTED[self.one_of("state", _LISTED)]

    def limit(self) -> int:
        """Return how many chats to list, never more than `MOST_CHATS`."""
        value = self._get("limit")
        number = MOST_CHATS if value is None else read_position(value)
        if not number:
            raise _refused("limit", value, "a whole number from 1 on")
        return min(number, MOST_CHATS)

    def optional_position(self) -> int | None:
        """Return the position, None if there is none."""
        value = self._get("transcriptPosition")
        position = read_position(value)
        if value is not None and position is None:
            raise _refused("transcriptPosition", value, POSITIONS)
        return position

    def url(self) -> str:
        """Return the address of a page, which must be there."""
        url = self.text("pushUrl", LONGEST_URL)
        if not _is_web_address(url):
            raise _refused("pushUrl", url, "an absolute URL of http or https")
        return url

    def local_id(self) -> str:
        """Return the name under which the sender may send the same again."""
        return self.optional("localId") or self.optional("messageId")

    def push(self) -> PushOverride | None:
        """Return what the sender wants of the push for his message."""
        asked = self._push()
        if not asked:
            return None
        told = {k: v for k, v in asked.items() if k not in {"disabled", "badge"}}
        return PushOverride(uncounted=asked.get("badge") == "ignore", **told)

    def pushed(self) -> bool:
        """Tell whether there may be a push for the message."""
        return not self._push().get("disabled")

    def _push(self) -> Mapping[str, Any]:
        value = self._get("push")
        if not isinstance(value, dict | None):
            raise _refused("push", value, "an object")
        if value is not None:
            _check_push(value, self.limits.user_data)
        return value or {}

    def _get(self, name: str) -> Any:
        value = self._values.get(name)
        return None if value == "" else value


def _check_push(push: Mapping[str, Any], at_most: int) -> None:
    for name in push:
        if name not in _PUSH:
            raise OperationError(
                "push: unknown field read, allowed: " + ", ".join(_PUSH)
            )
        _check_push_field(name, push[name])
    # Before it is encoded, as the encoder's own end is the depth of the stack.
    if not _is_flat(push, DEEPEST_PUSH):
        raise OperationError(f"push: at most {DEEPEST_PUSH} levels are allowed")
    at_most = min(at_most, LARGEST_PUSH)
    if (size := len(msgspec.json.encode(push))) > at_most:
        raise OperationError(f"push: {size} bytes read, at most {at_most} are allowed")
    for outer, inner in (("apns", "aps"), ("android", "notification")):
        part = push.get(outer, {}).get(inner, {})
        if not isinstance(part, dict):
            raise _refused(f"push.{outer}.{inner}", part, "an object")


def _check_push_field(name: str, value: Any) -> None:
    match _PUSH[name]:
        case type() as wanted if not isinstance(value, wanted):
            raise _refused(f"push.{name}", value, _TYPES[wanted])
        case tuple() as words if value not in words:
            raise _refused(f"push.{name}", value, "one of " + ", ".join(words))


def _is_flat(value: Any, levels: int) -> bool:
    match value:
        case dict():
            inner = list(value.values())
        case list():
            inner = value
        case _:
            return True
    return levels > 0 and all(_is_flat(item, levels - 1) for item in inner)


def _is_web_address(url: str) -> bool:
    # urlsplit drops tabs and line ends, and browsers read a backslash as a slash:
    # either would open another page than the one that was checked.
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a wrong port raises only when asked for
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(host)


def _refused(name: str, value: object, allowed: str) -> OperationError:
    return OperationError(f"{name}: {measure(value)}, {allowed} is needed")
