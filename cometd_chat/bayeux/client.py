"""What a server knows of one client."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from .frequent import Connect

_MARKS: Final = 4  # the newest one, and some for connects that come late

Identity: TypeAlias = object
"""What the application makes of a handshake."""

Rewind: TypeAlias = Callable[[], None]
"""Takes back what was sent to a client after some moment."""


@dataclass(slots=True, eq=False)
class Client:
    """One Bayeux handshake; `identity` is what the application made of it.

    `batch` numbers the answers to its connects if it speaks the acknowledgement
    extension (`acks`); `marks` has calls that take back what came after those of
    them that carried events. `browser` is the cookie it shares with other tabs, and
    `holds` tells whether it holds one of the connections that these have.
    """

    id: str
    identity: Identity
    expires_at: float
    silent_at: float
    active_at: float
    browser: str = ""
    acks: bool = False
    batch: int = 0
    marks: dict[int, Rewind] = field(default_factory=dict)
    holds: bool = False
    transport: str = ""
    subscriptions: set[str] = field(default_factory=set)
    connected: bool = False
    silent: bool = False
    poll: "Connect | None" = None
    alarm: float = math.inf

    def carries(self, batch: int, rewind: Rewind) -> None:
        """Remember how far the events of an answer go."""
        self.marks[batch] = rewind
        if len(self.marks) > _MARKS:
            del self.marks[min(self.marks)]
