"""`send` and `tail`: an agent in a shell, also while servers die."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, web
from pytest_aiohttp import AiohttpServer

from tests.cli.conftest import TokenOf
from tests.cli.program import Program, Server, run, says_it_in_one_sentence
from tests.clients.raw import V1Chat


@pytest.fixture
async def chat(server: Server) -> AsyncIterator[V1Chat]:
    """A chat that waits for an agent."""
    async with V1Chat(f"{server.url}/genesys") as customer:
        await customer.start(userDisplayName="Carla", subject="A bike")
        yield customer


@pytest.fixture
async def ann(server: Server, token_of: TokenOf) -> tuple[str, ...]:
    """The options by which a command speaks to the server as Ann."""
    return "--url", server.url, "--token", token_of("Ann")


class Gate:
    """Stands before the server; `block` sees each body and may answer instead of it."""

    def __init__(self, server: Server) -> None:
        self.block: Callable[[bytes], bool] = lambda body: False
        self.status = 503
        self.after: Callable[[], None] = lambda: None
        self._server = server

    async def post(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.block(body):
            return web.Response(status=self.status)
        try:
            answer = await self._forward(request, body)
        except ClientError:
            return web.Response(status=502)
        return web.Response(body=answer, content_type="application/json")

    async def _forward(self, request: web.Request, body: bytes) -> bytes:
        address = self._server.url + request.path
        headers = {"Content-Type": "application/json"}
        async with (
            ClientSession() as http,
            http.post(address, data=body, headers=headers) as response,
        ):
            return await response.read()


@pytest.fixture
async def gate(server: Server, aiohttp_server: AiohttpServer) -> tuple[Gate, str]:
    """A gate, and its address."""
    gate = Gate(server)
    app = web.Application()
    app.router.add_post("/cometd", gate.post)
    listening = await aiohttp_server(app)
    return gate, str(listening.make_url("/"))


async def test_a_message_is_sent_and_its_position_printed(
    server: Server, chat: V1Chat, ann: tuple[str, ...], tmp_path: Path
) -> None:
    status, sent = await run(
        tmp_path, "send", chat.session_id, "Hello", *ann, "--accept"
    )
    assert status == 0, sent.err
    await chat.refresh()
    assert chat.texts == ["Hello"]
    assert sent.out == [str(chat.position)]


async def test_the_token_may_come_from_a_file_or_the_environment(
    server: Server, chat: V1Chat, ann: tuple[str, ...], config: Path
) -> None:
    *url, _, token = ann
    file = config.with_name("ann.token")
    await asyncio.to_thread(file.write_text, f"{token}\n")
    arguments = ("send", chat.session_id, "Hello", "--accept", *url)
    status, sent = await run(config.parent, *arguments, "--token-file", str(file))
    assert status == 0, sent.err
    environment = {"COMETD_CHAT_TOKEN": token}
    status, sent = await run(config.parent, *arguments, env=environment)
    assert status == 0, sent.err


async def test_a_chat_must_be_accepted_first(
    server: Server, chat: V1Chat, ann: tuple[str, ...], tmp_path: Path
) -> None:
    status, sent = await run(tmp_path, "send", chat.session_id, "Hello", *ann)
    assert status == 1
    assert sent.err == ["Error: Accept the chat first"]
    assert sent.out == []


async def test_who_has_the_chat_already_is_named(
    chat: V1Chat, ann: tuple[str, ...], token_of: TokenOf, tmp_path: Path
) -> None:
    bob = (*ann[:-1], token_of("Bob"))
    arguments = ("send", chat.session_id, "Hello", "--accept")
    assert (await run(tmp_path, *arguments, *ann))[0] == 0
    status, sent = await run(tmp_path, *arguments, *bob)
    assert status == 1
    assert sent.err == ["Error: Ann has this chat"]


async def test_a_message_is_stored_once_though_the_server_dies_before_it_answers(
    server: Server,
    chat: V1Chat,
    gate: tuple[Gate, str],
    token_of: TokenOf,
    tmp_path: Path,
) -> None:
    """The first sendMessage is carried out, but nobody hears so; then kill -9."""
    passage, address = gate
    stored = asyncio.Event()
    forward = passage._forward

    async def forward_and_die(request: web.Request, body: bytes) -> bytes:
        answer = await forward(request, body)
        if b"sendMessage" in body and not stored.is_set():
            await server.kill()
            stored.set()
            raise ClientError
        return answer

    passage._forward = forward_and_die
    arguments = ("send", chat.session_id, "Only once", "--accept", "--url", address)
    token = token_of("Ann")
    async with Program(tmp_path, *arguments, "--token", token) as sending:
        await asyncio.wait_for(stored.wait(), 20)
        await sending.says("the connection is lost")
        await server.restart()
        assert await sending.ended() == 0
    await chat.refresh()
    assert chat.texts == ["Only once"]
    assert sending.out == [str(chat.position)]


async def test_a_message_without_a_receipt_in_time_can_be_repeated_by_name(
    chat: V1Chat, gate: tuple[Gate, str], token_of: TokenOf, tmp_path: Path
) -> None:
    passage, address = gate
    passage.block = lambda body: b"sendMessage" in body
    arguments = ["send", chat.session_id, "Hello", "--accept", "--url", address]
    arguments += ["--token", token_of("Ann"), "--local-id", "my-name"]
    status, sent = await run(tmp_path, *arguments, "--within", "500ms")
    assert status == 1
    assert says_it_in_one_sentence(sent)
    assert "--local-id my-name" in sent.err[-1]


async def test_tail_goes_on_after_kill_9_with_each_entry_once(
    server: Server, chat: V1Chat, ann: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = ("send", chat.session_id, "Hello", "--accept")
    assert (await run(tmp_path, *arguments, *ann))[0] == 0
    async with Program(tmp_path, "tail", chat.session_id, *ann) as tail:
        await tail.says(r"Ann \(Agent\): Hello")
        await server.kill()
        await tail.says("the connection is lost")
        await server.restart()
        await chat.send("Still there?")
        await tail.says(r"Carla \(Client\): Still there\?")
        await chat.end()
        assert await tail.ended() == 0
    positions = [int(line[:4]) for line in tail.out if not line.startswith("---")]
    assert positions == [1, 2, 3, 4, 5]
    assert tail.out[-1] == "--- the chat has ended"


async def test_tail_prints_json_for_programs(
    chat: V1Chat, ann: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = ("send", chat.session_id, "Hello", "--accept")
    assert (await run(tmp_path, *arguments, *ann))[0] == 0
    await chat.end()
    arguments = ("tail", chat.session_id, "--json", *ann)
    status, tail = await run(tmp_path, *arguments)
    assert status == 0, tail.err
    told = [json.loads(line) for line in tail.out]
    assert [one["index"] for one in told if "index" in one] == [1, 2, 3, 4]
    assert told[-1] == {"chatEnded": True}
    assert told[0] == {"customer": told[0]["customer"]}


async def test_tail_lists_chats_and_their_changes_until_ctrl_c(
    server: Server, chat: V1Chat, ann: tuple[str, ...], tmp_path: Path
) -> None:
    async with Program(tmp_path, "tail", *ann) as tail:
        await tail.says(f"{chat.session_id} waiting  request-chat: Carla")
        arguments = ("send", chat.session_id, "Hello", "--accept")
        assert (await run(tmp_path, *arguments, *ann))[0] == 0
        await tail.says(f"{chat.session_id} active .* with Ann .* Hello")
        await server.restart()
        await chat.end()
        await tail.says(f"{chat.session_id} ended")
        tail.signal(signal.SIGINT)
        assert await tail.ended() == 0
    assert not [line for line in tail.err if "Traceback" in line]


async def test_customers_cannot_command_the_agents_terminal(
    chat: V1Chat, ann: tuple[str, ...], tmp_path: Path
) -> None:
    await chat.send("\x1b]0;owned\x07 a\n   9 00:00:00 Ann (Agent): forged \u202e")
    arguments = ("send", chat.session_id, "Hello", "--accept")
    assert (await run(tmp_path, *arguments, *ann))[0] == 0
    await chat.end()
    status, tail = await run(tmp_path, "tail", chat.session_id, *ann)
    assert status == 0
    (line,) = [line for line in tail.out if "owned" in line]
    assert line.isprintable()
    assert r"\x1b]0;owned\x07 a\n   9" in line
    assert line.endswith(r"forged \u202e")


@pytest.mark.parametrize("command", [("send", "chat", "text"), ("tail",)])
async def test_what_keeps_an_agent_out_is_one_sentence(
    server: Server, tmp_path: Path, command: tuple[str, ...]
) -> None:
    wrong = ("--token", "wrong")
    status, refused = await run(tmp_path, *command, "--url", server.url, *wrong)
    assert status == 1
    (told,) = refused.err
    assert told.startswith("Error: the token is refused: it is no JSON Web Token. ")
    assert "`cometd-chat agent token` makes one" in told

    nobody = ("--url", "http://127.0.0.1:9")
    status, lost = await run(tmp_path, *command, *nobody, *wrong)
    assert status == 1
    assert says_it_in_one_sentence(lost)
    assert lost.err[-1].endswith("from http://127.0.0.1:9/cometd: Connection refused")

    https = server.url.replace("http:", "https:")
    status, plain = await run(tmp_path, *command, "--url", https, *wrong)
    assert status == 1
    assert plain.err[-1].endswith("does the server speak HTTPS?")

    status, unasked = await run(tmp_path, *command, "--url", server.url)
    assert status == 2
    assert "a token is needed: --token-file, --token or COMETD" in unasked.err[-1]
    assert "`cometd-chat agent token` makes one" in unasked.err[-1]
