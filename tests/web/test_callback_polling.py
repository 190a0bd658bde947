"""JSONP: a script for each request, that nobody can turn into something else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.clients.agent import AgentClient
from tests.clients.raw import V1App

from .transports import Mover, Way, called

HANDSHAKE = {
    "channel": "/meta/handshake",
    "id": "1",
    "version": "1.0",
    "supportedConnectionTypes": ["callback-polling"],
}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def get(
    http: ClientSession, url: str, *messages: Any, **query: str
) -> tuple[int, str]:
    """Ask by GET, once `message` for each of the values; return status and body."""
    pairs = list(query.items())
    pairs += [("message", json.dumps(message)) for message in messages]
    async with http.get(url, params=pairs) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    "name",
    ["__jsonp1__", "_cometd_jsonp_12", "jQuery1.x", "a-b", "window.top.f", "x" * 64],
)
async def test_the_callback_is_the_one_that_was_asked_for(
    http: ClientSession, url: str, name: str
) -> None:
    status, script = await get(http, url, HANDSHAKE, jsonp=name)
    assert status == 200
    (reply,) = called(script, name)
    assert reply["successful"] is True
    assert reply["id"] == "1"


async def test_without_a_name_it_is_the_one_of_the_specification(
    http: ClientSession, url: str
) -> None:
    status, script = await get(http, url, HANDSHAKE)
    assert status == 200
    assert called(script, "jsonpcallback")[0]["successful"] is True


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "x" * 65,
        "alert(1)//",
        "<script>",
        "</script><script>alert(1)</script>",
        "a;b",
        "a\nb",
        "a\n",
        "a\r\nSet-Cookie: x=1",
        "a\0",
        "a\u2028",
        "a\u2029b",
        "ünïcödé",
        "a'b",
        'a"b',
        "a`b",
        "a=b",
        "a[0]",
        "a(b)",
        "a{b}",
        "a,b",
        "a+b",
        "a/b",
        "/*",
        "*/alert(1)/*",
        "a\\u0028",
        "a%28b",
        "a&b",
        "CWS\x07\x0e",
        "ﬀ",
    ],
)
async def test_a_name_that_is_none_is_refused(
    http: ClientSession, url: str, name: str
) -> None:
    status, text = await get(http, url, HANDSHAKE, jsonp=name)
    assert status == 400
    assert text == "jsonp: not a function's name\n"


async def test_two_names_are_refused(http: ClientSession, url: str) -> None:
    query = f"jsonp=a&jsonp=b&message={json.dumps(HANDSHAKE)}"
    async with http.get(f"{url}?{query}") as response:
        assert response.status == 400


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([], 400),
        (["text", 7], 200),
        ([[{}] * 60] * 2, 413),
    ],
)
async def test_a_query_without_messages_is_refused(
    http: ClientSession, url: str, messages: list[Any], status: int
) -> None:
    found, script = await get(http, url, *messages, jsonp="f")
    assert found == status
    if status == 200:
        errors = [reply["error"] for reply in called(script, "f")]
        assert [error[:3] for error in errors] == ["400", "400"]


async def test_malformed_json_is_refused(http: ClientSession, url: str) -> None:
    async with http.get(url, params={"jsonp": "f", "message": "{"}) as response:
        assert response.status == 400
        assert response.content_type == "text/plain"


async def test_several_parameters_of_objects_and_arrays_make_one_batch(
    http: ClientSession, url: str
) -> None:
    _, script = await get(http, url, HANDSHAKE, jsonp="f")
    client_id = called(script, "f")[0]["clientId"]
    message = {"channel": "/x", "clientId": client_id}
    status, script = await get(
        http,
        url,
        {**message, "id": "a"},
        [{**message, "id": "b"}, {**message, "id": "c"}],
        {"channel": "/meta/connect", "clientId": client_id, "id": "d"},
        jsonp="f",
    )
    assert status == 200
    assert [reply["id"] for reply in called(script, "f")] == ["a", "b", "c", "d"]


async def test_the_headers_leave_nothing_to_guess(
    http: ClientSession, url: str
) -> None:
    query = {"jsonp": "f", "message": json.dumps(HANDSHAKE)}
    async with http.get(url, params=query) as response:
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert (await response.read()).startswith(b"/**/f(")


async def test_texts_can_end_neither_the_script_nor_its_line(
    base: str, url: str, agent: AgentClient
) -> None:
    nasty = "</script><!-- \u2028 \u2029 & ]]> ünïcödé 😀"
    async with V1App(base) as app, ClientSession() as http:
        app.bayeux = Mover(url, way=Way.CALLBACK_POLLING)
        await app.create_service()
        await app.bayeux.handshake(ext={"serviceId": app.service_id})
        await app.bayeux.subscribe("/_genesys")
        await app.bayeux.connect()
        await app.create_chat()
        await app.send(nasty)
        connect = app.bayeux.message("/meta/connect")
        _, script = await get(http, url, connect, jsonp="f")
        for text in ("<", "\u2028", "\u2029"):
            assert text not in script
        *_, event, _ = called(script, "f")
        entries = event["data"]["message"]["transcriptToShow"]
        assert entries[-1][2] == nasty


async def test_a_url_of_eight_kibibytes_is_read(http: ClientSession, url: str) -> None:
    """Clients cut at 2000 characters, other ones do not cut."""
    long = {**HANDSHAKE, "ext": {"filler": ""}}
    bare = len(f"/genesys/cometd?jsonp=f&message={json.dumps(long)}")
    long["ext"] = {"filler": "x" * (8192 - bare)}
    status, script = await get(http, url, long, jsonp="f")
    assert status == 200, script
    assert called(script, "f")[0]["successful"] is True


async def test_a_whole_chat_over_callbacks_alone(
    base: str, url: str, agent: AgentClient
) -> None:
    async with V1App(base) as app:
        app.bayeux = Mover(url, way=Way.CALLBACK_POLLING)
        app.bayeux.on_event = app._received
        await app.start(userDisplayName="Cleo")
        await agent.operate("acceptChat", chatId=app.session_id)
        await agent.operate("sendMessage", chatId=app.session_id, message="hello")
        await app.wait_for_text("hello")
        await app.send("hi")
        await app.wait_for_text("hi")
        await app.background()
        await agent.operate("sendMessage", chatId=app.session_id, message="missed")
        await app.foreground()
        await app.wait_for_text("missed")
        assert app.positions == list(range(1, len(app.positions) + 1))
        await agent.operate("endChat", chatId=app.session_id)
        await app.wait_for(lambda: app.state == "DISCONNECTED")


async def test_get_without_messages_is_no_transport(
    http: ClientSession, url: str
) -> None:
    async with http.get(url) as response:
        assert response.status == 400
    async with http.head(url) as response:
        assert response.status == 405
    async with http.put(url, json=[HANDSHAKE]) as response:
        assert response.status == 405
