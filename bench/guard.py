"""`scripts/bench guard`: is an exchange dearer than it was?

Instructions are counted, not time: the same log of exchanges takes the same number of
them on a slow machine, on a fast one, and on a busy one.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click

from bench.counting import Cost, CountError, count

BASELINE = Path(__file__).with_name("baseline.json")
PROGRAM = "bench.counted"
ROUNDS = 2

DEARER = 1.25
"""The guard fails if an exchange costs more than so many times what it did."""

CHEAPER = 0.6
"""It also fails below this: an old baseline would let the gain be lost again."""


class BaselineError(Exception):
    """An exchange costs something else than the baseline says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What an exchange cost when that was last written down.

    Only the turns are compared. The instructions, and the minor version of Python that
    they were counted with, are there to be read.
    """

    turns_per_exchange: float
    instructions_per_exchange: int
    python: str


def this_python() -> str:
    """Return the minor version that runs, such as 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def compare(cost: Cost, baseline: Baseline) -> None:
    """Raises: BaselineError if this is much more, or much less, than it was."""
    change = cost.turns / baseline.turns_per_exchange
    if CHEAPER <= change <= DEARER:
        return
    told = (
        f"an exchange costs {cost.turns:.2f} turns of the reference loop, "
        f"{change - 1:+.0%} to the baseline of {baseline.turns_per_exchange:.2f} "
        f"with Python {baseline.python}. "
    )
    if change > DEARER:
        told += "`scripts/bench profile` shows where; if it must be, "
    else:
        told += "Well done: keep it with "
    raise BaselineError(f"{told}`scripts/bench guard --renew`")


def read_baseline(path: Path = BASELINE) -> Baseline:
    """Return what was written down."""
    return Baseline(**json.loads(path.read_text(encoding="utf-8")))


def write_baseline(cost: Cost, path: Path = BASELINE) -> None:
    """Write down what an exchange costs now."""
    written = Baseline(
        turns_per_exchange=round(cost.turns, 2),
        instructions_per_exchange=round(cost.exchange),
        python=this_python(),
    )
    path.write_text(json.dumps(asdict(written), indent=2) + "\n", encoding="utf-8")


@click.command()
@click.option("--renew", is_flag=True, help="Write the new baseline.")
@click.option("--times", type=click.IntRange(1), default=1, help="How often.")
def main(*, renew: bool, times: int) -> None:
    """Count what an exchange costs, and compare it to the baseline."""
    try:
        costs = [_told(count(PROGRAM, ROUNDS)) for _ in range(times)]
        middle = sorted(costs, key=lambda cost: cost.turns)[times // 2]
        if times > 1:
            click.echo(_spread([cost.turns for cost in costs]))
        if renew:
            write_baseline(middle)
        else:
            compare(middle, read_baseline())
    except (BaselineError, CountError) as exc:
        raise click.ClickException(str(exc)) from None


def _told(cost: Cost) -> Cost:
    click.echo(
        f"{cost.turns:.2f} turns per exchange ({cost.exchange:,.0f} instructions to "
        f"{cost.turn:,.0f}; Python {this_python()})"
    )
    return cost


def _spread(turns: list[float]) -> str:
    low, high, middle = min(turns), max(turns), median(turns)
    return f"median {middle:.2f}, {low / middle - 1:+.1%} to {high / middle - 1:+.1%}"


if __name__ == "__main__":
    main()
