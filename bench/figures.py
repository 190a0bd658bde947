"""What was measured, and its medians."""

from collections.abc import Iterable, Sequence
from statistics import median

from bench.generator import Line
from bench.targets import OURS


class Figures:
    """All lines of a series of runs."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = [line for line in lines if line["tag"] != "before"]

    def scenarios(self) -> set[str]:
        """Return what was run, `scale` for all of its parts."""
        tags = {str(line["tag"]) for line in self.lines}
        parts = {"rooms", "chats"}
        return (tags - parts) | ({"scale"} if tags & parts else set())

    def servers(self, tag: str) -> list[str]:
        """Return who did this, ours first."""
        names = dict.fromkeys(x["label"] for x in self.lines if x["tag"] == tag)
        return sorted(names, key=lambda name: name != OURS)

    def values(self, tag: str, phase: str, field: str, **fits: object) -> list[float]:
        """Return a field of all lines that fit."""
        wanted = {"tag": tag, "phase": phase, **fits}
        return [
            line[field]
            for line in self.lines
            if field in line and all(line.get(k) == v for k, v in wanted.items())
        ]

    def lists(self, tag: str, field: str, **fits: object) -> list[list[float]]:
        """Return a field that has a value for each process, of all lines that fit."""
        return [
            line[field]
            for line in self.lines
            if field in line
            and all(line.get(k) == v for k, v in {"tag": tag, **fits}.items())
        ]

    def median(self, tag: str, phase: str, field: str, **fits: object) -> float | None:
        """Return the median of that, or None if nothing fits."""
        values = self.values(tag, phase, field, **fits)
        return median(values) if values else None

    def ladders(self, tag: str, name: str) -> list[list[Line]]:
        """Return the steps of each ladder that a server climbed."""
        found: list[list[Line]] = []
        rate = 0.0
        for line in self.lines:
            if (line["tag"], line["label"], line["phase"]) != (tag, name, "steady"):
                continue
            if not found or line["rate"] <= rate:
                found.append([])
            found[-1].append(line)
            rate = line["rate"]
        return found

    def each(self, tag: str, phase: str, field: str) -> list[float]:
        """Return the different values of a field, in order."""
        return sorted(set(self.values(tag, phase, field)))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Write a median, and in brackets the least and the greatest value."""
    if not values:
        return "–"
    told = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return told
    return f"{told} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(value: float | None, base: float | None) -> str:
    """Write a quotient."""
    return "–" if value is None or not base else f"{value / base:.2f}"


def row(*cells: object) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [row(*head), row(*["---"] * len(head)), *(row(*cells) for cells in rows)]
    return "\n".join(lines) + "\n"
