"""Malformed, oversized and slow requests: a clear refusal, and the server lives."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, FormData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cometd_chat.app import Node
from tests.clients.raw import BayeuxClient

from .conftest import new_node, write_config

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Node]:
    """A node that does not wait long for the body of a request."""
    path = write_config(tmp_path)
    text = path.read_text().replace("[server]", "[server]\nbody_timeout = 300ms")
    path.write_text(text)
    async with new_node(path) as node:
        yield node


async def alive(base: str) -> None:
    """Check that the server still serves others."""
    async with BayeuxClient(f"{base}/cometd") as client:
        assert (await client.handshake())["successful"]
        assert (await client.connect())["successful"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"   ", 400),
        (b"{", 400),
        (b"[{]", 400),
        (b"\xff\xfe", 400),
        (b"\xef\xbb\xbf[]", 400),
        (b'[{"channel":"/meta/handshake","version":NaN}]', 400),
        (b'[{"channel":"/meta/handshake","ext":{"a":"\\ud800"}}]', 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'[{"channel":"/x","data":' + b"[" * 1025 + b"]" * 1025 + b"}]", 400),
        (b"[" + b",".join([b'{"channel":"/x"}'] * 101) + b"]", 413),
        (b"[" + b",".join([b'{"channel":"/x"}'] * 100_000) + b"]", 413),
        (b" " * 300_000, 413),
    ],
)
async def test_a_body_without_messages_is_refused(
    base: str, http: ClientSession, body: bytes, status: int
) -> None:
    data = io.BytesIO(body)
    async with http.post(f"{base}/cometd", data=data, headers=JSON) as response:
        assert response.status == status
        assert len(await response.text()) < 200
    await alive(base)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"channel": None},
        {"channel": 5},
        {"channel": ""},
        {"channel": "/meta/connect"},
        {"channel": "/meta/connect", "clientId": 5},
        {"channel": "/meta/connect", "clientId": "nobody", "advice": 5},
        {"channel": "/meta/connect", "clientId": "nobody", "ext": []},
        {"channel": "/meta/connect", "clientId": ["x"]},
        {"channel": "/meta/subscribe", "subscription": {}},
        {"channel": "/meta/subscribe", "subscription": [[]]},
        {"channel": "/meta/subscribe/x", "subscription": "/_genesys"},
        {"channel": "/meta/unknown"},
        {"channel": "/service/agent", "data": {"operation": "listChats"}},
        {"channel": "/_genesys", "data": {}},
        {"channel": "/__proto__", "data": {}, "id": {"a": 1}},
        {"channel": "/meta/disconnect", "clientId": "nobody", "id": "x" * 1000},
        {"channel": "/meta/handshake"},
        {"channel": "/meta/handshake", "supportedConnectionTypes": "long-polling"},
        {"channel": "/meta/handshake", "supportedConnectionTypes": ["carrier-pigeon"]},
        "text",
        [],
        7,
        None,
    ],
)
async def test_a_wrong_message_is_refused_by_a_bayeux_error(
    base: str, http: ClientSession, message: Any
) -> None:
    async with http.post(f"{base}/cometd", json=[message]) as response:
        assert response.status == 200
        (reply,) = await response.json()
    assert reply["successful"] is False
    code, _, text = reply["error"].split(":", 2)
    assert code.isdigit()
    assert text
    await alive(base)


async def test_one_wrong_message_does_not_spoil_its_neighbours(
    base: str, http: ClientSession
) -> None:
    async with BayeuxClient(f"{base}/cometd", {"gms_user": "u"}) as client:
        await client.handshake()
        replies = await client.post(
            [
                7,
                client.message("/meta/subscribe", subscription=5),
                client.message("/meta/subscribe", subscription="/_genesys"),
            ]
        )
    assert [reply["successful"] for reply in replies] == [False, False, True]


async def test_a_compressed_body_is_refused_unopened(
    base: str, http: ClientSession
) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {**JSON, "Content-Encoding": "gzip"}
    async with http.post(f"{base}/cometd", data=bomb, headers=headers) as response:
        assert response.status == 415
    await alive(base)


@pytest.mark.one_node  # the proxy before two waits for the whole body
async def test_a_body_that_trickles_in_is_cut_off(impatient: Node) -> None:
    address = urlsplit(impatient.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    writer.write(head + b"[")
    async with asyncio.timeout(5):
        status = await reader.readline()
    assert b" 408 " in status
    writer.close()
    await writer.wait_closed()
    await alive(f"{impatient.url}/genesys")


@pytest.mark.parametrize(
    ("path", "request_arguments", "status"),
    [
        ("/1/service/request-chat", {"data": b"{", "headers": JSON}, 400),
        ("/1/service/request-chat", {"json": {"a": {"b": 1}}}, 400),
        ("/1/service/request-chat", {"json": [1]}, 400),
        ("/1/service/request-chat", {"data": b"a=%ff"}, 415),
        (
            "/1/service/request-chat",
            {
                "data": b"a=%ff",
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            },
            400,
        ),
        (
            "/1/service/request-chat",
            {"data": b"<a/>", "headers": {"Content-Type": "text/xml"}},
            415,
        ),
        (
            "/1/service/request-chat",
            {
                "data": b"--x",
                "headers": {"Content-Type": "multipart/form-data; boundary=y"},
            },
            400,
        ),
        ("/1/service/request-chat", {"data": {"_verbose": "perhaps"}}, 415),
        ("/1/service/request-chat", {"data": {"key": "x" * 20_000}}, 400),
        ("/1/service/request%20chat", {}, 404),
        ("/1/service/unknown/ixn/chat", {}, 404),
        ("/1/service/unknown/ixn/chat/send", {"data": {"message": "x"}}, 404),
    ],
)
async def test_a_wrong_v1_request_gets_message_and_exception(
    base: str,
    http: ClientSession,
    path: str,
    request_arguments: dict[str, Any],
    status: int,
) -> None:
    async with http.post(base + path, **request_arguments) as response:
        body = await response.json()
        assert response.status == status, body
    assert body.keys() == {"message", "exception"}
    assert all(body.values())
    await alive(base)


@pytest.mark.parametrize(
    ("operation", "fields", "status"),
    [
        ("/send", {}, 415),
        ("/send", {"message": ""}, 415),
        ("/send", {"message": "x" * 9000}, 400),
        ("/send", {"message": "a\0b"}, 400),
        ("/refresh", {"transcriptPosition": "-1"}, 415),
        ("/refresh", {"transcriptPosition": "two"}, 415),
        ("/refresh", {"transcriptPosition": "9" * 30}, 415),
    ],
)
async def test_a_wrong_operation_changes_nothing(
    base: str,
    http: ClientSession,
    operation: str,
    fields: dict[str, str],
    status: int,
) -> None:
    service = f"{base}/1/service/request-chat"
    async with http.post(service) as response:
        key = (await response.json())["_id"]
    chat = f"{base}/1/service/{key}/ixn/chat"
    async with http.post(f"{chat}/send", data={"message": "too early"}) as response:
        assert response.status == 400
    async with http.post(chat, data={"userDisplayName": "Cleo"}) as response:
        assert response.status == 200
    async with http.post(chat + operation, data=fields) as response:
        assert response.status == status, await response.text()
    async with http.post(f"{chat}/refresh", data={"transcriptPosition": 0}) as response:
        assert len((await response.json())["transcriptToShow"]) == 1


async def test_a_file_where_a_text_belongs_is_refused(
    base: str, http: ClientSession
) -> None:
    form = FormData()
    form.add_field("message", b"content", filename="a.txt")
    async with http.post(f"{base}/1/service/request-chat", data=form) as response:
        assert response.status == 400


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["channel", "id", "clientId", "ext", "advice", "data", "subscription", "version"]
)
CHANNELS = st.sampled_from(
    ["/meta/handshake", "/meta/connect", "/meta/subscribe", "/service/agent", "/x"]
)
MESSAGES = st.dictionaries(FIELDS, VALUES, max_size=6) | st.fixed_dictionaries(
    {"channel": CHANNELS}, optional={"id": VALUES, "ext": VALUES, "data": VALUES}
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.lists(MESSAGES, max_size=4) | MESSAGES | VALUES)
async def test_whatever_json_comes_the_answer_is_an_array_or_a_refusal(
    base: str, body: Any
) -> None:
    async with (
        ClientSession() as http,
        http.post(f"{base}/cometd", data=json.dumps(body), headers=JSON) as response,
    ):
        assert response.status in {200, 400, 413}
        if response.status == 200:
            assert isinstance(await response.json(), list)
