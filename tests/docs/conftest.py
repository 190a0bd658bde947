"""The server that the pages speak about, and players on it."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from cometd_chat.app import Node
from cometd_chat.chat import make_agent_token
from cometd_chat.config import loads

from .player import Player

SECRET = "a secret of the tests, long enough for HS256"

CONFIG = """\
[server]
port = 0
{server}
[store]
url = sqlite:///{folder}/chat.db
{store}
[auth]
gms_user = trusted
[agents]
secret = {secret}
[bayeux]
transports = long-polling
"""


def token_of(name: str, **claims: object) -> str:
    """Return the token of an agent whose id is the name in small letters."""
    return make_agent_token(SECRET, {"sub": name.lower(), "name": name, **claims})


def new_node(folder: Path, *, server: str = "", store: str = "") -> Node:
    """Return a node, not started; `server` and `store` are more of their options."""
    text = CONFIG.format(folder=folder, secret=SECRET, server=server, store=store)
    loaded = loads(text)
    assert loaded.config is not None, [str(p) for p in loaded.problems]
    return Node(loaded.config)


def damage_chats(folder: Path) -> None:
    """Make what the node of this folder has stored of its chats unreadable."""
    with closing(sqlite3.connect(folder / "chat.db")) as db, db:
        db.execute("UPDATE session SET profile = '{'")


@pytest.fixture
def starting(tmp_path: Path) -> Callable[[], Node]:
    return lambda: new_node(tmp_path)


@pytest.fixture
async def player(starting: Callable[[], Node]) -> AsyncIterator[Player]:
    tokens = {name: token_of(name) for name in ("Ann", "Ben")}
    async with Player(starting, tokens, {"eyJh…": tokens["Ann"]}) as playing:
        yield playing


@pytest.fixture
async def node(starting: Callable[[], Node]) -> AsyncIterator[Node]:
    async with starting() as running:
        yield running
