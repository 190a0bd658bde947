"""Which nodes are there, as one of them knows it by signs of life. Pure."""

import math

from cometd_chat.clock import Clock

BEAT = 0.25
"""Seconds between two signs of life."""

SILENCE = 1.0
"""Seconds after which a node that is not heard of counts as gone."""

IN_TOUCH = 0.75
"""Seconds after which a node that does not hear itself doubts: less than `SILENCE`,
for others may have taken its clients over by then."""

DEAF = 1.5
"""Seconds after which a node that does not hear what it tells, though Redis takes it,
leaves its clients to the others, if there are any who hear: they cannot ask it."""

FORGOTTEN = 60.0
"""Seconds after which the name of a node that is gone is forgotten."""


class Pulse:
    """What a node has heard of others, and of itself."""

    def __init__(self, node: str, clock: Clock) -> None:
        self._node = node
        self._now = clock.monotonic
        self._heard: dict[str, float] = {}
        self._line_at = 0.0
        self._unheard: float | None = None
        self.others_hear = False
        """Whether others hear each other while this node does not hear itself."""
        self.since = 0.0
        """Since when this node has been in touch without a break."""

    @property
    def in_touch(self) -> bool:
        """Tell whether this node is sure that the others hear it."""
        return self._now() - self._heard.get(self._node, -math.inf) < IN_TOUCH

    @property
    def in_vain(self) -> bool:
        """Tell whether Redis takes what this node tells, but nobody brings it back."""
        return self._unheard is not None and self._now() - self._unheard > DEAF

    @property
    def deaf(self) -> bool:
        """Tell whether others hear each other, and this node not even itself."""
        return self.others_hear and self.in_vain

    @property
    def line_is_silent(self) -> bool:
        """Tell whether the line has brought nothing of this node's own, or is not even
        one yet: a server that hangs may still take connections."""
        last = max(self._heard.get(self._node, 0.0), self._line_at)
        return self._now() - last > SILENCE

    def alive(self, node: str) -> bool:
        """Tell whether that node may be there.

        A node that was away itself has heard nobody, and must wait to know better.
        """
        if not self.in_touch:
            return True
        return self._now() - max(self._heard.get(node, 0.0), self.since) < SILENCE

    def note(self, node: str) -> None:
        """Note a sign of life."""
        now = self._now()
        if node == self._node:
            self._unheard, self.others_hear = None, False
            if not self.in_touch:
                self.since = now
        self._heard[node] = now

    def told(self) -> None:
        """Note that Redis has taken a sign of life of this node."""
        if self._unheard is None:
            self._unheard = self._now()

    def gone(self, node: str) -> None:
        """Note that a node leaves, or cannot be asked."""
        self._heard.pop(node, None)

    def connected(self) -> None:
        """Note that there is a line, whether it brings anything or not."""
        self._line_at = self._now()

    def listening(self) -> None:
        """Note that the line brings what is told from now on."""
        self._line_at = self._now()
        # What was said before the line stood is lost: `since` begins anew.
        self.gone(self._node)

    def forget_others(self) -> None:
        """Drop the names of nodes that are gone for long."""
        long_ago = self._now() - FORGOTTEN
        for node in [n for n, at in self._heard.items() if at < long_ago]:
            del self._heard[node]
