"""Commands about the configuration: `check-config`, `config`, `init`."""

import os
import shlex
from pathlib import Path

import click

from cometd_chat.agent_secret import new_secret
from cometd_chat.config import load, render_doc, render_sample, render_show

from .common import WRONG_CONFIGURATION, config_option, load_or_exit, program, report

SAMPLE_NAME = "cometd-chat.ini"


@click.command("check-config")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path())
def check_config(path: str | None) -> None:
    """Tell everything that is wrong with a configuration.

    Problems go to standard error, one line each. The exit status is 2 if one of them
    is an error, 0 if there are only warnings. The environment is checked along.

    Example: cometd-chat check-config cometd-chat.ini
    """
    loaded = load(Path(path) if path else None, os.environ)
    report(loaded.problems)
    errors = sum(problem.severity == "error" for problem in loaded.problems)
    warnings = len(loaded.problems) - errors
    told = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"
    click.echo(f"{path or 'environment'}: {told}")
    if loaded.config is None:
        raise SystemExit(WRONG_CONFIGURATION)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@click.group()
def config() -> None:
    """Show the configuration, or what can be configured."""


@config.command()
@config_option
def show(path: Path | None) -> None:
    """Print the values in force, and where each comes from; no secrets.

    Example: cometd-chat config show --config cometd-chat.ini
    """
    click.echo(render_show(*load_or_exit(path, os.environ)), nl=False)


@config.command()
def doc() -> None:
    """Print the reference of all options, in Markdown.

    Example: cometd-chat config doc > configuration.md
    """
    click.echo(render_doc(), nl=False)


@click.command(short_help="Write a commented configuration with a fresh secret.")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented configuration with a fresh secret for agents' tokens.

    A file that is there already stays as it is.

    Example: cometd-chat init /etc/cometd-chat
    """
    path = folder / SAMPLE_NAME
    text = render_sample().replace("\n#secret =\n", f"\nsecret = {new_secret()}\n")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_new(path, text)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already: it stays") from None
    except OSError as exc:
        raise click.ClickException(
            f"{path} cannot be written: {exc.strerror}"
        ) from None
    click.echo(f"{path} is written; only its owner can read it. Start the server with")
    click.echo(f"  {program()} serve --config {shlex.quote(str(path))}")


COMMANDS = (check_config, config, init)


def _write_new(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
