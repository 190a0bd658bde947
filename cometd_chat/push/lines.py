"""The entries that a push tells. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cometd_chat.gms import v1
from cometd_chat.model import Entry

from . import Line, Notification

LINES = 100
"""Entries that one push tells at most: the newest. No payload has room for more."""

MOST_TEXT = 20_000
"""Characters of these entries together, as many as the largest payload has bytes."""


def lines_of(entries: Sequence[Entry]) -> tuple[Line, ...]:
    """Return the entries as a push tells them: the newest that have room."""
    return _newest(
        Line(event=v1.event_name(entry.kind), text=v1.entry_words(entry))
        for entry in entries[-LINES:]
    )


def told_together(notifications: Sequence[Notification]) -> Notification:
    """Return the last notification; it tells what the others would have told, too."""
    lines = _newest(line for one in notifications for line in one.lines)
    return replace(notifications[-1], lines=lines)


def _newest(lines: Iterable[Line]) -> tuple[Line, ...]:
    found: list[Line] = []
    room = MOST_TEXT
    for line in list(lines)[: -LINES - 1 : -1]:
        room -= len(line.text)
        if room < 0:
            break
        found.append(line)
    return tuple(reversed(found))
