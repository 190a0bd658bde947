"""A server of several processes, and what the system tells of them."""

import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.program import Server
from tests.e2e.conftest import SECRET
from tests.store.redis_server import RedisServer

COUNT = 3

CONFIG = """\
[server]
port = 0
workers = {count}
[store]
url = redis://{redis}/0
prefix = {prefix}
[auth]
gms_user = trusted
[agents]
secret = {secret}
[bayeux]
timeout = 5s
offline_after = 3s
sweep_period = 50ms
[log]
format = text
"""

_prefixes = (f"workers-{number}" for number in itertools.count())


def write(folder: Path, redis: RedisServer, more: str = "") -> Path:
    """Write the configuration of a server of `COUNT` workers; return its path."""
    path = folder / "chat.ini"
    text = CONFIG.format(
        count=COUNT, redis=redis.address, prefix=next(_prefixes), secret=SECRET
    )
    path.write_text(text + more, encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path, redis: RedisServer) -> Path:
    return write(tmp_path, redis)


@pytest.fixture
async def server(config: Path) -> AsyncIterator[Server]:
    async with Server(config) as running:
        yield running


def workers_of(server: Server) -> list[int]:
    """Return the processes that the server has started and that still run."""
    parent = server.process.pid
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Tell whether the process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def connections(pid: int, port: int) -> int:
    """Return how many connections to this port the process has accepted."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if found := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())):
            sockets.add(found[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        int(row[1].rpartition(":")[2], 16) == port
        and row[3] == "01"  # established
        and row[9] in sockets
        for row in rows
    )
