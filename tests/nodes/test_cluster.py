"""`scripts/cluster`: several nodes on one machine, and their replacement."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.program import PROJECT
from tests.clients.raw import BayeuxClient, V1Chat
from tests.clients.tus import TusClient
from tests.e2e.conftest import free_port
from tests.web.conftest import until

WITHIN = 30.0
"""Seconds that the script may take to start, or to replace its nodes."""


async def said(stream: asyncio.StreamReader, text: str) -> None:
    lines = []
    async with asyncio.timeout(WITHIN):
        while line := (await stream.readline()).decode():
            if text in line:
                return
            lines.append(line)
    raise AssertionError(f"it has not said: {text}\n{''.join(lines)}")


@asynccontextmanager
async def cluster(folder: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *("env", "--default-signal=HUP"),  # bash traps none that nohup had it ignore
        str(PROJECT / "scripts" / "cluster"),
        env={**os.environ, "NODES": "2", "PORT": str(port), "DATA": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.terminate()  # killed, it would leave its nodes behind
        async with asyncio.timeout(WITHIN):
            assert await process.wait() == 0


@pytest.mark.slow
async def test_its_nodes_are_replaced_while_a_client_goes_on(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        cluster(tmp_path, port) as process,
        BayeuxClient(f"{url}/cometd") as client,
        V1Chat(f"{url}/genesys") as chat,
    ):
        assert process.stdout is not None
        await said(process.stdout, "ready on")
        await client.handshake()
        await chat.start()
        app = TusClient(url, chat.session_id, chat.service_id)
        where = (await app.create(6)).location
        assert (await app.patch(where, 0, b"abc")).offset == 3
        process.send_signal(signal.SIGUSR1)
        replaced = asyncio.create_task(said(process.stdout, "node 2 was started again"))
        while not replaced.done():
            assert (await client.connect(advice={"timeout": 50}))["successful"]
        await replaced
        assert (await client.connect(advice={"timeout": 0}))["successful"]
        assert (await app.patch(where, 3, b"def")).offset == 6
        assert (await app.ask("GET", where)).body == b"abcdef"
        await app.close()
        process.send_signal(signal.SIGHUP)
        logs = [tmp_path / f"node-{number}.log" for number in (1, 2)]
        await until(
            lambda: all("configuration loaded" in log.read_text() for log in logs)
        )
