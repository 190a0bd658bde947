"""`scripts/bench profile`: where the server's CPU time goes, by area.

py-spy looks at the running server; where it may not, `--profiler cprofile` counts the
calls of the server's main thread, which makes many small calls look dearer.
"""

import os
import pstats
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import click

from bench import page
from bench.figures import table
from bench.generator import Line, LoadError, load, raise_file_limit
from bench.scenarios import FULL, QUICK, SCENARIOS, Run, Size, warm_up
from bench.targets import Target, TargetError, ours, running

Frames: TypeAlias = tuple[str, ...]
"""Functions as `name (file)`, the innermost last."""
Profile: TypeAlias = Counter[Frames]

PROFILED = ("chat", "gmschat", "replay")
UNITS = {"chat": "rooms, exchange", "gmschat": "chats, exchange", "replay": "return"}
WAITING = ("Workers.take ",)
"""Functions in which a thread waits for work."""

RATE = 200
"""Looks per second of py-spy."""

SETTLING = 1.5
"""Seconds between the last client's coming and the load: chats are accepted."""

LONGER = replace(FULL, duration=12.0, returns=3_000)
"""How much load there is while the server is looked at."""

AREAS = {
    "store": ("cometd_chat/store", "sqlite3"),
    "Bayeux": (
        "cometd_chat/bayeux",
        "cometd_chat/web/cometd.py",
        "cometd_chat/web/handlers.py",
        "cometd_chat/web/in_flight.py",
        "cometd_chat/web/polls.py",
    ),
    "chat": (
        "cometd_chat/chat",
        "cometd_chat/gms",
        "cometd_chat/delivery",
        "cometd_chat/model",
        "cometd_chat/push",
    ),
    "HTTP": (
        "cometd_chat/web",
        "/aiohttp/",
        "/multidict/",
        "/yarl/",
        "/http/",
        "/urllib/",
        "aiosignal",
        "frozenlist",
    ),
    "loop": ("/asyncio/", "selectors.py", "cometd_chat/app/", "uvloop"),
}
"""Where a function belongs, by its file; what is in none belongs to its caller."""
OTHER = "other"


def area_of(frame: str) -> str:
    """Return the area of one function, or "" if it has none."""
    return next(
        (name for name, marks in AREAS.items() if any(m in frame for m in marks)), ""
    )


def by_area(profile: Profile) -> Counter[str]:
    """Return the time of each area: of a stack, the innermost that has one counts."""
    areas: Counter[str] = Counter()
    for frames, count in profile.items():
        known = (area for frame in reversed(frames) if (area := area_of(frame)))
        areas[next(known, OTHER)] += count
    return areas


def dearest(profile: Profile, least: int) -> list[tuple[str, float, float]]:
    """Return functions with their own share and that with all they call, in %.

    Those that have no area are left out: what starts the program, and small helpers.
    """
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for frames, count in profile.items():
        own[frames[-1]] += count
        for frame in set(frames):
            whole[frame] += count
    total = profile.total() or 1
    known = [(name, count) for name, count in whole.most_common() if area_of(name)]
    return [
        (name, 100 * own[name] / total, 100 * count / total)
        for name, count in known[:least]
    ]


def read_stacks(text: str, cpu: Mapping[int, float]) -> Profile:
    """Read what py-spy calls raw: a thread, its frames, and how often it was seen.

    py-spy takes a thread that waits for a lock for a busy one. So what was seen of a
    thread is a share of the CPU seconds that the system has counted for it. Counts
    are microseconds.
    """
    seen: dict[int, Profile] = defaultdict(Counter)
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        functions = tuple(_without_line(frame) for frame in frames)
        number = re.search(r"\d+", thread)
        if functions and number and not functions[-1].startswith(WAITING):
            seen[int(number[0])][functions] += int(count)
    profile: Profile = Counter()
    for thread_id, counted in seen.items():
        each = cpu.get(thread_id, 0.0) / counted.total()
        for functions, times in counted.items():
            profile[functions] += round(times * each * 1e6)
    return profile


def cpu_by_thread(pid: int) -> dict[int, float]:
    """Return the CPU seconds of each thread of a process."""
    tick = os.sysconf("SC_CLK_TCK")
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        used[int(task.name)] = (int(fields[11]) + int(fields[12])) / tick
    return used


def _without_line(frame: str) -> str:
    name, _, line = frame.rpartition(":")
    return f"{name})" if line.rstrip(")").isdigit() else frame


def read_calls(path: Path) -> Profile:
    """Read what cProfile has written: each function with one of its callers.

    What C functions take is shared among their callers; counts are microseconds.
    """
    profile: Profile = Counter()
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]  # undocumented
    for (file, _, name), (_, _, own, _, callers) in stats.items():
        if not callers:
            profile[(f"{name} ({file})",)] += round(own * 1e6)
        for (caller_file, _, caller), (_, _, part, _) in callers.items():
            frames = f"{caller} ({caller_file})", f"{name} ({file})"
            profile[frames] += round(part * 1e6)
    return profile


