"""The servers that are measured: ours, those of others, and any that runs already."""

import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cometd_chat.chat import make_agent_token

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "tests" / "conformance" / "peers"
PACKAGE = ROOT / "build" / "compiled"
"""Our package with the modules compiled that can be, as `scripts/bench` makes it."""

OURS = "cometd-chat"
COMPILED = "cometd-chat, compiled"
OWN = (OURS, COMPILED)

START_TIMEOUT = 30.0
"""Seconds in which a server must tell its address."""

STOP_TIMEOUT = 40.0
"""Seconds in which a server must end after SIGTERM; then it is killed."""


class TargetError(Exception):
    """A server could not be started, or is not there; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server that runs: its endpoint, its first process, its agents' secret, and the
    process of its database, if that is one."""

    name: str
    url: str
    pid: int | None
    secret: str = ""
    store_pid: int | None = None

    @property
    def pids(self) -> list[int]:
        """Return the server's process and all its descendants."""
        return [] if self.pid is None else [self.pid, *descendants(self.pid)]

    def tokens(self, count: int) -> list[str]:
        """Return tokens for so many agents."""
        claims = ({"sub": f"agent-{n}", "name": f"Agent {n}"} for n in range(count))
        return [make_agent_token(self.secret, claim) for claim in claims]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server that can be started; its first line tells the address.

    `path` is that of its endpoint, behind the address. `redis`: it keeps its chats
    there, otherwise in a file.
    """

    name: str
    command: tuple[str, ...]
    path: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    redis: bool = False


def nodes() -> list[Contender]:
    """Return our server on a file, and as one, two and four nodes on Redis.

    Their names are those of the store and the number of nodes.
    """
    several = [
        replace(
            ours(),
            name=f"redis-{count}",
            env={"COMETD_CHAT_SERVER__WORKERS": str(count)},
            redis=True,
        )
        for count in (1, 2, 4)
    ]
    return [replace(ours(), name="sqlite-1"), *several]


def ours(wrapper: tuple[str, ...] = (sys.executable, "-m")) -> Contender:
    """Return our server; `wrapper` runs the module of that name."""
    config = str(ROOT / "bench" / "bench.ini")
    arguments = ("cometd_chat", "serve", "--config", config, "--port", "0")
    return Contender(name=OURS, command=(*wrapper, *arguments), path="/genesys/cometd")


def compiled() -> Contender:
    """Return our server, with what is on the way of a message compiled."""
    place = {"PYTHONPATH": str(PACKAGE), "PYTHONSAFEPATH": "1"}
    return replace(ours(), name=COMPILED, env=place)


def peers() -> list[Contender]:
    """Return the servers of others that the npm registry has.

    Raises: TargetError when they are not installed.
    """
    node = shutil.which("node")
    if node is None or not (PEERS / "node_modules").is_dir():
        raise TargetError("scripts/bench installs the servers of others: start it")
    return [
        Contender(name="faye", command=(node, str(PEERS / "faye.js"))),
        Contender(
            name="cometd-nodejs-server", command=(node, str(PEERS / "cometd.js"))
        ),
    ]


@contextmanager
def running(contender: Contender) -> Iterator[Target]:
    """Run a server, ours with a new database; raises TargetError if it does not."""
    secret = secrets.token_hex()
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        _store(Path(folder), redis=contender.redis) as (store, store_pid),
    ):
        log = Path(folder) / "log"
        env = {
            **os.environ,
            "COMETD_CHAT_STORE__URL": store,
            "COMETD_CHAT_AGENTS__SECRET": secret,
            **contender.env,
        }
        with log.open("wb") as errors:
            process = subprocess.Popen(
                contender.command, env=env, stdout=subprocess.PIPE, stderr=errors
            )
        try:
            url = _address(process, contender, log) + contender.path
            yield Target(
                name=contender.name,
                url=url,
                pid=process.pid,
                secret=secret,
                store_pid=store_pid,
            )
        finally:
            _stop(process)


@contextmanager
def _store(folder: Path, *, redis: bool) -> Iterator[tuple[str, int | None]]:
    """Provide a new store; yields its URL, and its process if it has one."""
    if not redis:
        yield f"sqlite:///{folder}/chat.db", None
        return
    program = shutil.which("redis-server")
    if program is None:
        raise TargetError("redis-server is needed: apt-get install redis-server")
    path = folder / "redis.sock"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = (
        *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
        *("--unixsocket", str(path), "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "always"),
    )
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await_file(path)
        yield f"redis://127.0.0.1:{port}", process.pid
    finally:
        process.kill()
        process.wait()


def _await_file(path: Path) -> None:
    """Wait until a server has made this file: then it listens."""
    end = time.monotonic() + START_TIMEOUT
    while not path.exists():
        if time.monotonic() > end:
            raise TargetError("redis-server does not start")
        time.sleep(0.02)


def _address(process: subprocess.Popen[bytes], who: Contender, log: Path) -> str:
    """Return the last word of the server's first line: where it listens."""
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    if select.select([process.stdout], [], [], START_TIMEOUT)[0]:
        words = process.stdout.readline().decode().split()
        if words:
            return words[-1]
    told = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise TargetError(f"{who.name} does not start: {told.strip() or 'it said nothing'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        # Reading to the end keeps a server from waiting for somebody to do it.
        process.communicate(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    time.sleep(0.2)  # connections of the one must not be work of the next


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        more = children.get(todo.pop(), [])
        found += more
        todo += more
    return found
