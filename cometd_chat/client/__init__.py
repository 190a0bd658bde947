"""A small Bayeux client over long-polling, and an agent's operations on it."""

from .agent import AgentClient, follow_chat, follow_chats, send
from .bayeux import BayeuxClient, Json, LostError, RefusedError

__all__ = [
    "AgentClient",
    "BayeuxClient",
    "Json",
    "LostError",
    "RefusedError",
    "follow_chat",
    "follow_chats",
    "send",
]
