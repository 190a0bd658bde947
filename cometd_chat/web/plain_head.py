"""What the head of a plain request tells, and which heads are known already.

The requests of an app, or of a browser, are alike but for two fields: the length of
the body, and the cookie. What they have in common is a `Form`, which is read once.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from .browsers import COOKIE, is_browser
from .http_head import LONGEST, Head, HeadReader, Verdict
from .origins import Origins, cors_headers
from .plain_calls import PlainCalls, Target

MOST_FORMS = 4096
"""Forms that are known."""

LONGEST_KNOWN = 1024
"""Bytes of the longest head whose form becomes known."""

_cut = re.compile(
    rb"(\r\n(?:content-length|cookie): )([!-~][ -~]*+)", re.IGNORECASE
).split
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,8}").fullmatch

# Pairs and nothing else: what is quoted could hide the cookie, or be hidden by it.
_PAIR = r'[^=;\s",]++=[^=;\s",]*+'
_COOKIES = re.compile(rf"{_PAIR}(?:; {_PAIR})*+").fullmatch
_BROWSERS = re.compile(rf"(?:^|; ){COOKIE}=([^;]*)").findall


class Headers(Mapping[str, str]):
    """Header fields by name, in any case: the few that the application asks for."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


_NONE = Headers({})


class Form(Struct, frozen=True):
    """What requests have in common that differ in their length and cookie only.

    `cors` are the lines of the response that are for the page of this `origin`;
    `trusted` tells that no configuration could forbid it. Without a `target` they
    bring Bayeux messages. `length_first` tells the order of the two fields.
    """

    origin: str
    host: str
    trusted: bool
    headers: Mapping[str, str]
    cors: bytes
    target: Target | None
    length_first: bool


class Plain(Struct, frozen=True):
    """One request, as far as its head tells: the `length` of the body, and the `size`
    of both, in bytes. `browser` is the cookie that tells browsers apart, or empty."""

    form: Form
    head: bytes
    length: int
    size: int
    browser: str


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

    def read(self, data: bytes | bytearray) -> Plain | Verdict:
        """Return the request that the data begin with, as far as its head tells."""
        text = bytes(data[: data.find(b"\r\n\r\n") + 4])
        common = _cut(text)
        differing = common[2::3]
        del common[2::3]
        key = tuple(common)
        form = self._known.get(key)
        if form is not None and len(text) <= LONGEST:
            plain = self._like(form, text, differing)
            if plain is not None:
                return plain
        head = self._reader.read(data)
        if isinstance(head, Verdict):
            return head
        usual = len(differing) == len(_differing(head))
        return self._new(text, head, key if usual else None)

    def _like(self, form: Form, text: bytes, differing: list[bytes]) -> Plain | None:
        """Return a request of this form; None if what differs is not as usual."""
        length = differing[0 if form.length_first else 1]
        browser: str | None = ""
        if len(differing) > 1:
            cookies = differing[1 if form.length_first else 0]
            browser = self._browser(cookies.decode("ascii"))
        if browser is None or not _LENGTH(length):
            return None
        return _plain(form, text, int(length), browser)

    def _new(
        self, text: bytes, head: Head, key: tuple[bytes, ...] | None
    ) -> Plain | Verdict:
        browser = self._browser(head.fields.get("cookie", ""))
        form = self._form(head)
        if browser is None or form is None:
            return Verdict.FOREIGN
        if key is not None and len(text) <= LONGEST_KNOWN:
            if len(self._known) >= MOST_FORMS:
                self._known.clear()
            self._known[key] = form
        return _plain(form, text, head.length, browser)

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
            length_first=_differing(head)[0] == "content-length",
        )

    def _browser(self, cookies: str) -> str | None:
        """Return the cookie, empty if there is none, None if that is unclear."""
        if COOKIE not in cookies:
            return ""
        found = _BROWSERS(cookies)
        if len(found) != 1 or not _COOKIES(cookies):
            return None
        return found[0] if self._browsers and is_browser(found[0]) else ""


def _differing(head: Head) -> list[str]:
    """Return the names of those fields that are no part of a form, in their order."""
    return [name for name in head.fields if name in {"content-length", "cookie"}]


def _plain(form: Form, text: bytes, length: int, browser: str) -> Plain:
    return Plain(form, text, length, len(text) + length, browser)


def _cors(origin: str) -> bytes:
    fields = cors_headers(origin).items() if origin else ()
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
