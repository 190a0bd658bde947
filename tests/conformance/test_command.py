"""`python -m tests.conformance URL`, as the page shows it."""

import asyncio
import sys

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conformance.servers import library
from tests.docs.pages import ROOT


async def conformance(*arguments: str) -> tuple[int | None, list[str]]:
    """Run the command; return its exit status and the lines that it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.conformance", *arguments),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode().splitlines()


async def test_a_server_that_conforms_is_a_success() -> None:
    async with library() as (url, _):
        status, lines = await conformance(url, "--service", "/service/echo")
    assert status == 0
    assert lines[-1] == f"{len(lines) - 1} passed, 0 differ"
    assert all(line.startswith("passed ") for line in lines[:-1])


async def test_a_server_that_differs_is_a_failure() -> None:
    async def nothing(_: web.Request) -> web.Response:
        return web.json_response([])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", nothing)
    async with TestServer(app) as server:
        status, lines = await conformance(str(server.make_url("/")))
    assert status == 1
    assert lines[-1] == f"0 passed, {len(lines) - 1} differ"
    differ = "differs  Bayeux 1.0 §2.5 Messages: an array is answered by an array"
    assert f"{differ}  -- 0 messages, not 1" in lines
