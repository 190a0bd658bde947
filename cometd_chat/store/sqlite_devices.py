"""Which device belongs to whom. Nobody gets a push that is meant for another user.

The devices of a session stand in its row; the table `device` says the same the other
way round, to find the sessions of a device. Two things are always true:

* The sessions that have a device are one, or all of the same user, known by name.
* A job is for a device that its session has, and that is not muted unless the job is
  silent.

Both are kept in the transaction of the change itself, by `equip`, through which each
change of devices goes. It also takes a due session back from the worker that has it,
whose jobs would be for the devices of before.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress

from cometd_chat.model import Device, Session, device_name
from cometd_chat.store import Change, SessionDamagedError, SessionNotFoundError
from cometd_chat.store.codec import from_devices, legible, to_devices
from cometd_chat.store.transitions import with_device, without_device

_HAS = "SELECT number, user, devices FROM session WHERE id = ?"
OTHERS = (
    "SELECT s.number, s.id, s.devices FROM device d"
    " JOIN session s ON s.number = d.session"
    " WHERE d.type = ?1 AND d.id = ?2 AND d.session <> ?3"
    " AND (s.user <> ?4 OR ?4 = '')"
)
HOLDERS = (
    "SELECT s.number, s.id, s.devices FROM device d"
    " JOIN session s ON s.number = d.session WHERE d.type = ? AND d.id = ?"
)
_CARRY = (
    "UPDATE session SET devices = ?, reachable = ?, lease = 0, badge_lease = 0"
    " WHERE number = ?"
)
_UNLIST = "DELETE FROM device WHERE session = ?"
_LIST = "INSERT INTO device VALUES (?, ?, ?, ?)"
_CALL_OFF = (
    "DELETE FROM job WHERE session = ? AND NOT EXISTS ("
    " SELECT 1 FROM device d WHERE d.session = job.session AND d.type = job.type"
    " AND d.id = job.device_id AND (job.silent OR NOT d.muted))"
)


def register(
    session_id: str,
    device: Device,
    at: float,
    db: sqlite3.Connection,
    news: list[Change],
) -> None:
    """`Store.register_device`."""
    row = db.execute(_HAS, (session_id,)).fetchone()
    if row is None:
        raise SessionNotFoundError("no such session")
    number, user, devices = row
    with legible(session_id):
        after = with_device(to_devices(devices), device, at)
    losers = _take(db, number, user, device)
    equip(db, number, after)
    _tell([session_id, *losers], news)


def hold(
    db: sqlite3.Connection, number: int, session: Session, news: list[Change]
) -> None:
    """Make all devices of the session those of its user, who may be new in it.

    What became of the session itself is for the caller to tell.
    """
    losers = [
        loser
        for device in session.devices
        for loser in _take(db, number, session.user, device)
    ]
    if session.devices:
        equip(db, number, session.devices)
    _tell(losers, news)


def deregister(
    session_id: str, device_id: str | None, db: sqlite3.Connection, news: list[Change]
) -> int:
    """`Store.deregister_device`."""
    row = db.execute(_HAS, (session_id,)).fetchone()
    if row is None:
        return 0
    number, _, devices = row
    with legible(session_id):
        before = to_devices(devices)
    stay = tuple(
        d
        for d in before
        if device_id is not None and d.name != device_name(d.type, device_id)
    )
    if stay == before:
        return 0
    equip(db, number, stay)
    _tell([session_id], news)
    return len(before) - len(stay)


def forget(
    name: tuple[str, str],
    since: float | None,
    db: sqlite3.Connection,
    news: list[Change],
) -> int:
    """`Store.forget_device`; `name` is its type and its name."""
    losers = []
    for number, session_id, devices in db.execute(HOLDERS, name).fetchall():
        before = _legible_of(session_id, devices)
        stay = without_device(before, *name)
        dead = set(before) - set(stay)
        if since is None or all(one.registered_at <= since for one in dead):
            equip(db, number, stay)
            losers.append(session_id)
    _tell(losers, news)
    return len(losers)


def _take(db: sqlite3.Connection, number: int, user: str, device: Device) -> list[str]:
    """Take the device from all others than this user; return who they were."""
    name = (device.type, device.name)
    losers = db.execute(OTHERS, (*name, number, user)).fetchall()
    for other, session_id, devices in losers:
        equip(db, other, without_device(_legible_of(session_id, devices), *name))
    return [session_id for _, session_id, _ in losers]


def _legible_of(session_id: str, devices: str) -> tuple[Device, ...]:
    """Return the devices of a session that is to lose one of them: none if they are
    damaged, for nobody may keep what is taken."""
    with suppress(SessionDamagedError), legible(session_id):
        return to_devices(devices)
    return ()


def _tell(sessions: Iterable[str], news: list[Change]) -> None:
    news += [Change(session_id=name, altered=True) for name in dict.fromkeys(sessions)]


def equip(db: sqlite3.Connection, number: int, devices: tuple[Device, ...]) -> None:
    """Give the session these devices and no others."""
    reachable = any(not device.muted for device in devices)
    db.execute(_CARRY, (from_devices(devices), reachable, number))
    db.execute(_UNLIST, (number,))
    db.executemany(_LIST, [(number, d.type, d.name, d.muted) for d in devices])
    db.execute(_CALL_OFF, (number,))
