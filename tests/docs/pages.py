"""The documents as data: their code blocks, links, tables and commands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        [
            *(ROOT / "README.md", ROOT / "CHANGELOG.md"),
            *(
                page
                for folder in ("docs", "config")
                for page in (ROOT / folder).rglob("*.md")
            ),
        ],
        key=str,
    )
)

_FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(
    r"^```(?P<info>.*?)\n(?P<text>.*?)^```$|^<!-- (?P<aside>.*?) -->$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A code block, or an aside (an HTML comment on a line of its own).

    `info` is what stands behind the fence, and `aside` for an aside.
    """

    info: str
    text: str
    line: int

    @property
    def language(self) -> str:
        return self.info.split(" ")[0]


def steps(page: Path) -> list[Step]:
    """Return the code blocks and asides of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Step(
            info="aside" if found["info"] is None else found["info"],
            text=found["aside"] or found["text"] or "",
            line=text.count("\n", 0, found.start()) + 1,
        )
        for found in _STEP.finditer(text)
    ]


def blocks(page: Path, language: str) -> list[str]:
    """Return the contents of all code blocks in a language."""
    return [step.text for step in steps(page) if step.language == language]


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of links that lead to files of the project."""
    targets = _LINK.findall(prose(page))
    return [t for t in targets if not re.match(r"[a-z]+:", t)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def rows(page: Path, *header: str) -> list[list[str]]:
    """Return the rows of the table that has this header, without code marks.

    Raises: LookupError if there is no such table.
    """
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if _cells(line) == list(header):
            next(lines)
            return [*_table(lines)]
    raise LookupError(f"{page.name} has no table {header}")


def _table(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield _cells(line)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def commands(page: Path) -> list[list[str]]:
    """Return the words after `cometd-chat`, wherever the page shows a command."""
    code = [*blocks(page, "console"), *blocks(page, "bash")]
    code += re.findall(r"`([^`]+)`", prose(page))
    lines = "\n".join(" ".join(part.split(" ")) for part in code)
    found = re.findall(r"(?:^|[ /(])cometd-chat ([^\n|)]+)", lines, re.MULTILINE)
    return [line.split() for line in found]
