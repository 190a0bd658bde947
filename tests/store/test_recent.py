"""The newest entries in memory: what is there is right, and not too much is."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometd_chat.model import Entry, PushOverride
from cometd_chat.store import Change
from cometd_chat.store.growth import entry_of
from cometd_chat.store.recent import KEPT, OVERHEAD, SHARES, Recent
from tests.store.facts import said


def entries(first: int, last: int, text: str = "", **facts: object) -> list[Entry]:
    """The entries of these positions."""
    draft = said(text, **facts)
    return [entry_of(draft, n, draft.at, 1) for n in range(first, last + 1)]


def told(recent: Recent, name: str, new: Sequence[Entry]) -> None:
    recent.changed(Change(session_id=name, entries=tuple(new)))


def positions(found: list[Entry] | None) -> list[int] | None:
    return None if found is None else [entry.position for entry in found]


def known(recent: Recent, *names: str) -> str:
    """Return those of the chats of which something is there."""
    return "".join(name for name in names if recent.read(name, 99, 1) is not None)


def room_for(count: int) -> int:
    """Return the room in which as many chats with one entry of 1,000 bytes fit."""
    recent = Recent()
    told(recent, "s", entries(1, 1, "z" * 1000))
    return recent._size * count


@pytest.mark.parametrize(
    ("after", "limit", "wanted"),
    [
        (0, 500, None),  # begins with position 1
        (1, 500, None),
        (2, 500, [3, 4, 5]),
        (2, 3, [3, 4, 5]),
        (3, 1, [4]),
        (4, 0, []),
        (4, -1, []),
        (5, 500, []),
        (9, 500, []),
        (2**70, 2**70, []),
        (-(2**70), 500, None),
    ],
)
def test_what_was_told_is_read_from_any_position_in_it(
    after: int, limit: int, wanted: list[int] | None
) -> None:
    recent = Recent()
    told(recent, "s", entries(3, 4))
    told(recent, "s", entries(5, 5))
    assert positions(recent.read("s", after, limit)) == wanted


def test_a_position_below_the_first_means_the_beginning() -> None:
    recent = Recent()
    told(recent, "s", entries(1, 2))
    assert positions(recent.read("s", -7, 500)) == [1, 2]


def test_of_a_chat_that_nothing_was_told_of_nothing_is_known() -> None:
    recent = Recent()
    recent.changed(Change(session_id="s", altered=True))
    assert recent.read("s", 0, 500) is None
    assert recent.read("s", 0, 0) is None


def test_other_changes_leave_the_entries_alone() -> None:
    recent = Recent()
    told(recent, "s", entries(1, 2))
    recent.changed(Change(session_id="s", altered=True))
    assert positions(recent.read("s", 0, 500)) == [1, 2]


def test_what_was_read_belongs_to_the_reader() -> None:
    recent = Recent()
    told(recent, "s", entries(1, 3))
    found = recent.read("s", 0, 500)
    assert found is not None
    found.clear()
    assert positions(recent.read("s", 0, 500)) == [1, 2, 3]


@pytest.mark.parametrize("first", [1, 2, 4], ids=["again", "overlap", "hole"])
def test_entries_that_do_not_continue_begin_anew(first: int) -> None:
    recent = Recent()
    told(recent, "s", entries(1, 2, "old"))
    told(recent, "s", entries(first, first, "new"))
    found = recent.read("s", first - 1, 500)
    assert found is not None
    assert [(e.position, e.text) for e in found] == [(first, "new")]
    assert positions(recent.read("s", first - 2, 500)) == ([1] if first == 1 else None)


def test_a_chat_is_dropped_with_its_bytes() -> None:
    recent = Recent()
    told(recent, "s", entries(1, 9, "z" * 99))
    recent.drop("s")
    recent.drop("s")
    assert recent.read("s", 8, 1) is None
    assert recent._size == 0
    told(recent, "s", entries(1, 9))
    recent.clear()
    assert recent.read("s", 8, 1) is None
    assert recent._size == 0


def test_the_chat_that_nobody_wrote_to_or_read_for_longest_makes_room() -> None:
    recent = Recent(room_for(3))
    for name in "abc":
        told(recent, name, entries(1, 1, "z" * 1000))
    assert positions(recent.read("a", 0, 1)) == [1]
    told(recent, "d", entries(1, 1, "z" * 1000))
    assert known(recent, *"abcd") == "acd"
    told(recent, "a", entries(2, 2, "z" * 1001))
    assert known(recent, *"acd") == "ad"


def test_a_chat_that_outgrows_its_share_keeps_its_newest_entries() -> None:
    share = KEPT // SHARES
    recent = Recent()
    told(recent, "other", entries(1, 1))
    newest = share // 1000
    for n in range(1, newest + 1):
        told(recent, "s", entries(n, n, "z" * 1000))
        assert positions(recent.read("s", n - 1, 1)) == [n]
    assert recent.read("s", 0, 1) is None
    assert positions(recent.read("s", newest - 100, 500)) == list(
        range(newest - 99, newest + 1)
    )
    assert recent._size <= share + 2 * (OVERHEAD + 100)
    assert known(recent, "other") == "other"


def test_an_entry_that_is_larger_than_a_share_is_kept_while_there_is_room() -> None:
    recent = Recent(SHARES * 1000)
    told(recent, "a", entries(1, 3, "z" * 5000))
    assert positions(recent.read("a", 2, 500)) == [3]
    assert recent.read("a", 1, 500) is None
    told(recent, "b", entries(1, 1, "z" * SHARES * 1000))
    assert known(recent, "b") == ""
    assert recent._size == 0


@pytest.mark.parametrize(
    "facts",
    [
        {"text": "z" * 1000},
        {"text": "я" * 500},
        {"text": "z" * 249 + "😀"},
        {"text": "", "nickname": "z" * 1000},
        {"text": "", "user_data": {"key": "z" * 1000}},
        {"text": "", "push": PushOverride(title="z" * 1000)},
    ],
    ids=["text", "cyrillic", "emoji", "nickname", "user-data", "push"],
)
def test_whatever_is_large_in_an_entry_counts(facts: dict[str, object]) -> None:
    recent = Recent()
    told(recent, "s", entries(1, 100, **facts))  # type: ignore[arg-type]  # facts of a test
    assert recent._size >= 100 * (OVERHEAD + 1000)


@dataclass
class Transcripts:
    """All that was ever told, and a `Recent` of little room that was told it."""

    recent: Recent
    whole: defaultdict[str, list[Entry]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def tell(self, name: str, texts: list[int]) -> None:
        whole = self.whole[name]
        for length in texts:
            whole += entries(len(whole) + 1, len(whole) + 1, "z" * length)
        new = tuple(whole[len(whole) - len(texts) :])
        self.recent.changed(Change(session_id=name, entries=new, altered=not texts))

    def purge(self, name: str) -> None:
        self.whole[name].clear()
        self.recent.drop(name)

    def agree(self, name: str, after: int, limit: int) -> None:
        found = self.recent.read(name, after, limit)
        start = max(after, 0)
        assert found in (None, self.whole[name][start : start + limit])


NAME = st.sampled_from("abc")
STEP = st.one_of(
    st.tuples(st.just("tell"), NAME, st.lists(st.integers(0, 900), max_size=5)),
    st.tuples(st.just("purge"), NAME),
    st.tuples(st.just("agree"), NAME, st.integers(-1, 30), st.integers(0, 9)),
)


@settings(max_examples=300, deadline=None)
@given(room=st.integers(0, 40_000), steps=st.lists(STEP, max_size=60))
def test_what_is_there_is_the_truth_and_has_room(
    room: int, steps: list[tuple[str, str]]
) -> None:
    transcripts = Transcripts(Recent(room))
    for what, *arguments in steps:
        getattr(transcripts, what)(*arguments)
        assert 0 <= transcripts.recent._size <= room
    for name, whole in transcripts.whole.items():
        for after in range(len(whole) + 1):
            transcripts.agree(name, after, len(whole))
