"""The use cases of customers and agents."""

from .agents import Agents
from .application import ChatApplication
from .customers import Customers, Transcript, is_id, new_id
from .desks import Desks
from .file_names import NotAllowedError
from .files import Announcement, Files, Party
from .identity import (
    FORWARDED_FOR,
    Agent,
    AuthHook,
    Customer,
    IdentityError,
    TokenAuth,
    make_agent_token,
)
from .inactivity import Inactivity
from .presence import Presence
from .readers import Readers
from .sessions import Sessions

__all__ = [
    "FORWARDED_FOR",
    "Agent",
    "Agents",
    "Announcement",
    "AuthHook",
    "ChatApplication",
    "Customer",
    "Customers",
    "Desks",
    "Files",
    "IdentityError",
    "Inactivity",
    "NotAllowedError",
    "Party",
    "Presence",
    "Readers",
    "Sessions",
    "TokenAuth",
    "Transcript",
    "is_id",
    "make_agent_token",
    "new_id",
]
