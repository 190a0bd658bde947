"""The tables of `docs/cluster.md`, and the results that they are made of."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from os import cpu_count
from pathlib import Path

from bench.figures import table
from bench.page import write
from bench.targets import ROOT
from tests.faults.faults import FAULTS, Fault
from tests.faults.judge import Verdict
from tests.faults.run import Size

PAGE = ROOT / "docs" / "cluster.md"
SCRIPT = "scripts/faults"
RESULTS = ROOT / "build" / "faults.json"


class Results:
    """The newest verdict of each fault and number of nodes, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        self._known = {name: Verdict(**verdict) for name, verdict in known.items()}

    def add(self, fault: Fault, nodes: int, verdict: Verdict) -> None:
        """Keep this one, in the file as well."""
        self._known[f"{fault.name} {nodes}"] = verdict
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {name: asdict(verdict) for name, verdict in self._known.items()}
        self._path.write_text(json.dumps(content, indent=1) + "\n")

    @property
    def complete(self) -> bool:
        """Tell whether every fault was tried with two nodes."""
        return all(f"{fault.name} 2" in self._known for fault in FAULTS)

    def rows(self) -> list[tuple[str, Verdict]]:
        """Return them with what to call them, in the order of the faults."""
        found = []
        for fault in FAULTS:
            for key, verdict in sorted(self._known.items()):
                name, nodes = key.split()
                if name == fault.name:
                    more = "" if nodes == "2" else f", {nodes} nodes"
                    found.append((fault.what + more, verdict))
        return found


def tables(results: Results, size: Size) -> Mapping[str, str]:
    """Return the tables by their names on the page."""
    rows = results.rows()
    return {
        "messages": _messages(rows),
        "silence": _silence(rows),
        "pushes": _pushes(rows),
        "run": _about(size),
    }


def publish(page: Path, made: Mapping[str, str]) -> None:
    """Write the tables. Raises: MarkerError if the page has no place for one."""
    write(page, made, SCRIPT)


def _messages(rows: list[tuple[str, Verdict]]) -> str:
    head = ("Fault", "Acknowledged", "Lost", "Not shown", "Twice", "Out of order")
    return table(
        (*head, "Came again"),
        [
            (n, v.acknowledged, v.lost, v.unshown, v.twice, v.disordered, v.again)
            for n, v in rows
        ],
    )


def _silence(rows: list[tuple[str, Verdict]]) -> str:
    head = ("Fault", "Nobody's send answered", "One sender waited", "Not yet shown")
    return table(
        (*head, "p50 ms", "p99 ms"),
        [
            (
                name,
                *(f"{seconds:.1f} s" for seconds in (v.silent, v.waited, v.unseen)),
                *(f"{seconds * 1000:.0f}" for seconds in (v.typical, v.slow)),
            )
            for name, v in rows
        ],
    )


def _pushes(rows: list[tuple[str, Verdict]]) -> str:
    head = ("Fault", "Due", "Sent", "Missing", "Surplus", "Again, in flight")
    return table(
        (*head, "Absences told wrongly", "New handshakes"),
        [
            (
                *(name, v.due, v.told, v.missing, v.surplus, v.in_flight),
                *(v.absences, v.handshakes),
            )
            for name, v in rows
        ],
    )


def _about(size: Size) -> str:
    return (
        f"{size.chats:,} chats, {size.apart} of them with customers who go away and"
        f" come back; {size.rate:.0f} messages a second for {size.seconds:.0f} s, the"
        f" fault after {size.before:.0f} s. {cpu_count()} cores, which nodes, Redis,"
        f" the proxy and all clients share, CPython {platform.python_version()}.\n"
    )
