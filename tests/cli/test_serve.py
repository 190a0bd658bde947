"""`cometd-chat serve`: its ready line, its end, its refusals, its reload."""

import asyncio
import contextlib
import signal
import socket
import sqlite3
import stat
from base64 import b64encode
from pathlib import Path

import pytest

from tests.cli.conftest import TokenOf, change
from tests.cli.program import Program, Server, run, says_it_in_one_sentence
from tests.clients.agent import AgentClient
from tests.clients.raw import UnexpectedStatusError, V1Chat
from tests.store.redis_server import RedisServer
from tests.web.conftest import until


async def test_the_ready_line_is_true_and_exactly_as_promised(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    assert server.out[0] == f"cometd-chat ready on http://127.0.0.1:{port}"
    assert port > 0
    async with V1Chat(f"{server.url}/genesys") as chat:
        await chat.start()
        assert chat.session_id


async def test_the_welcome_tells_where_to_go_next(server: Server, config: Path) -> None:
    await server.says("config doc")
    shown = "\n".join(server.out)
    assert f"configuration    {config}" in shown
    assert f"{server.url}/genesys/cometd" in shown
    assert f"{server.url}/genesys/1/service/" in shown
    assert f"agent token --config {config} --name Ann" in shown
    assert "take care" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_gracefully(
    server: Server, token_of: TokenOf, number: signal.Signals
) -> None:
    async with AgentClient(f"{server.url}/cometd", token_of("Ann")) as agent:
        await agent.start()
        server.signal(number)
        assert await server.ended() == 0
    assert not [line for line in server.err if "Traceback" in line]


async def test_a_port_in_use_is_named(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, program = await run(
            config.parent, "serve", "--config", str(config), "--port", port
        )
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert f"port {port} of 127.0.0.1 is taken" in program.err[-1]
    assert program.out == []


def linked(config: Path) -> Path:
    """Return a configuration that has another name for the same database."""
    (config.parent / "same.db").symlink_to(config.parent / "chat.db")
    other = config.parent / "other.ini"
    other.write_text(config.read_text().replace("chat.db", "same.db"))
    return other


async def test_a_second_server_on_one_database_is_told(
    server: Server, config: Path
) -> None:
    for path in (config, linked(config)):
        status, program = await run(config.parent, "serve", "--config", str(path))
        assert status == 1
        assert says_it_in_one_sentence(program)
        assert "chat.db is served by another process" in program.err[-1]
    await server.restart()


async def test_a_host_that_is_not_here_is_named(config: Path) -> None:
    arguments = ("--config", str(config), "--host", "192.0.2.1")
    status, program = await run(config.parent, "serve", *arguments)
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert "192.0.2.1 is no address of this machine" in program.err[-1]


@pytest.mark.parametrize(
    ("secret", "end"),
    [
        ("", "[store] url to a file in another folder"),
        ("[agents]\nsecret = " + 32 * "x", "cannot be opened: File exists"),
    ],
)
async def test_a_store_that_cannot_be_written_is_named(
    tmp_path: Path, secret: str, end: str
) -> None:
    (tmp_path / "file").touch()
    config = tmp_path / "chat.ini"
    config.write_text(f"[store]\nurl = sqlite:///{tmp_path}/file/chat.db\n{secret}\n")
    status, program = await run(tmp_path, "serve", "--config", str(config))
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert f"{tmp_path}/file/" in program.err[-1]
    assert program.err[-1].endswith(end)


@pytest.mark.parametrize(
    ("option", "line", "told"),
    [("url", 2, "has no database 99"), ("prefix", 3, "would refuse 'DEL'")],
)
async def test_a_redis_that_cannot_be_used_is_told_with_option_and_line(
    tmp_path: Path, redis: RedisServer, option: str, line: int, told: str
) -> None:
    redis.ask("ACL", "SETUSER", "few", "on", ">hidden", "~few:*", "&few:*", "+@all")
    database = 99 if option == "url" else 0
    lines = [
        "[store]",
        f"url = redis://few:hidden@{redis.address}/{database}",
        "prefix = many",
        "[agents]",
        "secret = a key of the tests, long enough for HS256",
    ]
    config = tmp_path / "chat.ini"
    config.write_text("\n".join(lines))
    status, program = await run(tmp_path, "serve", "--config", str(config))
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert f"{config}:{line}: [store] {option}: {redis.address} " in program.err[-1]
    assert told in program.err[-1]
    assert "hidden" not in program.err[-1]


async def test_a_folder_for_files_that_cannot_be_had_is_named(
    config: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "mount" / "files"
    with config.open("a") as file:
        file.write(f"[files]\nfolder = {missing}\n")
    status, program = await run(tmp_path, "serve", "--config", str(config))
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert f"[files] folder = {missing}" in program.err[-1]
    assert f"{missing.parent} is no directory" in program.err[-1]


async def test_a_certificate_that_is_none_is_named(config: Path) -> None:
    wrong = f"tls_cert = {config}\ntls_key = {config}\n"
    change(config, "port = 0\n", f"port = 0\n{wrong}")
    status, program = await run(config.parent, "serve", "--config", str(config))
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert "tls_cert and tls_key" in program.err[-1]


async def test_all_problems_of_the_configuration_are_told_at_once(
    tmp_path: Path,
) -> None:
    config = tmp_path / "chat.ini"
    config.write_text("[server]\nport = many\n[bayeux]\ntimeout = soon\n")
    status, program = await run(tmp_path, "serve", "--config", str(config))
    assert status == 2
    assert [line.split(": ")[0] for line in program.err] == [
        f"{config}:2",
        f"{config}:4",
    ]
    assert program.out == []


async def test_demo_believes_gms_user_also_after_a_reload(config: Path) -> None:
    async with Server(config, "--demo") as server:
        await server.says("take care .* pose as any user")
        server.signal(signal.SIGHUP)
        await server.says("configuration loaded")
        base = f"{server.url}/genesys"
        async with V1Chat(base, user="carla") as hers, V1Chat(base, user="max") as his:
            await hers.start()
            his.service_id = hers.service_id
            with pytest.raises(UnexpectedStatusError) as refused:
                await his.refresh()
            assert refused.value.status == 404


@pytest.mark.parametrize("place", ["option", "file"])
async def test_demo_is_refused_where_others_can_reach_it(
    config: Path, place: str
) -> None:
    arguments = ["serve", "--config", str(config), "--demo"]
    if place == "option":
        arguments += ["--host", "0.0.0.0"]
    else:
        change(config, "port = 0", "port = 0\nhost = 0.0.0.0")
    status, program = await run(config.parent, *arguments)
    assert status == 2
    assert says_it_in_one_sentence(program)
    assert "--demo" in program.err[-1]
    assert "0.0.0.0" in program.err[-1]


async def test_sighup_puts_good_values_in_force_and_refuses_bad_ones(
    server: Server, config: Path
) -> None:
    async with V1Chat(f"{server.url}/genesys") as chat:
        await chat.start()
        await chat.send("long enough")

        change(config, "[log]", "[limits]\ntext = 5B\n[log]")
        server.signal(signal.SIGHUP)
        await server.says(r"\[limits\] text: 8KiB -> 5B")
        with pytest.raises(UnexpectedStatusError):
            await chat.send("long enough")

        change(config, "5B", "much")
        server.signal(signal.SIGHUP)
        await server.says("the former one stays in force")
        await server.says(r"\[limits\] text = .*much")
        with pytest.raises(UnexpectedStatusError):
            await chat.send("long enough")
        await chat.send("short")


@pytest.mark.parametrize("told", ["by a signal", "by the file"])
async def test_a_reload_during_the_start_ends_nothing_and_is_not_forgotten(
    config: Path, told: str
) -> None:
    server = Server(config)

    def waits() -> bool:
        fds = Path(f"/proc/{server.process.pid}/fd").iterdir()
        with contextlib.suppress(OSError):
            return any(fd.readlink().name == "chat.db" for fd in fds)
        return False

    with contextlib.closing(sqlite3.connect(config.parent / "chat.db")) as db:
        db.execute("BEGIN EXCLUSIVE")
        starting = asyncio.create_task(server.start())
        await until(lambda: server._process is not None and waits(), 20.0)
        change(config, "[log]", "[limits]\ntext = 5B\n[log]")
        if told == "by a signal":
            server.signal(signal.SIGHUP)
        db.rollback()
    try:
        await starting
        await server.says(r"\[limits\] text: 8KiB -> 5B")
    finally:
        await server.kill()


async def test_a_secret_in_a_file_of_its_own_is_read_again_when_that_changes(
    config: Path,
) -> None:
    key = config.parent / "signing.key"
    first, second = (f"whsec_{b64encode(bytes([n]) * 24).decode()}" for n in (1, 2))
    key.write_text(first)
    section = f"[push.provider.main]\ncustomhttp.secret_file = {key}\n[log]"
    change(config, "[log]", section)
    async with Server(config) as server:
        key.write_text(second)
        await server.says("configuration loaded, 1 options changed")
        assert not any(first in line or second in line for line in server.err)


async def test_the_agents_secret_is_made_once_and_shown_to_nobody(
    server: Server, config: Path, token_of: TokenOf
) -> None:
    path = config.parent / "agents.secret"
    secret = path.read_text().strip()
    assert len(secret) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    token = token_of("Ann")
    server.signal(signal.SIGHUP)
    await server.says("configuration loaded, 0 options changed")
    await server.restart()
    async with AgentClient(f"{server.url}/cometd", token) as agent:
        await agent.start()
    assert path.read_text().strip() == secret
    assert not any(secret in line for line in [*server.out, *server.err])


async def test_a_damaged_agents_secret_stops_the_start_and_no_reload(
    server: Server, config: Path
) -> None:
    (config.parent / "agents.secret").write_text("short\n")
    server.signal(signal.SIGHUP)
    await server.says("agents.secret is damaged")
    await server.says("the former one stays in force")

    arguments = ("agent", "token", "--config", str(config), "--name", "Ann")
    status, program = await run(config.parent, *arguments)
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert "agents.secret is damaged" in program.err[-1]
    assert program.out == []


async def test_processes_that_start_together_use_one_secret(config: Path) -> None:
    arguments = ("agent", "token", "--config", str(config), "--name", "Ann")
    one, other = (Program(config.parent, *arguments) for _ in range(2))
    async with one, other:
        assert [await one.ended(), await other.ended()] == [0, 0]
    left = {path.name for path in config.parent.iterdir()}
    assert left == {"chat.ini", "agents.secret"}
    async with Server(config) as server:
        for token in (one.out[-1], other.out[-1]):
            async with AgentClient(f"{server.url}/cometd", token) as agent:
                await agent.start()
