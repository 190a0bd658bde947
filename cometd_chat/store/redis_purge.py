"""Forgetting sessions whose time of retention is over."""

from contextlib import suppress
from math import inf, nextafter

from cometd_chat.model import Session
from cometd_chat.store import SessionDamagedError
from cometd_chat.store.redis_devices import Devices
from cometd_chat.store.redis_keys import partition_of
from cometd_chat.store.redis_rows import to_row
from cometd_chat.store.redis_scripts import Scripts
from cometd_chat.store.redis_sessions import Sessions

AT_ONCE = 100
"""Sessions that are looked up at a time."""

DISPLACED = 10
"""Sessions at most that go for one that comes, so that it does not wait for long."""


class Purge:
    """`Store.purge`. First the session itself goes, in one step; then what leads to it.

    A crash in between, a lost answer or damage leaves names of no session, which are
    removed where they are met, and the record of a customer's key, which nobody else
    will ever have.
    """

    def __init__(self, scripts: Scripts, sessions: Sessions, devices: Devices) -> None:
        self._scripts = scripts
        self._sessions = sessions
        self._devices = devices

    async def __call__(self, new_before: float, ended_before: float) -> int:
        ranges = [
            ("new", "-inf", f"({new_before!r}"),
            ("over", "-inf", f"({ended_before!r}"),
        ]
        gone = 0
        while found := await self._sessions.earliest(ranges, AT_ONCE):
            words = (repr(new_before), repr(ended_before))
            forgotten = [await self._forget(name, *words) for _, name in found]
            gone += sum(forgotten)
            if not any(forgotten):
                break  # another node does the same
        return gone

    async def displace(self, partition: int, beyond: int) -> None:
        """Forget so many sessions of the partition that were never opened, oldest
        first, or as many as may go at once."""
        going = min(beyond, DISPLACED)
        for created_at, name in await self._sessions.newcomers(partition, going):
            await self._forget(name, repr(nextafter(created_at, inf)), "0")

    async def _forget(self, name: str, *words: str) -> bool:
        outcome, *facts = await self._scripts.run("purge", name, *words)
        if outcome != b"ok":
            return False
        number, flat, readers = facts
        self._sessions.tell_altered(name, number)
        for reader in readers:
            await self._sessions.unlist(reader.decode(), "client", name)
        with suppress(SessionDamagedError):
            if row := to_row(name, flat):
                await self._undo(row.session)
        return True

    async def _undo(self, session: Session) -> None:
        """Remove what leads to a session that is gone."""
        if session.user:
            await self._sessions.unlist(session.user, "user", session.id)
        await self._devices.release_all(session)
        await self._scripts.run_at(
            "release_key", partition_of(session.key), session.id, session.key
        )
