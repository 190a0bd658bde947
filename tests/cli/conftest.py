"""A server, and agents' tokens made by the command itself."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner

from cometd_chat.cli import main
from tests.cli.program import Server

CONFIG = """\
[server]
port = 0
[store]
url = sqlite:///{folder}/chat.db
[bayeux]
timeout = 2s
[log]
format = text
"""

TokenOf: TypeAlias = Callable[[str], str]


def change(config: Path, old: str, new: str) -> None:
    """Replace a part of a configuration, which must be there."""
    text = config.read_text(encoding="utf-8")
    assert old in text
    config.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "chat.ini"
    path.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    return path


@pytest.fixture
async def server(config: Path) -> AsyncIterator[Server]:
    async with Server(config) as running:
        yield running


@pytest.fixture
def token_of(config: Path) -> TokenOf:
    """Makes a token for the agent of this name."""

    def made(name: str) -> str:
        command = ["agent", "token", "--config", str(config), "--name", name]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()[-1]

    return made
