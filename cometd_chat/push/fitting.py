"""Makes a payload fit the limit of its service. Pure.

What is too long is shortened in this order: the oldest lines of the transcript go
as a whole, then the body, the arguments of the localised body and at last the title
are cut between two characters as people see them.
"""

import json
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from cometd_chat.push import Notification
from cometd_chat.push.graphemes import cluster_ends, shortened

Json: TypeAlias = dict[str, Any]
Form: TypeAlias = Callable[[Notification], Json]
_Cut: TypeAlias = tuple[int, Callable[[int], Notification]]


class PayloadTooLargeError(ValueError):
    """Even without any text the payload exceeds the limit of the service."""


def encode(value: object) -> bytes:
    """Return compact JSON in valid UTF-8; half a surrogate pair becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def fitting(n: Notification, limit: int, form: Form) -> Json:
    """Return the form of the notification with as much text as the limit allows."""

    def size(candidate: Notification) -> int:
        return len(encode(form(candidate)))

    if size(n) > limit:
        n = _shorter(n, limit, size)
    # what was counted is what is returned: plain JSON without broken surrogates
    fitted: Json = json.loads(encode(form(n)))
    return fitted


def _shorter(
    n: Notification, limit: int, size: Callable[[Notification], int]
) -> Notification:
    for cut in (_cut_lines, _cut_body, _cut_arguments, _cut_title):
        n = _fullest(cut(n, limit), lambda candidate: size(candidate) <= limit)
        if size(n) <= limit:
            return n
    raise PayloadTooLargeError(f"more than {limit} bytes even without any text")


def _fullest(cut: _Cut, fits: Callable[[Notification], bool]) -> Notification:
    longest, keep = cut
    # how many of the sizes fit: the longer the text, the more bytes
    count = bisect_left(range(1, longest), True, key=lambda k: not fits(keep(k)))
    return keep(count)


# Each cut tells how long a text is and makes the notification with less of it. Since
# it is called for what does not fit, all of the text is never a candidate.


def _cut_lines(n: Notification, limit: int) -> _Cut:
    lines = n.lines[-limit:]  # a line takes more than a byte
    return len(lines), lambda k: replace(n, lines=lines[len(lines) - k :])


def _cut_body(n: Notification, limit: int) -> _Cut:
    longest, cut = _cut_text(n.body, limit)
    return longest, lambda k: replace(n, body=cut(k))


def _cut_arguments(n: Notification, limit: int) -> _Cut:
    cuts = [_cut_text(argument, limit) for argument in n.loc_args]
    longest = max((length for length, _ in cuts), default=0)
    return longest, lambda k: replace(n, loc_args=tuple(cut(k) for _, cut in cuts))


def _cut_title(n: Notification, limit: int) -> _Cut:
    longest, cut = _cut_text(n.title, limit)
    return longest, lambda k: replace(n, title=cut(k))


def _cut_text(text: str, limit: int) -> tuple[int, Callable[[int], str]]:
    ends = cluster_ends(text[: limit + 1])  # a character takes a byte at least
    return len(ends), lambda k: shortened(text, ends, k)
