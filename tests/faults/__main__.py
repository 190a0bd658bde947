"""`scripts/faults`: breaks things under load and writes the tables of the page."""

import dataclasses
from pathlib import Path

import click

from bench.generator import raise_file_limit
from tests.faults.faults import FAULTS, Fault
from tests.faults.page import PAGE, RESULTS, Results, publish, tables
from tests.faults.run import FULL, QUICK, Size, measure


@click.command()
@click.option("--only", help="Names of faults, with commas; see --list.")
@click.option("--list", "listing", is_flag=True, help="Show the faults; do nothing.")
@click.option("--quick", is_flag=True, help="Seconds; the figures mean nothing.")
@click.option(
    "--nodes", type=click.IntRange(2), default=2, help="How many; 2 is usual."
)
@click.option("--rate", type=click.FloatRange(1), help="Messages a second.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder in which configurations and logs stay.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=PAGE,
    help="Page to write, once every fault has a result; with --quick none.",
)
def main(
    *,
    only: str | None,
    listing: bool,
    quick: bool,
    nodes: int,
    rate: float | None,
    keep: Path | None,
    page: Path,
) -> None:
    """Break nodes and Redis while 1,000 customers chat; check what was promised.

    The newest result of each fault is kept in build/faults.json. Exits with 1 when a
    promise was broken.
    """
    if listing:
        for fault in FAULTS:
            click.echo(f"{fault.name}: {fault.what} ({fault.layout.value})")
        return
    size = dataclasses.replace(QUICK if quick else FULL, nodes=nodes)
    if rate is not None:
        size = dataclasses.replace(size, rate=rate)
    raise_file_limit()
    results = Results(RESULTS)
    problems = []
    for fault in _chosen(only):
        problems += _try(fault, size, keep, None if quick else results)
    if not quick and results.complete:
        publish(page, tables(results, size))
    if problems:
        raise click.ClickException("\n".join(problems))


def _chosen(only: str | None) -> list[Fault]:
    known = {fault.name: fault for fault in FAULTS}
    names = only.split(",") if only else list(known)
    for name in names:
        if name not in known:
            raise click.UsageError(
                f"there is no fault {name}; there are: {', '.join(known)}"
            )
    return [known[name] for name in names]


def _try(
    fault: Fault, size: Size, keep: Path | None, results: Results | None
) -> list[str]:
    """Return which promises were broken."""
    verdict = measure(fault, size, lambda text: click.echo(text, err=True), keep)
    if results is not None:
        results.add(fault, size.nodes, verdict)
    for name, value in dataclasses.asdict(verdict).items():
        shown = f"{value:.3f} s" if isinstance(value, float) else value
        click.echo(f"  {name:<14}{shown}")
    return [f"{fault.name}: {what}" for what in verdict.broken()]


if __name__ == "__main__":
    main()
