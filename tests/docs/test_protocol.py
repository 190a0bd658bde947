"""`docs/protocol.md`: its examples, and its tables."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from cometd_chat.app import Node
from cometd_chat.bayeux import messages
from cometd_chat.config.sections import options_of
from tests.clients.agent import AgentClient
from tests.clients.raw import BayeuxClient, Json

from .conftest import new_node
from .pages import ROOT, rows
from .player import Player

PAGE = ROOT / "docs" / "protocol.md"


async def test_the_examples_happen_as_shown(player: Player) -> None:
    await player.play(PAGE)


def test_the_protocols_errors_are_all_there_and_no_others() -> None:
    ours = {value for value in vars(messages).values() if _is_error(value)}
    table, _ = _errors()
    assert {error for error, _ in table} == ours


def _is_error(value: object) -> bool:
    return isinstance(value, str) and re.match(r"\d{3}:", value) is not None


def _errors() -> tuple[list[list[str]], list[list[str]]]:
    """Return the rows of the protocol's errors and of those of the chat."""
    text = PAGE.read_text(encoding="utf-8")
    first, second = (m.start() for m in re.finditer(r"^\| Error \|", text, re.M))
    return _rows(text[first:second]), _rows(text[second:])


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[c.strip(" `") for c in line.strip("|").split("|")] for line in lines]


def test_the_options_have_the_defaults_that_the_tables_tell() -> None:
    limits = rows(PAGE, "What", "Option", "Default", "Beyond it")
    times = rows(PAGE, "What", "Option", "Default")
    assert len(limits) + len(times) >= 14
    for _, name, default, *_ in limits + times:
        section, option = name.strip("[").split("] ")
        found = next(o for o in options_of(section) if o.name == option)
        assert found.show(found.default) == default, name


def test_all_transports_that_can_be_configured_are_named() -> None:
    table = rows(PAGE, "Transport", "How")
    kind = next(o.kind for o in options_of("bayeux") if o.name == "transports")
    names = kind.expected.removeprefix("list of ").split(", ")
    assert set(names) <= {name for name, _ in table}


class Stranger:
    """A client that asks for what it may not have."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.url = f"{node.url}/cometd"

    async def refused_token(self, token: str) -> Json:
        async with AgentClient(self.url, token) as agent:
            return await agent.handshake()

    async def subscription(self, channel: str, **ext: str) -> Json:
        async with BayeuxClient(self.url) as client:
            await client.handshake()
            return await client.subscribe(channel, ext=ext)

    async def publish(self, channel: str) -> Json:
        async with BayeuxClient(self.url) as client:
            await client.handshake()
            return await client.publish(channel, {})

    async def unstored(self) -> Json:
        await self.node.store.close()
        return await self.subscription("/_genesys", serviceId="any")


NOBODY = "Send ext.serviceId, or gms_user as [auth] and [server] trusted_proxies allow"

_Provoke: TypeAlias = Callable[[Stranger], Awaitable[Json]]

PROVOKED: dict[str, _Provoke] = {
    "403::ext.auth.token is missing": lambda s: s.refused_token(""),
    "403::the token is refused: it is no JSON Web Token": lambda s: s.refused_token(
        "x"
    ),
    "403:/news:Subscription denied": lambda s: s.subscription("/news"),
    "403:/news:Publish denied": lambda s: s.publish("/news"),
    f"403:/_genesys:{NOBODY}": lambda s: s.subscription("/_genesys"),
    "404:/_genesys:Unknown service": lambda s: s.subscription(
        "/_genesys", serviceId="unknown"
    ),
    "503:/_genesys:Try again": Stranger.unstored,
}


async def test_the_chats_errors_are_those_of_the_table(tmp_path: Path) -> None:
    _, table = _errors()
    shown = [
        error.replace("<channel>", "/news").replace(
            "<reason>", "it is no JSON Web Token"
        )
        for error, _ in table
    ]
    assert shown == [*PROVOKED]
    for number, (error, provoke) in enumerate(PROVOKED.items()):
        (folder := tmp_path / str(number)).mkdir()
        async with new_node(folder) as node:
            reply = await provoke(Stranger(node))
        assert reply["successful"] is False
        assert reply["error"] == error
