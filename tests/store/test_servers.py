"""Which servers are known, where they are replaced again and again."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from cometd_chat.store.redis_keys import PARTITIONS
from cometd_chat.store.redis_link import Address, LostError, RefusedError
from cometd_chat.store.redis_servers import Router
from cometd_chat.store.redis_topology import Servers
from tests.store.redis_server import LOGIN
from tests.web.conftest import until

MANY = 12
"""Servers that follow each other in a test."""

_COMMAND = re.compile(rb"\*\d+\r\n(?:\$\d+\r\n[^\r]*\r\n)+")


@asynccontextmanager
async def server(answer: Callable[[bytes, Address], bytes]) -> AsyncIterator[Address]:
    """A server that answers each command so; commands are as on the wire."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while asked := await reader.read(65_536):
            for command in _COMMAND.findall(asked):
                writer.write(answer(command, address))

    writers: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = Address(*listener.sockets[0].getsockname())
    yield address
    listener.close()
    for writer in writers:
        writer.transport.abort()


def _text(word: object) -> bytes:
    found = str(word).encode()
    return b"$%d\r\n%b\r\n" % (len(found), found)


class Members:
    """A cluster of which one member has all slots; it may be another one each time."""

    def __init__(self) -> None:
        self.owner = Address("", 0)

    def answer(self, command: bytes, here: Address) -> bytes:
        if b"SLOTS" in command:
            place = b"*2\r\n" + _text(self.owner.host) + b":%d\r\n" % self.owner.port
            return b"*1\r\n*3\r\n:0\r\n:16383\r\n" + place
        if here != self.owner:
            return f"-MOVED 1 {self.owner}\r\n".encode()
        return b":1\r\n"


def router(addresses: Sequence[Address], *, cluster: bool) -> Router:
    servers = Servers(addresses=tuple(addresses), login=LOGIN, cluster=cluster)
    return Router(servers, 100, None)


async def test_members_of_a_cluster_that_were_replaced_are_forgotten() -> None:
    members = Members()
    async with AsyncExitStack() as stack:
        addresses = [
            await stack.enter_async_context(server(members.answer)) for _ in range(MANY)
        ]
        nodes = router(addresses[:1], cluster=True)
        for owner in addresses:
            members.owner = owner
            assert await nodes.read(0, "GET", "key") == 1
        known = {addresses[0], addresses[-1]}
        await until(lambda: set(nodes.besides(())) == known)
        assert {address for address, _ in nodes._links} == known
        await nodes.close()


async def test_a_member_that_was_thrown_out_takes_no_other_away() -> None:
    members = Members()
    async with (
        server(lambda command, here: b"*0\r\n") as outcast,
        server(members.answer) as member,
    ):
        members.owner = member
        nodes = router([outcast, member], cluster=True)
        for _ in range(20):
            await nodes._searching()
            assert nodes._owners[0] == member
        await nodes.close()


async def test_a_member_that_knows_a_part_does_not_speak_for_the_cluster() -> None:
    members = Members()

    def alone(command: bytes, here: Address) -> bytes:
        place = b"*2\r\n" + _text(here.host) + b":%d\r\n" % here.port
        return b"*1\r\n*3\r\n:0\r\n:5460\r\n" + place

    async with server(alone) as outcast, server(members.answer) as member:
        members.owner = member
        nodes = router([outcast, member], cluster=True)
        for _ in range(20):
            await nodes._searching()
            assert set(nodes._owners) == {member}
        await nodes.close()
        lonely = router([outcast], cluster=True)
        await lonely._searching()
        assert set(lonely._owners) == {outcast, None}
        await lonely.close()


async def test_who_falls_takes_no_owner_of_other_partitions_along() -> None:
    def refuse(command: bytes, here: Address) -> bytes:
        return b"-CLUSTERDOWN The cluster is down\r\n"

    def answer(command: bytes, here: Address) -> bytes:
        return b":1\r\n"

    async with server(refuse) as fallen, server(answer) as other:
        nodes = router([fallen, other], cluster=True)
        nodes._owners = [fallen, *[other] * (PARTITIONS - 1)]
        for wrong in (RefusedError("CLUSTERDOWN"), LostError(), OSError()):
            nodes._owners[0] = fallen
            nodes._mistrust(0, fallen, wrong)
            assert nodes._owners == [None, *[other] * (PARTITIONS - 1)]
        nodes._mistrust(1, fallen, LostError())
        assert nodes._owners[1] == other, "the error of a former owner is late"
        await nodes.close()


async def test_former_primaries_that_nobody_names_are_forgotten() -> None:
    primary = [Address("127.0.0.1", 1)]

    def answer(command: bytes, here: Address) -> bytes:
        if here == primary[0]:
            return b"*3\r\n" + _text("master") + b":0\r\n*0\r\n"
        host, port = primary[0].host, primary[0].port
        return b"*3\r\n" + _text("slave") + _text(host) + b":%d\r\n" % port

    async with server(answer) as replica:
        nodes = router([replica], cluster=False)
        for _ in range(MANY):
            async with server(answer) as primary[0]:
                await nodes._searching()
                await nodes._searching()
                assert nodes._owners[0] == primary[0]
        assert len(nodes.besides(())) == 2
        assert len(nodes._links) <= 3
        await nodes.close()
