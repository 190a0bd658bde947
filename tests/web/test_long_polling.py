"""Long-polling by POST: every body, type and path that clients use."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from aiohttp import ClientSession

from cometd_chat.app import Node
from tests.clients.ws import upgrade
from tests.e2e.conftest import new_node

from .conftest import configured

HANDSHAKE = {
    "channel": "/meta/handshake",
    "id": "1",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    "path",
    [
        "/cometd",
        "/cometd/",
        "/cometd/handshake",
        "/cometd/subscribe",
        "/genesys/cometd",
        "/genesys/cometd/",
        "/genesys/cometd/connect",
        "/genesys/cometd/a/b%2fc",
    ],
)
async def test_the_type_of_a_message_may_follow_the_path(
    node: Node, http: ClientSession, path: str
) -> None:
    async with http.post(
        node.url + path, json=[HANDSHAKE], allow_redirects=False
    ) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        (reply,) = await response.json()
    assert reply["successful"] is True


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;charset=UTF-8",
        "text/plain",
        "text/json",
        "application/octet-stream",
        "",
    ],
)
@pytest.mark.parametrize("body", [HANDSHAKE, [HANDSHAKE]])
async def test_any_content_type_will_do(
    http: ClientSession, url: str, content_type: str, body: Any
) -> None:
    headers = {"Content-Type": content_type}
    data = json.dumps(body).encode()
    async with http.post(url, data=data, headers=headers) as response:
        assert response.status == 200
        (reply,) = await response.json()
    assert reply["successful"] is True


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([{"id": "a"}], ["a"]),
        ([[{"id": "a"}, {"id": "b"}]], ["a", "b"]),
        ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ([{"id": "a"}, [{"id": "b"}, {"id": "c"}], {"id": "d"}], ["a", "b", "c", "d"]),
        ([[], {"id": "ü & + = %"}, []], ["ü & + = %"]),
    ],
)
async def test_a_form_has_messages_in_one_parameter_or_in_many(
    http: ClientSession, url: str, values: list[Any], ids: list[str]
) -> None:
    """Faye sends forms from foreign pages, for they need no preflight."""
    messages = json.loads(json.dumps(values).replace("{", '{"channel": "/x", '))
    form = urlencode([("message", json.dumps(m)) for m in messages])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with http.post(url, data=form, headers=headers) as response:
        assert response.status == 200
        assert [reply["id"] for reply in await response.json()] == ids


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("message=", 200),
        ("message=%7B", 400),
        ("message=%ff", 400),
        ("message=" + quote(json.dumps([HANDSHAKE] * 101)), 413),
        ("message=[]&" * 101, 400),
    ],
)
async def test_a_form_without_messages_is_refused(
    http: ClientSession, url: str, form: str, status: int
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with http.post(url, data=form, headers=headers) as response:
        assert response.status == status, await response.text()


@pytest.mark.parametrize(
    ("offered", "upgrades", "scripts"),
    [
        ("long-polling", 400, 400),
        ("long-polling, websocket", 101, 400),
        ("long-polling, callback-polling", 400, 200),
    ],
)
async def test_a_transport_that_is_switched_off_is_neither_offered_nor_served(
    tmp_path: Path, http: ClientSession, offered: str, upgrades: int, scripts: int
) -> None:
    async with new_node(configured(tmp_path, bayeux__transports=offered)) as node:
        url = f"{node.url}/cometd"
        async with http.post(url, json=[HANDSHAKE]) as response:
            (reply,) = await response.json()
        assert set(reply["supportedConnectionTypes"]) == set(offered.split(", "))
        assert await upgrade(url) == upgrades
        query = {"jsonp": "f", "message": json.dumps(HANDSHAKE)}
        async with http.get(url, params=query) as response:
            assert response.status == scripts


async def test_a_reload_switches_transports_for_all_new_requests(
    tmp_path: Path, http: ClientSession
) -> None:
    async with new_node(configured(tmp_path)) as node:
        path = configured(tmp_path, bayeux__transports="long-polling")
        node.replace(new_node(path).live.current)
        url = f"{node.url}/cometd"
        assert await upgrade(url) == 400
        query = {"jsonp": "f", "message": json.dumps(HANDSHAKE)}
        async with http.get(url, params=query) as response:
            assert response.status == 400
