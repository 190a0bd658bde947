"""The README's session, word for word against a server as it tells to start it."""

import asyncio
import json
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.program import Program
from tests.clients.raw import V1Chat

from .pages import ROOT, blocks

README = ROOT / "README.md"
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Program]:
    config = tmp_path / "empty.ini"
    config.touch()
    arguments = ("serve", "--demo", "--port", "0", "--config", str(config))
    async with Program(tmp_path, *arguments) as program:
        yield program


async def url_of(server: Program) -> str:
    return (await server.says("^cometd-chat ready on ")).split()[-1]


async def shell(folder: Path, script: str) -> str:
    """Run a script with bash and return what it prints; it must succeed."""
    assert shutil.which("bash"), "no bash found; install it with: apt-get install bash"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_session_with_curl_is_true(server: Program, tmp_path: Path) -> None:
    assert shutil.which("curl"), "no curl found; install it with: apt-get install curl"
    (script,) = blocks(README, "bash")
    assert ADDRESS in script
    output = await shell(tmp_path, script.replace(ADDRESS, await url_of(server)))
    opened, sent, read, again, ended = map(json.loads, output.splitlines())
    assert opened["chatIxnState"] == "CONNECTED"
    assert all(len(entry) == 5 for entry in read["transcriptToShow"])
    said = [e[2] for e in read["transcriptToShow"] if e[0] == "Message.Text"]
    assert said == ["My invoice is wrong"]
    assert again["transcriptToShow"] == sent["transcriptToShow"], "stored once"
    assert '"chatIxnState":"DISCONNECTED"' in output.splitlines()[-1]
    assert ended["chatSessionId"] == opened["chatSessionId"]


async def test_the_agents_commands_work(server: Program, tmp_path: Path) -> None:
    url = await url_of(server)
    export, tail, send = next(
        block.splitlines()
        for block in blocks(README, "console")
        if "COMETD_CHAT_TOKEN" in block
    )
    assert "cometd-chat tail" in tail
    async with V1Chat(f"{url}/genesys") as chat:
        await chat.start()
        send = f"{send} --url {url}".replace("CHATID", chat.session_id)
        script = "\n".join(line.removeprefix("$ ") for line in (export, send))
        program = f"{shlex.quote(sys.executable)} -m cometd_chat"
        output = await shell(tmp_path, script.replace(".venv/bin/cometd-chat", program))
        await chat.refresh()
        assert chat.texts == ["How can I help?"]
        assert output.strip() == str(chat.position)


async def test_the_files_it_speaks_of_are_made(server: Program, tmp_path: Path) -> None:
    await url_of(server)
    assert (tmp_path / "data" / "cometd-chat.db").is_file()
    async with Program(tmp_path, "init") as program:
        assert await program.ended() == 0
    assert "cometd-chat.ini" in README.read_text(encoding="utf-8")
    assert (tmp_path / "cometd-chat.ini").is_file()