def spy(target: Target, seconds: float, out: Path) -> Profile:
    """Look at a server for so long. Raises: TargetError if that is not allowed."""
    assert target.pid is not None  # noqa: S101 - it was started here
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        raise TargetError("py-spy is missing: scripts/bench profile installs it")
    command = [program, "record", "--pid", str(target.pid), "--output", str(out)]
    options = ["--format", "raw", "--full-filenames", "--threads", "--rate", str(RATE)]
    before = cpu_by_thread(target.pid)
    timed = [*command, *options, "--duration", str(max(1, round(seconds)))]
    done = subprocess.run(timed, capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        raise TargetError(
            f"py-spy cannot look at the server: {done.stderr.strip()[-300:]} "
            "(as root: sysctl kernel.yama.ptrace_scope=0; or --profiler cprofile)"
        )
    after = cpu_by_thread(target.pid)
    used = {thread: cpu - before.get(thread, 0.0) for thread, cpu in after.items()}
    return read_stacks(out.read_text(encoding="utf-8"), used)


def by_py_spy(run: Run, size: Size, folder: Path) -> tuple[Profile, list[Line]]:
    """Profile one run: the steady part of it."""
    seen: list[Profile] = []
    with running(ours()) as target:
        if size.before:
            load(target, warm_up(size))

        def meanwhile(reached: Callable[[str], None]) -> None:
            replay = run.tag == "replay"
            reached("written" if replay else "setup")
            time.sleep(0 if replay else size.warmup + SETTLING)
            seen.append(spy(target, size.duration, folder / "stacks"))

        lines = load(target, run, meanwhile).lines
    return seen[0], lines


def by_cprofile(run: Run, size: Size, folder: Path) -> tuple[Profile, list[Line]]:
    """Profile the life of a server that did one run."""
    out = folder / "calls"
    wrapper = (sys.executable, "-m", "cProfile", "-o", str(out), "-m")
    with running(ours(wrapper)) as target:
        lines = load(target, run).lines
    return read_calls(out), lines


PROFILERS = {"py-spy": by_py_spy, "cprofile": by_cprofile}


def cost_of(tag: str, lines: Sequence[Line]) -> float:
    """Return µs per exchange, or per return of a customer who missed something."""
    if tag == "replay":
        return float(next(x["us_per_return"] for x in lines if x.get("missed")))
    return float(next(x["us_per_exchange"] for x in lines if x["phase"] == "steady"))


def area_table(areas: Mapping[str, Counter[str]], costs: Mapping[str, float]) -> str:
    """Return what each area costs, in µs and as a share."""
    rows = []
    for area in (*AREAS, OTHER):
        cells: list[str] = []
        for tag, counted in areas.items():
            share = counted[area] / (counted.total() or 1)
            cells += [f"{share * costs[tag]:.0f}", f"{100 * share:.0f}"]
        rows.append((area, *cells))
    rows.append(("all", *(c for tag in areas for c in (f"{costs[tag]:.0f}", "100"))))
    head = [cell for tag in areas for cell in (f"{UNITS[tag]}: µs", "%")]
    return table(("Area", *head), rows)


@click.command()
@click.option("--profiler", type=click.Choice(list(PROFILERS)), default="py-spy")
@click.option("--scenarios", default=",".join(PROFILED), help="Which, with commas.")
@click.option("--functions", default=25, help="How many functions to show.")
@click.option("--quick", is_flag=True, help="A few seconds; the page is not written.")
def main(*, profiler: str, scenarios: str, functions: int, quick: bool) -> None:
    """Show where the server's CPU time goes, and write it into the page."""
    unknown = set(scenarios.split(",")) - set(PROFILED)
    if unknown:
        raise click.UsageError(f"there are: {', '.join(PROFILED)}")
    raise_file_limit()
    size = QUICK if quick else LONGER
    areas: dict[str, Counter[str]] = {}
    costs: dict[str, float] = {}
    for tag in scenarios.split(","):
        try:
            found, lines = _profile(profiler, tag, size)
        except (TargetError, LoadError) as exc:
            raise click.ClickException(str(exc)) from None
        areas[tag], costs[tag] = by_area(found), cost_of(tag, lines)
        _show(tag, found, functions)
    made = area_table(areas, costs)
    click.echo(made)
    if not quick and set(areas) == set(PROFILED):
        page.write(page.PAGE, {"profile": made})


def _profile(profiler: str, tag: str, size: Size) -> tuple[Profile, list[Line]]:
    (run,) = SCENARIOS[tag].runs(size)
    with TemporaryDirectory(prefix="profile-") as folder:
        return PROFILERS[profiler](run, size, Path(folder))


def _show(tag: str, profile: Profile, functions: int) -> None:
    click.echo(f"{tag}: own %, with what it calls %")
    for name, own, whole in dearest(profile, functions):
        click.echo(f"{own:6.1f} {whole:6.1f}  {name}")


if __name__ == "__main__":
    main()
