"""What the head of a plain request tells, and which heads are known already.

The requests of an app, or of a browser, are alike but for two fields: the length of
the body, and the cookie. What they have in common is a `Form`, which is read once.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from .browsers import COOKIE, is_browser
from .http_head import LONGEST, Head, HeadReader, Verdict
from .origins import Origins, cors_headers
from .plain_calls import PlainCalls, Target

MOST_FORMS: Final = 4096
"""Forms that are known."""

LONGEST_KNOWN: Final = 1024
"""Bytes of the longest head whose form becomes known."""

_cut: Final = re.compile(rb"(\r\n[Cc]o(?:ntent-[Ll]ength|okie): )([!-~][ -~]*+)").split
_find_length: Final = re.compile(
    rb"\r\ncontent-length:[\t ]*+([0-9]++)", re.IGNORECASE
).search
_MOST_DIGITS: Final = 9

# Pairs and nothing else: what is quoted could hide the cookie, or be hidden by it.
_PAIR: Final = r'[^=;\s",]++=[^=;\s",]*+'
_COOKIES: Final = re.compile(rf"{_PAIR}(?:; {_PAIR})*+").fullmatch
_BROWSERS: Final = re.compile(rf"(?:^|; ){COOKIE}=([^;]*)").findall


class Headers(Mapping[str, str]):
    """Header fields by name, in any case: the few that the application asks for."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def get(self, name: str, default: Any = None, /) -> Any:
        # That of `Mapping` would raise and catch an error for each that is missing.
        return self._fields.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


_NONE: Final = Headers({})


@dataclass(frozen=True, slots=True)
class Form:
    """What requests have in common that differ in their length and cookie only.

    `cors` are the lines of the response that are for the page of this `origin`;
    `trusted` tells that no configuration could forbid it. Without a `target` they
    bring Bayeux messages. `length_at` tells where among the parts of a head its length
    is: behind two of them, or behind five, with the cookie's before it.
    """

    origin: str
    host: str
    trusted: bool
    headers: Mapping[str, str]
    cors: bytes
    target: Target | None
    length_at: int


class Plain:
    """One request, as far as its head tells: the `length` of the body, and the `size`
    of both, in bytes. `browser` is the cookie that tells browsers apart, or empty.

    The length stands in the head as `digits`, between `before` and `after`.
    """

    __slots__ = ("after", "before", "browser", "digits", "form", "length", "size")

    def __init__(
        self, form: Form, before: bytes, digits: bytes, after: bytes, browser: str
    ) -> None:
        self.form = form
        self.before = before
        self.digits = digits
        self.after = after
        self.length = int(digits)
        self.size = len(before) + len(digits) + len(after) + self.length
        self.browser = browser

    def next(self, data: bytes) -> "Plain | None":
        """Return the request that the data begin with, if at most its length differs
        from this one: so do nearly all that follow each other on a connection."""
        begin, after = len(self.before), self.after
        if not data.startswith(self.before):
            return None
        end = begin + len(self.digits)
        if data[begin:end] == self.digits and data[end : end + len(after)] == after:
            return self
        end = data.find(b"\r", begin, begin + _MOST_DIGITS + 1)
        if end < 0 or data[end : end + len(after)] != after:
            return None
        digits = data[begin:end]
        if not _is_length(digits) or end + len(after) > LONGEST:
            return None
        return Plain(self.form, self.before, digits, after, self.browser)


class PlainHeads:
    """Reads the heads of requests to these `addresses` and behind them, and of `calls`.

    `headers` are the names of those that are asked for beside the protocol's own;
    `browsers` tells whether browsers are told apart.
    """

    def __init__(
        self,
        addresses: Collection[str],
        headers: Collection[str],
        calls: PlainCalls,
        origins: Origins,
        *,
        browsers: bool,
    ) -> None:
        self._calls = calls
        self._reader = HeadReader(addresses, headers, calls.patterns)
        self._kept = [name.lower() for name in headers]
        self._origins = origins
        self._browsers = browsers
        self._known: dict[tuple[bytes, ...], Form] = {}

    def read(self, data: bytes) -> Plain | Verdict:
        """Return the request that the data begin with, as far as its head tells."""
        text = data[: data.find(b"\r\n\r\n") + 4]
        parts = _cut(text)
        common = parts.copy()
        del common[2::3]
        form = self._known.get(tuple(common))
        if form is not None and len(text) <= LONGEST:
            plain = self._like(form, parts)
            if plain is not None:
                return plain
        head = self._reader.read(data)
        return head if isinstance(head, Verdict) else self._new(text, head, parts)

    def _like(self, form: Form, parts: list[bytes]) -> Plain | None:
        """Return a request of this form; None if what differs is not as usual."""
        at = form.length_at
        browser = self._browser(parts[7 - at]) if len(parts) > 4 else ""
        if browser is None or not _is_length(parts[at]):
            return None
        before, after = b"".join(parts[:at]), b"".join(parts[at + 1 :])
        return Plain(form, before, parts[at], after, browser)

    def _new(self, text: bytes, head: Head, parts: list[bytes]) -> Plain | Verdict:
        browser = self._browser(head.fields.get("cookie", "").encode())
        form = self._form(head)
        found = _find_length(text)
        if browser is None or form is None or found is None:
            return Verdict.FOREIGN
        if len(text) <= LONGEST_KNOWN and len(parts) == 1 + 3 * len(_differing(head)):
            self._remember(form, parts)
        begin, end = found.span(1)
        return Plain(form, text[:begin], text[begin:end], text[end:], browser)

    def _remember(self, form: Form, parts: list[bytes]) -> None:
        if len(self._known) >= MOST_FORMS:
            self._known.clear()
        del parts[2::3]
        self._known[tuple(parts)] = form

    def _form(self, head: Head) -> Form | None:
        """Return the form of a request, None if it is not plain after all."""
        fields, target = head.fields, None
        origin, host = fields.get("origin"), fields["host"]
        if origin == "":
            return None
        if head.call is not None:
            target = self._calls.find(head.call, fields.get("content-type"))
            if target is None:
                return None
        kept = {name: fields[name] for name in self._kept if name in fields}
        return Form(
            origin=origin or "",
            host=host,
            trusted=origin is None or self._origins.own(origin, host),
            headers=Headers(kept) if kept else _NONE,
            cors=_cors(origin or ""),
            target=target,
            length_at=2 if _differing(head)[0] == "content-length" else 5,
        )

    def _browser(self, cookies: bytes) -> str | None:
        """Return the cookie, empty if there is none, None if that is unclear."""
        found = _browser(cookies) if cookies else ""
        return found if found is None or self._browsers else ""


@lru_cache(maxsize=4096)
def _browser(cookies: bytes) -> str | None:
    text = cookies.decode("ascii")
    if COOKIE not in text:
        return ""
    found = _BROWSERS(text)
    if len(found) != 1 or not _COOKIES(text):
        return None
    return found[0] if is_browser(found[0]) else ""


def _differing(head: Head) -> list[str]:
    """Return the names of those fields that are no part of a form, in their order."""
    return [name for name in head.fields if name in {"content-length", "cookie"}]


def _is_length(digits: bytes) -> bool:
    return (
        digits.isdigit()
        and len(digits) <= _MOST_DIGITS
        and (digits[:1] != b"0" or digits == b"0")
    )


def _cors(origin: str) -> bytes:
    fields = cors_headers(origin).items() if origin else ()
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
