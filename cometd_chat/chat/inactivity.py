"""Closing chats that nobody writes in any more.

Everybody in such a chat is told before, once or twice (GMS options `timeout-alert`,
`timeout-alert2`, `timeout-close`). How far that has come is read from the newest
entries. All processes look at all open chats now and then. Nothing is lent to one of
them: each writes only after the entry that it has seen (`Store.append` with
`expected`), so that a step is made once, and who writes in between keeps the chat open.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from cometd_chat.clock import Clock
from cometd_chat.config import ChatOptions, LiveConfig
from cometd_chat.model import SERVER, Draft, End, Entry, EntryKind, Participant, Role
from cometd_chat.recurring import Sparing
from cometd_chat.store import (
    ConflictError,
    Quiet,
    SessionEndedError,
    Store,
    StoreError,
    TranscriptFullError,
)

from .notable import is_notable
from .sessions import LOST

ALERT = "IDLE_CONTROL_ALERT"
"""Message type of the entries that tell of the end to come, as GMS calls them."""

CLOSE = "IDLE_CONTROL_CLOSE"
"""Message type of the entry that tells of the end."""

NICKNAME = "System"
"""Who says so."""

ALERTS = 2
"""How often it is told at most before the end."""

LONGEST_PAUSE = 60.0
"""Seconds between two looks at all open chats, at most, but for `LOAD`: so late may a
step be."""

SHARE = 0.1
"""The pause as a share of the shortest silence after which there is a step, where that
is less."""

LOAD = 0.01
"""Share of the time in which a process looks at chats, at most: where there are so many
that a look takes long, looks are rare."""

BRIEF = 1.0
"""Seconds of a look that are no load: where there are few chats, it waits for Redis."""

LOOKED_AT = 100
"""Chats that the store looks at in one piece: Redis does nothing else meanwhile, for a
millisecond."""

AT_ONCE = 20
"""Chats that are attended to together; their writes share a commit."""

often = Sparing(logging.getLogger(__name__))

_OVERTAKEN = (ConflictError, SessionEndedError, *LOST)
"""What is raised when there is nothing left to do in a chat."""


class Step(NamedTuple):
    """What comes next in a chat, after so many seconds of silence."""

    kind: str
    after: float


NEVER = Step("", math.inf)


def next_step(options: ChatOptions, newest: Sequence[Entry]) -> Step:
    """Return what comes next if nobody writes; `newest` ends with the newest entry and
    has `ALERTS` entries, if there are so many."""
    alerts = sum(1 for _ in takewhile(_is_alert, reversed(newest)))
    if not options.timeout_alert:
        return NEVER
    if alerts == 0:
        return Step(ALERT, options.timeout_alert)
    if alerts < ALERTS and options.timeout_alert2:
        return Step(ALERT, options.timeout_alert2)
    return Step(CLOSE, options.timeout_close) if options.timeout_close else NEVER


def shortest_silence(options: ChatOptions) -> float:
    """Return the seconds of silence before which no step is due; infinite for none."""
    if not options.timeout_alert:
        return math.inf
    spans = (options.timeout_alert, options.timeout_alert2, options.timeout_close)
    return min(filter(None, spans))


class Inactivity:
    """Looks after quiet chats; any number of them may share a store."""

    def __init__(self, store: Store, clock: Clock, live: LiveConfig) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self._config = live.current
        # Not at once: while no server was there, nobody could write.
        self._looks_at = clock.monotonic() + LONGEST_PAUSE
        """Monotonic time of the next look."""
        self._later: dict[tuple[str, int], float] = {}
        """When the next step is due in chats that were quiet at the last look, by their
        newest position: what was read need not be read again."""

    async def sweep(self) -> None:
        """Look at all open chats if it is time to; call it about once a second."""
        now = self._clock.monotonic()
        if self._config is not self._live.current:
            self._looks_at = now
        if now >= self._looks_at:
            await self.look()
            end = self._clock.monotonic()
            pause = min(LONGEST_PAUSE, SHARE * self._shortest_silence())
            # Processes that were started together do not look together for ever.
            pause *= random.uniform(0.5, 1)  # noqa: S311 - no secret
            self._looks_at = end + max(pause, (end - now - BRIEF) / LOAD)

    async def look(self) -> None:
        """Look at all open chats, and make the steps that are due."""
        if self._config is not self._live.current:
            self._config, self._later = self._live.current, {}
        now = self._clock.time()
        later: dict[tuple[str, int], float] = {}
        if (silence := self._shortest_silence()) < math.inf:
            async for chats in self._quiet(now - silence):
                due = await asyncio.gather(*(self._attend(c, now) for c in chats))
                later |= dict(zip(map(_key, chats), due, strict=True))
        self._later = later

    async def _quiet(self, before: float) -> AsyncIterator[list[Quiet]]:
        cursor, more = "", True
        while more:
            found, cursor = await self._store.quiet(before, cursor, LOOKED_AT)
            for first in range(0, len(found), AT_ONCE):
                yield found[first : first + AT_ONCE]
            more = cursor != ""

    def _shortest_silence(self) -> float:
        config = self._live.current
        chats = map(config.chat_service, ("", *config.services))
        return min(map(shortest_silence, chats))

    async def _attend(self, chat: Quiet, now: float) -> float:
        """Make the step that is due; return when to look again if nobody writes."""
        options = self._config.chat_service(chat.service)
        due = self._later.get(_key(chat), chat.since + shortest_silence(options))
        if due > now:
            return due
        try:
            newest = await self._store.read(chat.session_id, chat.last - ALERTS, ALERTS)
            step = next_step(options, newest)
            if (due := chat.since + step.after) <= now:
                write = self._alert if step.kind == ALERT else self._close
                await write(chat, options)
        except _OVERTAKEN:
            pass
        except StoreError as error:  # it has no words of the chat
            often.warning("a quiet chat cannot be looked after: %s", error)
        return due  # also of a step that is made: a failover may undo it

    async def _alert(self, chat: Quiet, options: ChatOptions) -> None:
        alert = self._notice(chat, ALERT, options.message_alert)
        try:
            await self._store.append(chat.session_id, [alert], expected=chat.last)
        except TranscriptFullError:  # so nobody can write to keep it open
            if options.timeout_close:
                await self._close(chat, options)

    async def _close(self, chat: Quiet, options: ChatOptions) -> None:
        session = await self._store.get(chat.session_id)
        notice = self._notice(chat, CLOSE, options.message_close)
        left = [self._left(chat, part) for part in session.agents]
        await self._store.append(
            chat.session_id, [notice, *left], transition=End(), expected=chat.last
        )

    def _notice(self, chat: Quiet, message_type: str, text: str) -> Draft:
        return Draft(
            kind=EntryKind.CUSTOM_NOTICE,
            role=Role.EXTERNAL,
            participant=SERVER,
            nickname=NICKNAME,
            at=self._clock.time(),
            text=text,
            message_type=message_type,
            notable=text != ""
            and is_notable(self._live, chat.service, EntryKind.CUSTOM_NOTICE),
        )

    def _left(self, chat: Quiet, part: Participant) -> Draft:
        return Draft(
            kind=EntryKind.LEFT,
            role=part.role,
            participant=part.number,
            nickname=part.nickname,
            at=self._clock.time(),
            notable=is_notable(self._live, chat.service, EntryKind.LEFT),
        )


def _is_alert(entry: Entry) -> bool:
    return entry.role is Role.EXTERNAL and entry.message_type == ALERT


def _key(chat: Quiet) -> tuple[str, int]:
    return chat.session_id, chat.last
