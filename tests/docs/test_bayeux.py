"""`docs/bayeux.md`: its application runs, and its tables are true."""

import asyncio
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from cometd_chat.bayeux import Bounds, Options
from cometd_chat.web.mount import Bayeux
from tests.clients.cometd_js import DRIVER, CometdJs, find_node
from tests.docs.pages import ROOT, blocks, rows

PAGE = ROOT / "docs" / "bayeux.md"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TestServer]:
    """The application of the page, from a file of its own."""
    (text,) = blocks(PAGE, "python")
    file = tmp_path / "shop.py"
    file.write_text(text, encoding="utf-8")
    app: web.Application = runpy.run_path(str(file))["app"]
    running = TestServer(app)
    async with running:
        yield running


async def test_the_application_does_what_the_page_says(server: TestServer) -> None:
    async with CometdJs() as js, ClientSession() as http:
        url = str(server.make_url("/cometd"))
        await js.configure(url, transports=["websocket", "long-polling"])
        channels = ["/stocks/*", "/service/greet"]
        reply = await js.call("handshake", ext={"name": "Ann"}, subscribe=channels)
        assert reply["subscriptions"] == [True, True]
        await js.call("publish", channel="/service/greet", data={})
        await js.wait_for(lambda: js.data("/service/greet"))
        assert js.data("/service/greet") == [{"text": "Hello, Ann"}]
        called = await js.call("remoteCall", target="sum", data={"a": 1, "b": 2})
        assert called["data"] == {"sum": 3}
        async with http.post(server.make_url("/trades")) as response:
            assert await response.json() == {"readers": 1}
        await js.wait_for(lambda: js.data("/stocks/acme"))
        assert js.data("/stocks/acme") == [{"price": 12}]


# What the client needs beyond that where there is no browser.
NODE = 'import { adapt } from "cometd-nodejs-client"; adapt();'


@asynccontextmanager
async def browsing(script: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a script as a page does; yield what it logs."""
    process = await asyncio.create_subprocess_exec(
        *(find_node(), "--input-type=module", "--eval", script),
        cwd=DRIVER.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def test_the_script_of_the_page_does_so_too(server: TestServer) -> None:
    (text,) = blocks(PAGE, "js")
    url = str(server.make_url("/cometd"))
    assert "http://localhost:8080/cometd" in text
    script = NODE + text.replace("http://localhost:8080/cometd", url)
    async with asyncio.timeout(30), browsing(script) as told, ClientSession() as http:
        answers = {await told.readline(), await told.readline()}
        assert answers == {b"Hello, Ann\n", b"3\n"}
        async with http.post(server.make_url("/trades")) as response:
            assert await response.json() == {"readers": 1}
        assert await told.readline() == b"12\n"


async def test_who_does_not_tell_a_name_is_refused(server: TestServer) -> None:
    async with CometdJs() as js:
        await js.configure(str(server.make_url("/cometd")))
        reply = await js.call("handshake")
        assert reply["error"] == "403::ext.name is missing"


def test_the_application_has_less_than_30_lines_of_code() -> None:
    (text,) = blocks(PAGE, "python")
    assert len([line for line in text.splitlines() if line.strip()]) < 30


def test_the_hooks_are_all_there() -> None:
    named = {name for name, *_ in rows(PAGE, "Hook", "Gets", "When")}
    assert named == {name for name in vars(Bayeux) if name.startswith("on_")}


def test_the_options_have_these_defaults() -> None:
    defaults: dict[str, Any] = {f.name: f.default for f in fields(Options)}
    for name, default, _ in rows(PAGE, "Option", "Default", "What it is"):
        assert str(defaults[name]) == default, name


def test_the_bounds_are_called_that() -> None:
    assert {"events", "size"} <= {f.name for f in fields(Bounds)}
