"""Bayeux over WebSocket: frames, connects, and sockets that come and go."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import WSMsgType

from cometd_chat.app import Node
from tests.clients.agent import AgentClient
from tests.clients.raw import V1App
from tests.clients.ws import SocketClient
from tests.e2e.conftest import agent_token

from .conftest import Inside, until


class SocketAgent(SocketClient, AgentClient):
    """An agent's console on a WebSocket."""


@pytest.mark.parametrize(
    "path",
    [
        "/cometd",
        "/cometd/",
        "/cometd/handshake",
        "/genesys/cometd",
        "/genesys/cometd/",
        "/genesys/cometd/connect/more",
    ],
)
async def test_the_endpoint_upgrades_under_all_its_paths(node: Node, path: str) -> None:
    async with SocketClient(node.url + path) as client:
        assert (await client.handshake())["successful"]
        assert (await client.connect())["successful"]


async def test_a_bare_object_is_answered_by_an_array(url: str) -> None:
    async with SocketClient(url) as client:
        await client.text(
            '{"channel":"/meta/handshake","id":"a","version":"1.0",'
            '"supportedConnectionTypes":["websocket"]}'
        )
        await client.wait_for(lambda: client.frames)
        assert client.frames[0][0]["id"] == "a"


async def test_several_messages_of_a_frame_are_answered_in_one(url: str) -> None:
    async with SocketClient(url, {"gms_user": "user-1"}) as client:
        await client.handshake()
        await client.send(
            client.message("/meta/connect"),
            client.message("/meta/subscribe", subscription="/_genesys"),
        )
        await client.wait_for(lambda: len(client.frames) == 2)
        channels = [message["channel"] for message in client.frames[1]]
        assert channels == ["/meta/subscribe", "/meta/connect"], "connect comes last"


async def test_empty_arrays_are_ignored(url: str) -> None:
    async with SocketClient(url) as client:
        await client.text("[]")
        await client.text(" [ ] ")
        assert (await client.handshake())["successful"]
        assert len(client.frames) == 1
        assert client.close_code is None


@pytest.mark.parametrize("number", ["1", "x-ü", 7, 1.50, -0.0, None])
async def test_ids_come_back_as_they_were_sent(url: str, number: Any) -> None:
    sent = json.dumps(number)
    async with SocketClient(url) as client:
        for channel in ("/meta/handshake", "/meta/connect", "/x", "/meta/subscribe"):
            await client.text(f'[{{"channel":"{channel}","id":{sent}}}]')
        ws = client._ws
        assert ws is not None
        await client.wait_for(lambda: len(client.frames) == 4)
        assert [json.dumps(m["id"]) for (m,) in client.frames] == [sent] * 4


async def test_a_reply_to_a_message_without_id_has_none(url: str) -> None:
    async with SocketClient(url) as client:
        await client.text('[{"channel":"/x"}]')
        await client.wait_for(lambda: client.frames)
        assert "id" not in client.frames[0][0]


async def test_a_client_goes_on_over_a_new_socket_without_a_handshake(
    url: str, agent: AgentClient
) -> None:
    async with V1App(url.removesuffix("/cometd")) as app:
        await app.create_service()
        async with SocketClient(url) as client:
            client.on_event = app._received
            await client.handshake(ext={"serviceId": app.service_id})
            await client.subscribe("/_genesys")
            await client.connect()
            await app.create_chat()
            await agent.operate("acceptChat", chatId=app.session_id)
            await client.close()
            await agent.operate("sendMessage", chatId=app.session_id, message="hello")
            await client.connect()
            assert app.texts == ["hello"]


async def test_a_held_connect_does_not_delay_what_follows_it(url: str) -> None:
    async with SocketClient(url) as client:
        await client.handshake()
        await client.connect()
        held = asyncio.create_task(client.connect())
        reply = await client.publish("/x", {})
        assert reply["error"].startswith("403")
        assert not held.done()
        await client.disconnect()
        assert (await held)["advice"]["reconnect"] == "none"


async def test_a_connect_is_held_as_long_as_the_client_asks(
    url: str, inside: Inside
) -> None:
    async with SocketClient(url) as client:
        await client.handshake()
        await client.connect()
        started = asyncio.get_running_loop().time()
        reply = await client.connect(advice={"timeout": 300})
        assert reply["successful"]
        assert 0.25 < asyncio.get_running_loop().time() - started < 2
        assert inside.held == []


async def test_a_second_connect_on_the_same_socket_takes_the_place_of_the_first(
    url: str, inside: Inside
) -> None:
    async with SocketClient(url) as client:
        await client.handshake()
        await client.connect()
        first = client.message("/meta/connect")
        await client.send(first)
        second = await client.connect(advice={"timeout": 200})
        assert second["successful"]
        await client.publish("/x", {})
        answered = [message.get("id") for frame in client.frames for message in frame]
        assert first["id"] not in answered, "it would run two loops of connects"
        assert inside.held == []


async def test_a_second_connect_on_another_socket_takes_the_place_of_the_first(
    url: str, inside: Inside
) -> None:
    async with SocketClient(url) as one, SocketClient(url) as two:
        await one.handshake()
        await one.connect()
        await one.send(one.message("/meta/connect"))
        await one.publish("/x", {})
        assert inside.held == [one.client_id]
        two.client_id = one.client_id
        assert (await two.connect(advice={"timeout": 200}))["successful"]
        await one.publish("/x", {})
        assert len(one.frames) == 4
        assert inside.held == []


