"""Files and environment -> `Config`, with everything that is wrong with them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cometd_chat.config.check import Origins, check
from cometd_chat.config.ini import Item, Origin, Parsed, Problem, Severity, parse
from cometd_chat.config.kinds import RejectedError
from cometd_chat.config.reading import (
    did_you_mean,
    remarks,
    spelled,
    spellings,
    unknown,
    unknown_section,
    value_of,
    without_equals,
    without_section,
)
from cometd_chat.config.resolve import Config
from cometd_chat.config.sections import FIXED, Section, in_small_letters, section_of

PREFIX = "COMETD_CHAT_"
"""What the names of our environment variables begin with."""

LONGEST = 1 << 20
"""Bytes of a file; nobody writes a longer one, and a device would never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The outcome of `load`: without a config if one of the problems is an error.

    `secret_files` are those that options with `_file` behind their names told to read.
    """

    config: Config | None
    problems: tuple[Problem, ...]
    origins: Origins = field(default_factory=dict)
    secret_files: frozenset[Path] = frozenset()


def load(path: Path | None, env: Mapping[str, str]) -> Loaded:
    """Read the file, if any, and what the environment has to say over it.

    Never raises for what is wrong with either: all problems are returned at once.
    Variables are named `COMETD_CHAT_<SECTION>__<OPTION>`, in upper case, with `_`
    for dots and hyphens; they speak of the fixed sections and those in the file.
    """
    if path is None:
        return _loaded(Parsed(file=""), env)
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        return _unread(path, f"cannot be read: {error.strerror}")
    if len(data) > LONGEST:
        return _unread(path, f"is longer than {LONGEST} bytes")
    return _loaded(parse(data, str(path)), env)


def loads(text: str, env: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration that is not in a file."""
    return _loaded(parse(text.encode(), "<text>"), env or {})


def _unread(path: Path, message: str) -> Loaded:
    problem = Problem(file=str(path), severity="error", message=message)
    return Loaded(config=None, problems=(problem,))


def _loaded(parsed: Parsed, env: Mapping[str, str]) -> Loaded:
    loading = _Loading(problems=list(parsed.problems))
    for title, line in parsed.sections.items():
        loading.open(in_small_letters(title), Origin(file=parsed.file, line=line))
    for item in parsed.items:
        item.section = in_small_letters(item.section)
        loading.take_item(item, Origin(file=parsed.file, line=item.line))
    loading.problems.sort(key=lambda problem: problem.line)
    _take_environment(loading, env)
    # what could not be read at all may have belonged to any section
    unsure = set(loading.sections) if parsed.problems else loading.unsure
    config = _config(loading.values)
    problems = (*loading.problems, *check(config, loading.origins, unsure))
    wrong = any(problem.severity == "error" for problem in problems)
    return Loaded(
        config=None if wrong else config,
        problems=problems,
        origins=loading.origins,
        secret_files=frozenset(loading.secret_files),
    )


def _config(values: Mapping[str, Mapping[str, object]]) -> Config:
    bases: dict[str, Any] = {}
    layers = {}
    for title, own in values.items():
        base = FIXED[title].base if title in FIXED else None
        names = {f.name for f in fields(base)} if base else set()
        if base:
            bases[title] = base(**{n: v for n, v in own.items() if n in names})
        layers[title] = MappingProxyType(
            {n: v for n, v in own.items() if n not in names}
        )
    return Config(**bases, layers=MappingProxyType(layers))


def _take_environment(loading: "_Loading", env: Mapping[str, str]) -> None:
    loading.seen.clear()
    known = _variables(loading.sections)
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        origin = Origin(file=variable)
        match known.get(variable, []):
            case []:
                bare = (name.removeprefix(PREFIX) for name in known)
                near = did_you_mean(variable.removeprefix(PREFIX), bare, PREFIX)
                loading.report(origin, "warning", f"unknown option{near} (ignored)")
            case [(title, name)]:
                loading.take(title, name, env[variable], origin)
            case several:
                titles = " and ".join(f"[{title}]" for title, _ in several)
                loading.report(origin, "error", f"may speak of {titles}: rename one")


