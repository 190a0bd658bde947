"""How the text of an option becomes a value, and what to say when it does not."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Network: TypeAlias = IPv4Network | IPv6Network


class RejectedError(ValueError):
    """The text is no value of its kind.

    The message says more than what the kind expects, or is empty.
    """


def _no_guesses(_text: str) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """What an option may be.

    `parse` raises `RejectedError`; `show` writes a value as `parse` reads it;
    `guesses` proposes texts for one that was rejected. `free`: every text of one
    line is a value, so slips can only be remarked on. `many`: a list.
    """

    noun: str
    allowed: str = ""
    parse: Callable[[str], T]
    show: Callable[[T], str] = str
    guesses: Callable[[str], Iterable[str]] = _no_guesses
    free: bool = False
    many: bool = False

    @property
    def expected(self) -> str:
        return f"{self.noun} {self.allowed}".strip()

    def meant(self, text: str) -> str | None:
        """Return what the author of a rejected text probably wanted to write."""
        bare = unquoted(without_comment(text))
        for guess in (bare, bare.lower(), *self.guesses(bare)):
            try:
                return self.show(self.parse(guess)) if guess else None
            except RejectedError:
                continue
        return None


def without_comment(text: str) -> str:
    """Return the text before what looks like a comment at the end of a line."""
    return re.split(r"\s[;#]", text, maxsplit=1)[0].strip()


def unquoted(text: str) -> str:
    """Return the text without a pair of quotes around it."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def items(text: str) -> list[str]:
    """Split a list at commas and line ends; empty items are kept."""
    return [item.strip() for item in re.split(r"[,\n]", text)]


# Numbers and amounts


