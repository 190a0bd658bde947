"""Sessions as this node last saw them, so that speaking costs no read.

For what entries do not change: whose a session is, its service, who takes part, if it
is open. Never for how far anybody is: `last`, `acked` and their like may be old.

A session is dropped with the news that it was altered. News of other nodes come late,
by a second or two at worst. So nobody is refused by what is remembered; whoever left a
chat on another node may still write to it for so long, but to none that has ended, as
the store refuses that.
"""

import asyncio
from collections.abc import Awaitable, Sequence

from cometd_chat.model import Session
from cometd_chat.store import (
    Change,
    SessionDamagedError,
    SessionNotFoundError,
    Store,
)

LOST = (SessionNotFoundError, SessionDamagedError)
"""What is raised of sessions for which nothing can be done: purged, or damaged."""

ROOM = 10_000
"""Sessions kept at most; the one kept for the longest time makes room."""


class Sessions:
    """A bounded view of the store's sessions; it hears of each change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Session] = {}
        self._ids: dict[str, str] = {}
        self._alterations = 0
        store.watch(self._changed)

    async def get(self, session_id: str) -> Session:
        """Return the session of this id.

        Raises: SessionNotFoundError, StoreUnavailableError.
        """
        known = self._known.get(session_id)
        return known or await self._read(self._store.get(session_id))

    async def find(self, key: str) -> Session:
        """Return the session of this secret key.

        Raises: as `get`.
        """
        known = self._known.get(self._ids.get(key, ""))
        return known or await self._read(self._store.find(key))

    async def _read(self, reading: Awaitable[Session]) -> Session:
        before = self._alterations
        session = await reading
        # Altered meanwhile, be it another one: what was read may be of before.
        if before == self._alterations:
            self._keep(session)
        return session

    def _keep(self, session: Session) -> None:
        if len(self._known) >= ROOM:
            self._drop(next(iter(self._known)))
        self._known[session.id] = session
        self._ids[session.key] = session.id

    def _changed(self, change: Change) -> None:
        if change.altered:
            self._alterations += 1
            self._drop(change.session_id)

    def _drop(self, session_id: str) -> None:
        if gone := self._known.pop(session_id, None):
            del self._ids[gone.key]


async def still_there(store: Store, names: Sequence[str]) -> dict[str, Session]:
    """Read these sessions at the same time; return those that were not lost, by id.

    Raises: StoreUnavailableError.
    """
    found = await asyncio.gather(*map(store.get, names), return_exceptions=True)
    for problem in found:
        if isinstance(problem, BaseException) and not isinstance(problem, LOST):
            raise problem
    return {one.id: one for one in found if isinstance(one, Session)}
