"""Web pages of other hosts: only those that are listed may talk to the server."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from cometd_chat.app import Node
from tests.clients.ws import upgrade

LISTED = "https://shop.example"
FOREIGN = "https://evil.example"
HANDSHAKE = [
    {
        "channel": "/meta/handshake",
        "id": "1",
        "supportedConnectionTypes": ["long-polling"],
    }
]
JSONP = {"jsonp": "f", "message": json.dumps(HANDSHAKE)}


@pytest.fixture
def options(request: pytest.FixtureRequest) -> dict[str, str]:
    """List one page, or what a test says instead."""
    return {"server__allowed_origins": getattr(request, "param", LISTED)}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


def own(node: Node, scheme: str = "http") -> str:
    return f"{scheme}://{urlsplit(node.url).netloc}"


def granted(headers: Any) -> tuple[str | None, str | None]:
    """Return what a browser looks at before it shows the page an answer."""
    name = "Access-Control-Allow-"
    return headers.get(f"{name}Origin"), headers.get(f"{name}Credentials")


async def test_an_app_sends_no_origin_and_is_not_concerned(
    http: ClientSession, url: str
) -> None:
    async with http.post(url, json=HANDSHAKE) as response:
        assert response.status == 200
        assert granted(response.headers) == (None, None)


async def test_a_listed_page_may_and_is_named_exactly(
    http: ClientSession, url: str
) -> None:
    """Clients send credentials always, for which browsers refuse a wildcard."""
    async with http.post(url, json=HANDSHAKE, headers={"Origin": LISTED}) as response:
        assert response.status == 200
        assert granted(response.headers) == (LISTED, "true")
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
async def test_pages_of_the_server_itself_may(
    node: Node, http: ClientSession, url: str, scheme: str
) -> None:
    """Some apps name their own WebSocket address as the origin (Starscream)."""
    headers = {"Origin": own(node, scheme)}
    async with http.post(url, json=HANDSHAKE, headers=headers) as response:
        assert response.status == 200
    assert await upgrade(url, **headers) == 101


FOREIGN_ORIGINS = [
    FOREIGN,
    "null",
    "http://shop.example",
    "https://shop.example:444",
    "https://shop.example.evil.example",
    "https://evil.example/https://shop.example",
    "https://sub.shop.example",
    "file://",
    "*",
    "https://",
    "https://[",
    "http://[::1",
    "x",
]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_what_an_unlisted_page_posts_is_refused_unread(
    http: ClientSession, url: str, origin: str, content_type: str, node: Node
) -> None:
    headers = {"Origin": origin, "Content-Type": content_type}
    data = json.dumps(HANDSHAKE).encode()
    async with http.post(url, data=data, headers=headers) as response:
        assert response.status == 403
        assert granted(response.headers) == (None, None)
    assert len(node._chat.server) == 0


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_an_unlisted_page_gets_no_socket(url: str, origin: str) -> None:
    assert await upgrade(url, Origin=origin) == 403


async def test_a_listed_page_gets_a_socket(url: str) -> None:
    assert await upgrade(url, Origin=LISTED) == 101
    assert await upgrade(url) == 101


async def test_a_preflight_of_a_listed_page_is_granted(
    http: ClientSession, url: str
) -> None:
    asked = {
        "Origin": LISTED,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with http.options(url, headers=asked) as response:
        assert response.status == 204
        assert granted(response.headers) == (LISTED, "true")
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Headers"] == "content-type"
        assert int(response.headers["Access-Control-Max-Age"]) > 0
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("apikey,gms_user,x-requested-with", "apikey, gms_user, x-requested-with"),
        ('a"b, \xe4', "a, b"),
        ("", ""),
    ],
)
async def test_a_listed_page_may_send_any_header(
    http: ClientSession, url: str, asked: str, allowed: str
) -> None:
    """Apps made for GMS send some that only their proxies know."""
    headers = {
        "Origin": LISTED,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    async with http.options(url, headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Headers"] == allowed


async def test_a_listed_page_may_send_files_and_read_how_far_they_came(
    http: ClientSession, url: str
) -> None:
    files = f"{url.rpartition('/')[0]}/files/chat/{'0' * 32}"
    asked = {"Origin": LISTED, "Access-Control-Request-Method": "PATCH"}
    async with http.options(files, headers=asked) as response:
        assert response.status == 204
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    async with http.head(files, headers={"Origin": LISTED}) as response:
        assert granted(response.headers) == (LISTED, "true")
        shown = response.headers["Access-Control-Expose-Headers"]
        assert {"Location", "Upload-Offset"} <= set(shown.split(", "))


async def test_a_preflight_of_an_unlisted_page_is_not(
    http: ClientSession, url: str
) -> None:
    asked = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
    async with http.options(url, headers=asked) as response:
        assert response.status == 403
        assert granted(response.headers) == (None, None)


@pytest.mark.parametrize("options", ["*"], indirect=True)
@pytest.mark.parametrize("origin", [FOREIGN, "null", "capacitor://localhost"])
async def test_all_pages_may_if_all_are_allowed(
    http: ClientSession, url: str, origin: str
) -> None:
    headers = {"Origin": origin}
    async with http.post(url, json=HANDSHAKE, headers=headers) as response:
        assert response.status == 200
        assert granted(response.headers) == (origin, "true"), "never a wildcard"
    assert await upgrade(url, **headers) == 101
    headers = {"Referer": f"{FOREIGN}/page"}
    async with http.get(url, params=JSONP, headers=headers) as response:
        assert response.status == 200


DEFAULT_NAME = {"message": JSONP["message"]}


@pytest.mark.parametrize("query", [JSONP, DEFAULT_NAME], ids=["named", "unnamed"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Referer": f"{FOREIGN}/page"},
        {"Referer": f"{FOREIGN}/", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": FOREIGN},
    ],
)
async def test_scripts_are_not_given_to_unlisted_pages(
    http: ClientSession, url: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    """A page loads scripts from anywhere, and browsers send no Origin with them."""
    async with http.get(url, params=query, headers=headers) as response:
        assert response.status == 403
        assert "f(" not in await response.text()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Referer": f"{LISTED}/page?q#f"},
        {"Referer": f"{LISTED}/", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "OWN/page"},
        {"Referer": "http://["},
    ],
)
async def test_scripts_are_given_to_apps_and_to_pages_that_may(
    node: Node, http: ClientSession, url: str, headers: dict[str, str]
) -> None:
    sent = {name: value.replace("OWN", own(node)) for name, value in headers.items()}
    async with http.get(url, params=JSONP, headers=sent) as response:
        assert response.status == 200


async def test_the_rest_interface_is_guarded_as_well(
    http: ClientSession, base: str
) -> None:
    path = f"{base}/1/service/request-chat"
    async with http.post(path, headers={"Origin": FOREIGN}) as response:
        assert response.status == 403
    async with http.post(path, headers={"Origin": LISTED}) as response:
        assert response.status == 200
        assert granted(response.headers) == (LISTED, "true")
    async with http.get(f"{base}/nowhere", headers={"Origin": LISTED}) as response:
        assert response.status == 404
        assert granted(response.headers) == (LISTED, "true"), "pages see errors, too"
