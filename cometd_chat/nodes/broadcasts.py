"""What was published lately, so that a client on its way between nodes misses nothing.

Every node hears what is published in the same order for each sender, but not at the
same moment. A client that moves takes along how far it has heard each node. Where it
arrives, it is told what is newer and was heard there before; and not told again what
will be heard there later.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cometd_chat.chat.luggage import Published

LATELY = 10.0
"""Seconds for which what was published is remembered: longer than a move takes."""

FORGOTTEN = 60.0
"""Seconds after which it is forgotten how far a node was heard that publishes nothing:
so long that nobody remembers anything of it any more."""

MOST_BYTES = 16_777_216
"""Bytes of it that are remembered at most."""


class _Heard(NamedTuple):
    """How far a node was heard, and when that was."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class _Event:
    at: float
    node: str
    number: int
    published: Published


class Broadcasts:
    """How far this node, and clients that came lately, have heard the others."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._log: deque[_Event] = deque()
        self._size = 0
        self._ahead: dict[str, tuple[float, dict[str, int]]] = {}

    def note(
        self, node: str, number: int, published: Published, now: float
    ) -> list[str]:
        """Remember what was published; return the clients who have heard it."""
        self._heard[node] = _Heard(max(number, self._far(node)), now)
        self._log.append(_Event(now, node, number, published))
        self._size += len(published.data)
        self._forget(now)
        return [c for c, (_, far) in self._ahead.items() if number <= far.get(node, 0)]

    def heard(self, client_id: str) -> dict[str, int]:
        """Return how far the client has heard each node."""
        _, ahead = self._ahead.get(client_id, (0.0, {}))
        names = self._heard.keys() | ahead.keys()
        return {n: max(self._far(n), ahead.get(n, 0)) for n in names}

    def missed(self, heard: Mapping[str, int], now: float) -> list[Published]:
        """Return what a client that has heard so far, and was heard here, missed."""
        self._forget(now)
        return [e.published for e in self._log if e.number > heard.get(e.node, 0)]

    def arrived(self, client_id: str, heard: Mapping[str, int], now: float) -> None:
        """Note what a client has heard that was not heard here yet."""
        ahead = {n: far for n, far in heard.items() if far > self._far(n)}
        if ahead:
            self._ahead[client_id] = now, ahead

    def left(self, client_id: str) -> None:
        """Forget a client."""
        self._ahead.pop(client_id, None)

    def _far(self, node: str) -> int:
        heard = self._heard.get(node)
        return heard.number if heard else 0

    def _forget(self, now: float) -> None:
        while self._log and self._is_old(self._log[0], now):
            self._size -= len(self._log.popleft().published.data)
        for client_id, (at, _) in list(self._ahead.items()):
            if at < now - LATELY:
                del self._ahead[client_id]
        for node, heard in list(self._heard.items()):
            if heard.at < now - FORGOTTEN:
                del self._heard[node]

    def _is_old(self, event: _Event, now: float) -> bool:
        return self._size > MOST_BYTES or event.at < now - LATELY
