"""Servers for end-to-end tests: one in this process, and one that can be killed."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest

from cometd_chat.app import Node
from cometd_chat.chat import make_agent_token
from cometd_chat.clock import Clock
from cometd_chat.config import Config, load
from cometd_chat.store import Store
from cometd_chat.store.opening import open_store
from tests import ways
from tests.clients.agent import AgentClient
from tests.clients.pair import Pair
from tests.clients.spread import Spread

SECRET = "a secret of the tests, long enough for HS256"

CONFIG = """\
[server]
port = {port}
front = {front}
[store]
{store}
[auth]
gms_user = trusted
[agents]
secret = {secret}
[bayeux]
timeout = 5s
offline_after = {offline_after}
max_interval = {max_interval}
sweep_period = 50ms
[service.request-chat]
_client_timeout_notification = 1
"""


def write_config(
    folder: Path,
    *,
    port: int = 0,
    offline_after: str = "10s",
    max_interval: str = "60s",
    more: str = "",
) -> Path:
    """Write a configuration for tests and return its path."""
    path = folder / "chat.ini"
    text = CONFIG.format(
        store=store_of(folder),
        port=port,
        front=ways.Way.front,
        secret=SECRET,
        offline_after=offline_after,
        max_interval=max_interval,
    )
    path.write_text(text + more, encoding="utf-8")
    return path


def store_of(folder: Path) -> str:
    """Return the options of a storage in this folder, or of the way in."""
    if ways.Way.store is None:
        return f"url = sqlite:///{folder}/chat.db"
    url, prefix = ways.Way.store
    return f"url = {url}\nprefix = {prefix}"


def free_port() -> int:
    """Return a port below the ephemeral range, so that no client takes it.

    Tests that seed `random` run at the same time, and must not meet.
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def new_node(path: Path, clock: Clock | None = None) -> Node | Pair:
    """Return a node with this configuration, or two where that is the way in; not
    started yet."""
    config = _loaded(path)
    return Node(config, clock) if ways.Way.store is None else Pair(config, clock)


def _loaded(path: Path) -> Config:
    loaded = load(path, {})
    assert loaded.config is not None, [str(p) for p in loaded.problems]
    return loaded.config


@contextlib.asynccontextmanager
async def stored(path: Path) -> AsyncIterator[Store]:
    """Open the store of servers with this configuration."""
    store = await open_store(_loaded(path).store)
    try:
        yield store
    finally:
        await store.close()


def agent_token(agent_id: str = "ann", name: str = "Ann", **claims: object) -> str:
    return make_agent_token(SECRET, {"sub": agent_id, "name": name, **claims})


class ServerProcess:
    """`cometd-chat serve` in a process of its own, on the same port each time.

    That is the port of its configuration, if it is not given another one.
    """

    def __init__(self, config: Path, port: int | None = None) -> None:
        self._config = config
        self._port = {} if port is None else {"COMETD_CHAT_SERVER__PORT": str(port)}
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start and wait for the ready line."""
        log = self._config.with_suffix(".log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cometd_chat",
            "serve",
            "--config",
            str(self._config),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONWARNINGS": "error", **self._port},
        )
        log.close()
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            while line := (await self._process.stdout.readline()).decode():
                if line.startswith("cometd-chat ready on "):
                    self.url = line.split()[-1]
                    return
        raise AssertionError(self._config.with_suffix(".log").read_text())

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send the signal and wait for the end; returns the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class ServerProcesses:
    """Two of them on one storage that live and die together, as one `ServerProcess`.

    The proxy before them has the port of the configuration, and dies with them: or it
    would answer for them that they are dead.
    """

    def __init__(self, config: Path) -> None:
        ports = [free_port() for _ in range(2)]
        self.processes = [ServerProcess(config, port) for port in ports]
        self._spread = Spread(ports, _loaded(config).server.port)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def url(self) -> str:
        return self._spread.url

    async def start(self) -> None:
        """Start both, and then the proxy."""
        await asyncio.gather(*(process.start() for process in self.processes))
        await self._spread.__aenter__()

    async def kill(self) -> None:
        """Kill all of them in the same moment."""
        killing = [process.kill() for process in self.processes]
        await asyncio.gather(*killing, self._spread.__aexit__())


def new_server(path: Path) -> ServerProcess | ServerProcesses:
    """Return a server in a process of its own, or two where that is the way in; not
    started yet."""
    return (ServerProcess if ways.Way.store is None else ServerProcesses)(path)


@pytest.fixture(autouse=True)
def all_of_these_ways(every_way: bool) -> bool:
    """Run every test here in every way."""
    return every_way


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node | Pair]:
    """A running node in this process."""
    async with new_node(write_config(tmp_path)) as running:
        yield running


@pytest.fixture
def base(node: Node | Pair) -> str:
    """The address under which the node's GMS paths live."""
    return f"{node.url}/genesys"


@pytest.fixture
async def agent(base: str) -> AsyncIterator[AgentClient]:
    async with AgentClient(f"{base}/cometd", agent_token()) as client:
        await client.start()
        yield client
