"""Writes tables between the markers of a page; the rest is by hand."""

import re
from collections.abc import Mapping
from pathlib import Path

from bench.targets import ROOT

PAGE = ROOT / "docs" / "performance.md"
SCRIPT = "scripts/bench"
END = "<!-- end of what is written -->\n"


class MarkerError(Exception):
    """The page has no place for a table."""


def begin(name: str, script: str = SCRIPT) -> str:
    """Return the line before the table of this name."""
    return f"<!-- written by {script}: {name} -->\n"


def write(page: Path, tables: Mapping[str, str], script: str = SCRIPT) -> None:
    """Replace these tables of the page, and leave the others as they are.

    Raises: MarkerError for a table that has no place there; nothing is written then.
    """
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        place = re.compile(
            re.escape(begin(name, script)) + ".*?" + re.escape(END), re.DOTALL
        )
        found = place.search(text)
        if found is None:
            raise MarkerError(f"{page.name} has no place for the table of {name}")
        new = f"{begin(name, script)}\n{table}\n{END}"
        text = text[: found.start()] + new + text[found.end() :]
    page.write_text(text, encoding="utf-8")
