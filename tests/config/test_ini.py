"""Files that configparser accepts mean the same to us."""

from configparser import ConfigParser, Error

from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.config.ini import parse

LINES = (
    "[a]", "[b]", "[c.d]", "  [e]", "[f] # why", "x = 1", "X=2", "y =", "z = = 3",
    "  w = 4", "    v = 5", "\tu = 6", "# comment", "  ; comment", "", "   ",
    "t = 7 ; not a comment", "  more", "      more still", "s = ünï %(x)s", "nothing",
    "= nameless",
)  # fmt: skip


def theirs(text: str) -> dict[str, dict[str, str]] | None:
    parser = ConfigParser(
        interpolation=None, delimiters=("=",), default_section="\0none"
    )
    try:
        parser.read_string(text)
    except Error:
        return None
    return {title: dict(parser[title]) for title in parser.sections()}


def ours(text: str) -> dict[str, dict[str, str]] | None:
    parsed = parse(text.encode(), "a.ini")
    wrong = [i for i in parsed.items if not i.section or i.value is None]
    if parsed.problems or wrong:
        return None
    found: dict[str, dict[str, str]] = {title: {} for title in parsed.sections}
    for item in parsed.items:
        found[item.section][item.name.lower()] = item.value or ""
    return found


@given(st.lists(st.sampled_from(LINES), max_size=12).map("\n".join))
def test_lines_in_any_order_mean_what_configparser_reads(text: str) -> None:
    assert ours(text) == theirs(text)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    parsed = parse(data, "a.ini")
    assert all(item.line > 0 for item in parsed.items)
