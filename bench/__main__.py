"""`scripts/bench`: measures the servers and writes the tables of the page."""

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from os import cpu_count, sched_getaffinity
from pathlib import Path

import click

from bench import page, tables
from bench.figures import Figures
from bench.generator import Line, LoadError, raise_file_limit
from bench.goals import goals_table
from bench.scenarios import FULL, QUICK, SCENARIOS, USUAL, Scenario, Size
from bench.series import Series
from bench.targets import (
    COMPILED,
    ROOT,
    Contender,
    Target,
    TargetError,
    compiled,
    ours,
    peers,
)

RESULTS = ROOT / "build" / "bench.jsonl"

TABLES: dict[str, Callable[[Figures], str]] = {
    "chat": lambda figures: tables.talk_table(figures, "chat"),
    "fanout": lambda figures: tables.talk_table(figures, "fanout"),
    "storm": tables.storm_table,
    "idle": tables.idle_table,
    "ladder": lambda figures: tables.ladder_table(figures, "ladder"),
    "gmschat": tables.real_table,
    "gmsladder": lambda figures: tables.ladder_table(figures, "gmsladder"),
    "replay": tables.replay_table,
    "scale": tables.scale_table,
    "nodes": tables.nodes_table,
}


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers, separated by commas."""

    name = "n,n"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return them. Raises: click.BadParameter."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value}: numbers such as 100,1000 are needed", param, ctx)


@click.command()
@click.option("--scenarios", default=",".join(USUAL), help="Which, with commas.")
@click.option("--repetitions", type=click.IntRange(1), help="How often; 3 is usual.")
@click.option("--clients", type=click.IntRange(2), help="Sessions, where it is free.")
@click.option("--scale", type=Numbers(), help="Numbers of clients for `scale`.")
@click.option("--only-ours", is_flag=True, help="Without the servers of others.")
@click.option("--url", help="Endpoint of a further server, which runs already.")
@click.option("--pid", type=int, help="Its process, for CPU and memory.")
@click.option("--name", default="other", help="What to call it.")
@click.option("--quick", is_flag=True, help="A few seconds; the figures mean nothing.")
@click.option(
    "--read",
    "earlier",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Make the tables of these raw results; nothing is measured.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=RESULTS,
    help="Raw results: JSON lines, appended.",
)
@click.option(
    "--page",
    "page_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Page to write; usually docs/performance.md, with --quick or --url none.",
)
def main(  # noqa: PLR0913 - one parameter for each option
    *,
    scenarios: str,
    repetitions: int | None,
    clients: int | None,
    scale: tuple[int, ...] | None,
    only_ours: bool,
    url: str | None,
    pid: int | None,
    name: str,
    quick: bool,
    earlier: Path | None,
    out: Path,
    page_path: Path | None,
) -> None:
    """Measure the servers, and write the tables of docs/performance.md.

    Example: scripts/bench --scenarios chat,replay --repetitions 1
    """
    if earlier is not None:
        _publish(_read(earlier), page_path)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    chosen = _chosen(scenarios)
    try:
        series = Series(
            size=_size(quick, clients, scale),
            servers=_servers(quick=quick, only_ours=only_ours),
            given=Target(name=name, url=url, pid=pid) if url else None,
            out=out,
            files=raise_file_limit(),
            tell=lambda text: click.echo(text, err=True),
        )
        series.run(chosen, repetitions or (1 if quick else 3))
    except (TargetError, LoadError) as exc:
        raise click.ClickException(str(exc)) from None
    if page_path is None and not quick and not url:
        page_path = page.PAGE
    _publish(series.lines, page_path)
    if series.faults:
        raise click.ClickException("not clean: " + "; ".join(series.faults))


def _read(path: Path) -> list[Line]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _servers(*, quick: bool, only_ours: bool) -> list[Contender]:
    """Return whom to start; compiling takes longer than what is quick."""
    own = [ours()] if quick else [ours(), compiled()]
    return own if only_ours else own + peers()


def _size(quick: bool, clients: int | None, scale: tuple[int, ...] | None) -> Size:
    size = QUICK if quick else FULL
    if clients is not None:
        size = size.with_clients(clients)
    return size if scale is None else size.with_scale(scale)


def _chosen(names: str) -> list[Scenario]:
    unknown = [name for name in names.split(",") if name not in SCENARIOS]
    if unknown:
        known = ", ".join(SCENARIOS)
        raise click.UsageError(f"there is no scenario {unknown[0]}; there are: {known}")
    return [SCENARIOS[name] for name in names.split(",")]


def _publish(lines: list[Line], page_path: Path | None) -> None:
    """Show the tables, and write them; those about everything need everything."""
    figures = Figures(lines)
    measured = figures.scenarios()
    made = {name: make(figures) for name, make in TABLES.items() if name in measured}
    if measured.issuperset(USUAL):
        checked = tables.check_table(figures)
        made |= {"goals": goals_table(figures), "check": checked, "machine": machine()}
        if COMPILED in figures.servers("chat"):
            made["goals, compiled"] = goals_table(figures, COMPILED)
    for name, table in made.items():
        click.echo(f"{name}\n\n{table}")
    if page_path is not None:
        page.write(page_path, made)


def machine() -> str:
    """Say what was measured, and where."""
    pinned = f"aiohttp {version('aiohttp')}, CPython {platform.python_version()}"
    cores = len(sched_getaffinity(0)) or cpu_count()
    return f"{cores} cores, {platform.system()} {platform.machine()}, {pinned}.\n"


if __name__ == "__main__":
    main()
