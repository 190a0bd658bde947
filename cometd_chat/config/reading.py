"""One option as it is written -> its value, or the words that help to correct it.

Nothing here repeats a secret: neither the value of a secret option nor a line whose
meaning is unknown, since that may be the second half of one.
"""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from cometd_chat.config.kinds import RejectedError, unquoted, without_comment
from cometd_chat.config.sections import SECTIONS, Section
from cometd_chat.config.table import Option, without_password

FROM_FILE = "_file"
"""What the name of an option with the path of a secret ends with."""

LONGEST_SECRET = 1 << 16
LONGEST_SHOWN = 120


def spellings(section: Section) -> dict[str, Option]:
    """Return the options of a section by every name that sets one."""
    named = {o.name: o for o in section.options}
    return named | {o.name + FROM_FILE: o for o in section.options if o.secret}


def spelled(section: Section, name: str) -> str | None:
    """Return the name, written in any case, as the table writes it."""
    return next((s for s in spellings(section) if s.lower() == name.lower()), None)


def value_of(option: Option, name: str, text: str) -> object:
    """Return the value that the text gives the option under this name.

    Raises: RejectedError, with what is wrong and how to put it right.
    """
    try:
        return option.kind.parse(text if name == option.name else _content(text))
    except RejectedError as error:
        reason = str(error) or f"expected {option.kind.expected}"
        shown = "***" if option.secret else _quoted(text)
        raise RejectedError(f"{shown}: {reason}{_advice(option, text)}") from None


def _content(text: str) -> str:
    """Return the secret in a file; one line end after it does not count."""
    if not text:
        raise RejectedError("the path is empty")
    try:
        with Path(text).open("rb") as file:
            content = file.read(LONGEST_SECRET + 1)
        secret = content.decode()
    except OSError as error:
        raise RejectedError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RejectedError("the file is not UTF-8") from None
    if len(content) > LONGEST_SECRET:
        raise RejectedError(f"the file is longer than {LONGEST_SECRET} bytes")
    return secret.removesuffix("\n").removesuffix("\r")


def _quoted(text: str) -> str:
    long = len(text) > LONGEST_SHOWN
    shown = without_password(text)[:LONGEST_SHOWN] + ("…" if long else "")
    return json.dumps(shown, ensure_ascii=False)


def _advice(option: Option, text: str) -> str:
    if not text:
        return f". Leave it out for {option.show(option.default) or 'none'}"
    if option.secret:
        return ""
    if "\n" in text and not option.kind.many:
        return ". An indented line continues the one above it"
    meant = option.kind.meant(text)
    return f". Did you mean {without_password(meant)}?" if meant else ""


def remarks(option: Option, text: str) -> Iterable[str]:
    """Yield what looks like a slip in a text that was understood."""
    if option.useless:
        yield f"has no effect: {option.useless}"
    if option.kind.free and unquoted(text) != text:
        yield "the quotes are part of the value"
    if option.kind.free and without_comment(text) != text:
        yield "what looks like a comment is part of the value"
    if option.kind.many and re.search(r"(^|,)[^\S\n]*(,|$)", text or "-"):
        yield "an empty item in the list (ignored)"


def unknown(section: Section, name: str, text: str) -> str:
    """Describe an option that the section does not have."""
    homes = _homes(name)
    if homes:
        return f"{name}: unknown option, it belongs to {homes} (ignored)"
    near = did_you_mean(name, spellings(section))
    # a line of base64 that broke off from a secret ends with =
    shown = name if near or text.strip("=") else "***"
    return f"{shown}: unknown option{near} (ignored)"


def without_section(name: str) -> str:
    """Describe an option that stands in no section."""
    homes = _homes(name)
    return "an option in no section" + (f". {name} belongs to {homes}" if homes else "")


def without_equals(section: Section, line: str) -> str:
    """Describe a line that sets nothing."""
    name = spelled(section, re.split(r"[\s:]", line, maxsplit=1)[0])
    hint = f". Did you mean {name} = …?" if name else ""
    return f"a line without =, expected option = value{hint}"


def unknown_section(title: str) -> str:
    """Describe a section that there is not."""
    return f"[{title}]: {_not_a_section(title)} (ignored)"


def _not_a_section(title: str) -> str:
    whole = title.strip(" .")
    unfinished = [s.title for s in SECTIONS if s.title.startswith(f"{whole}.<")]
    if unfinished:
        return f"a name is missing, expected [{unfinished[0]}]"
    if whole.startswith("push.provider."):
        return "the name of a provider has no dots"
    first, _, last = whole.rpartition(".")
    known = [re.sub("<.*>", last, s.title) for s in SECTIONS if s.named <= bool(first)]
    return f"unknown section{did_you_mean(whole, known, '[', ']')}"


def did_you_mean(
    name: str, known: Iterable[str], before: str = "", after: str = ""
) -> str:
    """Return a question with the nearest of the known names, if one is near."""
    by_lower = {k.lower(): k for k in known}
    near = get_close_matches(name.lower()[:LONGEST_SHOWN], by_lower, n=1)
    return f". Did you mean {before}{by_lower[near[0]]}{after}?" if near else ""


def _homes(name: str) -> str:
    return ", ".join(f"[{s.title}]" for s in SECTIONS if spelled(s, name))
