"""What a server knows of one client."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from .alarms import Owner

if TYPE_CHECKING:
    from .frequent import Connect

LONG_POLLING: Final = "long-polling"
CALLBACK_POLLING: Final = "callback-polling"
WEBSOCKET: Final = "websocket"

_MARKS: Final = 4  # the newest one, and some for connects that come late

Identity: TypeAlias = object
"""What the application makes of a handshake."""

Rewind: TypeAlias = Callable[[], None]
"""Takes back what was sent to a client after some moment."""


class Client(Owner):
    """One Bayeux handshake; `identity` is what the application made of it.

    `batch` numbers the answers to its connects if it speaks the acknowledgement
    extension (`acks`); `marks` has calls that take back what came after those of
    them that carried events. `browser` is the cookie it shares with other tabs, and
    `holds` tells whether it holds one of the connections that these have (`Holds`).
    """

    __slots__ = (
        "acks",
        "active_at",
        "batch",
        "browser",
        "connected",
        "expires_at",
        "holds",
        "id",
        "identity",
        "marks",
        "poll",
        "silent",
        "silent_at",
        "subscriptions",
        "transport",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is called everywhere
        identity: Identity,
        expires_at: float,
        silent_at: float,
        active_at: float,
        browser: str = "",
    ) -> None:
        super().__init__()
        self.id = id
        self.identity = identity
        self.expires_at = expires_at
        self.silent_at = silent_at
        self.active_at = active_at
        self.browser = browser
        self.acks = False
        self.batch = 0
        self.marks: dict[int, Rewind] = {}
        self.holds = False
        self.transport = ""
        self.subscriptions: set[str] = set()
        self.connected = False
        self.silent = False
        self.poll: Connect | None = None

    def carries(self, batch: int, rewind: Rewind) -> None:
        """Remember how far the events of an answer go."""
        self.marks[batch] = rewind
        if len(self.marks) > _MARKS:
            del self.marks[min(self.marks)]
