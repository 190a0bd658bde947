"""Whose a session is."""

from cometd_chat.model import Session
from cometd_chat.store import SessionNotFoundError


def owned(session: Session, user: str) -> Session:
    """Return the session unless it is another user's. Raises: SessionNotFoundError."""
    if is_foreign(session, user):
        raise SessionNotFoundError
    return session


def is_foreign(session: Session, user: str) -> bool:
    return bool(user and session.user) and session.user != user