def _variables(sections: Mapping[str, Section]) -> dict[str, list[tuple[str, str]]]:
    """Return the options, as section and name, that each variable may speak of."""
    found: dict[str, list[tuple[str, str]]] = {}
    for title, section in sections.items():
        for name in spellings(section):
            variable = PREFIX + re.sub(r"\W", "_", f"{title}__{name}".upper())
            found.setdefault(variable, []).append((title, name))
    return found


@dataclass(slots=True, kw_only=True)
class _Loading:
    """What has been understood so far.

    `sections` are those in use, `values` what they set. `seen` is what the layer at
    hand, the file or the environment, has set; `unsure` are the sections of which
    something was not understood.
    """

    problems: list[Problem]
    sections: dict[str, Section] = field(default_factory=lambda: dict(FIXED))
    values: dict[str, dict[str, object]] = field(
        default_factory=lambda: {title: {} for title in FIXED}
    )
    origins: dict[tuple[str, str], Origin] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    secret_files: set[Path] = field(default_factory=set)

    def report(self, origin: Origin, severity: Severity, message: str) -> None:
        problem = Problem(
            file=origin.file, line=origin.line, severity=severity, message=message
        )
        self.problems.append(problem)

    def reject(self, title: str, origin: Origin, message: str) -> None:
        self.unsure.add(title)
        self.report(origin, "error", f"[{title}] {message}")

    def open(self, title: str, origin: Origin) -> None:
        """Note that the file has this section."""
        section = section_of(title)
        if section:
            self.sections[title] = section
            self.values.setdefault(title, {})
        elif title == "DEFAULT":
            message = "[DEFAULT]: not known here, defaults stand in [chat] and [push]"
            self.report(origin, "error", message)
        elif title:
            self.report(origin, "warning", unknown_section(title))

    def take_item(self, item: Item, origin: Origin) -> None:
        """Understand one option of the file; unknown sections have been reported."""
        if not item.section:
            self.report(origin, "error", without_section(item.name))
        elif section := self.sections.get(item.section):
            if item.value is None:
                message = without_equals(section, item.name)
                self.reject(item.section, origin, message)
            elif not self._swallows(item, section, origin):
                self.take(item.section, item.name, item.value, origin)

    def _swallows(self, item: Item, section: Section, origin: Origin) -> bool:
        """Report indented lines that were meant to stand for themselves."""
        found = False
        for line, text in item.more:
            name, equals, _ = text.partition("=")
            meant = spelled(section, name.strip()) if equals else None
            if meant or text.startswith("["):
                what = f"to set {meant}" if meant else "to begin a section"
                message = (
                    f"an indented line continues the option of line {item.line}. "
                    f"Remove the indentation {what}"
                )
                self.reject(item.section, Origin(file=origin.file, line=line), message)
                found = True
        return found

    def take(self, title: str, written: str, text: str, origin: Origin) -> None:
        """Understand one option, wherever it comes from."""
        section = self.sections[title]
        name = spelled(section, written)
        if name is None:
            message = unknown(section, written, text)
            self.report(origin, "warning", f"[{title}] {message}")
            return
        option = spellings(section)[name]
        if (title, option.attr) in self.seen:
            message = f"{name}: the option is set twice, here and by {option.name}"
            self.reject(title, origin, message)
            return
        self.seen.add((title, option.attr))
        if name != option.name:
            self.secret_files.add(Path(text))
        try:
            value = value_of(option, name, text)
        except RejectedError as error:
            self.reject(title, origin, f"{name} = {error}")
            return
        self.values[title][option.attr] = value
        self.origins[title, option.attr] = origin
        for remark in remarks(option, text):
            self.report(origin, "warning", f"[{title}] {name}: {remark}")
