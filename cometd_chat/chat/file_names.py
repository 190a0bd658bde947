"""What files are called, and of which kinds they may be."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

LONGEST_NAME = 255
"""Bytes of a file's name in UTF-8, as file systems have it."""

UNKNOWN = "application/octet-stream"
"""Media type of files of which nothing better is known."""

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,63}/[\w.+-]{1,63}", re.ASCII).fullmatch

# They turn the direction of what follows: "exe.gpj" could be read as "jpg.exe".
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of Unicode: controls, surrogates, separators of lines and paragraphs."""


class NotAllowedError(Exception):
    """A file of a kind that is not taken, or from somebody who is not in the chat."""


def tidy_name(name: str) -> str:
    """Return the name of a file as it is shown to others: no path, on one line, and
    nothing that turns its direction.

    Raises: NotAllowedError for one that is too long.
    """
    name = re.split(r"[/\\]", name)[-1]
    name = _TURNING.sub("", unicodedata.normalize("NFC", name))
    name = "".join(c for c in name if unicodedata.category(c) not in _CONTROLS)
    name = name.strip(" .")
    if len(name.encode()) > LONGEST_NAME:
        raise NotAllowedError(f"filename: {LONGEST_NAME} bytes are allowed")
    return name or "file"


def media_type(told: str) -> str:
    """Return the type that the sender told, if it is one."""
    return told if _MEDIA_TYPE(told) else UNKNOWN


def refuse_kind(name: str, known: Sequence[str]) -> None:
    """Raises: NotAllowedError for a name with none of the known extensions."""
    extension = PurePosixPath(name).suffix.removeprefix(".").lower()
    if "*" not in known and extension not in known:
        raise NotAllowedError(f"upload-file-types: {':'.join(known)}")
