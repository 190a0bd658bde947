"""Commands that run a server: `serve` and `demo`."""

import asyncio
import errno
import os
import shlex
import shutil
import socket
import ssl
import sys
from pathlib import Path

import click

from cometd_chat import app
from cometd_chat.agent_secret import SecretFileError
from cometd_chat.config import Config, load
from cometd_chat.config.check import is_loopback
from cometd_chat.demo import StepError, play
from cometd_chat.store import StoreError

from .common import config_option, load_or_exit


@click.command()
@config_option
@click.option(
    "--demo",
    is_flag=True,
    help="For trying out on this machine: the header gms_user is believed.",
)
@click.option("--host", help="Address to listen on, before that of the configuration.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, before that of the configuration; 0 takes a free one.",
)
def serve(path: Path | None, *, demo: bool, host: str | None, port: int | None) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    SIGHUP, or a change of the file, loads the configuration again: as a whole, or
    not at all.

    Example: cometd-chat serve --config cometd-chat.ini
    """
    env = _environment(host, port)
    if demo:
        _require_loopback(path, env)
        env["COMETD_CHAT_AUTH__GMS_USER"] = "trusted"
    config, _ = load_or_exit(path, env)
    try:
        asyncio.run(
            app.serve(
                path, config, env, lambda url: click.echo(_welcome(url, config, path))
            )
        )
    except (OSError, StoreError, SecretFileError) as exc:
        raise click.ClickException(_why(exc, config)) from None


@click.command()
def demo() -> None:
    """Show a chat that survives the phone's background state.

    Plays customer, agent and server over real connections in a few seconds, and
    fails if any step did not happen as told.

    Example: cometd-chat demo
    """
    try:
        asyncio.run(play(click.echo))
    except StepError as exc:
        raise click.ClickException(str(exc)) from None


COMMANDS = (serve, demo)


def _environment(host: str | None, port: int | None) -> dict[str, str]:
    """Return the environment with the options of the command line in it.

    There they are checked like all others, and a reload does not forget them.
    """
    env = dict(os.environ)
    if host is not None:
        env["COMETD_CHAT_SERVER__HOST"] = host
    if port is not None:
        env["COMETD_CHAT_SERVER__PORT"] = str(port)
    return env


def _require_loopback(path: Path | None, env: dict[str, str]) -> None:
    config = load(path, env).config
    if config is not None and not is_loopback(config.server.host):
        raise click.UsageError(
            "--demo believes every caller's gms_user, so it listens on this machine "
            f"only, for instance on 127.0.0.1: {config.server.host} is open to others"
        )


def _welcome(url: str, config: Config, path: Path | None) -> str:
    base = f"{url}{config.server.base_path}"
    command = _command()
    with_config = f" --config {shlex.quote(str(path))}" if path else ""
    lines = [
        f"cometd-chat ready on {url}",
        f"  CometD           {base}/cometd",
        f"  GMS Chat API v1  {base}/1/service/<service>",
        f"  see it work      {command} demo",
        f"  all options      {command} config doc",
    ]
    if config.agents.jwks is None:
        token = f"{command} agent token{with_config} --name Ann"
        lines.insert(3, f"  agent's token    {token}")
    return "\n".join(lines)


def _command() -> str:
    """Return what to type for this program; scripts run it from beside the path."""
    name = click.get_current_context().find_root().info_name or "cometd-chat"
    known = " " in name or shutil.which(name)
    return name if known else shlex.quote(sys.argv[0])


def _why(exc: Exception, config: Config) -> str:
    """Say in one sentence why the server could not start, and what to do."""
    server = config.server
    match exc:
        case ssl.SSLError():
            return "tls_cert and tls_key are no certificate with its private key"
        case socket.gaierror():
            return f"{server.host} is no address of this machine: choose another --host"
        case OSError(errno=errno.EADDRINUSE):
            return (
                f"port {server.port} of {server.host} is taken by another program: "
                "choose another --port"
            )
        case OSError(errno=errno.EADDRNOTAVAIL):
            return f"{server.host} is no address of this machine: choose another --host"
        case OSError(errno=errno.EACCES):
            return f"port {server.port} is for the administrator: choose another --port"
        case _:
            return str(exc)
