"""News of changes, on every node, in order, and none missed for long.

A script that changes a session takes the next number of its partition, notes it in the
partition's log (for each session the latest), and publishes both with the news. Here
the numbers are put in order again: what this node did itself (it knows from the reply,
mostly before it hears of it) and what it hears of others. Whatever comes twice is told
once, and what has a predecessor that is missing waits for it.

Publishing is a hint that may get lost: a connection breaks, a server drops a slow
subscriber, or a subscription is deaf though its connection is fine. The counters are
the truth. Every `PROBE` seconds they are read, and a change that has existed for that
long and was not heard is made good from the log: watchers get the newest entry of each
session that changed, and `altered`, upon which they read. So news are late by at most
two periods and a read, even with no subscription at all. A subscription that missed
something is replaced by one to another server. A new one begins with a look, which
finds at once what was published while there was none.

A new primary may lack the newest changes. The scripts notice it and leave a gap in the
numbers, which is then found like any other.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from cometd_chat.model import Entry
from cometd_chat.recurring import Sparing
from cometd_chat.store import Change, StoreError
from cometd_chat.store.redis_keys import Keys
from cometd_chat.store.redis_link import (
    CONNECT_TIMEOUT,
    Address,
    Link,
    LostError,
    RefusedError,
)
from cometd_chat.store.redis_rows import to_entries, to_entry
from cometd_chat.store.redis_servers import Router
from cometd_chat.store.watchers import Watchers

PROBE = 1.0
"""Seconds between two looks at the counters."""

PAUSE = 0.2
"""Seconds before a subscription that was lost is made again."""

LOG = 4096
"""Sessions whose latest change a partition remembers, as in `lua/common.lua`."""

HELD = 10_000
"""Most changes of a partition that wait for a predecessor."""

log = logging.getLogger(__name__)
often = Sparing(log)


class _Message(msgspec.Struct, array_like=True):
    number: int
    session_id: str
    altered: bool
    first: int
    entries: list[tuple[float, msgspec.Raw]]


_to_message = msgspec.json.Decoder(_Message).decode


@dataclass(slots=True)
class _Feed:
    """One partition: up to which number all is told, and what waits.

    `seen` is the counter at the last look.
    """

    told: int
    seen: int
    held: dict[int, Change] = field(default_factory=dict)


class News:
    """Tells watchers of all changes, whichever node made them."""

    def __init__(self, router: Router, keys: Keys) -> None:
        self.watchers = Watchers()
        self._router = router
        self._keys = keys
        self._partitions = {
            channel.encode(): number for number, channel in enumerate(keys.channels)
        }
        self._feeds: list[_Feed] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._link: Link | None = None
        self._subscribed = asyncio.Event()
        self._renewed = asyncio.Event()

    async def start(self, counters: Sequence[int]) -> None:
        """Tell everything after these numbers, one for each partition."""
        self._feeds = [_Feed(counter, counter) for counter in counters]
        self._tasks = [
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._probe()),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._subscribed.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._link:
            self._link.abort()

    def take(self, partition: int, number: int, change: Change) -> None:
        """Tell the change when all before it are told, unless it is told already."""
        feed = self._feeds[partition]
        if number > feed.told and len(feed.held) < HELD:
            feed.held[number] = change
            self._drain(feed)

    def _drain(self, feed: _Feed) -> None:
        while (change := feed.held.pop(feed.told + 1, None)) is not None:
            feed.told += 1
            self.watchers.tell(change)

    async def _listen(self) -> None:
        avoid: Address | None = None
        while True:
            with _kept_going("subscribe"):
                avoid = await self._router.any_server(avoid=avoid)
                login = self._router.servers.login
                self._link = await Link.connect(avoid, login, heard=self._heard)
                self._link.announce(("SUBSCRIBE", *self._keys.channels))
                await self._link.closed.wait()
            await asyncio.sleep(PAUSE)

    def _heard(self, reply: Any) -> None:
        if not isinstance(reply, list) or len(reply) != 3:
            return
        kind, channel, payload = reply
        if kind == b"subscribe" and payload == len(self._partitions):
            self._subscribed.set()
            self._renewed.set()
        if kind == b"message":
            partition = self._partitions[channel]
            number = int(payload[1 : payload.index(b",")])
            if number > self._feeds[partition].told:
                self.take(partition, number, _to_change(payload))

    async def _probe(self) -> None:
        while True:
            # Not `wait_for`: before Python 3.12 that may swallow the end of this task.
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE):
                    await self._renewed.wait()
            with _kept_going("look for late news"):
                await self._look()

    async def _look(self) -> None:
        """Make good what has been missing since the last look, or, if nobody heard it,
        since before the subscription."""
        renewed = self._renewed.is_set()
        self._renewed.clear()
        # Before the counters are asked for: meanwhile more is told.
        told = [feed.told for feed in self._feeds]
        counters = await self.counters()
        late = [
            partition
            for partition, (feed, counter) in enumerate(
                zip(self._feeds, counters, strict=True)
            )
            if feed.told < (counter if renewed else feed.seen)
            or counter < told[partition]
        ]
        for feed, counter in zip(self._feeds, counters, strict=True):
            feed.seen = counter
        if late and self._link and not renewed:
            self._link.abort()
        # Together: on a slow line, one after the other would take many seconds.
        repairs = map(self._repair, late)
        for problem in await asyncio.gather(*repairs, return_exceptions=True):
            if problem is not None:
                raise problem

    async def counters(self) -> list[int]:
        """Return the number of the newest change of each partition."""
        own = enumerate(self._keys.own)
        values = await self._router.read_all(
            [(partition, ("HGET", key, "sequence")) for partition, key in own]
        )
        return [int(value or 0) for value in values]

    async def _repair(self, partition: int) -> None:
        feed = self._feeds[partition]
        own = self._keys.own[partition]
        told = feed.told
        counter = int(await self._router.read(partition, "HGET", own, "sequence") or 0)
        rolled_back = counter < told
        names = await self._changed(partition, 0 if rolled_back else told)
        log.info("news of %d sessions were late", len(names))
        for change in await self._newest(partition, names):
            self.watchers.tell(change)
        # More may have been told while this was read; numbers begin anew after a
        # failover only.
        feed.told = counter if rolled_back else max(feed.told, counter)
        feed.seen = counter
        for number in [n for n in feed.held if n <= feed.told]:
            del feed.held[number]
        self._drain(feed)

    async def _changed(self, partition: int, since: int) -> list[str]:
        """Return the sessions that changed after this number, or may have."""
        base = self._keys.bases[partition]
        read = self._router.read
        changes = ("ZRANGEBYSCORE", f"{base}log", f"({since}", "+inf")
        names = await read(partition, *changes)
        if len(names) >= LOG:  # there may have been more
            for state in ("waiting", "active"):
                names += await read(partition, "ZRANGE", f"{base}in:{state}", 0, -1)
        return [name.decode() for name in dict.fromkeys(names)]

    async def _newest(self, partition: int, names: Iterable[str]) -> list[Change]:
        base = self._keys.bases[partition]
        known = list(names)
        newest = await self._router.read_all(
            [
                (partition, ("XREVRANGE", f"{base}e:{name}", "+", "-", "COUNT", 1))
                for name in known
            ]
        )
        return [
            _change(name, partial(to_entries, items), altered=True)
            for name, items in zip(known, newest, strict=True)
        ]


@contextmanager
def _kept_going(what: str) -> Iterator[None]:
    """Let a task outlive what fails in it: the next round tries again."""
    try:
        yield
    except (OSError, LostError, RefusedError, StoreError):
        often.info("could not %s; the next try follows", what)
    except Exception as error:  # noqa: BLE001 - the task must live as long as the node
        # Without the traceback, whose message could show chat text.
        often.error("could not %s: %s", what, type(error).__name__)


def _to_change(payload: bytes) -> Change:
    message = _to_message(payload)
    entries = (
        to_entry(position, at, bytes(body))
        for position, (at, body) in enumerate(message.entries, message.first)
    )
    return _change(message.session_id, lambda: entries, altered=message.altered)


def _change(
    session_id: str, read: Callable[[], Iterable[Entry]], *, altered: bool
) -> Change:
    """Return a change with the entries that are read.

    Where one is damaged, or of a kind that only a newer revision knows, watchers have
    to read themselves, so that it costs no other chat its news.
    """
    try:
        return Change(session_id=session_id, entries=tuple(read()), altered=altered)
    except ValueError:  # also what msgspec raises
        return Change(session_id=session_id, altered=True)
