"""`kill -9` during load: what was acknowledged is there, once, in order."""

import asyncio
import collections
import contextlib
import itertools
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests import ways
from tests.clients.raw import V1App

from .conftest import free_port, new_server, stored, write_config

pytestmark = pytest.mark.slow

ROUNDS = 5
SENDERS = 32
SESSIONS = 40
SENDS_PER_ROUND = 4_200
"""Acknowledged sends before each kill; five rounds make more than 20,000. For two
nodes, which share the machine with their proxy, a quarter of that."""


@dataclass
class Ledger:
    """What senders know: texts that were acknowledged, with their positions."""

    acknowledged: dict[str, dict[str, int]] = field(
        default_factory=lambda: collections.defaultdict(dict)
    )
    count: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    goal: int = 0

    def note(self, key: str, text: str, position: int) -> None:
        self.acknowledged[key][text] = position
        self.count += 1
        if self.count >= self.goal:
            self.enough.set()


async def send_for_ever(
    http: ClientSession, base: str, keys: list[str], name: str, ledger: Ledger
) -> None:
    """Send one message after the other; without an answer, the same one again."""
    for number in itertools.count():
        key = random.choice(keys)
        text = f"{name}-{number}"
        ledger.note(key, text, await send(http, base, key, text))


async def send(http: ClientSession, base: str, key: str, text: str) -> int:
    """Send until there is an answer, and return the position it promises."""
    while True:
        position = await send_once(http, base, key, text)
        if position is not None:
            return position
        await asyncio.sleep(0.05)


async def send_once(http: ClientSession, base: str, key: str, text: str) -> int | None:
    """Return the position that the server promised, or None without an answer."""
    url = f"{base}/1/service/{key}/ixn/chat/send"
    form = {"message": text, "localId": text}
    try:
        async with http.post(url, data=form) as response:
            assert response.status == 200, await response.text()
            return int((await response.json())["transcriptPosition"])
    except (ClientError, OSError):
        return None


async def test_no_acknowledged_send_is_lost_or_doubled_by_kill_9(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, port=free_port())
    ledger = Ledger()
    async with (
        new_server(config) as server,
        ClientSession(timeout=ClientTimeout(total=10)) as http,
    ):
        base = f"{server.url}/genesys"
        apps = [V1App(base, user=f"user-{i}") for i in range(SESSIONS)]
        await asyncio.gather(*(app.start(userDisplayName="Cleo") for app in apps))
        keys = [app.service_id for app in apps]
        senders = [
            asyncio.create_task(send_for_ever(http, base, keys, f"s{i}", ledger))
            for i in range(SENDERS)
        ]
        for _ in range(ROUNDS):
            await acknowledged(ledger, senders)
            await server.kill()
            await server.start()
        await stop(senders)
        await everything_shown(apps, ledger)
        for app in apps:
            await app.vanish()
        await server.kill()
    check_file(tmp_path / "chat.db")
    await check_transcripts(config, apps, ledger)
    assert ledger.count >= 20_000 // ways.nodes() ** 2


async def acknowledged(ledger: Ledger, senders: list[asyncio.Task[None]]) -> None:
    """Wait for as many more acknowledged sends as one round has."""
    ledger.goal = ledger.count + SENDS_PER_ROUND // ways.nodes() ** 2
    ledger.enough.clear()
    waiting = asyncio.create_task(ledger.enough.wait())
    done, _ = await asyncio.wait(
        [waiting, *senders], timeout=60, return_when=asyncio.FIRST_COMPLETED
    )
    assert waiting in done, [task.exception() for task in done]


async def stop(senders: list[asyncio.Task[None]]) -> None:
    for task in senders:
        task.cancel()
    await asyncio.gather(*senders, return_exceptions=True)


async def everything_shown(apps: list[V1App], ledger: Ledger) -> None:
    """Wait until each app, which nobody helped, shows what was acknowledged."""
    for app in apps:
        expected = ledger.acknowledged[app.service_id]
        await app.wait_for(
            lambda app=app, expected=expected: expected.keys() <= set(app.texts), 30
        )
        assert app.positions == list(range(1, len(app.positions) + 1))
        shown = {entry[2]: position for position, entry in app.screen}
        assert expected.items() <= shown.items()


def check_file(path: Path) -> None:
    """Look at the file, if there is one, before anybody else opens it."""
    if path.exists():
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def check_transcripts(config: Path, apps: list[V1App], ledger: Ledger) -> None:
    """Compare what is stored with what the server had promised."""
    async with stored(config) as store:
        for app in apps:
            entries = await store.read(app.session_id, 0, 100_000)
            assert [e.position for e in entries] == list(range(1, len(entries) + 1))
            counts = collections.Counter(e.text for e in entries if e.text)
            assert set(counts.values()) <= {1}, "nothing is stored twice"
            positions = {e.text: e.position for e in entries}
            expected = ledger.acknowledged[app.service_id]
            assert expected.items() <= positions.items()
