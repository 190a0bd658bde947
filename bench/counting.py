"""Counts the instructions that a program executes for each thing it does.

Callgrind executes the program on a processor of its own making, so that the speed,
caches and load of the machine do not matter, and counts in all threads of the program
what these execute themselves; what the kernel does for them is not counted.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.counted import EXCHANGE, TURN
from bench.targets import ROOT

LIBRARY = ROOT / "build" / "counter.so"
"""What `scripts/bench guard` makes of `counter.c`."""

COUNT_TIMEOUT = 300.0
"""Seconds in which a program must be done. It takes about ten of a free processor."""

SAME_EVERYWHERE: Mapping[str, str] = {
    "PYTHONHASHSEED": "0",
    # libc chooses among copies of its functions by what the processor can do.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS",
}
"""Environment that makes two runs do the same, on any processor."""

KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
"""What a program needs of our environment. The rest must not make a difference."""


class CountError(Exception):
    """Nothing could be counted; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an exchange costs, and a turn of the reference loop, in instructions."""

    exchange: float
    turn: float

    @property
    def turns(self) -> float:
        """What an exchange costs in turns, nearly the same for all builds of Python."""
        return self.exchange / self.turn


def count(module: str, rounds: int) -> Cost:
    """Run a module that plays the log so many times. Raises: CountError."""
    with TemporaryDirectory(prefix="count-") as folder:
        _run(module, rounds, Path(folder))
        counted = dict[str, list[float]]()
        for what, each in _read(Path(folder)):
            counted.setdefault(what, []).append(each)
    missing = {EXCHANGE, TURN} - counted.keys()
    if missing:
        raise CountError(f"{module} did not have counted: {', '.join(sorted(missing))}")
    return Cost(exchange=median(counted[EXCHANGE]), turn=median(counted[TURN]))


def _run(module: str, rounds: int, folder: Path) -> None:
    command = (
        *("valgrind", "--tool=callgrind", "--instr-atstart=no"),
        f"--callgrind-out-file={folder}/out",
        *(sys.executable, "-m", module, str(LIBRARY), str(rounds)),
    )
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**kept, **SAME_EVERYWHERE},
            capture_output=True,
            text=True,
            timeout=COUNT_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise CountError("valgrind was not found: apt-get install valgrind") from None
    except subprocess.TimeoutExpired:
        raise CountError(
            f"{module} took more than {COUNT_TIMEOUT:g} s. Time is stopped for the "
            "event loop while exchanges are counted: does one wait for a timer?"
        ) from None
    if done.returncode:
        told = done.stderr.strip()[-2000:]
        raise CountError(f"{module} failed under valgrind: {told}")


_DUMP = re.compile(
    r"^desc: Trigger: Client Request: (\w+) (\d+)$.*^totals: (\d+)$",
    re.MULTILINE | re.DOTALL,
)


def _read(folder: Path) -> Iterator[tuple[str, float]]:
    """Yield what was counted, and how many instructions each time took."""
    for path in folder.glob("out*"):
        if found := _DUMP.search(path.read_text(encoding="utf-8", errors="replace")):
            yield found[1], int(found[3]) / int(found[2])
