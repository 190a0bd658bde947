"""`kill -9` during load: what was acknowledged is there, once, in order."""

import asyncio
import collections
import itertools
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.clients.raw import V1App

from .conftest import ServerProcess, free_port, write_config

pytestmark = [pytest.mark.slow, pytest.mark.one_node]

ROUNDS = 5
SENDERS = 32
SESSIONS = 40
SENDS_PER_ROUND = 4_200
"""Acknowledged sends before each kill; five rounds make more than 20,000."""


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
        ServerProcess(config) as server,
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
    check_transcripts(tmp_path / "chat.db", ledger)
    assert ledger.count >= 20_000


async def acknowledged(ledger: Ledger, senders: list[asyncio.Task[None]]) -> None:
    """Wait for as many more acknowledged sends as one round has."""
    ledger.goal = ledger.count + SENDS_PER_ROUND
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


def check_transcripts(path: Path, ledger: Ledger) -> None:
    """Compare the file itself with what the server had promised."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for key, expected in ledger.acknowledged.items():
        rows = db.execute(
            "SELECT e.position, e.text FROM entry e"
            " JOIN session s ON s.number = e.session WHERE s.key = ?"
            " ORDER BY e.position",
            (key,),
        ).fetchall()
        assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
        stored = collections.Counter(text for _, text in rows if text)
        assert set(stored.values()) <= {1}, "nothing is stored twice"
        positions = {text: position for position, text in rows}
        assert expected.items() <= positions.items()
    db.close()
