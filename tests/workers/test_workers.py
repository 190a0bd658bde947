"""Several processes on one port: their start, their end, and what keeps them going."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from cometd_chat.workers import LONGEST_PAUSE
from tests.cli.conftest import change
from tests.cli.program import Program, Server, run, says_it_in_one_sentence
from tests.clients.agent import AgentClient
from tests.clients.raw import UnexpectedStatusError, V1Chat
from tests.e2e.conftest import agent_token
from tests.keys import self_signed
from tests.store.redis_server import SAFE, RedisServer, running
from tests.web.conftest import until

from .conftest import COUNT, alive, connections, port_of, workers_of, write

MANY = 60
"""Connections after which each of three workers has some: all but certainly."""

HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
}


@contextlib.asynccontextmanager
async def new_connections(
    context: ssl.SSLContext | bool = True,
) -> AsyncIterator[ClientSession]:
    """A client each of whose requests that are made together has its connection."""
    async with ClientSession(connector=TCPConnector(limit=0, ssl=context)) as http:
        yield http


async def shake_hands(http: ClientSession, server: Server) -> bool:
    async with http.post(f"{server.url}/cometd", json=[HANDSHAKE]) as response:
        (reply,) = await response.json()
        return bool(reply["successful"])


async def all_gone(pids: list[int]) -> None:
    await until(lambda: not any(map(alive, pids)), 10.0)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        probe.listen()
        return True


async def test_all_of_them_serve_the_port(server: Server) -> None:
    pids = workers_of(server)
    assert len(pids) == COUNT
    await server.says("config doc")
    assert len([line for line in server.out if "ready on" in line]) == 1
    async with new_connections() as http:
        answers = [shake_hands(http, server) for _ in range(MANY)]
        assert all(await asyncio.gather(*answers))
        counts = [connections(pid, port_of(server)) for pid in pids]
    assert sum(counts) >= MANY  # one of before may not be closed yet
    assert min(counts) > 0


async def test_they_speak_tls(config: Path) -> None:
    cert, key = config.parent / "cert.pem", config.parent / "key.pem"
    for path, pem in zip((cert, key), self_signed("localhost"), strict=True):
        path.write_bytes(pem)
    change(config, "port = 0", f"port = 0\ntls_cert = {cert}\ntls_key = {key}")
    trusting = ssl.create_default_context(cafile=str(cert))
    trusting.check_hostname = False
    async with Server(config) as server, new_connections(trusting) as http:
        assert server.url.startswith("https://")
        answers = [shake_hands(http, server) for _ in range(MANY)]
        assert all(await asyncio.gather(*answers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_of_them_gracefully(
    server: Server, number: signal.Signals
) -> None:
    pids = workers_of(server)
    async with AgentClient(f"{server.url}/cometd", agent_token()) as agent:
        await agent.start()
        server.signal(number)
        assert await server.ended() == 0
    assert not any(map(alive, pids))
    assert sum("stopping" in line for line in server.err) == COUNT
    assert not [line for line in server.err if "Traceback" in line]


async def test_who_waits_is_answered_before_the_end(server: Server) -> None:
    async with AgentClient(f"{server.url}/cometd", agent_token()) as agent:
        await agent.handshake()
        await agent.connect(advice={"timeout": 0})
        poll = asyncio.create_task(agent.connect())
        await asyncio.sleep(0.3)
        server.signal(signal.SIGTERM)
        assert (await poll)["successful"]
        assert await server.ended() == 0


async def test_ctrl_c_reaches_them_all_at_once_and_does_no_harm(server: Server) -> None:
    for pid in [*workers_of(server), server.process.pid]:
        os.kill(pid, signal.SIGINT)
    assert await server.ended() == 0
    assert not [line for line in server.err if "Traceback" in line]


async def test_without_their_parent_they_end(server: Server) -> None:
    pids, port = workers_of(server), port_of(server)
    assert not is_free(port)
    server.process.kill()
    await all_gone(pids)
    assert is_free(port)


async def told(server: Server, what: str, times: int) -> None:
    """Wait until the log has said so, so often."""
    await until(lambda: sum(what in line for line in server.err) >= times, 20.0)


async def test_sighup_reloads_all_of_them_and_those_that_come_later(
    server: Server, config: Path
) -> None:
    change(config, "[log]", "[limits]\ntext = 5B\n[log]")
    server.signal(signal.SIGHUP)
    await told(server, "[limits] text: 8KiB -> 5B", COUNT)
    os.kill(workers_of(server)[0], signal.SIGKILL)
    await server.says(r"worker \d \(\d+\) was ended by SIGKILL: started again in 0.5 s")
    await told(server, "[limits] text: 8KiB -> 5B", COUNT + 1)
    for _ in range(6):
        async with V1Chat(f"{server.url}/genesys") as chat:
            await chat.start()
            with pytest.raises(UnexpectedStatusError):
                await chat.send("too long")


async def test_options_of_the_start_stay_for_those_that_come_later(
    server: Server, config: Path
) -> None:
    change(config, "workers = 3", "workers = 1")
    server.signal(signal.SIGHUP)
    await told(server, "workers: 3 -> 1, at the next start", COUNT)
    os.kill(workers_of(server)[0], signal.SIGKILL)
    await told(server, "workers: 3 -> 1, at the next start", COUNT + 1)
    assert len(workers_of(server)) == COUNT


async def test_who_waits_for_a_worker_that_dies_is_served_by_the_next(
    server: Server,
) -> None:
    stopped = workers_of(server)[0]
    os.kill(stopped, signal.SIGSTOP)
    async with new_connections() as http:
        tasks = [asyncio.create_task(shake_hands(http, server)) for _ in range(MANY)]
        _, waiting = await asyncio.wait(tasks, timeout=1.0)
        assert 0 < len(waiting) < MANY
        os.kill(stopped, signal.SIGKILL)
        assert all(await asyncio.gather(*tasks))
    assert not alive(stopped)
    assert len(workers_of(server)) == COUNT


async def test_a_store_that_is_not_there_is_told_once(
    config: Path, redis: RedisServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    change(config, str(redis.address), f"127.0.0.1:{port}")
    status, program = await run(config.parent, "serve", "--config", str(config))
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert sum(line.startswith("Error: ") for line in program.err) == 1
    assert program.out == []


async def test_a_port_that_another_server_shares_is_taken(
    server: Server, config: Path
) -> None:
    port = str(port_of(server))
    arguments = ("serve", "--config", str(config), "--port", port)
    status, program = await run(config.parent, *arguments)
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert f"port {port} of 127.0.0.1 is taken" in program.err[-1]


async def test_who_cannot_go_on_gives_up(tmp_path: Path) -> None:
    with running(tmp_path / "redis", *SAFE) as redis:
        async with Server(write(tmp_path, redis)) as server:
            redis.kill()
            for pid in workers_of(server):
                os.kill(pid, signal.SIGKILL)
            assert await server.ended() == 1
            errors = [line for line in server.err if line.startswith("Error: ")]
            assert 1 < len(errors) <= 5 + COUNT
            assert "giving up" in server.err[-1]


async def test_while_one_serves_the_others_are_tried_on_and_on(tmp_path: Path) -> None:
    with running(tmp_path / "redis", *SAFE) as redis:
        async with Server(write(tmp_path, redis)) as server:
            first, *others = workers_of(server)
            redis.kill()
            for pid in others:
                os.kill(pid, signal.SIGKILL)
            await told(server, "Error: ", 6)
            assert alive(first)
            redis.start()
            await until(lambda: len(workers_of(server)) == COUNT, 15.0)
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0


STUCK = """\
import signal, sys, time
from cometd_chat.web.listener import SharedPort
from cometd_chat.workers import Workers

