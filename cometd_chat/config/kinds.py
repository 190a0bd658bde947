"""How the text of an option becomes a value, and what to say when it does not."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

T = TypeVar("T")


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