async def test_two_clients_share_a_socket(url: str, agent: AgentClient) -> None:
    base = url.removesuffix("/cometd")
    async with V1App(base) as first, V1App(base) as second, SocketClient(url) as socket:
        ids = {}
        for app in (first, second):
            await app.create_service()
            await socket.handshake(ext={"serviceId": app.service_id})
            await socket.subscribe("/_genesys")
            await socket.connect()
            await socket.send(socket.message("/meta/connect"))
            ids[socket.client_id] = app
        socket.on_event = lambda m: [app._received(m) for app in ids.values()]
        for app in (first, second):
            await app.create_chat()
            await until(lambda app=app: app.positions == [1])
        for client_id in ids:
            await socket.send(socket.message("/meta/connect", clientId=client_id))
        await agent.operate("acceptChat", chatId=second.session_id)
        await socket.wait_for(lambda: second.positions == [1, 2])
        assert first.positions == [1]


async def test_an_agent_works_over_a_socket(base: str, url: str) -> None:
    async with SocketAgent(url, agent_token()) as agent, V1App(base) as app:
        await agent.start()
        await app.start()
        await agent.operate("acceptChat", chatId=app.session_id)
        await app.send("hello")
        await agent.wait_for_text(app.session_id, "hello")
        await agent.operate("sendMessage", chatId=app.session_id, message="hi")
        await app.wait_for_text("hi")
        assert await agent.operate("endChat", chatId=app.session_id)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 1007),
        ("[{]", 1007),
        ("", 1007),
        ("7", None),
        ("[" * 2000 + "]" * 2000, 1007),
        ("[" + ",".join(['{"channel":"/x"}'] * 101) + "]", 1007),
        (f'[{{"channel":"/x","data":"{"x" * 262_144}"}}]', 1009),
    ],
)
async def test_a_frame_without_messages_closes_the_socket(
    url: str, text: str, code: int | None
) -> None:
    async with SocketClient(url) as client, SocketClient(url) as other:
        await client.text(text)
        if code is None:
            await client.wait_for(lambda: client.frames)
            assert client.frames[0][0]["error"].startswith("400")
        else:
            assert await client.closed() == code
        assert (await other.handshake())["successful"]


async def test_the_largest_frame_is_as_large_as_the_largest_body(url: str) -> None:
    async with SocketClient(url) as client:
        text = '[{"channel":"/x","id":"1","data":""}]'
        filler = "x" * (262_143 - len(text))
        await client.text(text.replace('"data":""', f'"data":"{filler}"'))
        await client.wait_for(lambda: client.frames)
        assert client.frames[0][0]["error"].startswith("402")


async def test_a_binary_frame_closes_the_socket_as_unsupported(url: str) -> None:
    async with SocketClient(url) as client:
        ws = await client.open()
        await ws.send_bytes(b"[]")
        assert await client.closed() == 1003


async def test_pings_are_answered(url: str) -> None:
    async with SocketClient(url) as client:
        client.reads = False
        ws = await client.open(autoping=False)
        await ws.ping(b"here?")
        frame = await ws.receive(timeout=5)
        assert (frame.type, frame.data) == (WSMsgType.PONG, b"here?")


async def test_a_client_that_says_nothing_by_bare_objects_is_set_free(
    url: str,
) -> None:
    """GFayeSwift does nothing after a 402 until the socket closes."""
    async with SocketClient(url) as client:
        await client.text('{"channel":"/meta/connect","clientId":"gone"}')
        assert await client.closed() == 1008
        (reply,) = client.frames[0]
        assert reply["error"].startswith("402")
        assert reply["advice"]["reconnect"] == "handshake"


@pytest.mark.parametrize(
    "text",
    [
        '[{"channel":"/meta/connect","clientId":"gone"}]',
        '{"channel":"/meta/connect","clientId":"gone","id":"1"}',
        '{"channel":"/meta/handshake"}',
        '{"channel":"/meta/subscribe","subscription":5}',
    ],
)
async def test_other_refusals_leave_the_socket_open(url: str, text: str) -> None:
    """Clients that follow advice shake hands again on the same socket."""
    async with SocketClient(url) as client:
        await client.text(text)
        await client.wait_for(lambda: client.frames)
        assert client.frames[0][0]["successful"] is False
        assert (await client.handshake())["successful"]
        assert client.close_code is None


async def test_a_client_of_bare_objects_gets_one_message_for_each_frame(
    base: str, url: str
) -> None:
    """Its versions until 2020 look at nothing behind the first one."""
    async with V1App(base) as app, SocketClient(url) as client:
        await app.create_service()
        reply = await client.handshake(ext={"serviceId": app.service_id})
        assert reply["successful"]
        await client.subscribe("/_genesys")
        await client.connect()
        await app.create_chat()
        start = len(client.frames)
        await client.text(json.dumps(client.message("/meta/connect")))
        await client.wait_for(lambda: len(client.frames) == start + 2)
        (event,), (connect,) = client.frames[start:]
        assert event["channel"] == "/_genesys"
        assert connect["channel"] == "/meta/connect"
