"""What a connection to Redis promises, whichever library speaks on it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from cometd_chat.store import StoreUnavailableError
from cometd_chat.store.redis import RedisStore
from cometd_chat.store.redis_link import Address, Link, Login, LostError, RefusedError
from cometd_chat.store.redis_topology import Servers
from tests.keys import self_signed
from tests.store.facts import opened, said
from tests.store.redis_server import LOGIN, SAFE, RedisServer, free_port, running

PATIENCE = 20.0
"""Seconds after which a test gives up."""


class Puppet:
    """A server that says what it is told to, and counts who connects."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[
            tuple[asyncio.StreamReader, asyncio.StreamWriter]
        ] = asyncio.Queue()
        self.accepted = 0

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        self.streams.put_nowait((reader, writer))


@asynccontextmanager
async def puppet() -> AsyncIterator[tuple[Puppet, Address]]:
    puppet = Puppet()
    listener = await asyncio.start_server(puppet.accept, "127.0.0.1", 0)
    yield puppet, Address(*listener.sockets[0].getsockname())
    listener.close()
    while not puppet.streams.empty():
        puppet.streams.get_nowait()[1].transport.abort()


async def test_commands_of_one_turn_are_one_write() -> None:
    async with puppet() as (server, address):
        link = await Link.connect(address, LOGIN, confirm=("WAIT", 1, 1000))
        reader, writer = await server.streams.get()
        replies = [link.send(("SET", f"key-{n}", n)) for n in range(50)]
        asked = await reader.read(100_000)
        assert asked.count(b"SET") == 50
        assert asked.endswith(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n1000\r\n")
        writer.write(b"+OK\r\n" * 50 + b":1\r\n")
        assert await asyncio.gather(*replies) == [b"OK"] * 50
        link.abort()
        writer.transport.abort()


@pytest.mark.parametrize(
    "nonsense", [b"", b"HTTP/1.1 400\r\n\r\n", b"-MOVED\r\n", b"+OK\r\n+OK\r\n"]
)
async def test_after_a_fault_a_link_is_never_used_again(nonsense: bytes) -> None:
    """Neither is it silently connected again, which would lose the order."""
    async with puppet() as (server, address):
        link = await Link.connect(address, LOGIN)
        reader, writer = await server.streams.get()
        first = link.send(("PING",))
        await reader.read(1000)
        writer.write(nonsense)
        writer.close()
        async with asyncio.timeout(PATIENCE):
            await link.closed.wait()
        if not nonsense.startswith(b"+"):
            with pytest.raises(LostError):
                await first
        for _ in range(3):
            with pytest.raises(LostError):
                await link.send(("PING",))
        assert server.accepted == 1


async def test_what_was_given_up_is_not_sent_later() -> None:
    async with puppet() as (server, address):
        link = await Link.connect(address, LOGIN)
        reader, writer = await server.streams.get()
        size = 64_000_000  # more than buffers hold
        reply = link.send(("SET", "key", b"x" * size))
        arrived = len(await reader.read(1))
        link.abort()
        with pytest.raises(LostError):
            await reply
        try:
            async with asyncio.timeout(PATIENCE):
                while data := await reader.read(1_000_000):
                    arrived += len(data)
        except ConnectionError:
            pass
        assert arrived < size
        writer.transport.abort()


@pytest.mark.parametrize(
    ("line", "code", "detail"),
    [
        ("ERR unknown command", "ERR", "unknown command"),
        ("LOADING Redis is loading", "LOADING", "Redis is loading"),
        ("NOSCRIPT No matching script.", "NOSCRIPT", "No matching script."),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", "3999 127.0.0.1:6381"),
        ("ASK 3999 :6381", "ASK", "3999 :6381"),
        ("CLUSTERDOWN down", "CLUSTERDOWN", "down"),
        ("NOREPLICAS Not enough", "NOREPLICAS", "Not enough"),
    ],
)
async def test_an_error_reply_has_its_code_and_the_link_goes_on(
    line: str, code: str, detail: str
) -> None:
    async with puppet() as (server, address):
        link = await Link.connect(address, LOGIN)
        reader, writer = await server.streams.get()
        refused, good = link.send(("ONE",)), link.send(("TWO",))
        assert await reader.read(1)  # nobody answers before he is asked
        writer.write(f"-{line}\r\n*2\r\n$1\r\na\r\n:7\r\n".encode())
        with pytest.raises(RefusedError) as error:
            await refused
        assert (error.value.code, error.value.detail) == (code, detail)
        assert str(error.value) == code
        assert await good == [b"a", 7]
        link.abort()
        writer.transport.abort()


async def test_a_word_that_is_no_unicode_is_refused_before_it_is_sent(
    redis_single: Servers,
) -> None:
    link = await Link.connect(redis_single.addresses[0], LOGIN)
    with pytest.raises(UnicodeEncodeError):
        link.send(("SET", "key", "\ud800"))
    assert await link.send(("ECHO", "é")) == "é".encode()
    link.abort()


async def test_a_login_chooses_user_and_database(redis_single: Servers) -> None:
    address = redis_single.addresses[0]
    link = await Link.connect(address, LOGIN)
    rules = ("on", ">secret", "~*", "+@all")
    assert await link.send(("ACL", "SETUSER", "kim", *rules)) == b"OK"
    login = Login(user="kim", password="secret", database=3)
    other = await Link.connect(address, login)
    assert await other.send(("ACL", "WHOAMI")) == b"kim"
    assert b" db=3 " in await other.send(("CLIENT", "INFO"))
    with pytest.raises(RefusedError, match="WRONGPASS"):
        await Link.connect(address, replace(login, password="wrong"))
    for one in (link, other):
        one.abort()


def test_a_store_works_on_the_event_loop_of_the_server(redis_single: Servers) -> None:
    async def use() -> None:
        store = await RedisStore.open(redis_single, prefix="uvloop")
        await opened(store)
        await asyncio.gather(*(store.append("s", [said()]) for _ in range(20)))
        assert (await store.get("s")).last == 20
        await store.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())


# --- TLS -------------------------------------------------------------------------


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[RedisServer, Servers]]:
    """A server, and where it speaks TLS to those who trust its certificate."""
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    pair = self_signed("cache.example.com")
    certificate.write_bytes(pair[0])
    key.write_bytes(pair[1])
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    trusting = ssl.create_default_context(cafile=str(certificate))
    with running(tmp_path / "data", *SAFE, *options) as server:
        place = Address("127.0.0.1", port)
        yield server, Servers(addresses=(place,), login=Login(tls=trusting))


async def test_a_store_works_over_tls_also_after_a_restart(
    encrypted: tuple[RedisServer, Servers],
) -> None:
    server, servers = encrypted
    store = await RedisStore.open(servers)
    await opened(store)
    await asyncio.gather(*(store.append("s", [said("x" * 9000)]) for _ in range(40)))
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert len(await store.read("s", 0)) == 40
    await store.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    encrypted: tuple[RedisServer, Servers],
) -> None:
    _, servers = encrypted
    strangers = replace(servers, login=Login(tls=ssl.create_default_context()))
    with pytest.raises(StoreUnavailableError, match="certificate is not trusted"):
        await RedisStore.open(strangers)
