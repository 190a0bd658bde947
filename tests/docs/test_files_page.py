"""`docs/files.md`: its session with curl, and its table of errors."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from cometd_chat.app import Node
from tests.cli.program import Program
from tests.clients.raw import V1Chat
from tests.clients.tus import OFFSET_STREAM, Answered, TusClient

from .conftest import damage_chats, new_node, token_of
from .pages import ROOT, blocks, rows
from .test_readme import ADDRESS, shell, url_of

PAGE = ROOT / "docs" / "files.md"
MOST_ENTRIES = 10
WRITTEN = "Dear Ann, here is my invoice."

Case: TypeAlias = Callable[["Desk"], Awaitable[Answered]]


async def test_the_session_with_curl_is_true(tmp_path: Path) -> None:
    config = tmp_path / "empty.ini"
    config.touch()
    arguments = ("serve", "--demo", "--port", "0", "--config", str(config))
    (script,) = blocks(PAGE, "bash")
    assert ADDRESS in script
    async with Program(tmp_path, *arguments) as server:
        script = script.replace(ADDRESS, await url_of(server))
        shown, listed, part = (await shell(tmp_path, script)).splitlines()
    rows = json.loads(shown)["transcriptToShow"]
    assert rows[-1][2] == "has sent a file: invoice.txt"
    (file,) = json.loads(listed)["files"]
    assert (file["file-name"], file["file-size"]) == ("invoice.txt", str(len(WRITTEN)))
    assert part == WRITTEN[10:]
    assert (tmp_path / "data" / "files").is_dir()


class Desk:
    """A chat, its customer, and others who want to see its files."""

    def __init__(
        self, node: Node, folder: Path, chat: V1Chat, client: TusClient
    ) -> None:
        self.node = node
        self.folder = folder
        self.chat = chat
        self.client = client
        self.ask = client.ask

    async def announced(self) -> str:
        return (await self.client.create(4)).location

    async def by(self, proof: str) -> Answered:
        return await self.ask("GET", Authorization=f"Bearer {proof}")

    async def ended(self) -> Answered:
        await self.chat.end()
        return await self.client.create(4)

    async def not_asked_for(self) -> Answered:
        async with V1Chat(f"{self.node.url}/genesys") as chat:
            await chat.create_service()
            session = await self.node.store.find(chat.service_id)
            async with TusClient(self.node.url, session.id, session.key) as client:
                return await client.create(4)

    async def elsewhere(self) -> Answered:
        return await self.client.patch(await self.announced(), 2, b"x")

    async def beyond(self) -> Answered:
        return await self.client.patch(await self.announced(), 0, b"12345")

    async def full(self) -> Answered:
        for number in range(MOST_ENTRIES - 1):  # the first says who came
            await self.chat.send(f"message {number}")
        return await self.client.create(0)

    async def bare(self) -> Answered:
        return await self.ask("PATCH", await self.announced(), b"x", Upload_Offset="0")

    async def overridden(self) -> Answered:
        return await self.ask(
            "POST", await self.announced(), X_HTTP_Method_Override="PUT"
        )

    async def silent(self) -> Answered:
        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.sleep(0.5)

        where = await self.announced()
        return await self.ask(
            "PATCH", where, body(), Upload_Offset="0", Content_Type=OFFSET_STREAM
        )

    async def damaged(self) -> Answered:
        damage_chats(self.folder)
        return await self.ask("GET")

    async def away(self) -> Answered:
        await self.node.store.close()
        return await self.ask("GET")


CASES: dict[tuple[str, str], Case] = {
    ("400", "BadRequestException"): lambda desk: desk.ask("POST"),
    ("400", "ChatEndedException"): lambda desk: desk.ended(),
    ("400", "ChatNotFoundException"): lambda desk: desk.not_asked_for(),
    ("401", "UnauthorizedException"): lambda desk: desk.ask("GET", Authorization=None),
    ("403", "ForbiddenException"): lambda desk: desk.by("a.b.c"),
    ("403", "NotAllowedException"): lambda desk: desk.client.create(1, "run.exe"),
    ("404", "ChatNotFoundException"): lambda desk: desk.by(token_of("Ben")),
    ("404", "FileNotFoundException"): lambda desk: desk.ask(
        "GET", f"/genesys/files/{desk.chat.session_id}/{'0' * 32}"
    ),
    ("405", "MethodNotAllowedException"): lambda desk: desk.overridden(),
    ("408", "BrokenOffException"): lambda desk: desk.silent(),
    ("409", "ConflictException"): lambda desk: desk.elsewhere(),
    ("412", "VersionException"): lambda desk: desk.ask("POST", Tus_Resumable=None),
    ("413", "LimitException"): lambda desk: desk.beyond(),
    ("413", "TranscriptFullException"): lambda desk: desk.full(),
    ("415", "UnsupportedMediaTypeException"): lambda desk: desk.bare(),
    ("500", "DamagedException"): lambda desk: desk.damaged(),
    ("503", "UnavailableException"): lambda desk: desk.away(),
}


def test_the_table_of_errors_is_complete() -> None:
    told = [(row[0], row[1]) for row in rows(PAGE, "Status", "exception", "Meaning")]
    assert told == list(CASES)


@pytest.mark.parametrize(("status", "exception"), CASES)
async def test_an_error_is_as_the_table_says(
    tmp_path: Path, status: str, exception: str
) -> None:
    node = new_node(
        tmp_path,
        server="body_timeout = 200ms",
        store=f"max_entries = {MOST_ENTRIES}",
    )
    async with node, V1Chat(f"{node.url}/genesys") as chat:
        await chat.start()
        async with TusClient(node.url, chat.session_id, chat.service_id) as client:
            answer = await CASES[status, exception](Desk(node, tmp_path, chat, client))
    body: dict[str, Any] = json.loads(answer.body)
    assert (str(answer.status), body["exception"]) == (status, exception)
    assert body["message"]