def integer(low: int, high: int, noun: str = "number") -> Kind[int]:
    """Whole numbers within the range, bounds included."""

    def parse(text: str) -> int:
        # no int(): it takes signs, underscores and digits of other scripts
        if not re.fullmatch("[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise RejectedError
        return int(text)

    return Kind(noun=noun, allowed=f"{low}..{high}", parse=parse)


def whole_seconds(low: int, high: int) -> Kind[int]:
    """Seconds as GMS writes them: no unit, no fraction."""

    def guesses(text: str) -> Iterable[str]:
        milliseconds = _amount(_in_seconds(text), _MILLISECONDS, "s")
        if milliseconds is not None and milliseconds % 1000 == 0:
            yield str(milliseconds // 1000)

    kind = integer(low, high, "whole seconds")
    return Kind(noun=kind.noun, allowed=kind.allowed, parse=kind.parse, guesses=guesses)


_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BYTES = {"MiB": 1 << 20, "KiB": 1 << 10, "MB": 10**6, "KB": 1000, "B": 1}
_WORDS = {"mil": "ms", "sec": "s", "min": "m", "hou": "h", "hr": "h", "day": "d"}


def _amount(text: str, units: dict[str, int], bare: str) -> int | None:
    """Return number times unit, rounded; `bare` is the unit of a mere number."""
    parts = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)", text)
    if not parts:
        return None
    unit = units.get(parts[2] or bare)
    return None if unit is None else round(float(parts[1]) * unit)


def _shortest(amount: int, units: dict[str, int], bare: str) -> str:
    for unit, factor in units.items():
        if amount and amount % factor == 0:
            return f"{amount // factor}{unit}"
    return f"0{bare}"


def _show_duration(seconds: float) -> str:
    return _shortest(round(seconds * 1000), _MILLISECONDS, "s")


def _show_size(size: int) -> str:
    return _shortest(size, _BYTES, "B")


def _in_seconds(text: str) -> str:
    """Write the unit of a duration as one of ours: `10 minutes` is `10m`."""
    unit = text.lower().lstrip("0123456789. ")
    number = text[: len(text) - len(unit)].strip()
    near = next((u for w, u in _WORDS.items() if unit.startswith(w)), unit)
    return f"{number}{near}"


def duration(low: float, high: float) -> Kind[float]:
    """Seconds; written with `ms s m h d`, a bare number being seconds."""

    def parse(text: str) -> float:
        milliseconds = _amount(text, _MILLISECONDS, "s")
        if milliseconds is None or not low <= milliseconds / 1000 <= high:
            raise RejectedError
        return milliseconds / 1000

    return Kind(
        noun="duration",
        allowed=f"{_show_duration(low)}..{_show_duration(high)} (ms, s, m, h, d)",
        parse=parse,
        show=_show_duration,
        guesses=lambda text: (_in_seconds(text),),
    )


def size(low: int, high: int) -> Kind[int]:
    """Bytes; written with `B KB MB KiB MiB`, a bare number being bytes."""

    def parse(text: str) -> int:
        amount = _amount(text, _BYTES, "B")
        if amount is None or not low <= amount <= high:
            raise RejectedError
        return amount

    def guesses(text: str) -> Iterable[str]:
        number = text.rstrip("bBiIkKmM ")
        unit = text[len(number) :].strip().upper()
        return (f"{number}{unit}", f"{number}{unit[:1]}iB")

    return Kind(
        noun="size",
        allowed=f"{_show_size(low)}..{_show_size(high)} (B, KB, MB, KiB, MiB)",
        parse=parse,
        show=_show_size,
        guesses=guesses,
    )


# Words


_TRUTH = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def _boolean(text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise RejectedError from None


BOOLEAN = Kind(
    noun="yes or no",
    allowed="(also true, on, 1, false, off, 0)",
    parse=_boolean,
    show=lambda value: "true" if value else "false",
    guesses=lambda text: get_close_matches(text.lower(), _TRUTH, n=1),
)


def choice(*known: str) -> Kind[str]:
    """One word out of the known ones."""

    def parse(text: str) -> str:
        if text not in known:
            raise RejectedError
        return text

    return Kind(
        noun="one of",
        allowed=", ".join(known),
        parse=parse,
        guesses=lambda text: get_close_matches(text.lower(), known, n=1),
    )


TEXT: Kind[str] = Kind(noun="text", parse=str, free=True)


def _secret(text: str) -> str:
    if not text:
        raise RejectedError("the secret is empty")
    if "\n" in text or "\r" in text:
        raise RejectedError("a secret has one line only")
    return text


SECRET = Kind(noun="secret", parse=_secret, free=True)


# Lists


def listing(
    noun: str,
    item: Callable[[str], T],
    *,
    allowed: str = "",
    least: int = 0,
    guesses: Callable[[str], Iterable[str]] = _no_guesses,
) -> Kind[tuple[T, ...]]:
    """Items separated by commas or line ends; empty ones do not count."""

    def parse(text: str) -> tuple[T, ...]:
        values = tuple(item(word) for word in items(text) if word)
        if len(values) < least:
            raise RejectedError
        return values

    def show(values: tuple[T, ...]) -> str:
        return ", ".join(map(str, values))

    return Kind(
        noun=noun,
        allowed=allowed,
        parse=parse,
        show=show,
        guesses=guesses,
        many=True,
    )


def names(noun: str, *known: str, least: int = 0) -> Kind[tuple[str, ...]]:
    """A list of words out of the known ones; `noun` names one of them."""

    def item(word: str) -> str:
        if word not in known:
            raise RejectedError(f'unknown {noun} "{word}". Known: {", ".join(known)}')
        return word

    def guesses(text: str) -> Iterable[str]:
        by_lower = {word.lower(): word for word in known}
        near = (get_close_matches(w.lower(), by_lower, 1) for w in items(text))
        yield ", ".join(by_lower[found[0]] if found else "?" for found in near)

    return listing(
        "list of", item, allowed=", ".join(known), least=least, guesses=guesses
    )


TEXTS = listing("list of texts", str)


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise RejectedError(f'"{text}" is no address and no network') from None
    if network.prefixlen == 0:
        raise RejectedError(f'"{text}" would trust everybody')
    if network.network_address != ip_address(text.partition("/")[0]):
        raise RejectedError(f'"{text}" has bits beyond its mask, expected {network}')
    return network


NETWORKS = listing("list of networks", _network, allowed="such as 10.0.0.0/8")


def _channel(text: str) -> str:
    segments = re.fullmatch(r"/([\w!~()$@-]+)(/[\w!~()$@-]+)*(/\*\*?)?", text, re.ASCII)
    if not segments:
        raise RejectedError(f'"{text}" is no channel such as /news or /news/**')
    if segments[1] in {"meta", "service", "_genesys"}:
        raise RejectedError(f'"{text}" is not open to broadcasts')
    return text


# Apps in a web view have schemes of their own, such as capacitor://localhost.
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-\[\]:]+").fullmatch


def _origin(text: str) -> str:
    if not _ORIGIN(text):
        raise RejectedError
    return text


ORIGINS = listing("list of origins", _origin, allowed="such as https://www.example.com")

CHANNELS = listing("list of channels", _channel, allowed="such as /news or /news/**")


# Places


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        labels = r"(?!.*\.[0-9]+$)(?![0-9]+$)[a-z0-9]([a-z0-9_.-]*[a-z0-9])?"
        if not re.fullmatch(labels, text, re.ASCII | re.IGNORECASE):
            raise RejectedError from None
        return text


def _guess_host(text: str) -> Iterable[str]:
    bare = re.sub(r"^\w+://", "", text).partition("/")[0]
    return (bare.strip("[]"), re.sub(r"\]?:[0-9]*$", "", bare).strip("["))


HOST = Kind(
    noun="address or host name",
    allowed="without port",
    parse=_host,
    guesses=_guess_host,
)


def _base_path(text: str) -> str:
    if not re.fullmatch(r"(/[\w~-][\w.~-]*)+", text, re.ASCII):
        raise RejectedError
    return text


BASE_PATH = Kind(
    noun="path",
    allowed="such as /genesys",
    parse=_base_path,
    guesses=lambda text: ("/" + text.strip("/"),),
)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"[\s#]", text):
        raise RejectedError
    return text


URL = Kind(noun="address", allowed="such as https://push.example.com/hook", parse=_url)


def _store_url(text: str) -> str:
    if re.match(r"redis(s|\+cluster)?://", text):
        raise RejectedError("this build has no Redis store yet, expected sqlite:///…")
    if not re.fullmatch(r"sqlite:///[^\n]*[^/\n]", text):
        raise RejectedError
    return text


def _guess_store_url(text: str) -> Iterable[str]:
    # no guess from another scheme: a file of that name would surprise everybody
    path = text.removeprefix("sqlite:").lstrip("/")
    return () if ":" in path else (f"sqlite:///{path}",)


STORE_URL = Kind(
    noun="store",
    allowed="such as sqlite:///./data/cometd-chat.db",
    parse=_store_url,
    guesses=_guess_store_url,
)


def _file(text: str) -> Path:
    path = Path(text)
    if not text or "\n" in text:
        raise RejectedError
    if re.match(r"https?://", text):
        raise RejectedError("this build reads no addresses, expected a path")
    if path.is_dir():
        raise RejectedError("is a directory, expected a file")
    if not os.access(path, os.R_OK):
        there = path.exists()
        raise RejectedError("not readable by this user" if there else "no such file")
    return path


FILE = Kind(noun="path of a readable file", parse=_file)
