"""Where a text may be cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.push.graphemes import cluster_ends, shortened


def clusters(text: str) -> list[str]:
    ends = cluster_ends(text)
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a", 1),
        ("abc", 3),
        ("a\r\nb", 3),
        ("é", 1),
        ("e\u0301", 1),  # combining acute
        ("a\u0308\u0323b", 2),
        ("👍🏽", 1),  # skin tone
        ("❤️", 1),  # variation selector
        ("1\ufe0f\u20e3", 1),  # keycap
        ("👩‍👩‍👧‍👦", 1),  # family of four
        ("👩🏽‍🚀👨‍🚀", 2),
        ("🙂‍↔️", 1),  # head shaking
        ("🇩🇪🇫🇷", 2),
        ("🇩🇪🇫", 2),
        ("x🇩🇪🇫🇷y", 4),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            1,
        ),  # England
        ("नि", 1),  # Devanagari vowel sign
        ("ｶﾞ", 2),  # half width: letters of their own
        ("\u1112\u1161\u11ab\u1100", 2),  # Hangul: han, g
        ("a\u200db", 2),  # a joiner joins pictures only
        ("日本語", 3),
    ],
)
def test_what_a_reader_sees_as_one_character_stays_together(
    text: str, count: int
) -> None:
    assert len(clusters(text)) == count
    assert "".join(clusters(text)) == text


@given(st.text())
def test_the_ends_cover_the_text_without_a_gap(text: str) -> None:
    ends = cluster_ends(text)
    assert ends == sorted(set(ends))
    assert "".join(clusters(text)) == text


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, ""), (1, "a…"), (2, "a…"), (3, "a 👩‍🚀…"), (4, "a 👩‍🚀b"), (9, "a 👩‍🚀b")],
)
def test_what_is_missing_shows_as_an_ellipsis(count: int, shown: str) -> None:
    text = "a 👩‍🚀b"
    assert shortened(text, cluster_ends(text), count) == shown
