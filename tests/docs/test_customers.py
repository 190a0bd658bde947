"""`docs/customers.md`: its examples, and its table of errors."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from aiohttp import ClientSession

from cometd_chat.app import Node

from .conftest import damage_chats, new_node
from .pages import ROOT, rows
from .player import Player

PAGE = ROOT / "docs" / "customers.md"

Answer: TypeAlias = tuple[int, str]


async def test_the_examples_happen_as_shown(player: Player) -> None:
    await player.play(PAGE)


class Customer:
    """An app that does everything wrong, with a chat of its own."""

    def __init__(self, node: Node, folder: Path, http: ClientSession) -> None:
        self.node = node
        self.folder = folder
        self.http = http
        self.key = ""

    async def start(self, user: str = "cleo") -> None:
        self.key = (await self.body("", headers={"gms_user": user}))["_id"]

    async def post(self, path: str, **request: Any) -> Answer:
        """Post below the service; return the status, and the exception if any."""
        url = f"{self.node.url}/genesys/1/service/{self.key or 'request-chat'}{path}"
        async with self.http.post(url, **request) as response:
            return response.status, (await response.json()).get("exception", "")

    async def body(self, path: str, **request: Any) -> Any:
        url = f"{self.node.url}/genesys/1/service/request-chat{path}"
        async with self.http.post(url, **request) as response:
            return await response.json()

    async def send(self, **request: Any) -> Answer:
        """Send in a chat that is there."""
        assert (await self.post("/ixn/chat"))[0] == 200
        return await self.post("/ixn/chat/send", **request)

    async def without_a_chat(self) -> Answer:
        return await self.post("/ixn/chat/send", data={"message": "x"})

    async def ended(self) -> Answer:
        await self.send(data={"message": "x"})
        await self.post("/ixn/chat/disconnect")
        return await self.post("/ixn/chat/send", data={"message": "x"})

    async def full(self) -> Answer:
        while (answer := await self.send(data={"message": "x"}))[0] == 200:
            pass
        return answer

    async def slow(self) -> Answer:
        address = urlsplit(self.node.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        path = f"/genesys/1/service/{self.key}/ixn/chat/send"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"}")
        writer.close()
        await writer.wait_closed()
        exception = answer.rpartition(b'":"')[2].removesuffix(b'"}')
        return int(answer.split()[1]), exception.decode()

    async def damaged(self) -> Answer:
        assert (await self.post("/ixn/chat"))[0] == 200
        damage_chats(self.folder)
        return await self.post("/ixn/chat/refresh", data={"transcriptPosition": "0"})

    async def unstored(self) -> Answer:
        assert (await self.post("/ixn/chat"))[0] == 200
        await self.node.store.close()
        return await self.post("/ixn/chat/send", data={"message": "x"})


_Provoke: TypeAlias = Callable[[Customer], Awaitable[Answer]]

COMPRESSED = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

PROVOKED: dict[Answer, _Provoke] = {
    (400, "BadRequestException"): lambda c: c.send(data={"message": "x" * 9000}),
    (400, "ChatNotFoundException"): Customer.without_a_chat,
    (400, "ChatEndedException"): Customer.ended,
    (403, "ForbiddenException"): lambda c: c.post(
        "/ixn/chat", headers={"gms_user": "x" * 257}
    ),
    (404, "ServiceNotFoundException"): lambda c: c.post(
        "/ixn/chat", headers={"gms_user": "thief"}
    ),
    (408, "HTTPRequestTimeout"): Customer.slow,
    (413, "HTTPRequestEntityTooLarge"): lambda c: c.send(data={"a": "x" * 300_000}),
    (413, "TranscriptFullException"): Customer.full,
    (415, "BadRequestException"): lambda c: c.send(),
    (415, "UnexpectedValueException"): lambda c: c.send(
        data={"message": "x", "transcriptPosition": "two"}
    ),
    (415, "UnsupportedMediaTypeException"): lambda c: c.send(
        data=b"<a/>", headers={"Content-Type": "text/xml"}
    ),
    (415, "HTTPUnsupportedMediaType"): lambda c: c.send(data=b"x", headers=COMPRESSED),
    (500, "DamagedException"): Customer.damaged,
    (503, "UnavailableException"): Customer.unstored,
}


async def test_each_error_of_the_table_can_be_met(tmp_path: Path) -> None:
    table = rows(PAGE, "Status", "exception", "Meaning")
    assert [(int(status), name) for status, name, _ in table] == [*PROVOKED]
    for number, (answer, provoke) in enumerate(PROVOKED.items()):
        (folder := tmp_path / str(number)).mkdir()
        server = "body_timeout = 300ms"
        node = new_node(folder, server=server, store="max_entries = 10")
        async with node, ClientSession() as http:
            customer = Customer(node, folder, http)
            await customer.start()
            assert await provoke(customer) == answer
