"""What several commands need: their configuration, and kinds of values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cometd_chat.config import Config, Origins, Problem, load
from cometd_chat.config.kinds import Kind, RejectedError

WRONG_CONFIGURATION = 2

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; without it, the environment and the defaults count.",
)


class Value(click.ParamType):
    """A kind of value as the configuration has it: durations, addresses."""

    def __init__(self, kind: Kind[Any]) -> None:
        self.name = kind.noun
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._kind.parse(value)
        except RejectedError as exc:
            self.fail(str(exc) or f"expected {self._kind.expected}", param, ctx)


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
