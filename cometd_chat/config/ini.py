"""INI text -> sections and items with their line numbers, and what is wrong with it.

The dialect is that of `configparser.ConfigParser(interpolation=None,
delimiters="=", default_section=None)`: comments are lines of their own that begin
with `#` or `;`, a line indented deeper than its option continues it. configparser
itself stops at the first mistake and does not keep line numbers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where something was written: a line of a file, or an environment variable."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a configuration; `line` is 0 where there is none."""

    file: str = ""
    line: int = 0
    severity: Severity
    message: str

    def __str__(self) -> str:
        origin = str(Origin(file=self.file, line=self.line))
        return ": ".join(filter(None, (origin, self.severity, self.message)))


@dataclass(slots=True, kw_only=True)
class Item:
    """An option as it is written; `value` is None where a line has no `=`.

    `more` are the lines that continue it, with their numbers.
    """

    section: str
    name: str
    first: str | None
    line: int
    more: list[tuple[int, str]] = field(default_factory=list)

    @property
    def value(self) -> str | None:
        if self.first is None:
            return None
        return "\n".join((self.first, *(text for _, text in self.more))).rstrip()


@dataclass(slots=True, kw_only=True)
class Parsed:
    """What a file says: its sections with the lines of their headers, and items."""

    file: str
    sections: dict[str, int] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def error(self, line: int, message: str) -> None:
        problem = Problem(file=self.file, line=line, severity="error", message=message)
        self.problems.append(problem)


def parse(data: bytes, file: str) -> Parsed:
    """Read the whole text, however much of it is wrong."""
    parsed = Parsed(file=file)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        parsed.error(1, "the file is UTF-16: save it as UTF-8")
        return parsed
    reader = _Reader(parsed)
    for number, line in _lines(data, parsed):
        reader.take(number, line)
    return parsed


def _lines(data: bytes, parsed: Parsed) -> Iterator[tuple[int, str]]:
    raw_lines = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))
    for number, raw in enumerate(raw_lines, 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            parsed.error(number, f"byte 0x{byte:02X} is not UTF-8: save it as UTF-8")
            continue
        hidden = re.search("[\x00-\x08\x0b-\x1f\x7f\ufeff]", line)
        if hidden:
            code = ord(hidden[0])
            parsed.error(number, f"invisible character U+{code:04X}: delete it")
            continue
        yield number, line


class _Reader:
    """What configparser keeps in mind from line to line."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._section = ""
        self._item: Item | None = None
        self._indent = 0
        self._first: dict[tuple[str, str], int] = {}

    def take(self, number: int, line: str) -> None:
        text = line.strip()
        if text.startswith(("#", ";")):
            return
        indent = len(line) - len(line.lstrip())
        if self._item and (not text or indent > self._indent):
            self._item.more.append((number, text))
        elif text:
            self._indent = indent
            self._begin(number, text)

    def _begin(self, number: int, text: str) -> None:
        self._item = None
        if text.startswith("["):
            self._open(number, text)
        else:
            self._add(number, text)

    def _open(self, number: int, text: str) -> None:
        header = re.fullmatch(r"\[([^\]]+)\]\s*([#;].*)?", text)
        if not header:
            self._parsed.error(number, "expected [section] alone on its line")
        self._section = header[1] if header else text.strip("[ ").partition("]")[0]
        first = self._parsed.sections.setdefault(self._section, number)
        if first != number:
            message = f"duplicate section [{self._section}] (first at line {first})"
            self._parsed.error(number, message)

    def _add(self, number: int, text: str) -> None:
        name, equals, value = (part.strip() for part in text.partition("="))
        first = value if equals else None
        item = Item(section=self._section, name=name, first=first, line=number)
        earlier = self._first.setdefault((item.section, name.lower()), number)
        if equals:
            self._item = item
        if equals and not name:
            self._parsed.error(number, "expected option = value")
        elif equals and earlier != number:
            message = f"duplicate option {name} (first at line {earlier})"
            self._parsed.error(number, f"[{item.section}] {message}")
        else:
            self._parsed.items.append(item)
