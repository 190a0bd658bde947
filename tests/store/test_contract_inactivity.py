"""Chats that nobody writes in are closed, once each, whatever the store."""

import asyncio
from typing import Any

from cometd_chat.chat import Inactivity
from cometd_chat.config import LiveConfig, loads
from cometd_chat.model import End, EntryKind, Role, Session
from cometd_chat.store import Store
from tests.chat.world import FakeClock
from tests.store.facts import joins, opened, said

OPTIONS = """\
[chat]
timeout-alert = 100
timeout-close = 20
message-alert = soon
message-close = now
[chat.slow]
timeout-alert = 1000
timeout-alert2 = 50
[chat.endless]
timeout-alert = 0
"""


def live(options: str = OPTIONS) -> LiveConfig:
    loaded = loads(options)
    assert loaded.config is not None
    return LiveConfig(loaded.config)


class Night:
    """Some processes that look after the chats of one store."""

    def __init__(self, store: Store, processes: int = 3) -> None:
        self.store = store
        self.clock = FakeClock()
        config = live()
        self.workers = [Inactivity(store, self.clock, config) for _ in range(processes)]

    async def chat(self, name: str, service: str = "any") -> None:
        await opened(self.store, name, service=service, created_at=self.clock.now)
        await self.say(name)

    async def say(self, name: str) -> None:
        await self.store.append(name, [said("hello", self.clock.now)])

    async def passes(self, seconds: float) -> None:
        """Let time pass; then all of them look in the same moment."""
        self.clock.now += seconds
        await asyncio.gather(*(worker.look() for worker in self.workers))

    async def texts(self, name: str) -> list[str]:
        return [entry.text for entry in await self.store.read(name, 0)]


async def test_each_chat_is_warned_and_closed_once_after_its_own_silence(
    store: Store,
) -> None:
    night = Night(store)
    for number in range(30):
        await night.chat(f"s{number}")
    await night.chat("busy")
    await night.chat("slow", "slow")
    await night.chat("endless", "endless")
    await store.append("s0", [], transition=joins())
    await night.passes(99)
    assert await night.texts("s0") == ["hello"]
    await night.passes(2)
    for number in range(30):
        assert await night.texts(f"s{number}") == ["hello", "soon"]
    await night.say("busy")
    await night.passes(21)
    for number in range(30):
        entries = await store.read(f"s{number}", 2)
        assert [e.text for e in entries if e.kind != EntryKind.LEFT] == ["now"]
        assert [e.role for e in entries[1:]] == [Role.AGENT] * (number == 0)
        assert (await store.get(f"s{number}")).ended
    assert await night.texts("busy") == ["hello", "soon", "hello"]
    assert await night.texts("slow") == ["hello"]
    await night.passes(900)
    await night.passes(51)
    assert await night.texts("slow") == ["hello", "soon", "soon"]
    assert (await store.get("slow")).open
    await night.passes(21)
    assert await night.texts("slow") == ["hello", "soon", "soon", "now"]
    assert (await store.get("slow")).ended
    await night.passes(10_000_000)
    assert await night.texts("endless") == ["hello"]
    assert (await store.get("endless")).open


class Interrupted:
    """A store in whose chats somebody writes just after they were looked at."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, session_id: str) -> Session:
        session = await self._store.get(session_id)
        await self._store.append(session_id, [said("wait")])
        return session


async def test_who_writes_between_the_look_and_the_close_keeps_the_chat_open(
    store: Store,
) -> None:
    interrupted: Any = Interrupted(store)
    night = Night(interrupted, processes=1)
    await night.chat("s")
    await night.passes(101)
    await night.passes(21)
    assert await night.texts("s") == ["hello", "soon", "wait"]
    assert (await store.get("s")).open


async def test_chats_that_are_over_or_were_never_opened_are_left_alone(
    store: Store,
) -> None:
    night = Night(store)
    await night.chat("ended")
    await store.append("ended", [], transition=End())
    await night.passes(1000)
    assert await night.texts("ended") == ["hello"]
