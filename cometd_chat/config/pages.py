"""The table of options for people: reference page, sample file, values in force."""

import re
from textwrap import fill

from cometd_chat.config.check import NOWHERE, Origins
from cometd_chat.config.live import effective
from cometd_chat.config.push_options import ProviderOptions, PushOptions
from cometd_chat.config.resolve import Config
from cometd_chat.config.sections import FIXED, SECTIONS, Section, section_of
from cometd_chat.config.service_options import ServiceOptions
from cometd_chat.config.table import Option, rows

INTRODUCTION = """\
# Configuration

This page is made from the table of options; `cometd-chat config doc` prints it.

## The file

* Sections and options are written as in an INI file: `option = value`. A comment is
  a line of its own that begins with `#` or `;`. A line that is indented deeper than
  its option continues it. The file is UTF-8.
* Options and sections are the same in upper and lower case; the names of services,
  providers and events in the titles of sections are not.
* The options of GMS have their GMS names and units: times are whole seconds. Other
  times take `ms`, `s`, `m`, `h` or `d`; a bare number is seconds. Sizes take `B`,
  `KB`, `MB` (1000), `KiB` or `MiB` (1024); a bare number is bytes.
* Lists are separated by commas or line ends. A yes or no is `yes`, `true`, `on`, `1`
  or `no`, `false`, `off`, `0`.
* A wrong value is an error, and the server does not start. An unknown section or
  option is a warning, and is ignored. All of them are reported at once.
* Relative paths start at the directory the server was started in.

## Environment and secrets

Every option can be set by the variable `COMETD_CHAT_<SECTION>__<OPTION>`, in upper
case, with `_` for dots and hyphens: `COMETD_CHAT_SERVER__PORT`. The environment wins
over the file. For a section with a name, the file must have its header.

A secret can stand in a file of its own. `<option>_file` is the path of that file,
which has one line.

## Which section wins

The most specific one: `service.<service>`, then `chat.<service>`, then `chat`; and
`push.provider.<name>.event.<event>`, then `push.provider.event.<event>`, then
`push.provider.<name>`, then `push`. Every option of a push provider may have a twin
`debug.<option>`, which applies to devices in debug mode, wherever it stands.

## When a change takes effect

`live`: at once, when the file is read again. `new-sessions`: for chats and
subscriptions that begin from then on. `restart`: when the server starts again.
"""

SAMPLE = """\
# Sample configuration of cometd-chat: every option with its default.
# Take the comment sign away from what you want to change. What values may be, and
# how the environment and files of secrets come in, is in docs/configuration.md.
"""


EXAMPLES = {"service": "support", "name": "main", "event": "chat.newagentmessage"}


def render_doc() -> str:
    """Return the reference of all options as a page of Markdown."""
    return "\n".join((INTRODUCTION, *map(_chapter, SECTIONS)))


def _chapter(section: Section) -> str:
    lines = [f"## [{section.title}]", "", section.sentence, ""]
    if section.own:
        lines += ["| Option | Value | Default | Takes effect | Meaning |"]
        lines += ["|---|---|---|---|---|", *map(_cells, _own(section)), ""]
    return "\n".join(lines)


def _own(section: Section) -> list[Option]:
    return [option for kind in section.own for option in rows(kind)]


def _cells(option: Option) -> str:
    default = option.show(option.default)
    cells = (
        f"`{option.name}`",
        option.kind.expected,
        f"`{default}`" if default else "none",
        option.reload,
        _meaning(option),
    )
    return "| " + " | ".join(cells) + " |"


def _meaning(option: Option) -> str:
    if option.useless:
        return f"{option.sentence} Has no effect: {option.useless}."
    return option.sentence


_TYPES = {
    "apns": "ios",
    "apple": "ios",
    "fcm": "fcm",
    "android": "fcm",
    "customhttp": "customhttp",
    "httpcb": "httpcb",
    "webpush": "webpush",
}
"""Push types by the first word of the options that are theirs alone."""


def render_push_options() -> str:
    """Return the options of [push], services and providers that are about pushes, as a
    table of Markdown."""
    lines = ["| Option | Type | Default | Example | Used by | Meaning |"]
    lines += ["|---|---|---|---|---|---|"]
    all_of_them = (*rows(PushOptions), *rows(ServiceOptions), *rows(ProviderOptions))
    options = [o for o in all_of_them if o.example and not o.useless]
    return "\n".join((*lines, *map(_push_cells, options)))


def _push_cells(option: Option) -> str:
    default = option.show(option.default)
    used_by = option.used_by or _TYPES.get(option.name.split(".")[0], "all")
    cells = (
        f"`{option.name}`",
        option.kind.expected,
        f"`{default}`" if default else "none",
        f"`{option.example}`",
        used_by,
        option.sentence,
    )
    return "| " + " | ".join(cells) + " |"


def render_sample() -> str:
    """Return a file with every option, its default and what it means."""
    return "\n".join((SAMPLE, *map(_paragraph, SECTIONS)))


def _paragraph(section: Section) -> str:
    title = re.sub("<(.*?)>", lambda name: EXAMPLES[name[1]], section.title)
    header = f"#[{title}]" if section.named else f"[{title}]"
    lines = [_comment(section.sentence.replace("`", "")), header, ""]
    for option in _own(section):
        lines += [
            _comment(_meaning(option)),
            f"#{option.name} = {option.show(option.default)}".rstrip(),
            "",
        ]
    return "\n".join(lines)


def _comment(text: str) -> str:
    return fill(text, 80, initial_indent="# ", subsequent_indent="# ")


def render_show(config: Config, origins: Origins = NOWHERE) -> str:
    """Return the values in force, each with where it comes from; secrets masked.

    Of a section with a name, options of other sections are shown if they were set.
    """
    titles = [*FIXED, *(title for title in config.layers if title not in FIXED)]
    return "\n".join(_values(config, title, origins) for title in titles)


def _values(config: Config, title: str, origins: Origins) -> str:
    section = section_of(title)
    own = _own(section) if section else []
    lines = [f"[{title}]"]
    for row in effective(config, title):
        origin = origins.get((row.set_in, row.option.attr))
        if origin or row.option in own:
            value = f"{row.option.name} = {row.option.show(row.value)}".rstrip()
            lines.append(f"{value:<58}  ({origin or 'default'})")
    return "\n".join((*lines, ""))
