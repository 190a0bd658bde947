"""Reads the heads of plain HTTP/1.1 requests, and tells which ones are not plain.

Plain is a POST to one of the addresses, in the form that clients really send (RFC
9112): one length, one host, lines that end in CR LF, nothing that changes how the
rest is to be read. A request that only may be plain is not: somebody else reads it
again from its first byte, so that no request is understood in two ways.
"""

import re
from collections.abc import Collection
from enum import Enum
from typing import Final, TypeAlias

from msgspec import Struct

LONGEST: Final = 8190
"""Bytes of the longest head that is read here."""

MOST_FIELDS: Final = 100
"""Field lines of a head that is read here."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_LENGTH = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch
_BEGINNING = b"POST /"
_NOTHING = rb"(?!)"

# What changes the meaning of a request, or what is odd enough to be refused.
_ODD = frozenset(
    {
        "content-encoding",
        "content-location",
        "content-range",
        "etag",
        "expect",
        "max-forwards",
        "proxy-connection",
        "sec-websocket-key1",
        "server",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What may stand in a head once, and says how to read or to answer the request.
_SINGLE = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "origin",
        "user-agent",
    }
)


class Verdict(Enum):
    """Why there is no head yet, or none for us."""

    INCOMPLETE = "incomplete"
    """It is plain so far; more has to come."""

    FOREIGN = "foreign"
    """It is not plain, whatever may come."""


class Head(Struct, frozen=True):
    """The head of a plain request: its `size` and the `length` of the body, in bytes.

    `fields` are those that were asked for, by their names in lower case.
    """

    size: int
    length: int
    fields: dict[str, str]
    call: str | None


Read: TypeAlias = Head | Verdict


class HeadReader:
    """Reads heads of requests to `addresses`, with or without a path behind them.

    `fields` are the names of further fields to be kept; each may stand there once.
    `calls` are patterns of further addresses.
    """

    def __init__(
        self,
        addresses: Collection[str],
        fields: Collection[str],
        calls: Collection[str] = (),
    ) -> None:
        places = b"|".join(re.escape(a.encode()) for a in sorted(addresses))
        called = b"|".join(pattern.encode() for pattern in calls) or _NOTHING
        self._match = re.compile(
            rb"POST (?:(?:%b)(?:/[A-Za-z0-9_\-/]*+)?|(?P<call>%b)) HTTP/1\.1\r\n"
            rb"(?:%b:[\t -~]*+\r\n){0,%d}+\r\n" % (places, called, _TOKEN, MOST_FIELDS)
        ).match
        names = _ODD | _SINGLE | {name.lower() for name in fields}
        known = "|".join(re.escape(name) for name in sorted(names))
        self._find = re.compile(
            rf"\r\n({known}):[\t ]*+([^\r]*+)", re.IGNORECASE | re.ASCII
        ).findall

    def read(self, data: bytes | bytearray) -> Read:
        """Return the head that the data begin with."""
        found = self._match(data, 0, LONGEST)
        if found is None:
            return _unfinished(data)
        fields: dict[str, str] = {}
        for name, value in self._find(found[0].decode("ascii")):
            key = name.lower()
            if key in _ODD or key in fields:
                return Verdict.FOREIGN
            if key == "content-length" and not _LENGTH(value):
                return Verdict.FOREIGN
            fields[key] = value.rstrip(" \t")
        if fields.pop("connection", "keep-alive").lower() != "keep-alive":
            return Verdict.FOREIGN
        if "content-length" not in fields or not fields.get("host"):
            return Verdict.FOREIGN
        length, path = int(fields["content-length"]), found["call"]
        call = None if path is None else path.decode("ascii")
        return Head(found.end(), length, fields, call)


def _unfinished(data: bytes | bytearray) -> Verdict:
    """Tell whether what is no head may become one."""
    begun = data[: len(_BEGINNING)] == _BEGINNING[: len(data)]
    ended = len(data) >= LONGEST or b"\r\n\r\n" in data
    if not begun or ended or data.count(b"\n") > data.count(b"\r\n"):
        return Verdict.FOREIGN
    return Verdict.INCOMPLETE
