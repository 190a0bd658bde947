"""Rows of the tables as facts of the model, and facts as rows."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias

import msgspec

from cometd_chat.model import NOTHING, Entry, Participant, Session
from cometd_chat.store import SessionDamagedError, SessionNotFoundError
from cometd_chat.store.codec import (
    KINDS,
    NAMES,
    ROLES,
    STATES,
    from_devices,
    from_mapping,
    from_override,
    from_participants,
    from_profile,
    legible,
    to_devices,
    to_mapping,
    to_override,
    to_participants,
    to_profile,
)

Row: TypeAlias = tuple[Any, ...]

_Common: TypeAlias = tuple[Any, ...]
"""What entries may have in common: all but their position, time and text."""

MOST = 2**63 - 1
"""The greatest integer of SQLite."""

_TEXTS = ("id", "key", "service", "user", "state", "last_text")
_JSON = ("profile", "devices", "participants")
_COLUMNS = [
    # As bytes, for a text that is no UTF-8 would cost all that is asked for with it.
    f"CAST(s.{name} AS BLOB)" if name in {*_TEXTS, *_JSON} else f"s.{name}"
    for name in NAMES
]
_SESSION = f"SELECT s.number, {', '.join(_COLUMNS)} FROM session s "  # noqa: S608 - our own names
# A column costs more than what is made of it: for each, sqlite3 lets other threads run
# and locks the connection. What entries mostly share is therefore one, as JSON.
_ENTRY = (
    "SELECT position, at, text, json_array(kind, role, participant, nickname,"
    " message_type, user_data, notable, push) FROM entry "
)
_AFTER = (
    "WHERE session = (SELECT number FROM session WHERE id = ?) AND position > ?"
    " ORDER BY position LIMIT ?"
)
_to_values = msgspec.json.Decoder(list[Any]).decode
_INSERT_SESSION = (
    f"INSERT INTO session ({', '.join(NAMES)}, seats)"  # noqa: S608 - our own names
    f" VALUES ({', '.join('?' * (len(NAMES) + 1))}) ON CONFLICT DO NOTHING"
)


def distinct(column: str, table: str, condition: str) -> str:
    """Return a query for the values of an index's first column, in order.

    It jumps from each to the next one, where DISTINCT would read the whole index.
    """
    least = f"SELECT min({column}) FROM {table} WHERE {condition}"  # noqa: S608 - our own names
    return (
        f"WITH RECURSIVE found(one) AS ({least}"  # noqa: S608 - our own names
        f" UNION ALL SELECT ({least} AND {column} > one) FROM found"
        " WHERE one IS NOT NULL) SELECT one FROM found WHERE one IS NOT NULL"
    )


def find_session(db: sqlite3.Connection, column: str, value: str) -> Session:
    """Return the session with this value in a unique column.

    Raises: SessionNotFoundError, also for text that no column could hold;
    SessionDamagedError.
    """
    try:
        row = db.execute(_SESSION + f"WHERE {column} = ?", (value,)).fetchone()
    except UnicodeEncodeError:
        row = None
    if row is None:
        raise SessionNotFoundError("no such session")
    return to_session(row[1:])


def select_sessions(
    db: sqlite3.Connection, rest: str, *values: object
) -> list[Session]:
    """Return the sessions `s` that the rest of the SELECT statement leaves, without
    those that are damaged."""
    return [session for _, session in numbered_sessions(db, rest, *values) if session]


def numbered_sessions(
    db: sqlite3.Connection, rest: str, *values: object
) -> Iterator[tuple[int, Session | None]]:
    """Give the numbers of such sessions, each with None if it is damaged."""
    for number, *row in db.execute(_SESSION + rest, values).fetchall():
        session = None
        with suppress(SessionDamagedError):
            session = to_session(row)
        yield number, session


def insert_session(db: sqlite3.Connection, session: Session) -> int | None:
    """Keep a new session; return its number, None when its id or key exists already."""
    row = (*session_values(session), max((1, *_numbers(session.participants))))
    inserted = db.execute(_INSERT_SESSION, row)
    return inserted.lastrowid if inserted.rowcount == 1 else None


def read_entries(
    db: sqlite3.Connection, session_id: str, after: int, limit: int
) -> list[Entry]:
    """Return entries of the session as `Store.read` does.

    Raises: SessionDamagedError.
    """
    rows = db.execute(
        _ENTRY + _AFTER,
        (session_id, min(after, MOST), max(0, min(limit, MOST))),
    )
    to_common = cache(_to_common)
    with legible(session_id):
        return [_to_entry(row, to_common) for row in rows.fetchall()]


def entry_values(session: int, entry: Entry) -> Row:
    """Return the values of the entry's columns."""
    return (
        session,
        entry.position,
        # sqlite3 searches for an adapter of whatever is not exactly one of its types,
        # for longer than it takes to store it.
        str(entry.kind),
        str(entry.role),
        entry.participant,
        entry.nickname,
        entry.at,
        entry.text,
        entry.message_type,
        from_mapping(entry.user_data),
        int(entry.notable),
        from_override(entry.push),
    )


def _to_entry(row: Row, to_common: Callable[[str], _Common]) -> Entry:
    position, at, text, common = row
    kind, role, participant, nickname, type_, data, notable, push = to_common(common)
    return Entry(
        position=position,
        kind=kind,
        role=role,
        participant=participant,
        nickname=nickname,
        at=at,
        text=text,
        message_type=type_,
        user_data=data,
        notable=notable,
        push=push,
    )


def _to_common(text: str) -> _Common:
    kind, role, participant, nickname, type_, data, notable, push = _to_values(text)
    return (
        KINDS[kind],
        ROLES[role],
        participant,
        nickname,
        type_,
        to_mapping(data) if data else NOTHING,
        notable == 1,
        to_override(push) if push else None,
    )


def to_session(row: Sequence[Any]) -> Session:
    """Return the session of the columns.

    Raises: SessionDamagedError, which is logged.
    """
    values = dict(zip(NAMES, row, strict=True))
    with legible(values["id"]):
        return _to_session(values)


def _to_session(values: dict[str, Any]) -> Session:
    values |= {name: values[name].decode() for name in _TEXTS}
    values["state"] = STATES[values["state"]]
    values["comet"] = values["comet"] == 1
    values["profile"] = to_profile(values["profile"])
    values["devices"] = to_devices(values["devices"])
    values["participants"] = to_participants(values["participants"])
    return Session(**values)


def session_values(session: Session) -> list[object]:
    """Return the values of the columns in the order of the model's fields."""
    values = {name: getattr(session, name) for name in NAMES}
    values["profile"] = from_profile(session.profile)
    values["devices"] = from_devices(session.devices)
    values["participants"] = from_participants(session.participants)
    return list(values.values())


def _numbers(participants: Iterable[Participant]) -> list[int]:
    return [participant.number for participant in participants]
