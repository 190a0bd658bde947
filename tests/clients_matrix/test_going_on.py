"""Clients not our own go on where a former one was (`ext.resume` of the handshake)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiocometd_ng.client import Client
from aiocometd_ng.constants import ConnectionType

from cometd_chat.app import Node
from tests.clients.aiocometd_app import Identity
from tests.clients.raw import Json, V1Chat
from tests.e2e.nodes import agent_at, say
from tests.web.phones import CHANNEL, CometdPhone, FayePhone, NodePhone

pytestmark = pytest.mark.filterwarnings(
    # aiocometd-ng opens its sockets in a way that aiohttp will give up.
    "ignore:(float parameter 'receive_timeout'|ssl=None) is deprecated"
    ":DeprecationWarning"
)

transports = pytest.mark.parametrize("transport", ["long-polling", "websocket"])


class Listening(Identity):
    """Notes what the library receives."""

    def __init__(self, ext: Json) -> None:
        super().__init__({})
        self.ext["/meta/handshake"] = ext
        self.received: list[Json] = []

    async def incoming(self, payload: list[Json], headers: Any = None) -> None:
        self.received += payload


@transports
@pytest.mark.parametrize("kind", [CometdPhone, FayePhone])
async def test_a_javascript_client_goes_on(
    node: Node,
    url: str,
    app: V1Chat,
    kind: Callable[[str, str, str], NodePhone],
    transport: str,
) -> None:
    async with kind(url, app.service_id, transport) as old:
        await app.create_chat(notify_by="comet")
        async with agent_at(node, app.session_id) as agent:
            await say(agent, app, "one")
            await old.shows("one")
            position = len(old.screen)
            client_id = (await old.status())["clientId"]
            await old.vanish()
            await say(agent, app, "two")
            new = kind(url, app.service_id, transport)
            former = {"clientId": client_id, "transcriptPosition": position}
            new.ext = {**new.ext, "resume": former}
            async with new:
                await new.watched.wait_for(lambda: new.screen)
                assert [entry[2] for entry in new.screen.values()] == ["two"]
                shaken = new.js.meta[0]
                assert shaken["ext"]["resume"]["resumed"] is True


def client_of(url: str, transport: str, identity: Identity) -> Client:
    kind = ConnectionType(transport)
    return Client(url, kind, connection_timeout=0, extensions=[identity])


async def received(client: Client) -> Json:
    """Return the next event. Raises: TimeoutError."""
    async with asyncio.timeout(5):
        event: Json = await client.receive()
        return event


@transports
async def test_aiocometd_goes_on(
    node: Node, url: str, app: V1Chat, transport: str
) -> None:
    who: Json = {"serviceId": app.service_id}
    first, second = Listening(who), Listening(who)
    old, new = (client_of(url, transport, each) for each in (first, second))
    await old.open()
    try:
        await old.subscribe(CHANNEL)
        await app.create_chat(notify_by="comet")
        await received(old)
        (shaken, *_) = first.received
        former = {"clientId": shaken["clientId"], "transcriptPosition": 1}
        second.ext["/meta/handshake"] = {**who, "resume": former}
        await new.open()
        async with agent_at(node, app.session_id) as agent:
            await say(agent, app, "two")
            shown: list[list[str]] = []
            while "two" not in (entry[2] for entry in shown):
                chat = (await received(new))["data"]["message"]
                shown += chat["transcriptToShow"]
                assert int(chat["transcriptPosition"]) == 1 + len(shown)
        assert second.received[0]["ext"]["resume"]["resumed"] is True
    finally:
        first.mute = second.mute = True
        await new.close()
        await old.close()
