"""An exchange costs what it did; and if it did not, that would be seen."""

import re
from pathlib import Path

import pytest

from bench.counted import reference
from bench.counting import Cost, CountError, count
from bench.guard import (
    Baseline,
    BaselineError,
    compare,
    read_baseline,
    write_baseline,
)
from tests.performance.script import bench
from tests.performance.wasteful import WASTED

WAS = Baseline(turns_per_exchange=10.0, instructions_per_exchange=1_000, python="3.11")


def cost(turns: float) -> Cost:
    return Cost(exchange=turns * 100, turn=100)


async def test_an_exchange_costs_what_it_did_and_waste_would_be_counted() -> None:
    status, told = await bench("guard")
    assert status == 0, told
    found = re.search(r"^([\d.]+) turns per exchange", told, re.MULTILINE)
    assert found, told
    wasteful = count("tests.performance.wasteful", rounds=1)
    assert wasteful.turns - float(found[1]) == pytest.approx(WASTED, rel=0.2)


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("bench.nothing", "No module named"),
        ("bench.exchanges", "counted: exchange, turn"),
    ],
)
def test_a_program_that_cannot_be_counted_is_told(module: str, told: str) -> None:
    with pytest.raises(CountError, match=told):
        count(module, rounds=1)


@pytest.mark.parametrize("turns", [10.0, 12.4, 6.1])
def test_a_little_more_or_less_is_no_matter(turns: float) -> None:
    compare(cost(turns), WAS)


@pytest.mark.parametrize(
    ("turns", "told"),
    [(12.6, r"12\.60 turns.*\+26%.*profile"), (5.9, r"5\.90 turns.*-41%.*--renew")],
)
def test_much_more_or_less_is_told(turns: float, told: str) -> None:
    with pytest.raises(BaselineError, match=told):
        compare(cost(turns), WAS)


def test_a_new_baseline_is_what_is_compared_to(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(cost(20.0), path)
    compare(cost(20.0), read_baseline(path))
    with pytest.raises(BaselineError, match=r"baseline of 20\.00"):
        compare(cost(10.0), read_baseline(path))


def test_the_loop_counts_its_turns() -> None:
    assert reference(7) == 7
