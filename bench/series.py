"""Runs the scenarios against the servers, alternating, and keeps every line."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.generator import Line, load, too_large
from bench.scenarios import Run, Scenario, Size, warm_up
from bench.targets import OWN, Contender, Target, running


@dataclass(slots=True, kw_only=True)
class Series:
    """A series of runs. Raw lines are appended to `out` as they come.

    `servers` are started anew for each scenario; `given` runs already.
    """

    size: Size
    servers: Sequence[Contender]
    given: Target | None
    out: Path
    files: int
    tell: Callable[[str], None]
    lines: list[Line] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def run(self, scenarios: Sequence[Scenario], repetitions: int) -> None:
        """Run all of them so many times. Raises: LoadError, TargetError."""
        for repetition in range(1, repetitions + 1):
            for scenario in scenarios:
                for server in self._order(scenario, repetition):
                    self._scenario(scenario, server, repetition)

    def _order(self, scenario: Scenario, repetition: int) -> list[Contender | Target]:
        """Let another one be the first each time."""
        all_of_them: list[Contender | Target] = [*self.servers]
        if self.given is not None:
            all_of_them.append(self.given)
        if scenario.servers is not None:
            all_of_them = [*scenario.servers()]
        elif not scenario.everywhere:
            all_of_them = [server for server in all_of_them if server.name in OWN]
        first = repetition % max(1, len(all_of_them))
        return all_of_them[first:] + all_of_them[:first]

    def _scenario(
        self, scenario: Scenario, server: Contender | Target, repetition: int
    ) -> None:
        for run in scenario.runs(self.size):
            if why := too_large(run, self.files):
                self.tell(f"left out: {why}")
                continue
            with _at_work(server) as target:
                if self.size.before:
                    load(target, warm_up(self.size))
                self._measure(target, run, repetition)

    def _measure(self, target: Target, run: Run, repetition: int) -> None:
        outcome = load(target, run)
        if not outcome.clean:
            self.faults.append(f"{run.tag} at {target.name}, repetition {repetition}")
        kept = [{"repetition": repetition, **line} for line in outcome.lines]
        self.lines += kept
        with self.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)


@contextmanager
def _at_work(server: Contender | Target) -> Iterator[Target]:
    if isinstance(server, Target):
        yield server
        return
    with running(server) as target:
        yield target
