"""Commands that run a server: `serve` and `demo`."""

import asyncio
import errno
import os
import shlex
import socket
import ssl
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvloop

from cometd_chat import app, logs
from cometd_chat.agent_secret import SecretFileError
from cometd_chat.config import Config, Origins, load
from cometd_chat.config.check import is_loopback
from cometd_chat.demo import StepError, play
from cometd_chat.files import PlaceError
from cometd_chat.store import StoreError
from cometd_chat.web.listener import SharedPort
from cometd_chat.workers import Seat, Workers

from .common import config_option, load_or_exit, program

STOPPING = 10.0
"""Seconds that a worker may take to stop, beyond those that its clients get."""


@click.command()
@config_option
@click.option(
    "--demo",
    is_flag=True,
    help="For trying out on this machine: the header gms_user is believed.",
)
@click.option("--host", help="Address to listen on, in place of the configured one.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, in place of the configured one; 0 takes a free one.",
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
    config, origins = load_or_exit(path, env)
    try:
        if config.server.workers == 1:
            _run(app.serve(path, config, env, partial(_welcome, config, path)))
        else:
            raise SystemExit(_several(path, config, env))
    except StoreError as exc:
        raise click.ClickException(_about_store(exc, origins)) from None
    except (OSError, PlaceError, SecretFileError) as exc:
        raise click.ClickException(_why(exc, config)) from None


def _several(path: Path | None, config: Config, env: dict[str, str]) -> int:
    """Serve by several processes; return the exit status."""
    server = config.server
    port = SharedPort(server.host, server.port)
    logs.set_up(config.log.level, config.log.format)

    def work(seat: Seat) -> None:
        _run(app.serve(path, config, env, lambda _: seat.ready(), seat))

    return Workers(
        server.workers,
        port.bind,
        work,
        ready=lambda: _welcome(config, path, port.url(tls=server.tls_cert is not None)),
        stop_within=(1 + app.RELEASING) * server.shutdown_timeout + STOPPING,
    ).run()


def _run(serving: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


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


def _welcome(config: Config, path: Path | None, url: str) -> None:
    base, command = f"{url}{config.server.base_path}", program()
    with_config = f" --config {shlex.quote(str(path))}" if path else ""
    lines = {
        "configuration": path or "no file, so the defaults and the environment",
        "CometD": f"{base}/cometd",
        "GMS Chat API v1": f"{base}/1/service/<service>",
        "agent's token": f"{command} agent token{with_config} --name Ann",
        "see it work": f"{command} demo",
        "all options": f"{command} config doc",
    }
    if config.agents.jwks is not None:  # others make the tokens
        del lines["agent's token"]
    if config.auth.gms_user == "trusted" and not config.server.trusted_proxies:
        lines["take care"] = "whoever can reach this address can pose as any user"
    click.echo(f"cometd-chat ready on {url}")
    click.echo("\n".join(f"  {name:<16} {text}" for name, text in lines.items()))


def _about_store(exc: StoreError, origins: Origins) -> str:
    """Say which option the trouble comes from, and where it is written."""
    written = origins.get(("store", exc.option)) or origins.get(("store", "url"))
    where = str(written or "")
    return ": ".join(filter(None, (where, f"[store] {exc.option}", str(exc))))


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
