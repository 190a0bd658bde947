"""Clients whose requests come on connections that are ours.

What a system has not confirmed yet cannot be had on demand from a real one; the node
behind them is real.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.app import Node
from cometd_chat.web.exchange import Exchange


class Sent(Exchange):
    """An exchange whose response was written (unless it is `cut`), but not confirmed by
    the system unless the test says so."""

    cut = False

    def __init__(self, connection: object) -> None:
        super().__init__(connection)
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.confirmed = False
        self.gone = False

    @property
    def dead(self) -> bool:
        return self.gone

    @property
    def unconfirmed(self) -> bool:
        return not self.confirmed

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        self.written = not self.cut
        self.outcome.set_result(json.loads(bayeux.encode(messages)))

    def refuse(self, status: int) -> None:
        self.outcome.set_result(status)


class Sockets(Sent):
    """The same on a WebSocket, where requests do not wait for responses."""

    def __init__(self, connection: object) -> None:
        super().__init__(connection)
        self.in_turn = False  # on the object: compiled code looks nowhere else


class Cut(Sent):
    """An exchange whose connection is gone when the response is written."""

    cut = True


class Client:
    """A client whose requests come on the connections that the test says."""

    def __init__(self, node: Node, kind: type[Sent]) -> None:
        self.endpoint, self.kind, self.id = node._chat.endpoint, kind, ""
        self.last: Sent | None = None

    async def ask(self, connection: object, channel: str, **fields: Any) -> Any:
        message = {"channel": channel, "id": "1", "clientId": self.id, **fields}
        batch = bayeux.parse(json.dumps([message]).encode(), bayeux.Limits())
        exchange = self.last = self.kind(connection)
        work = self.endpoint.serve(exchange, batch, bayeux.Peer(headers={}))
        if work is not None:
            await work
        outcome = await exchange.outcome
        self.endpoint.polls.ended(exchange)
        return outcome

    async def start(self, connection: object, **more: Any) -> None:
        ways = ["long-polling", "websocket"]
        asked = {"version": "1.0", "supportedConnectionTypes": ways, **more}
        (reply,) = await self.ask(connection, "/meta/handshake", **asked)
        self.id = reply["clientId"]
        await self.ask(connection, "/meta/subscribe", subscription="/news/x")
        await self.poll(connection)

    async def poll(self, connection: object, hold: int = 200) -> list[str]:
        """Return the data of the events that come; none if it is displaced."""
        asked = {"connectionType": "long-polling", "advice": {"timeout": hold}}
        messages = await self.ask(connection, "/meta/connect", **asked)
        return [] if isinstance(messages, int) else texts(messages)

    async def publish(self, connection: object, text: str) -> list[str]:
        """Publish, and return the data of the events that come with the reply."""
        reply, *events = await self.ask(connection, "/news/x", data=text)
        assert reply["successful"]
        return texts(events)


def texts(messages: Sequence[Any]) -> list[str]:
    """Return the data of the events among the messages."""
    return [m["data"] for m in messages if "data" in m]
