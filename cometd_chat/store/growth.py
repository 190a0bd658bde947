"""What entries make of the session that they are added to. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from cometd_chat.model import JOINING, Draft, Entry, EntryKind, Role

_COUNTED = {EntryKind.MESSAGE, EntryKind.FILE_UPLOADED}
_ANSWERS = {EntryKind.MESSAGE, EntryKind.JOINED}
_STAFF = {Role.AGENT, Role.SUPERVISOR}


class Growth(NamedTuple):
    """`text` is the newest message, None without any; `unread` becomes
    `unread * keep + more`."""

    text: str | None
    keep: int
    more: int


def growth(drafts: Iterable[Draft]) -> Growth:
    """Return what the drafts, in their order, change in their session."""
    text, keep, more = None, 1, 0
    for draft in drafts:
        if draft.kind is EntryKind.MESSAGE:
            text = draft.text
        if draft.role in _STAFF and draft.kind in _ANSWERS:
            keep = more = 0
        more += draft.role is Role.CUSTOMER and draft.kind in _COUNTED
    return Growth(text, keep, more)


def author(draft: Draft, joined: int | None) -> int:
    """Return the participant of the draft, who may be the one that has `joined`."""
    if joined is not None and draft.participant == JOINING:
        return joined
    return draft.participant


def entry_of(draft: Draft, position: int, at: float, participant: int) -> Entry:
    """Return the entry that the draft has become."""
    return Entry(
        position=position,
        kind=draft.kind,
        role=draft.role,
        participant=participant,
        nickname=draft.nickname,
        at=at,
        text=draft.text,
        message_type=draft.message_type,
        user_data=draft.user_data,
        notable=draft.notable,
        push=draft.push,
    )