def work(seat):
    if sys.argv[1] == "stop":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        seat.ready()
    time.sleep(60)

port = SharedPort("127.0.0.1", 0)
say = lambda: print("ready", flush=True)
workers = Workers(2, port.bind, work, say, stop_within=0.5, start_within=0.5)
sys.exit(workers.run())
"""


@pytest.mark.parametrize("what", ["start", "stop"])
async def test_workers_that_hang_are_killed(what: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STUCK, what),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(10):
        if what == "stop":
            assert await process.stdout.readline() == b"ready\n"
            process.terminate()
        assert await process.wait() == 1
        lines = (await process.stderr.read()).decode().splitlines()
    numbers = [1, 2] if what == "stop" else [1]  # the others wait for the first
    assert lines == [f"worker {n} takes too long: killed" for n in numbers]


POOR = """\
import errno, os, resource, signal, sys, time
from cometd_chat.web.listener import SharedPort
from cometd_chat.workers import Workers

def work(seat):
    print(seat.number, os.getpid(), flush=True)
    seat.ready()
    time.sleep(60)

def limit(number, _=None):
    most = 0 if number == signal.SIGUSR1 else hard
    resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
    print("limited" if most == 0 else "free", flush=True)

def bind():
    if resource.getrlimit(resource.RLIMIT_NPROC)[0] == 0:
        raise OSError(errno.ENOBUFS, "no room")
    return port.bind()

hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
port = SharedPort("127.0.0.1", 0)
say = lambda: print("ready", flush=True)
workers = Workers(2, bind, work, say, stop_within=5.0)
if os.getuid() == 0:
    os.setuid(65534)  # there is no limit for root
signal.signal(signal.SIGUSR1, limit)
signal.signal(signal.SIGUSR2, limit)
if sys.argv[1:] == ["at once"]:
    limit(signal.SIGUSR1)
sys.exit(workers.run())
"""
"""Two workers, whose parent finds no process from SIGUSR1 to SIGUSR2, or at once."""


class Poor(Program):
    what = ("-c", POOR)

    def latest(self, number: int) -> int:
        """Return the process of a worker."""
        found = [line.split()[1] for line in self.out if line[0] == str(number)]
        return int(found[-1])


async def test_a_worker_without_a_process_is_tried_again(tmp_path: Path) -> None:
    async with Poor(tmp_path) as program:
        await program.says("ready")
        first, second = program.latest(0), program.latest(1)
        program.signal(signal.SIGUSR1)
        await program.says("limited")
        os.kill(second, signal.SIGKILL)
        cannot = r"worker 2 cannot be started \(Resource temporarily unavailable\): "
        await program.says(cannot + "started again in 1 s")
        await program.says(cannot + "started again in 2 s")
        os.kill(first, signal.SIGKILL)  # now nobody serves, and still it goes on
        await program.says("worker 1 cannot be started")
        program.signal(signal.SIGUSR2)
        await until(lambda: program.latest(0) != first, LONGEST_PAUSE + 15)
        await until(lambda: program.latest(1) != second, LONGEST_PAUSE + 15)
        program.signal(signal.SIGTERM)
        assert await program.ended() == 0


async def test_a_server_without_a_process_says_so_and_ends(tmp_path: Path) -> None:
    async with Poor(tmp_path, "at once") as poor:
        assert await poor.ended() == 1
        why = "worker 1 cannot be started (Resource temporarily unavailable)"
        assert poor.err == [why]


HASTY = """\
import os, sys, time
from pathlib import Path
from cometd_chat.web.listener import SharedPort
from cometd_chat.workers import Workers

def work(seat):
    life = Path(f"life-{seat.number}")
    first = not life.exists()
    life.touch()
    if first and seat.number == 1:
        sys.exit(1)
    while first and seat.number == 2 and not go.exists():
        time.sleep(0.01)
    seat.ready()
    if first and seat.number == 2:
        sys.exit(1)
    print("serving", seat.number, flush=True)
    time.sleep(60)

def bind():
    if started and not go.exists():
        go.touch()
        os.waitid(os.P_PID, workers._workers[2].pid, os.WEXITED | os.WNOWAIT)
    return port.bind()

go, started = Path("go"), False
port = SharedPort("127.0.0.1", 0)
workers = Workers(3, bind, work, lambda: print("ready", flush=True), stop_within=5.0)
started = True
sys.exit(workers.run())
"""
"""Three workers. While the parent replaces the socket of the second, which failed, the
third is ready, and ends at once."""


class Hasty(Program):
    what = ("-c", HASTY)


async def test_one_that_was_ready_when_it_was_dead_is_started_again(
    tmp_path: Path,
) -> None:
    async with Hasty(tmp_path) as program:
        for number in range(3):
            await program.says(f"serving {number}")
        await program.says("ready")
        program.signal(signal.SIGTERM)
        assert await program.ended() == 0
