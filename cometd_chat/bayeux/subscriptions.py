"""Who gets what is published on a channel: subscriptions to channels and patterns.

A wildcard stands for the last segments only (Bayeux 1.0, "Channel Globbing"). So few
names can match a channel: itself, its parent's `*`, and the `**` of each segment
above it. They are looked up one by one; no tree is needed and nothing is scanned.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from . import channels

DEEP: Final = 8
"""Segments of a name beyond which its patterns are not kept: thousands of names that
anybody makes up, with a hundred patterns each, would fill the memory."""


class Subscriptions:
    """The subscriptions of all clients of one node.

    The length is the number of different channels and patterns subscribed to.
    """

    def __init__(self) -> None:
        self._clients: dict[str, set[str]] = {}
        self._names: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, name: str, client_id: str) -> None:
        """Subscribe the client to a channel or pattern; twice is as good as once."""
        self._clients.setdefault(name, set()).add(client_id)
        self._names.setdefault(client_id, set()).add(name)

    def remove(self, name: str, client_id: str) -> None:
        """End the client's subscription to this name, if there is one."""
        _discard(self._clients, name, client_id)
        _discard(self._names, client_id, name)

    def forget(self, client_id: str) -> None:
        """End all subscriptions of a client that is gone."""
        for name in self._names.pop(client_id, ()):
            _discard(self._clients, name, client_id)

    def matching(self, channel: str) -> set[str]:
        """Return the clients that get what is published on this channel.

        Each is in it once, however many of its patterns match.
        """
        found: set[str] = set()
        for name in matches(channel):
            if name in self._clients:
                found |= self._clients[name]
        return found

    def names(self, client_id: str) -> frozenset[str]:
        """Return the channels and patterns to which the client is subscribed."""
        return frozenset(self._names.get(client_id, ()))


class Patterns:
    """Channels and patterns that may be used; what they contain never changes."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._known = lru_cache(maxsize=4096)(self._covers)

    def covers(self, name: str) -> bool:
        """Tell whether this channel, or all that this pattern matches, is allowed.

        Never true outside the world of events, whatever the patterns say, nor for
        what is no channel at all.
        """
        return len(name) <= channels.MAX_LENGTH and self._known(name)

    def _covers(self, name: str) -> bool:
        if channels.kind(name) is not channels.Kind.BROADCAST:
            return False
        if not (channels.is_name(name) or channels.is_pattern(name)):
            return False
        return not self._names.isdisjoint(matches(name))


def matches(name: str) -> tuple[str, ...]:
    """Return the name and the patterns it is within, the most specific ones first.

    A pattern is within another one when that matches all that it matches itself.
    """
    return _kept(name) if name.count("/") <= DEEP else _matches(name)


@lru_cache(maxsize=4096)
def _kept(name: str) -> tuple[str, ...]:
    return _matches(name)


def _matches(name: str) -> tuple[str, ...]:
    found = [name]
    parent, _, last = name.rpartition("/")
    if last != "**":
        found.append(f"{parent}/*")
    while parent:
        found.append(f"{parent}/**")
        parent = parent.rpartition("/")[0]
    return (*found, "/**")


def _discard(table: dict[str, set[str]], key: str, value: str) -> None:
    """Take the value away from the key, and the key with its last value."""
    values = table.get(key, set())
    values.discard(value)
    if not values:
        table.pop(key, None)
