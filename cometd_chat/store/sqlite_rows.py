"""Rows of the tables as facts of the model, and facts as rows."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

import msgspec

from cometd_chat.model import (
    NOTHING,
    Device,
    Entry,
    EntryKind,
    Participant,
    Profile,
    Role,
    Session,
    State,
)
from cometd_chat.store import SessionNotFoundError

Row: TypeAlias = tuple[Any, ...]

MOST = 2**63 - 1
"""The greatest integer of SQLite."""

_KINDS = {kind.value: kind for kind in EntryKind}
_ROLES = {role.value: role for role in Role}
_STATES = {state.value: state for state in State}
_NO_PROFILE = Profile()

_json = msgspec.json.Encoder(enc_hook=dict)
"""Knows everything but the read-only mappings, which are made dicts."""
_to_mapping = msgspec.json.Decoder(dict[str, str]).decode
_to_profile = msgspec.json.Decoder(Profile).decode
_to_device = msgspec.json.Decoder(Device).decode
_to_devices = msgspec.json.Decoder(tuple[Device, ...]).decode
_to_participants = msgspec.json.Decoder(tuple[Participant, ...]).decode

_NAMES = tuple(field.name for field in fields(Session))
_SESSION = f"SELECT s.{', s.'.join(_NAMES)} FROM session s "  # noqa: S608 - as below
_ENTRY = (
    "SELECT position, kind, role, participant, nickname, at, text, message_type,"
    " user_data, notable FROM entry "
)
_AFTER = (
    "WHERE session = (SELECT number FROM session WHERE id = ?) AND position > ?"
    " ORDER BY position LIMIT ?"
)
_INSERT_ENTRY = "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_SESSION = (
    f"INSERT INTO session ({', '.join(_NAMES)}, seats)"  # noqa: S608 - our own names
    f" VALUES ({', '.join('?' * (len(_NAMES) + 1))}) ON CONFLICT DO NOTHING"
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

    Raises: SessionNotFoundError, also for text that no column could hold.
    """
    try:
        row = db.execute(_SESSION + f"WHERE {column} = ?", (value,)).fetchone()
    except UnicodeEncodeError:
        row = None
    if row is None:
        raise SessionNotFoundError("no such session")
    return to_session(row)


def select_sessions(
    db: sqlite3.Connection, rest: str, *values: object
) -> list[Session]:
    """Return the sessions `s` that the rest of the SELECT statement leaves."""
    return [to_session(row) for row in db.execute(_SESSION + rest, values)]


def insert_session(db: sqlite3.Connection, session: Session) -> int | None:
    """Keep a new session; return its number, None when its id or key exists already."""
    row = (*session_values(session), max((1, *_numbers(session.participants))))
    inserted = db.execute(_INSERT_SESSION, row)
    return inserted.lastrowid if inserted.rowcount == 1 else None


def read_entries(
    db: sqlite3.Connection, session_id: str, after: int, limit: int
) -> list[Entry]:
    rows = db.execute(
        _ENTRY + _AFTER,
        (session_id, min(after, MOST), max(0, min(limit, MOST))),
    )
    return [to_entry(row) for row in rows.fetchall()]


def insert_entry(db: sqlite3.Connection, session: int, entry: Entry) -> None:
    db.execute(
        _INSERT_ENTRY,
        (
            session,
            entry.position,
            entry.kind,
            entry.role,
            entry.participant,
            entry.nickname,
            entry.at,
            entry.text,
            entry.message_type,
            from_mapping(entry.user_data),
            entry.notable,
        ),
    )


def to_entry(row: Row) -> Entry:
    position, kind, role, participant, nickname, at, text, type_, data, notable = row
    return Entry(
        position=position,
        kind=_KINDS[kind],
        role=_ROLES[role],
        participant=participant,
        nickname=nickname,
        at=at,
        text=text,
        message_type=type_,
        user_data=_to_mapping(data) if data else NOTHING,
        notable=notable == 1,
    )


def to_session(row: Row) -> Session:
    values = dict(zip(_NAMES, row, strict=True))
    values["state"] = _STATES[values["state"]]
    values["comet"] = values["comet"] == 1
    values["profile"] = to_profile(values["profile"])
    values["devices"] = to_devices(values["devices"])
    values["participants"] = to_participants(values["participants"])
    return Session(**values)


def session_values(session: Session) -> list[object]:
    """Return the values of the columns in the order of the model's fields."""
    values = {name: getattr(session, name) for name in _NAMES}
    values["profile"] = from_profile(session.profile)
    values["devices"] = from_devices(session.devices)
    values["participants"] = from_participants(session.participants)
    return list(values.values())


def to_profile(text: str) -> Profile:
    return _to_profile(text) if text else _NO_PROFILE


def from_profile(profile: Profile) -> str:
    return "" if profile == _NO_PROFILE else _json.encode(profile).decode()


def to_device(text: str) -> Device:
    return _to_device(text)


def from_device(device: Device) -> str:
    return _json.encode(device).decode()


def to_devices(text: str) -> tuple[Device, ...]:
    return _to_devices(text) if text else ()


def from_devices(devices: Collection[Device]) -> str:
    return _json.encode(devices).decode() if devices else ""


def to_participants(text: str) -> tuple[Participant, ...]:
    return _to_participants(text) if text else ()


def from_participants(participants: Collection[Participant]) -> str:
    return _json.encode(participants).decode() if participants else ""


def from_mapping(mapping: Mapping[str, str]) -> str:
    return _json.encode(mapping).decode() if mapping else ""


def _numbers(participants: Iterable[Participant]) -> list[int]:
    return [participant.number for participant in participants]
