"""Runs the load generator and reads what it has measured."""

import json
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from bench.scenarios import Run
from bench.targets import ROOT, Target

Line: TypeAlias = dict[str, Any]
"""What the load generator says of one phase of a run, and the `tag` of the run."""

LOAD = ROOT / "build" / "bayeux-load"
SPARE_FILES = 100
"""Files that a server has open beside its connections."""


class LoadError(Exception):
    """The load generator could not do its work; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run has measured; `clean` if every message came once, in order."""

    lines: list[Line]
    clean: bool


def raise_file_limit() -> int:
    """Let this process and its servers open as many files as they may; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def too_large(run: Run, limit: int) -> str:
    """Say what to do if a run needs more open files than are allowed; empty if not."""
    needed = run.sockets + SPARE_FILES
    if needed <= limit:
        return ""
    return (
        f"{run.tag} needs {needed} open files, and {limit} are allowed (ulimit -Hn). "
        f"As root: `ulimit -n {needed}` before scripts/bench, or LimitNOFILE= of the "
        "service, or `nofile` in /etc/security/limits.conf; or take fewer --clients"
    )


Reached: TypeAlias = Callable[[str], None]
"""Waits until the load generator has reached a phase. Raises: LoadError."""


def load(
    target: Target, run: Run, meanwhile: Callable[[Reached], None] | None = None
) -> Outcome:
    """Put a server under load, and do something else meanwhile.

    Raises: LoadError when there is no result.
    """
    with TemporaryDirectory(prefix="load-") as folder, _tokens(target, run) as more:
        out = Path(folder) / "out.jsonl"
        pids = ",".join(map(str, target.pids))
        command = (
            *(str(LOAD), "--url", target.url, "--label", target.name),
            *(*run.arguments, *more, *(("--pid", pids) if pids else ())),
            *(("--store-pid", str(target.store_pid)) if target.store_pid else ()),
            *("--out", str(out)),
        )
        with subprocess.Popen(command) as process:
            if meanwhile is not None:
                meanwhile(lambda phase: _reached(phase, out, process))
        text = out.read_text(encoding="utf-8") if out.exists() else ""
    lines = [{"tag": run.tag, **json.loads(line)} for line in text.splitlines()]
    if process.returncode not in {0, 1} or not lines:
        told = f"failed with status {process.returncode}"
        raise LoadError(f"{run.tag} at {target.name} {told}")
    return Outcome(lines=lines, clean=process.returncode == 0)


def _reached(phase: str, out: Path, process: subprocess.Popen[bytes]) -> None:
    mark = f'"phase":"{phase}"'
    while mark not in (out.read_text(encoding="utf-8") if out.exists() else ""):
        if process.poll() is not None:
            raise LoadError(f"the load generator ended before it reached {phase}")
        time.sleep(0.02)


@contextmanager
def _tokens(target: Target, run: Run) -> Iterator[tuple[str, ...]]:
    if not run.agents:
        yield ()
        return
    with TemporaryDirectory(prefix="tokens-") as folder:
        path = Path(folder) / "tokens"
        path.touch(mode=0o600)
        path.write_text("\n".join(target.tokens(run.agents)) + "\n")
        yield ("--agent-tokens", str(path))
