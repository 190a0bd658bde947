"""Looking for sessions that nobody writes in, without costing those that somebody does.

An index by the time of the newest entry would be written with each of them. So all open
sessions are looked at, some at a time, in the order of the index of their states.
"""

import sqlite3
from contextlib import suppress

from cometd_chat.store import Quiet, SessionDamagedError
from cometd_chat.store.codec import legible

_STATES = ("active", "waiting")
_LOOK = (
    # As bytes, for a text that is no UTF-8 would cost all that is asked for with it.
    "SELECT CAST(id AS BLOB), CAST(service AS BLOB), last, max(last_at, started_at),"
    " started_at, number FROM session"
    " WHERE state = ? AND (started_at, number) > (?, ?)"
    " ORDER BY started_at, number LIMIT ?"
)


def quiet(
    db: sqlite3.Connection, before: float, cursor: str, limit: int
) -> tuple[list[Quiet], str]:
    """`Store.quiet`; a cursor is a state, and where it was left in the index."""
    state, start, number = (cursor or f"{_STATES[0]} -inf 0").split()
    rows = db.execute(_LOOK, (state, float(start), int(number), limit)).fetchall()
    found = [_to_quiet(*row[:4]) for row in rows if row[3] < before]
    if len(rows) == limit:
        cursor = f"{state} {rows[-1][4]!r} {rows[-1][5]}"
    else:
        cursor = f"{_STATES[1]} -inf 0" if state == _STATES[0] else ""
    return [one for one in found if one], cursor


def _to_quiet(
    session_id: bytes, service: bytes, last: int, since: float
) -> Quiet | None:
    with suppress(SessionDamagedError), legible(session_id):
        return Quiet(
            session_id=session_id.decode(),
            service=service.decode(),
            last=last,
            since=since,
        )
    return None
