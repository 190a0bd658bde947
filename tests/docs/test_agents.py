"""`docs/agents.md`: its examples, and its table of errors."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from cometd_chat.app import Node
from tests.clients.agent import CHANNEL, AgentClient
from tests.clients.raw import Json, V1App

from .conftest import damage_chats, new_node, token_of
from .pages import ROOT, rows
from .player import Player

PAGE = ROOT / "docs" / "agents.md"

SMALL = "max_entries = 10"


async def test_the_examples_happen_as_shown(player: Player) -> None:
    await player.play(PAGE)


def data(operation: str, chat: V1App) -> Json:
    return {"operation": operation, "chatId": chat.session_id, "message": "x"}


class Desk:
    """Two agents, and a chat that the first one has."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.folder = folder
        url = f"{node.url}/genesys/cometd"
        self.ann = AgentClient(url, token_of("Ann"))
        self.ben = AgentClient(url, token_of("Ben"))
        self.chat = V1App(f"{node.url}/genesys", user="cleo")

    async def start(self) -> None:
        await self.ann.start()
        await self.ben.start()
        await self.chat.start()
        await self.ann.operate("acceptChat", chatId=self.chat.session_id)

    async def close(self) -> None:
        for client in (self.ann, self.ben, self.chat):
            await client.vanish()

    async def send(self, agent: AgentClient, operation: str) -> Json:
        return await agent.publish(CHANNEL, data(operation, self.chat))

    async def nonsense(self) -> Json:
        return await self.ann.publish(CHANNEL, {"operation": "sing"})

    async def unknown(self) -> Json:
        fields = {"operation": "acceptChat", "chatId": "nobody"}
        return await self.ann.publish(CHANNEL, fields)

    async def ended(self) -> Json:
        await self.send(self.ann, "endChat")
        return await self.send(self.ann, "sendMessage")

    async def full(self) -> Json:
        while (reply := await self.send(self.ann, "sendMessage"))["successful"]:
            pass
        return reply

    async def damaged(self) -> Json:
        damage_chats(self.folder)
        return await self.send(self.ann, "leaveChat")

    async def unstored(self) -> Json:
        await self.node.store.close()
        return await self.send(self.ann, "sendMessage")


_Provoke: TypeAlias = Callable[[Desk], Awaitable[Json]]

PROVOKED: dict[str, _Provoke] = {
    "400": Desk.nonsense,
    "403": lambda desk: desk.send(desk.ben, "sendMessage"),
    "404": Desk.unknown,
    "409": lambda desk: desk.send(desk.ben, "acceptChat"),
    "410": Desk.ended,
    "413": Desk.full,
    "500": Desk.damaged,
    "503": Desk.unstored,
}


async def test_each_error_is_told_in_the_words_of_the_table(tmp_path: Path) -> None:
    table = rows(PAGE, "Code", "Advice", "When")
    assert [code for code, *_ in table] == [*PROVOKED]
    for code, advice, _ in table:
        (folder := tmp_path / code).mkdir()
        async with new_node(folder, store=SMALL) as node:
            desk = Desk(node, folder)
            await desk.start()
            reply = await PROVOKED[code](desk)
            await desk.close()
        assert reply["successful"] is False
        assert reply["error"].startswith(f"{code}::")
        words = advice.replace("<name>", "Ann")
        assert reply["error"] == f"{code}::{words}" or "names the field" in words
