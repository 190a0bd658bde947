"""Files: sent by customers and agents, in pieces, through breaks, and read again."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest

from cometd_chat.app import Node
from cometd_chat.files.uploads import PIECE
from cometd_chat.web.file_room import AT_ONCE_OF_CUSTOMER
from tests.clients.agent import AgentClient
from tests.clients.pair import Pair
from tests.clients.raw import V1Chat
from tests.clients.tus import (
    LOOKS,
    OFFSET_STREAM,
    Answered,
    TusClient,
    metadata,
    trickle,
)

from .conftest import (
    ServerProcess,
    ServerProcesses,
    agent_token,
    new_node,
    new_server,
    write_config,
)
from .nodes import chats

PDF = bytes(range(256)) * 9000
"""More than two pieces."""

LIMITS = """\
[files]
folder = {folder}/files
upload-max-files = 3
upload-max-file-size = 4MiB
upload-max-total-size = 6MiB
upload-file-types = pdf:png
"""


def config(folder: Path, more: str = "") -> Path:
    return write_config(folder, more=LIMITS.format(folder=folder) + more)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node | Pair]:
    async with new_node(config(tmp_path)) as running:
        yield running


@pytest.fixture
async def chat(node: Node | Pair) -> AsyncIterator[V1Chat]:
    async with V1Chat(f"{node.url}/genesys", user="cleo") as chat:
        await chat.start(userDisplayName="Cleo")
        yield chat


@asynccontextmanager
async def chatting(server: "Server") -> AsyncIterator[tuple[V1Chat, TusClient]]:
    """A chat of Cleo, and her app that sends files."""
    async with V1Chat(f"{server.url}/genesys", user="cleo") as chat:
        await chat.start()
        async with customer(server, chat) as client:
            yield chat, client


@pytest.fixture
async def cleo(node: Node | Pair, chat: V1Chat) -> AsyncIterator[TusClient]:
    """The customer, whose app sends files."""
    async with customer(node, chat) as client:
        yield client


@pytest.fixture
async def ann(
    node: Node | Pair, chat: V1Chat, agent: AgentClient
) -> AsyncIterator[TusClient]:
    """The agent, who has accepted the chat."""
    await agent.operate("acceptChat", chatId=chat.session_id)
    async with TusClient(node.url, chat.session_id, agent_token()) as client:
        yield client


def customer(server: "Server", chat: V1Chat) -> TusClient:
    return TusClient(server.url, chat.session_id, chat.service_id, gms_user="cleo")


def file_id(location: str) -> str:
    return location.rpartition("/")[2]


# -- the way of a file ----------------------------------------------------------


async def test_a_file_reaches_the_agent_as_an_entry(
    chat: V1Chat, agent: AgentClient, cleo: TusClient, ann: TusClient
) -> None:
    where = await cleo.send(PDF, "Rechnung März.pdf", media_type="application/pdf")
    await agent.wait_for(lambda: _file_entries(agent, chat))
    (entry,) = _file_entries(agent, chat)
    assert entry["from"] == {"nickname": "Cleo", "participantId": 1, "type": "Client"}
    assert entry["text"] == "Rechnung März.pdf"
    assert entry["userData"] == {
        "file-id": file_id(where),
        "file-name": "Rechnung März.pdf",
        "file-size": str(len(PDF)),
        "file-type": "application/pdf",
    }
    read = await ann.ask("GET", where)
    assert (read.status, read.body == PDF) == (200, True)
    assert read.headers["Content-Type"] == "application/pdf"
    assert read.headers["Content-Disposition"] == (
        'attachment; filename="Rechnung M_rz.pdf"; '
        "filename*=UTF-8''Rechnung%20M%C3%A4rz.pdf"
    )


async def test_a_file_reaches_the_customer_as_an_entry(
    chat: V1Chat, cleo: TusClient, ann: TusClient
) -> None:
    where = await ann.send(PDF, "terms.pdf")
    await chat.refresh()
    rows = [row for _, row in chat.screen]
    assert ["Notice.Custom", "Ann", "has sent a file: terms.pdf"] in [
        row[:3] for row in rows
    ]
    (listed,) = await cleo.listed()
    assert listed["file-id"] == file_id(where)
    assert (listed["file-name"], listed["file-size"]) == ("terms.pdf", str(len(PDF)))
    assert (await cleo.ask("GET", where)).body == PDF


async def test_a_file_goes_on_after_a_break(chat: V1Chat, cleo: TusClient) -> None:
    created = await cleo.create(len(PDF))
    assert (created.status, created.offset) == (201, 0)
    where = created.location
    assert (await cleo.patch(where, 0, PDF[:1000])).offset == 1000
    assert (await cleo.patch(where, 1000, PDF[1000 : PIECE + 1])).offset == PIECE + 1
    looked = await cleo.ask("HEAD", where)
    assert (looked.status, looked.offset) == (200, PIECE + 1)
    assert looked.headers["Upload-Length"] == str(len(PDF))
    assert looked.headers["Cache-Control"] == "no-store"
    assert "Upload-Expires" in looked.headers
    assert await cleo.listed() == []
    done = await cleo.patch(where, looked.offset, PDF[looked.offset :])
    assert (done.status, done.offset) == (204, len(PDF))
    assert "Upload-Expires" not in done.headers
    assert (await cleo.ask("GET", where)).body == PDF
    assert await _entries(chat) == 1


@pytest.mark.one_node
async def test_a_body_may_come_without_a_length(cleo: TusClient) -> None:
    created = await cleo.create(len(PDF))
    done = await cleo.patch(created.location, 0, trickle(PDF, 50_000))
    assert (done.status, done.offset) == (204, len(PDF))


async def test_a_small_file_comes_with_its_announcement(
    chat: V1Chat, cleo: TusClient
) -> None:
    done = await _at_once(cleo, b"small")
    assert (done.status, done.offset) == (201, 5)
    assert (await cleo.ask("GET", done.location)).body == b"small"
    assert await _entries(chat) == 1


async def test_a_large_file_comes_with_its_announcement(cleo: TusClient) -> None:
    """It is beyond what a request of another kind may bring."""
    done = await _at_once(cleo, PDF)
    assert (done.status, done.offset) == (201, len(PDF))
    assert (await cleo.ask("GET", done.location)).body == PDF


@pytest.mark.one_node
async def test_a_body_may_be_slow_but_not_silent(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text(
        path.read_text().replace("[server]\n", "[server]\nbody_timeout = 700ms\n")
    )

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, 10_000, 1000):
            yield PDF[at : at + 1000]
            await asyncio.sleep(0.1)

    async with new_node(path) as node, chatting(node) as (_, cleo):
        done = await cleo.patch((await cleo.create(10_000)).location, 0, slowly())
        assert (done.status, done.offset) == (204, 10_000)


@pytest.mark.one_node
async def test_who_sends_a_few_bytes_now_and_then_holds_no_place(
    tmp_path: Path,
) -> None:
    path = config(tmp_path)
    path.write_text(
        path.read_text().replace("[server]\n", "[server]\nbody_timeout = 300ms\n")
    )
    async with new_node(path) as node, chatting(node) as (_, cleo):
        where = (await cleo.create(1000)).location
        reader, writer = await _begin(node, cleo, where, 1000, b"")
        answer = asyncio.create_task(reader.readline())
        for _ in range(900):
            writer.write(b"x")
            if (await asyncio.wait([answer], timeout=0.02))[0]:
                break
        assert b" 408 " in answer.result()
        writer.close()
        assert (await cleo.ask("HEAD", where)).offset > 0


@pytest.mark.one_node
async def test_a_file_may_be_empty(chat: V1Chat, cleo: TusClient) -> None:
    created = await cleo.create(0)
    read = await cleo.ask("GET", created.location)
    assert (read.status, read.body) == (200, b"")
    assert await _entries(chat) == 1


async def test_what_is_asked_for_again_is_shown_once(
    chat: V1Chat, cleo: TusClient
) -> None:
    """An app whose answers get lost asks again, at whatever node."""
    first = await _at_once(cleo, b"small", Idempotency_Key="photo-1")
    again = await _at_once(cleo, b"small", Idempotency_Key="photo-1")
    assert (again.status, again.offset) == (201, 5)
    assert again.location == first.location
    for _ in range(3):
        looked = await cleo.ask("HEAD", first.location)
        assert looked.offset == 5
    assert await _entries(chat) == 1
    other = await cleo.create(6, Idempotency_Key="photo-1")
    assert other.status == HTTPStatus.CONFLICT


@pytest.mark.one_node
async def test_who_has_no_patch_posts(cleo: TusClient) -> None:
    where = (await cleo.create(4)).location
    done = await cleo.ask(
        "POST",
        where,
        b"abcd",
        Upload_Offset="0",
        Content_Type=OFFSET_STREAM,
        X_HTTP_Method_Override="PATCH",
    )
    assert (done.status, done.offset) == (204, 4)
    looked = await cleo.ask("POST", where, X_HTTP_Method_Override="HEAD")
    assert looked.offset == 4
    refused = await cleo.ask("POST", where, X_HTTP_Method_Override="GET")
    assert refused.status == HTTPStatus.METHOD_NOT_ALLOWED


async def test_a_file_can_be_given_up_until_it_is_shown(cleo: TusClient) -> None:
    where = (await cleo.create(4)).location
    assert (await cleo.ask("DELETE", where)).status == 204
    assert (await cleo.ask("HEAD", where)).status == 404
    where = await cleo.send(b"abcd")
    assert (await cleo.ask("DELETE", where)).status == HTTPStatus.CONFLICT
    assert (await cleo.ask("GET", where)).body == b"abcd"


@pytest.mark.one_node
async def test_what_the_server_can_is_told(cleo: TusClient) -> None:
    told = await cleo.ask("OPTIONS", Tus_Resumable=None, Authorization=None)
    assert told.status == 204
    assert told.headers["Tus-Version"] == "1.0.0"
    assert told.headers["Tus-Max-Size"] == str(4 * PIECE)
    assert "creation-with-upload" in told.headers["Tus-Extension"]


async def test_what_was_said_of_a_file_is_told_again(cleo: TusClient) -> None:
    """In the words of its sender, with what only he understands (tus, creation)."""
    told = f"{metadata('../März.pdf')},sum /w==,private"
    created = await cleo.ask("POST", Upload_Length="4", Upload_Metadata=told)
    looked = await cleo.ask("HEAD", created.location)
    assert looked.headers["Upload-Metadata"] == told
    silent = await cleo.ask("POST", Upload_Length="4", Upload_Metadata=None)
    assert silent.status == HTTPStatus.FORBIDDEN  # no name has no extension


async def test_a_key_of_bytes_that_are_no_text_is_refused(
    node: Node | Pair, cleo: TusClient
) -> None:
    fields = {
        **cleo.headers,
        "Upload-Length": "4",
        "Upload-Metadata": metadata("a.pdf"),
        "Content-Length": "0",
        "Idempotency-Key": "\udcff",
    }
    path = urlsplit(cleo.url).path
    reader, writer = await _sent(node, f"POST {path}", fields)
    assert b" 400 " in await reader.readline()
    assert b"Idempotency-Key: unpaired surrogates read" in await reader.read(1000)
    writer.close()


# -- breaks ---------------------------------------------------------------------


async def test_what_arrived_before_the_line_was_cut_is_kept(
    node: Node | Pair, cleo: TusClient
) -> None:
    where = (await cleo.create(len(PDF))).location
    _, writer = await _begin(node, cleo, where, len(PDF), PDF[: PIECE + 777])
    writer.close()
    assert await cleo.arrived(where, PIECE + 777) == PIECE + 777
    rest = PDF[PIECE + 777 :]
    done = await cleo.patch(where, PIECE + 777, rest)
    assert (done.status, done.offset) == (204, len(PDF))
    assert (await cleo.ask("GET", where)).body == PDF


@pytest.mark.one_node
async def test_a_sender_who_falls_silent_gets_408_and_goes_on(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text(
        path.read_text().replace("[server]\n", "[server]\nbody_timeout = 200ms\n")
    )
    async with new_node(path) as node, chatting(node) as (_, cleo):
        where = (await cleo.create(10)).location
        reader, writer = await _begin(node, cleo, where, 10, b"abc")
        assert b" 408 " in await reader.readline()
        writer.close()
        assert (await cleo.ask("HEAD", where)).offset == 3


async def test_killed_while_a_file_comes_it_goes_on(tmp_path: Path) -> None:
    async with new_server(config(tmp_path)) as server:
        async with chatting(server) as (chat, cleo):
            where = (await cleo.create(len(PDF))).location
            _, writer = await _begin(server, cleo, where, len(PDF), PDF[:-1])
            await cleo.arrived(where, PIECE)
            await server.kill()
            writer.close()
        await server.start()
        async with customer(server, chat) as cleo:
            offset = (await cleo.ask("HEAD", where)).offset
            assert PIECE <= offset < len(PDF)
            assert (await cleo.patch(where, offset, PDF[offset:])).status == 204
            assert (await cleo.ask("GET", where)).body == PDF
            assert len(await cleo.listed()) == 1


async def test_a_file_that_was_whole_when_the_server_died_is_shown(
    node: Node | Pair, chat: V1Chat, cleo: TusClient
) -> None:
    """Its bytes are there, but not its entry: asking for it puts that right."""
    where = (await cleo.create(3)).location
    uploads = chats(node)[0].files._uploads  # type: ignore[union-attr]  # there are files
    file = await uploads.find(chat.session_id, file_id(where))

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"

    await uploads.write(file, 0, body())
    assert await _entries(chat) == 0
    assert (await cleo.ask("HEAD", where)).offset == 3
    assert await _entries(chat) == 1


# -- parts of files -------------------------------------------------------------

RANGES = [
    ("bytes=0-9", 206, 0, 10),
    ("bytes=5-", 206, 5, 100),
    ("bytes=-7", 206, 93, 100),
    ("Bytes=-7", 206, 93, 100),
    ("bytes=-700", 206, 0, 100),
    ("bytes=99-200", 206, 99, 100),
    ("bytes = 1-2", 200, 0, 100),
    ("bytes=9-5", 200, 0, 100),
    ("bytes=0-1,5-6", 200, 0, 100),
    ("lines=1-2", 200, 0, 100),
    ("bytes=100-", 416, 0, 0),
    ("bytes=-0", 416, 0, 0),
]


@pytest.mark.one_node
async def test_a_download_goes_on_after_a_break(cleo: TusClient) -> None:
    content = os.urandom(100)
    where = await cleo.send(content)
    whole = await cleo.ask("GET", where)
    tag = whole.headers["ETag"]
    for asked, status, start, stop in RANGES:
        answer = await cleo.ask("GET", where, Range=asked)
        assert (answer.status, answer.body) == (status, content[start:stop]), asked
        if status == 206:
            shown = f"bytes {start}-{stop - 1}/100"
            assert answer.headers["Content-Range"] == shown, asked
    assert answer.headers["Content-Range"] == "bytes */100"
    same = await cleo.ask("GET", where, Range="bytes=5-", If_Range=tag)
    assert (same.status, same.body) == (206, content[5:])
    other = await cleo.ask("GET", where, Range="bytes=5-", If_Range='"other"')
    assert (other.status, other.body) == (200, content)
    known = await cleo.ask("GET", where, If_None_Match=f'"x", W/{tag}')
    assert (known.status, known.body) == (304, b"")


@pytest.mark.one_node
async def test_a_look_at_a_download_has_no_body(cleo: TusClient) -> None:
    where = await cleo.send(b"abcdef")
    looked = await cleo.ask("HEAD", where, Tus_Resumable=None)
    assert (looked.status, looked.body) == (200, b"")
    assert looked.headers["Content-Length"] == "6"
    assert looked.headers["Accept-Ranges"] == "bytes"
    ranged = await cleo.ask("HEAD", where, Tus_Resumable=None, Range="bytes=1-2")
    assert (ranged.status, ranged.headers["Content-Length"]) == (200, "6")


async def test_a_page_may_read_what_a_download_tells(cleo: TusClient) -> None:
    where = await cleo.send(b"abcdef")
    read = await cleo.ask("GET", where, Range="bytes=1-2", Origin=cleo.server)
    assert read.headers["Access-Control-Allow-Origin"] == cleo.server
    shown = read.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Content-Range", "Content-Disposition", "ETag"} <= set(shown)


@pytest.mark.one_node
async def test_a_file_cannot_run_in_a_page_of_ours(cleo: TusClient) -> None:
    """Whatever is in it, and whatever type its sender says that it has."""
    script = b"<script>alert(1)</script>"
    where = await cleo.send(script, "x.pdf", media_type="text/html\r\nX: y")
    read = await cleo.ask("GET", where)
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    assert read.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert read.headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.one_node
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("C:\\secret\\x.pdf", "x.pdf"),
        ("a\u202efdp.pdf", "afdp.pdf"),
        ("a\r\nb\0.pdf", "ab.pdf"),
        ("a\u2028b\u2029.pdf", "ab.pdf"),
        ('a"b;.pdf', 'a"b;.pdf'),
        ("..pdf", "pdf"),
    ],
)
async def test_a_name_is_only_a_name(cleo: TusClient, name: str, shown: str) -> None:
    created = await cleo.create(0, name)
    if shown == "pdf":  # what is left has no extension
        assert created.status == HTTPStatus.FORBIDDEN
        return
    (listed,) = await cleo.listed()
    assert listed["file-name"] == shown
    read = await cleo.ask("GET", created.location)
    assert "\n" not in read.headers["Content-Disposition"]


# -- what is refused ------------------------------------------------------------


async def test_limits_hold_for_each_participant(
    cleo: TusClient, ann: TusClient
) -> None:
    too_large = await cleo.create(4 * PIECE + 1)
    assert (too_large.status, b"upload-max-file-size" in too_large.body) == (413, True)
    assert (await cleo.create(4 * PIECE)).status == 201
    too_many_bytes = await cleo.create(2 * PIECE + 1)
    assert (too_many_bytes.status, b"total" in too_many_bytes.body) == (413, True)
    assert (await cleo.create(1)).status == 201
    assert (await cleo.create(1)).status == 201
    too_many = await cleo.create(1)
    assert (too_many.status, b"upload-max-files" in too_many.body) == (413, True)
    assert (await ann.create(4 * PIECE)).status == 201
    strange = await ann.create(1, "run.exe")
    assert (strange.status, b"pdf:png" in strange.body) == (403, True)
    assert (await ann.create(1, "x.PNG")).status == 201


async def test_what_was_given_up_makes_room(cleo: TusClient) -> None:
    where = [(await cleo.create(1)).location for _ in range(3)]
    assert (await cleo.create(1)).status == 413
    await cleo.ask("DELETE", where[0])
    assert (await cleo.create(1)).status == 201


async def test_what_a_request_does_wrong_is_told(chat: V1Chat, cleo: TusClient) -> None:
    where = (await cleo.create(4)).location
    eve = TusClient(cleo.server, chat.session_id, chat.service_id, gms_user="eve")
    stream = {"Content_Type": OFFSET_STREAM}
    wrong = {
        "no version": (412, await cleo.ask("HEAD", where, Tus_Resumable="0.2.2")),
        "no size": (400, await cleo.ask("POST")),
        "size": (400, await cleo.ask("POST", Upload_Length="-1")),
        "metadata": (
            400,
            await cleo.ask("POST", Upload_Length="1", Upload_Metadata="filename %%"),
        ),
        "metadata that is no ASCII": (
            400,
            await cleo.ask("POST", Upload_Length="1", Upload_Metadata="filename ä"),
        ),
        "key that is no ASCII": (
            400,
            await cleo.ask("POST", Upload_Length="1", Upload_Metadata="ä YQ=="),
        ),
        "huge": (413, await cleo.create(10**17)),
        "compressed": (
            415,
            await cleo.ask(
                "PATCH",
                where,
                b"x",
                Upload_Offset="0",
                Content_Encoding="gzip",
                **stream,
            ),
        ),
        "type": (415, await cleo.ask("PATCH", where, b"x", Upload_Offset="0")),
        "no offset": (400, await cleo.ask("PATCH", where, b"x", **stream)),
        "offset": (409, await cleo.patch(where, 2, b"x")),
        "beyond": (413, await cleo.patch(where, 0, b"12345")),
        "unknown": (404, await cleo.ask("HEAD", where[:-32] + "0" * 32)),
        "no id": (404, await cleo.ask("GET", where[:-32] + "..%2f..%2fchat.db")),
        "unfinished": (404, await cleo.ask("GET", where)),
        "name": (403, await cleo.create(1, "ä" * 128 + ".pdf")),
        "nobody": (401, await cleo.ask("GET", where, Authorization=None)),
        "basic": (401, await cleo.ask("GET", where, Authorization="Basic eDp5")),
        "stranger": (404, await cleo.ask("GET", where, Authorization="Bearer abc")),
        "forged": (403, await cleo.ask("GET", where, Authorization="Bearer a.b.c")),
        "other user": (404, await eve.ask("HEAD", where)),
    }
    assert {name: answer.status for name, (_, answer) in wrong.items()} == {
        name: status for name, (status, _) in wrong.items()
    }
    version = wrong["no version"][1]
    assert version.headers["Tus-Version"] == "1.0.0"
    assert wrong["nobody"][1].headers["WWW-Authenticate"] == "Bearer"
    assert (await cleo.patch(where, 0, b"1234")).status == 204
    await eve.close()


async def test_nobody_else_sees_a_file(
    node: Node | Pair, chat: V1Chat, cleo: TusClient, ann: TusClient
) -> None:
    where = await cleo.send(b"abc")
    supervisor = agent_token("sue", "Sue", role="supervisor")
    others = {
        agent_token("ben", "Ben"): 404,  # he is not in the chat
        agent_token("sue", "Sue", role="supervisor", services=["other"]): 404,
        supervisor: 200,
    }
    for token, status in others.items():
        async with TusClient(node.url, chat.session_id, token) as other:
            assert (await other.ask("GET", where)).status == status
    async with TusClient(node.url, chat.session_id, supervisor) as sue:
        assert (await sue.create(1)).status == HTTPStatus.FORBIDDEN
        assert len(await sue.listed()) == 1
    async with V1Chat(f"{node.url}/genesys", user="cleo") as second:
        await second.start()
        async with TusClient(node.url, chat.session_id, second.service_id) as other:
            assert (await other.ask("GET", where)).status == 404
    mine = (await cleo.create(3)).location
    assert (await ann.patch(mine, 0, b"abc")).status == 404


async def test_a_chat_that_has_ended_takes_no_files_but_shows_them(
    node: Node | Pair, chat: V1Chat, cleo: TusClient
) -> None:
    shown = await cleo.send(b"abc")
    late = (await cleo.create(3)).location
    await chat.end()
    assert (await cleo.create(3)).status == 400
    # Before its first byte: nobody sends a large one in vain.
    reader, writer = await _begin(node, cleo, late, 3, b"")
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 8)
    writer.close()
    assert (await cleo.ask("HEAD", late)).status == 404
    assert (await cleo.ask("GET", shown)).body == b"abc"
    assert (await cleo.ask("HEAD", shown)).offset == 3


async def test_who_leaves_sends_no_more_but_hears_what_has_arrived(
    node: Node | Pair, chat: V1Chat, agent: AgentClient, cleo: TusClient, ann: TusClient
) -> None:
    shown = await ann.send(b"abc")
    late = (await ann.create(PIECE + 1)).location
    reader, writer = await _begin(node, ann, late, PIECE + 1, PDF[:PIECE])
    await ann.arrived(late, PIECE)
    await agent.operate("leaveChat", chatId=chat.session_id)
    writer.write(b"x")
    assert b" 403 " in await asyncio.wait_for(reader.readline(), 8)
    writer.close()
    assert (await ann.ask("HEAD", late)).status == 404
    assert (await ann.ask("HEAD", shown)).offset == 3
    assert (await ann.patch(shown, 3, b"")).status == 204
    assert (await ann.ask("GET")).status == 404
    assert [file["file-id"] for file in await cleo.listed()] == [file_id(shown)]
    assert await _entries(chat) == 1


async def test_no_files_before_the_chat(node: Node | Pair) -> None:
    async with V1Chat(f"{node.url}/genesys") as chat:
        await chat.create_service()
        async with TusClient(node.url, "unknown", chat.service_id) as early:
            assert (await early.create(1)).status == 404


async def test_uploads_at_once_are_bounded(node: Node | Pair, cleo: TusClient) -> None:
    """Those of one customer: in all of his chats."""
    where = (await cleo.create(1000)).location
    begun, answers = await _full(node, cleo, where)
    async with chatting(node) as (_, second):
        where_else = (await second.create(4)).location
        reader, writer = await _begin(node, second, where_else, 4, b"")
        assert b" 503 " in await asyncio.wait_for(reader.readline(), 8)
        writer.close()
    # What comes with its announcement is not announced then: it would count as a file.
    path = urlsplit(cleo.url).path
    fields = {
        **cleo.headers,
        "Upload-Length": "4",
        "Upload-Metadata": metadata("a.pdf"),
        "Content-Type": OFFSET_STREAM,
        "Content-Length": "0",
    }
    for _ in range(2):
        reader, writer = await _sent(node, f"POST {path}", fields)
        assert b" 503 " in await reader.readline()
        writer.close()
    assert [(await cleo.create(1)).status for _ in range(2)] == [201, 201]
    for _, writer in begun:
        writer.close()
    await asyncio.gather(*answers)
    for _ in range(LOOKS):
        if (done := await cleo.patch(where, 0, b"x" * 1000)).status == 204:
            break
        await asyncio.sleep(0.05)
    assert done.status == 204


async def test_all_pictures_of_a_chat_can_be_asked_for_at_once(
    node: Node | Pair, cleo: TusClient
) -> None:
    shown, late = await cleo.send(b"abc"), (await cleo.create(1000)).location
    begun, refused = await _full(node, cleo, late)
    asked = [await _sent(node, f"GET {shown}", cleo.headers) for _ in range(20)]
    answers = [asyncio.create_task(reader.readline()) for reader, _ in asked]
    for _, writer in begun:
        writer.close()
    assert all(b" 200 " in answer for answer in await asyncio.gather(*answers))
    for _, writer in asked:
        writer.close()
    await asyncio.gather(*refused)


async def _full(
    node: Node | Pair, cleo: TusClient, where: str
) -> tuple[
    list[tuple[asyncio.StreamReader, asyncio.StreamWriter]], list[asyncio.Task[bytes]]
]:
    """Begin so many PATCHs that one is refused, whichever comes last to the server.

    Returns the connections, and what reads the first line of each answer.
    """
    begun = [
        await _begin(node, cleo, where, 1000, b"")
        for _ in range(AT_ONCE_OF_CUSTOMER + 1)
    ]
    answers = [asyncio.create_task(reader.readline()) for reader, _ in begun]
    done, _ = await asyncio.wait(
        answers, return_when=asyncio.FIRST_COMPLETED, timeout=8
    )
    assert [b" 503 " in answer.result() for answer in done] == [True]
    return begun, answers


async def _entries(chat: V1Chat) -> int:
    """Return how many files the transcript has."""
    shown = await chat.refresh(transcriptPosition="0")
    return sum("sent a file" in row[2] for row in shown["transcriptToShow"])


def _file_entries(agent: AgentClient, chat: V1Chat) -> list[dict[str, object]]:
    screen = agent.screen(chat.session_id)
    return [entry for entry in screen if entry["type"] == "FileUploaded"]


async def _at_once(client: TusClient, content: bytes, **headers: str) -> Answered:
    return await client.ask(
        "POST",
        body=content,
        Upload_Length=str(len(content)),
        Upload_Metadata=metadata("a.pdf"),
        Content_Type=OFFSET_STREAM,
        **headers,
    )


Server: TypeAlias = Node | Pair | ServerProcess | ServerProcesses


async def _begin(
    server: Server, client: TusClient, where: str, size: int, content: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin a PATCH at one node, and leave it there."""
    fields = {
        **client.headers,
        "Upload-Offset": "0",
        "Content-Type": OFFSET_STREAM,
        "Content-Length": str(size),
    }
    reader, writer = await _sent(server, f"PATCH {where}", fields)
    writer.write(content)
    await writer.drain()
    return reader, writer


async def _sent(
    server: Server, what: str, fields: Mapping[str, str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the head of a request to one node: the proxy before two nodes would wait
    for the whole body."""
    url = urlsplit(_one_of(server).url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    text = f"{what} HTTP/1.1\r\nHost: {url.netloc}\r\n{head}\r\n"
    writer.write(text.encode(errors="surrogateescape"))
    await writer.drain()
    return reader, writer


def _one_of(server: Server) -> Node | ServerProcess:
    match server:
        case Pair():
            return server.nodes[0]
        case ServerProcesses():
            return server.processes[0]
        case _:
            return server
