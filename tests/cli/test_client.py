"""The client against servers that answer strangely."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest
from aiohttp import ClientSession, web
from pytest_aiohttp import AiohttpServer

from cometd_chat.client import (
    AgentClient,
    BayeuxClient,
    Json,
    LostError,
    RefusedError,
    follow_chats,
)

Answer: TypeAlias = Callable[[Json], web.Response]
Connecting: TypeAlias = Callable[[Answer], Awaitable[BayeuxClient]]


@pytest.fixture
async def connecting(aiohttp_server: AiohttpServer) -> AsyncIterator[Connecting]:
    """Makes a client of a server that answers each message like this."""
    async with ClientSession() as http:

        async def made(answer: Answer) -> BayeuxClient:
            async def post(request: web.Request) -> web.Response:
                (message,) = await request.json()
                return answer(message)

            app = web.Application()
            app.router.add_post("/cometd", post)
            server = await aiohttp_server(app)
            return BayeuxClient(http, str(server.make_url("/cometd")))

        yield made


def reply(message: Json, **fields: object) -> Json:
    return {"channel": message["channel"], "id": message["id"], **fields}


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (404, "", RefusedError, "is this the address of the server"),
        (200, "<html>", RefusedError, "does not speak Bayeux"),
        (200, '{"a": 1}', RefusedError, "does not speak Bayeux"),
        (200, "[1]", RefusedError, "does not speak Bayeux"),
        (200, "[]", LostError, "no reply"),
        (502, "", LostError, "HTTP status 502"),
    ],
)
async def test_what_is_no_answer_is_told_from_what_may_become_one(
    connecting: Connecting,
    status: int,
    body: str,
    error: type[Exception],
    words: str,
) -> None:
    client = await connecting(lambda message: web.Response(status=status, text=body))
    with pytest.raises(error, match=words):
        await client.start("/a")


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"error": "403::The token: refused"}, RefusedError, "^The token: refused$"),
        ({"error": "403:/a,b:Denied"}, RefusedError, "^Denied$"),
        ({"error": "no"}, RefusedError, "^no$"),
        ({}, RefusedError, "gives no reason"),
        ({"error": "402::Unknown client"}, LostError, "^Unknown client$"),
        ({"error": "503::Later"}, LostError, "^Later$"),
        ({"advice": {"reconnect": "handshake"}, "error": "4"}, LostError, "^4$"),
    ],
)
async def test_a_refusal_is_told_from_a_reason_to_start_again(
    connecting: Connecting, fields: Json, error: type[Exception], words: str
) -> None:
    client = await connecting(
        lambda message: web.json_response([reply(message, successful=False, **fields)])
    )
    with pytest.raises(error, match=words):
        await client.publish("/a", {})


async def test_events_on_any_response_come_with_the_next_poll(
    connecting: Connecting,
) -> None:
    event = {"channel": "/a", "data": {"n": 1}}
    seen = []

    def answer(message: Json) -> web.Response:
        seen.append(message)
        first = [event] if message["channel"] == "/meta/subscribe" else []
        ok = reply(message, successful=True, clientId="c", advice={"timeout": "odd"})
        return web.json_response([*first, ok], dumps=json.dumps)

    client = await connecting(answer)
    await client.start("/a")
    assert await client.poll() == [event]
    assert await client.poll() == []
    assert [m.get("clientId") for m in seen] == [None, "c", "c", "c"]


def a_list(*names: str, local_id: str = "whole") -> Json:
    chats = [{"chatId": name, "state": "waiting"} for name in names]
    return {"chats": chats, "localId": local_id}


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (a_list("b", "c"), [("a", "ended"), ("c", "waiting")]),
        (a_list("c", local_id="other"), [("c", "waiting")]),
        (a_list(*map(str, range(500))), [("0", "waiting"), ("1", "waiting")]),
    ],
)
async def test_chats_that_ended_while_the_connection_was_lost_are_told(
    aiohttp_server: AiohttpServer, second: Json, told: list[tuple[str, str]]
) -> None:
    """The second poll is refused, and what is listed afterwards is `second`."""
    polls = iter([a_list("a", "b"), None, second])

    async def post(request: web.Request) -> web.Response:
        (message,) = await request.json()
        ok = reply(message, successful=True, clientId="c")
        if message["channel"] != "/meta/connect":
            return web.json_response([ok])
        if (data := next(polls)) is None:
            refused = reply(message, successful=False, error="402::Unknown client")
            return web.json_response([refused])
        return web.json_response([{"channel": "/service/agent", "data": data}, ok])

    app = web.Application()
    app.router.add_post("/cometd", post)
    server = await aiohttp_server(app)
    async with ClientSession() as http:
        agent = AgentClient(http, str(server.make_url("/")), "token")
        await agent.start()
        chats = follow_chats(agent)
        seen = [await anext(chats) for _ in range(2 + len(told))]
        await chats.aclose()
    assert [(chat["chatId"], chat["state"]) for chat in seen[2:]] == told
