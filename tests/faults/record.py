"""What happened in a run, as those saw it who took part.

Times are seconds of one monotonic clock. Texts are unique in a run, so that a text
names its message.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

CUSTOMER, AGENT = "customer", "agent"


@dataclass(slots=True)
class Sent:
    """A message; `at` is its first try. `stored_at` is when a try was acknowledged."""

    chat: str
    by: str
    text: str
    at: float
    stored_at: float | None = None


class Reader(NamedTuple):
    """Somebody before whom a chat is shown; `who` is CUSTOMER or AGENT."""

    chat: str
    who: str


class Arrival(NamedTuple):
    """An entry as it came over the wire; the text is empty if it is no message."""

    position: int
    text: str
    at: float


class Push(NamedTuple):
    """A push as the company's server got it; one that is repeated has the same id."""

    chat: str
    id: str
    texts: tuple[str, ...]
    at: float


class Stored(NamedTuple):
    """An entry of the transcript, read when everything was quiet again."""

    position: int
    text: str


@dataclass
class Record:
    """Everything that is judged.

    `due` are the texts of which the customer has to be told by push; `apart` are the
    chats whose customers go away on purpose: when they read is their own matter.
    `absences` counts how often agents were told that a customer is away who was there;
    `handshakes` counts those that clients made in the run, though they had one.
    """

    begun: float = 0.0
    struck: float = 0.0
    mended: float = 0.0
    ended: float = 0.0
    sent: dict[str, Sent] = field(default_factory=dict)
    arrived: dict[Reader, list[Arrival]] = field(
        default_factory=lambda: defaultdict(list)
    )
    stored: dict[str, list[Stored]] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    pushes: list[Push] = field(default_factory=list)
    absences: int = 0
    handshakes: int = 0

    @property
    def acknowledged(self) -> list[Sent]:
        """What was acknowledged, in this order."""
        known = [s for s in self.sent.values() if s.stored_at is not None]
        return sorted(known, key=lambda s: s.stored_at or 0.0)
