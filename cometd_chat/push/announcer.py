"""The first half of a push: who is due, and what is said.

The announcer asks who is absent and has not heard something, and leaves a job for each
of his devices in the same transaction that marks the entries as announced. The other
half (`worker.py`) sends these jobs; there is nothing but the store between the two.
"""

import asyncio
import logging
from collections.abc import Awaitable

from cometd_chat.clock import Clock
from cometd_chat.config import Config, LiveConfig
from cometd_chat.model import Entry, Session
from cometd_chat.store import Due, Store

from .apart import each
from .compose import (
    Occasion,
    awake_at,
    corrections,
    jobs,
    receivers,
    together_until,
    why_unserved,
)
from .wording import Texts

log = logging.getLogger(__name__)

ANNOUNCING = 15.0
"""Seconds after which a customer whose announcer died is taken over."""

AT_A_TIME = 20
"""Customers announced together; their writes share a commit."""


class Announcer:
    """Queues the pushes that are due; any number of announcers may share a store."""

    def __init__(self, store: Store, clock: Clock, live: LiveConfig) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self.texts: Texts = {}

    async def announce(self) -> None:
        """Leave jobs for everybody who is due; call it often."""
        await each(self._announce_to, await self._store.unheard_services())

    async def correct(self) -> None:
        """Leave silent jobs where a badge went down; call it about once a second."""
        more = True
        while more:
            now = self._clock.time()
            found = await self._store.claim_badges(now, ANNOUNCING, AT_A_TIME)
            work = (self._tried(self._correct(due, now)) for due in found)
            await asyncio.gather(*work)
            more = len(found) == AT_A_TIME

    async def _announce_to(self, service: str) -> None:
        delay = self._live.current.service(service).client_timeout_notification
        more = True
        while more:
            now = self._clock.time()
            found = await self._store.claim_due(
                service, now, delay, ANNOUNCING, AT_A_TIME
            )
            work = (self._tried(self._announce(due, now)) for due in found)
            await asyncio.gather(*work)
            more = len(found) == AT_A_TIME

    async def _tried(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as exc:  # noqa: BLE001 - one must not keep the others waiting
            # Without its words, which may be those of the chat.
            log.error("a push could not be announced: %s", type(exc).__name__)

    async def _correct(self, due: Due, now: float) -> None:
        badge = await self._store.badge(due.session.id)
        made = corrections(self._live.current, due.session, badge, now)
        await self._store.update_badge(due, made)

    async def _announce(self, due: Due, now: float) -> None:
        session, config = due.session, self._live.current
        entries = await self._unheard(session)
        if not entries:
            await self._store.announce(due, session.last, ())
            return
        to = receivers(config, session)
        if not to and config.service(session.service).push:
            told = "chat %s: a push is due, but no provider serves the device: %s"
            log.info(told, session.id, _reasons(config, session))
        until = awake_at(to, now)
        if session.pushes:  # the first push of an absence is never late
            until = max(until, together_until(to, entries[0]))
        if until > now:
            await self._store.postpone(due, until)
            return
        badge = await self._store.badge(session.id)
        occasion = Occasion(session=session, entries=entries, badge=badge, now=now)
        made = jobs(config, self.texts, occasion, to)
        await self._store.announce(due, occasion.position, made)

    async def _unheard(self, session: Session) -> list[Entry]:
        """Return the entries to tell about."""
        heard = max(session.acked, session.announced)
        found: list[Entry] = []
        while heard < session.last:
            page = await self._store.read(session.id, heard)
            if not page:
                break
            found += [entry for entry in page if entry.notable]
            heard = page[-1].position
        return found


def _reasons(config: Config, session: Session) -> str:
    devices = (one for one in session.devices if not one.muted)
    return "; ".join(f"{one.type}, {why_unserved(config, one)}" for one in devices)
