"""What several commands need: their configuration, and kinds of values."""

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from cometd_chat.config import Config, Origins, Problem, load
from cometd_chat.config.kinds import Kind, RejectedError

T = TypeVar("T")

WRONG_CONFIGURATION = 2

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; without it, the environment and the defaults count.",
)


def value(kind: Kind[T]) -> Callable[[str], T]:
    """Return the type of a command's option that has a kind of the configuration."""

    def parse(text: str) -> T:
        try:
            return kind.parse(text)
        except RejectedError as exc:
            reason = str(exc) or f"expected {kind.expected}"
            raise click.BadParameter(f"{text!r}: {reason}.") from None

    parse.__name__ = kind.noun  # what the help shows
    return parse


def program() -> str:
    """Return what to type for this program; scripts run it from beside the path."""
    name = click.get_current_context().find_root().info_name or "cometd-chat"
    known = " " in name or shutil.which(name)
    return name if known else shlex.quote(sys.argv[0])


def load_or_exit(path: Path | None, env: Mapping[str, str]) -> tuple[Config, Origins]:
    """Load the configuration and print all that is wrong with it.

    Exits: 2 if there are errors.
    """
    loaded = load(path, env)
    report(loaded.problems)
    if loaded.config is None:
        raise SystemExit(WRONG_CONFIGURATION)
    return loaded.config, loaded.origins


def report(problems: tuple[Problem, ...]) -> None:
    """Print each problem on a line of its own."""
    for problem in problems:
        click.echo(str(problem), err=True)
