"""Commands for agents: `agent token`, and `send` and `tail` that speak as one."""

import asyncio
import functools
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click
from aiohttp import ClientSession

from cometd_chat.agent_secret import SecretFileError, with_agent_secret
from cometd_chat.chat import make_agent_token
from cometd_chat.client import (
    AgentClient,
    LostError,
    RefusedError,
    follow_chat,
    follow_chats,
)
from cometd_chat.client import send as send_message
from cometd_chat.config.kinds import duration
from cometd_chat.config.places import URL

from .common import config_option, load_or_exit, value
from .lines import line_of, printable

T = TypeVar("T")

TEN_YEARS = 3650 * 86_400

SERVER = replace(URL, allowed="such as http://127.0.0.1:8080")

ADVICE = "`cometd-chat agent token` makes one, with the server's configuration"

_FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How to reach a server as an agent."""

    url: str
    token: str = field(repr=False)


@click.group()
def agent() -> None:
    """Make tokens for agents."""


@agent.command()
@config_option
@click.option("--name", required=True, help="Name that customers see.")
@click.option("--id", "agent_id", help="Id of the agent; the name if left out.")
@click.option(
    "--role",
    type=click.Choice(["agent", "supervisor"]),
    default="agent",
    show_default=True,
)
@click.option(
    "--service", "services", multiple=True, help="Service to be served; repeatable."
)
@click.option(
    "--ttl",
    type=value(duration(1, TEN_YEARS)),
    default="12h",
    show_default=True,
    help="Time for which the token is good: 30m, 12h, 7d.",
)
def token(
    path: Path | None,
    name: str,
    agent_id: str | None,
    role: str,
    services: tuple[str, ...],
    ttl: float,
) -> None:
    """Print a token with which an agent can come in.

    Example: cometd-chat agent token --config cometd-chat.ini --name Ann
    """
    if not name.strip():
        raise click.UsageError("--name is empty")
    now = int(time.time())
    claims = {
        "sub": agent_id or name,
        "name": name,
        "role": role,
        "services": list(services),
        "iat": now,
        "exp": now + round(ttl),
    }
    click.echo(make_agent_token(_key(path), claims))


def _key(path: Path | None) -> str:
    config, _ = load_or_exit(path, os.environ)
    if config.agents.jwks:
        raise click.ClickException(
            "tokens are checked with the public keys of [agents] jwks: whoever has "
            "the private key makes them"
        )
    try:
        return with_agent_secret(config).agents.secret
    except SecretFileError as exc:
        raise click.ClickException(str(exc)) from None


def _as_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument `line`, made of options."""

    @click.option(
        "--url",
        type=value(SERVER),
        default="http://127.0.0.1:8080",
        show_default=True,
        help="Address of the server.",
    )
    @click.option(
        "--token",
        envvar="COMETD_CHAT_TOKEN",
        help="Token of an agent; other users of this machine can see it here. "
        "COMETD_CHAT_TOKEN in the environment does the same.",
    )
    @click.option("--token-file", type=click.File(), help="File with the token.")
    @functools.wraps(command)
    def with_line(
        *, url: str, token: str | None, token_file: TextIO | None, **arguments: Any
    ) -> None:
        found = token_file.read().strip() if token_file else token
        if not found:
            raise click.UsageError(
                "a token is needed: --token-file, --token or COMETD_CHAT_TOKEN; "
                "`cometd-chat agent token` makes one"
            )
        command(line=Line(url=url, token=found), **arguments)

    return with_line


@click.command()
@click.argument("chat_id", metavar="CHATID")
@click.argument("text")
@_as_agent
@click.option("--accept", is_flag=True, help="Take the chat first, if it waits.")
@click.option("--local-id", help="Name of the message; a repeat is stored once.")
@click.option(
    "--within",
    type=value(duration(0.1, 86_400)),
    default="60s",
    show_default=True,
    help="Time to keep trying in when the connection is lost.",
)
def send(
    line: Line,
    *,
    chat_id: str,
    text: str,
    accept: bool,
    local_id: str | None,
    within: float,
) -> None:
    """Send a message to a chat, and print its position.

    When the connection is lost the message is repeated, and stored once.

    Example: cometd-chat send --token-file ann.token --accept CHATID "Hello"
    """
    local_id = local_id or secrets.token_hex(8)

    async def work() -> int:
        async with _agent(line) as agent, asyncio.timeout(within):
            return await send_message(agent, chat_id, text, local_id, accept=accept)

    try:
        click.echo(_run(work()))
    except TimeoutError:
        raise click.ClickException(
            f"no receipt in time: repeat it with --local-id {local_id}, and it is "
            "stored once"
        ) from None


@click.command()
@click.argument("chat_id", metavar="[CHATID]", required=False)
@_as_agent
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line.")
def tail(line: Line, *, chat_id: str | None, as_json: bool) -> None:
    """Follow a chat until it ends, or the list of all chats.

    Survives lost connections and restarts of the server; Ctrl-C ends it.

    Example: cometd-chat tail --token-file ann.token CHATID
    """

    async def work() -> None:
        async with _agent(line) as agent:
            told = follow_chat(agent, chat_id) if chat_id else follow_chats(agent)
            async for one in told:
                click.echo(json.dumps(one) if as_json else line_of(one))

    try:
        _run(work())
    except KeyboardInterrupt:
        return


COMMANDS = (agent, send, tail)


@asynccontextmanager
async def _agent(line: Line) -> AsyncIterator[AgentClient]:
    """Come in as an agent, and say goodbye in the end.

    Raises: LostError when there is no server at all; RefusedError.
    """
    async with ClientSession() as http:
        agent = AgentClient(http, line.url, line.token, _tell_lost)
        try:
            await agent.start()
        except RefusedError as exc:
            if exc.code != _FORBIDDEN:
                raise
            raise RefusedError(exc.code, f"{exc}. {ADVICE}") from None
        try:
            yield agent
        finally:
            await agent.stop()


def _tell_lost(reason: str) -> None:
    click.echo(f"the connection is lost, coming back ({printable(reason)})", err=True)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (LostError, RefusedError) as exc:
        raise click.ClickException(printable(str(exc))) from None
