"""Files of several nodes: the official tus client, and wherever the files are kept."""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from tests import ways
from tests.clients.cometd_js import find_node
from tests.clients.pair import Pair, port_of
from tests.clients.proxy import Proxy
from tests.clients.raw import V1Chat
from tests.clients.tus import TusClient, trickle
from tests.e2e.conftest import ServerProcess, free_port, new_node, write_config
from tests.files import s3_server
from tests.store.redis_server import RedisServer

UPLOAD = Path(__file__).parents[1] / "clients" / "js" / "tus_upload.mjs"
SIZE = 6_000_000
LONGEST = 90
"""Seconds that the client may take on a full machine."""

FILES = 12
KILLS = 6

FOLDER = """\
[files]
folder = {folder}
"""
BUCKET = """\
[files]
s3.bucket = chat-files
s3.endpoint = {url}
s3.region = us-east-1
s3.access_key = tests
s3.secret_key = tests
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server.running(tmp_path_factory.mktemp("s3") / "moto.log") as url:
        s3_server.make_bucket(url, "chat-files")
        yield url


@pytest.fixture(params=["folder", "bucket"])
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer
) -> AsyncIterator[Pair]:
    """Two nodes that keep files where both have them."""
    if request.param == "folder":
        more = FOLDER.format(folder=tmp_path / "files")
    else:
        more = BUCKET.format(url=request.getfixturevalue("s3"))
    with ways.by(front=True, redis=f"redis://{redis.address}/0"):
        made = new_node(write_config(tmp_path, more=more))
    assert isinstance(made, Pair)
    async with made as running:
        yield running


@asynccontextmanager
async def chatting(pair: Pair) -> AsyncIterator[tuple[V1Chat, TusClient]]:
    async with V1Chat(f"{pair.url}/genesys") as chat:
        await chat.start()
        async with TusClient(pair.url, chat.session_id, chat.service_id) as client:
            yield chat, client


async def upload(server: str, chat: V1Chat, path: Path, chunk: int) -> Any:
    """Send a file with the official client; return what it says."""
    told = {
        "endpoint": f"{server}/genesys/files/{chat.session_id}",
        "headers": {"Authorization": f"Bearer {chat.service_id}"},
        "path": str(path),
        "chunkSize": chunk,
        "filename": "film.mp4",
        "filetype": "video/mp4",
    }
    process = await asyncio.create_subprocess_exec(
        find_node(), str(UPLOAD), json.dumps(told), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(LONGEST):
        output, _ = await process.communicate()
    return json.loads(output)


def made(folder: Path) -> Path:
    path = folder / "film.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


async def shown(chat: V1Chat) -> list[str]:
    reply = await chat.refresh(transcriptPosition="0")
    return [row[2] for row in reply["transcriptToShow"] if "file" in row[2]]


async def test_each_request_of_an_upload_meets_another_node(
    pair: Pair, tmp_path: Path
) -> None:
    path = made(tmp_path)
    async with chatting(pair) as (chat, client):
        before = dict(pair.spread.sent)
        done = await upload(pair.url, chat, path, 700_000)
        assert done["requests"] == 1 + -(-SIZE // 700_000)
        sent = {port: n - before[port] for port, n in pair.spread.sent.items()}
        assert min(sent.values()) >= done["requests"] // 2
        for _ in pair.nodes:
            read = await client.ask("GET", done["url"].removeprefix(pair.url))
            assert _same(read.body, path)
        assert await shown(chat) == ["has sent a file: film.mp4"]


async def test_an_upload_survives_cut_lines_between_nodes(
    pair: Pair, tmp_path: Path
) -> None:
    """The line is cut again and again in the middle of a request, and each time the
    client meets the other node."""
    path = made(tmp_path)
    ports = [port_of(node) for node in pair.nodes]
    async with chatting(pair) as (chat, client), Proxy(ports[0]) as proxy:
        proxy.latency = 0.005
        server = f"http://127.0.0.1:{proxy.port}"
        sending = asyncio.create_task(upload(server, chat, path, 2_000_000))
        turn = 0
        while not sending.done():
            await asyncio.sleep(0.3)
            turn += 1
            proxy.lead_to(ports[turn % 2])
            proxy.cut()
        done = await sending
        assert done.get("broken", 0) >= 2, done
        read = await client.ask("GET", done["url"].removeprefix(server))
        assert _same(read.body, path)
        assert await shown(chat) == ["has sent a file: film.mp4"]


async def test_whoever_sends_at_the_same_time_a_file_is_one(pair: Pair) -> None:
    """Two requests for the same bytes at two nodes, as when a proxy tries again."""
    content = os.urandom(3_000_000)
    async with chatting(pair) as (chat, client):
        where = (await client.create(len(content))).location
        answers = await asyncio.gather(
            *(client.patch(where, 0, content) for _ in range(4))
        )
        assert {answer.status for answer in answers} <= {204, 409}
        offset = (await client.ask("HEAD", where)).offset
        if offset < len(content):
            await client.patch(where, offset, content[offset:])
        read = await client.ask("GET", where)
        assert read.body == content
        assert len(await shown(chat)) == 1


def _same(body: bytes, path: Path) -> bool:
    digests = [hashlib.sha256(some).digest() for some in (body, path.read_bytes())]
    return digests[0] == digests[1]


@pytest.mark.slow
async def test_nodes_are_killed_while_files_come(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Apps send files, each request to whatever node; one node after the other is
    killed and started again. Each file is whole, and shown once."""
    with ways.by(front=True, redis=f"redis://{redis.address}/0"):
        config = write_config(tmp_path, more=FOLDER.format(folder=tmp_path / "files"))
    nodes = [ServerProcess(config, free_port()) for _ in range(2)]
    async with nodes[0], nodes[1]:
        urls = [node.url for node in nodes]
        async with V1Chat(f"{urls[0]}/genesys") as chat:
            await chat.start()
            chosen = random.Random(5)
            contents = [os.urandom(2_500_000) for _ in range(FILES)]
            apps = [
                asyncio.create_task(_send_by(urls, chat, content, f"{n}.pdf", chosen))
                for n, content in enumerate(contents)
            ]
            for turn in range(KILLS):
                await asyncio.sleep(0.5)
                node = nodes[turn % 2]
                await node.kill()
                await node.start()
            sent = await asyncio.gather(*apps)
            assert sum(breaks for _, breaks in sent) >= KILLS
            async with TusClient(urls[0], chat.session_id, chat.service_id) as client:
                for (where, _), content in zip(sent, contents, strict=True):
                    assert (await client.ask("GET", where)).body == content
            names = sorted(text.rpartition(": ")[2] for text in await shown(chat))
            assert names == sorted(f"{n}.pdf" for n in range(FILES))


async def _send_by(
    urls: list[str], chat: V1Chat, content: bytes, name: str, chosen: random.Random
) -> tuple[str, int]:
    """Send a file as an app does that goes on after each break, wherever it can;
    return where it is, and how many breaks there were."""
    where, offset, breaks = "", 0, 0
    while True:
        url = chosen.choice(urls)
        try:
            async with TusClient(url, chat.session_id, chat.service_id) as client:
                if not where:
                    key = {"Idempotency_Key": name}
                    where = (await client.create(len(content), name, **key)).location
                offset = (await client.ask("HEAD", where)).offset
                if offset == len(content):
                    return where, breaks
                await client.patch(where, offset, _slowly(content[offset:]))
        except (ClientError, OSError, KeyError):
            breaks += 1
            await asyncio.sleep(0.05)


async def _slowly(content: bytes) -> AsyncIterator[bytes]:
    async for some in trickle(content, 100_000):
        yield some
        await asyncio.sleep(0.05)
