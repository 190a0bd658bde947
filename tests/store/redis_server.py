"""Real Redis servers for tests, on free ports, with their files in a folder.

REDIS_SERVER in the environment names another program, such as that of Valkey.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cometd_chat.store.redis_link import Address, Login
from cometd_chat.store.redis_topology import Servers

HOST = "127.0.0.1"
STARTED_WITHIN = 60.0
"""Seconds within which a server, or a cluster, has to be ready."""

SAFE = ("--appendonly", "yes", "--appendfsync", "always")
LOGIN = Login()


def free_port() -> int:
    """Return a port on which, and 10000 above, nobody listens."""
    while True:
        with socket.socket() as first, socket.socket() as bus:
            first.bind((HOST, 0))
            port: int = first.getsockname()[1]
            if port + 10_000 > 65_535:
                continue
            try:
                bus.bind((HOST, port + 10_000))
            except OSError:
                continue
            return port


class RedisServer:
    """A process that can be killed and started again on the same files."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return Address(HOST, self.port)

    @property
    def servers(self) -> Servers:
        return Servers(addresses=(self.address,), login=LOGIN)

    @property
    def version(self) -> tuple[int, ...]:
        text = self.ask("INFO", "server").partition("redis_version:")[2].split()[0]
        return tuple(map(int, text.split(".")))

    @property
    def offset(self) -> int:
        """How much a primary has written for its replicas."""
        facts = self.ask("INFO", "replication")
        return int(facts.partition("master_repl_offset:")[2].split()[0])

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start without waiting for it."""
        program = shutil.which(os.environ.get("REDIS_SERVER", "redis-server"))
        assert program, "redis-server is needed: apt-get install -y redis-server"
        command = [program, "--bind", HOST, "--port", str(self.port)]
        command += ["--dir", str(self.folder), "--save", ""]
        command += ["--repl-diskless-sync-delay", "0", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        until(lambda: self.ask("PING") == "PONG")

    def linked(self, replicas: int) -> bool:
        """Tell whether a primary has its replicas, and a replica its primary."""
        facts = self.ask("INFO", "replication")
        online = facts.count("state=online") == replicas
        return online if "role:master" in facts else "link_status:up" in facts

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def ask(self, *command: str) -> str:
        """Return what redis-cli prints."""
        words = ["redis-cli", "-h", HOST, "-p", str(self.port), *command]
        run = subprocess.run(words, capture_output=True, text=True, check=False)
        return run.stdout.strip()


def until(ready: object) -> None:
    """Wait until the function says yes."""
    assert callable(ready)
    end = time.monotonic() + STARTED_WITHIN
    while not ready():
        assert time.monotonic() < end, "the server did not come up"
        time.sleep(0.02)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def cluster(folder: Path, replicas: int = 0) -> Iterator[list[RedisServer]]:
    """Start three primaries, each with so many replicas, as one cluster."""
    options = (*SAFE, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    count = 3 * (1 + replicas)
    nodes = [RedisServer(folder / str(n), *options) for n in range(count)]
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait()
        _join(nodes, replicas)
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def _join(nodes: Sequence[RedisServer], replicas: int) -> None:
    places = [str(node.address) for node in nodes]
    options = ["--cluster-replicas", str(replicas), "--cluster-yes"]
    command = ["redis-cli", "--cluster", "create", *places, *options]
    subprocess.run(command, check=True, capture_output=True)
    for node in nodes:
        until(lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
        until(lambda node=node: node.linked(replicas))


def cluster_servers(nodes: Sequence[RedisServer]) -> Servers:
    return Servers(
        addresses=tuple(node.address for node in nodes), login=LOGIN, cluster=True
    )
