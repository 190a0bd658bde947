"""The command line.

Exit status: 0 success, 1 failure, 2 wrong configuration or usage. What goes wrong is
said in one sentence on standard error; standard output has only what was asked for.
"""

import io
import platform
import sys

import click

from cometd_chat import __version__

from . import agents, push, server, settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cometd-chat")
def main() -> None:
    """A CometD-compatible long-poll chat server for mobile customer care.

    Begin with `cometd-chat demo`, then `cometd-chat serve --demo`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character must not end what is going on.
            stream.reconfigure(errors="backslashreplace")


@main.command()
def version() -> None:
    """Print the versions of the program and of Python.

    Example: cometd-chat version
    """
    click.echo(f"cometd-chat {__version__} (Python {platform.python_version()})")


for command in (
    *server.COMMANDS,
    *settings.COMMANDS,
    *agents.COMMANDS,
    *push.COMMANDS,
):
    main.add_command(command)
