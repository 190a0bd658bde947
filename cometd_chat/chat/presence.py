"""Whether customers are there: leases in the store, renewed by their clients.

A lease promises that the customer counts as present until a moment, even if this
node dies. A poll renews it, but the store is written only when the lease has grown
short or the acknowledged position has moved, and then not for each poll: `flush()`
writes what has gathered. Coming back, going away and falling silent are written at
once, for agents and pushes depend on them.
"""

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import NamedTuple

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.store import Store, StoreUnavailableError

from .sessions import LOST

RECOVERY = 3.0
"""Seconds after an outage of the store within which nodes write the leases they owe:
a poll may have been accepted, and its lease is tried again each second."""

FORGET_PERIOD = 60.0
"""Seconds between two looks for leases that are over: those of clients that have left
are dropped at once, but for chats that were purged under them."""

REST = "rest"
"""Stands for the client id where a customer polls without Bayeux."""


@dataclass(slots=True)
class _Lease:
    until: float
    acked: int


class Lease(NamedTuple):
    """A lease on its way to another node; `dirty`: `acked` is to be written."""

    until: float
    acked: int
    dirty: bool


class Presence:
    """Leases of the customers whose clients are on this node."""

    def __init__(self, store: Store, clock: Clock, live: LiveConfig) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._owed: dict[tuple[str, str], _Lease] = {}
        """Leases that could not be written, of polls that may be held all the same."""
        self._dirty: set[tuple[str, str]] = set()
        self._forgotten_at = 0.0
        """Wall time of the last look for leases that are over."""
        self._ended_at = 0.0
        """Wall time of the last sweep that nothing disturbed."""
        self._calm_from = 0.0
        """Monotonic time when the last outage is over, infinite while it lasts."""

    async def begin(self, session_id: str, *, comet: bool, service: str) -> None:
        """Give a new chat's customer the time to connect, or to poll again."""
        options = self._live.current
        grace = (
            options.bayeux.offline_after
            if comet
            else options.chat_service(service).flex_disconnect_timeout
        )
        until = self._clock.time() + grace
        await self._store.mark_present(session_id, REST, until)

    def noted(self, session_id: str, client_id: str, acked: int) -> bool:
        """Note a poll if that needs no writing now; tell whether it did."""
        options = self._live.current.bayeux
        needed = self._clock.time() + options.timeout + options.offline_after
        lease = self._leases.get((session_id, client_id))
        if lease is None or lease.until < needed:
            return False
        if acked > lease.acked:
            lease.acked = acked
            self._dirty.add((session_id, client_id))
        return True

    async def seen(self, session_id: str, client_id: str, acked: int) -> None:
        """Note that this client polls, and has everything up to `acked`."""
        if self.noted(session_id, client_id, acked):
            return
        options = self._live.current.bayeux
        now, key = self._clock.time(), (session_id, client_id)
        # A little more than needed, or each poll would have to write.
        until = now + options.timeout + options.offline_after * 1.5
        await self._renew(key, _Lease(until, acked))

    async def _renew(self, key: tuple[str, str], lease: _Lease) -> None:
        first = key not in self._leases
        self._leases[key] = lease
        self._owed.pop(key, None)
        self._dirty.discard(key)
        try:
            await self._store.mark_present(*key, lease.until, lease.acked)
        except StoreUnavailableError:
            if self._leases.get(key) is lease:  # else it left, or polled again
                self._owed[key] = self._leases.pop(key)
            raise
        if first:  # the time that `begin` gave is used
            await self._store.mark_absent(key[0], REST, self._clock.time())

    async def gone(
        self, session_id: str, client_id: str, acked: int, position: int | None
    ) -> None:
        """Note that this client does not poll any more.

        `position` is the customer's own word about what he has.
        """
        self.drop(session_id, client_id)
        at = self._clock.time()
        with contextlib.suppress(*LOST):
            await self._store.mark_absent(
                session_id, client_id, at, acked=acked, position=position
            )

    def drop(self, session_id: str, client_id: str) -> None:
        """Forget a lease that is of no interest any more."""
        self._owed.pop((session_id, client_id), None)
        self._dirty.discard((session_id, client_id))
        self._leases.pop((session_id, client_id), None)

    def pack(self, session_id: str, client_id: str) -> Lease | None:
        """Return the lease, and whether its position is still to be written."""
        lease = self._leases.get((session_id, client_id))
        if lease is None:
            return None
        return Lease(lease.until, lease.acked, (session_id, client_id) in self._dirty)

    def unpack(self, session_id: str, client_id: str, lease: Lease) -> None:
        """Go on with the lease of a client that comes from another node."""
        self._leases[session_id, client_id] = _Lease(lease.until, lease.acked)
        if lease.dirty:
            self._dirty.add((session_id, client_id))

    async def flush(self) -> None:
        """Write the acknowledged positions that have moved, and leases that could not
        be written; call it often."""
        await self._pay()
        dirty, self._dirty = self._dirty, set()
        # All at once, for a store writes what comes together with one sync.
        await asyncio.gather(*map(self._write, dirty))

    async def _pay(self) -> None:
        """Write the leases again that could not be written."""
        await asyncio.gather(*map(self._pay_one, list(self._owed)))

    async def _pay_one(self, key: tuple[str, str]) -> None:
        if (lease := self._owed.get(key)) is None:
            return
        try:
            await self._renew(key, lease)
        except LOST:
            self.drop(*key)

    async def _write(self, key: tuple[str, str]) -> None:
        if (lease := self._leases.get(key)) is None:
            return
        try:
            await self._store.acknowledge(key[0], lease.acked)
        except LOST:
            self.drop(*key)
        except StoreUnavailableError:
            if self._leases.get(key) is lease:
                self._dirty.add(key)
            raise

    async def sweep(self) -> None:
        """Let leases end whose node died; call it about once a second.

        After an outage not before all nodes had the time to write what they owe: else
        customers would count as away although they are there.
        """
        now, moment = self._clock.time(), self._clock.monotonic()
        calm = moment >= self._calm_from
        if now - self._forgotten_at >= FORGET_PERIOD:
            self._forget(now)
        try:
            await self._pay()
            await self._end(now if calm else self._ended_at)
        except StoreUnavailableError:
            self._calm_from = math.inf
            raise
        if calm:
            self._ended_at = now
        elif self._calm_from == math.inf:
            self._calm_from = moment + RECOVERY

    def _forget(self, now: float) -> None:
        self._forgotten_at = now
        over = [key for key, lease in self._leases.items() if lease.until < now]
        for key in over:
            del self._leases[key]

    async def _end(self, at: float) -> None:
        while len(await self._store.expire_presence(at)) >= 100:
            pass
