"""Where a text may be cut without breaking what a reader sees as one character.

A small relative of the extended grapheme clusters of UAX #29, made from the tables
Python has: combining marks, variation selectors, emoji modifiers, keycaps and tag
sequences stay with what they change; a zero width joiner keeps two pictures
together; two regional indicators are one flag; Hangul vowels and finals stay with
their syllable; CR LF is one. Not covered: consonants that a virama joins (GB9c),
prepended marks (GB9b), and the vowels Thai and Lao write as separate letters
(U+0E33, U+0EB3). A cut there changes the look of one letter, never the encoding.
"""

import unicodedata

_JOINER = "\u200d"
_ELLIPSIS = "…"


def cluster_ends(text: str) -> list[int]:
    """Return the index behind each cluster, in order; the last is `len(text)`."""
    if text.isascii() and "\r\n" not in text:
        return list(range(1, len(text) + 1))
    ends: list[int] = []
    flags = 0  # regional indicators directly before this place
    for index in range(1, len(text)):
        before, after = text[index - 1], text[index]
        flags = flags + 1 if _is_flag_half(before) else 0
        paired = flags % 2 == 1 and _is_flag_half(after)
        if not (paired or _extends(after) or _joins(before, after)):
            ends.append(index)
    return [*ends, len(text)] if text else []


def shortened(text: str, ends: list[int], count: int) -> str:
    """Return the first `count` clusters, with an ellipsis for what is missing.

    `ends` are those of `cluster_ends`. Of no clusters nothing is shown, not even the
    ellipsis.
    """
    if count >= len(ends):
        return text
    return text[: ends[count - 1]].rstrip() + _ELLIPSIS if count else ""


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _extends(char: str) -> bool:
    return (
        unicodedata.category(char)[0] == "M"
        or char in {_JOINER, "\u200c"}
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags: flags of regions
        or "\u1160" <= char <= "\u11ff"  # Hangul vowels and finals
    )


def _joins(before: str, after: str) -> bool:
    if before == _JOINER:
        return after >= "\U0001f000" or unicodedata.category(after)[0] == "S"
    return before == "\r" and after == "\n"
