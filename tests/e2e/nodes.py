"""Nodes with options of their own, and customers who sit behind a bad network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cometd_chat.app import Node
from cometd_chat.app.parts import Chat
from cometd_chat.bayeux import Client
from cometd_chat.clock import Clock
from tests.clients.agent import AgentClient
from tests.clients.cometd_js import CometdJs
from tests.clients.pair import Pair
from tests.clients.proxy import Proxy
from tests.clients.raw import BayeuxClient, V1Chat
from tests.web.conftest import until

from .conftest import agent_token, new_node, write_config

NEWS = "/news/today"


def configured(folder: Path, *, port: int = 0, more: str = "", **bayeux: str) -> Path:
    """Write a configuration in which `/news/**` is for everybody.

    `bayeux` are further options of that section, `more` further sections.
    """
    times = {n: bayeux.pop(n) for n in ("offline_after", "max_interval") if n in bayeux}
    path = write_config(folder, port=port, more=more, **times)
    options = {"broadcast_channels": "/news/**", "timeout": "5s", **bayeux}
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    text = path.read_text().replace("timeout = 5s\n", "", 1)
    path.write_text(text.replace("[bayeux]\n", "[bayeux]\n" + lines))
    return path


def make_node(path: Path, clock: Clock | None = None) -> Node | Pair:
    """Return a node with this configuration, not started yet; see `new_node`."""
    return new_node(path, clock)


def chats(node: Node | Pair) -> list[Chat]:
    """Return the parts of the node, or of each of two."""
    return [n._chat for n in (node.nodes if isinstance(node, Pair) else [node])]


def known(node: Node | Pair, client_id: str) -> Client:
    """Return the client as the server has it."""
    client = _find(node, client_id)
    assert client is not None
    return client


def _find(node: Node | Pair, client_id: str) -> Client | None:
    """Return the client; None also while it is between two nodes."""
    found = (chat.server.client(client_id) for chat in chats(node))
    return next(filter(None, found), None)


def clients(node: Node | Pair) -> int:
    """Return how many clients the server has."""
    return sum(len(chat.server) for chat in chats(node))


async def forgotten(node: Node | Pair, client_id: str) -> None:
    """Wait until the server does not know the client, who sends nothing, any more."""
    await until(lambda: _find(node, client_id) is None)


async def silent(node: Node | Pair, client_id: str) -> None:
    """Wait until the server has noticed that the client does not poll any more."""
    await until(lambda: (client := _find(node, client_id)) and client.silent)


def subscribers(node: Node | Pair, channel: str) -> set[str]:
    """Return the clients that hear this channel."""
    found = [c.broadcast.subscriptions.matching(channel) for c in chats(node)]
    return set().union(*found)


async def holding(node: Node | Pair, client_id: str) -> None:
    """Wait until the server holds a connect of this client."""
    await until(lambda: any(client_id in c.endpoint.polls.held for c in chats(node)))


async def answered(node: Node, client_id: str) -> None:
    """Wait until the connect of this client was answered."""
    await until(lambda: (client := _find(node, client_id)) and client.poll is None)


@asynccontextmanager
async def behind_proxy(node: Node) -> AsyncIterator[tuple[Proxy, str]]:
    """Run a proxy in front of the node; gives the address of its endpoint, too."""
    port = urlsplit(node.url).port
    assert port is not None
    async with Proxy(port) as proxy:
        yield proxy, f"http://127.0.0.1:{proxy.port}/cometd"


@asynccontextmanager
async def listening(
    url: str, *channels: str, **options: Any
) -> AsyncIterator[CometdJs]:
    """An app with CometD's client that has subscribed, and does so again after each
    handshake; `user` and `ext` are those of the handshake."""
    ext = options.pop("ext", None)
    async with CometdJs() as app:
        await app.configure(url, **{"backoffIncrement": 50, **options})
        reply = await app.call("handshake", subscribe=list(channels), ext=ext)
        assert reply["successful"], reply
        assert all(reply["subscriptions"]), reply
        yield app


@asynccontextmanager
async def chatting(node: Node, user: str) -> AsyncIterator[tuple[V1Chat, AgentClient]]:
    """A chat of this user that an agent has accepted; apps listen by themselves."""
    async with (
        V1Chat(f"{node.url}/genesys", user=user) as chat,
        AgentClient(f"{node.url}/cometd", agent_token()) as agent,
    ):
        await chat.create_service()
        await chat.create_chat(notify_by="comet", userDisplayName="Cleo")
        await agent.start()
        await agent.operate("acceptChat", chatId=chat.session_id)
        yield chat, agent


@asynccontextmanager
async def agent_at(node: Node | Pair, chat_id: str) -> AsyncIterator[AgentClient]:
    """An agent who takes part in this chat."""
    async with AgentClient(f"{node.url}/cometd", agent_token()) as agent:
        await agent.start()
        await agent.operate("acceptChat", chatId=chat_id)
        yield agent


async def say(agent: AgentClient, chat: V1Chat, *texts: str, **fields: Any) -> None:
    """Let the agent write; returns when it is stored."""
    for text in texts:
        await agent.operate(
            "sendMessage", chatId=chat.session_id, message=text, **fields
        )


async def publish(publisher: BayeuxClient, *texts: str, channel: str = NEWS) -> None:
    """Publish one after the other; all have to be taken."""
    for text in texts:
        reply = await publisher.publish(channel, text)
        assert reply["successful"], reply


def rows(app: CometdJs | BayeuxClient) -> list[tuple[int, list[str]]]:
    """Return position and entry of all that came on `/_genesys`, in order."""
    found: list[tuple[int, list[str]]] = []
    for event in app.events:
        if event["channel"] == "/_genesys":
            chat = event["data"]["message"]
            shown = chat["transcriptToShow"]
            first = int(chat["transcriptPosition"]) - len(shown) + 1
            found += enumerate(shown, first)
    return found


def positions(app: CometdJs | BayeuxClient) -> list[int]:
    return [position for position, _ in rows(app)]


def texts(app: CometdJs | BayeuxClient) -> list[str]:
    """Return what was said, also what came twice."""
    return [row[2] for _, row in rows(app) if row[0] == "Message.Text"]
