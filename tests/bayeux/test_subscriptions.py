"""Which subscriptions a channel matches, and which patterns cover a name."""

import tracemalloc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cometd_chat.bayeux.subscriptions import Patterns, Subscriptions

SEGMENTS = st.lists(st.sampled_from("ab"), max_size=3)
NAMES = st.one_of(
    SEGMENTS.filter(bool).map(lambda parts: "/" + "/".join(parts)),
    st.builds(
        lambda parts, wildcard: "/" + "/".join([*parts, wildcard]),
        SEGMENTS,
        st.sampled_from(["*", "**"]),
    ),
)
# One segment and two levels more than the names have: a finite number of names can
# then never cover a pattern by chance.
UNIVERSE = [
    "/" + "/".join(parts)
    for depth in range(1, 6)
    for parts in product("abz", repeat=depth)
]
CLIENTS = ["ann", "bob", "cy"]


def is_matched(name: str, channel: str) -> bool:
    """Compare segment by segment, as the specification words it."""
    wanted, given_ = name.split("/"), channel.split("/")
    match wanted.pop():
        case "**":
            return len(given_) > len(wanted) and given_[: len(wanted)] == wanted
        case "*":
            return given_[:-1] == wanted
        case last:
            return given_ == [*wanted, last]


def subscribed(*pairs: tuple[str, str]) -> Subscriptions:
    subscriptions = Subscriptions()
    for name, client in pairs:
        subscriptions.add(name, client)
    return subscriptions


@pytest.mark.parametrize(
    ("name", "channel", "expected"),
    [
        ("/foo", "/foo", True),
        ("/foo", "/foo/a", False),
        ("/foo", "/FOO", False),
        ("/foo/*", "/foo/a", True),
        ("/foo/*", "/foo", False),
        ("/foo/*", "/foobar", False),
        ("/foo/*", "/foo/a/b", False),
        ("/foo/**", "/foo/a", True),
        ("/foo/**", "/foo/a/b/c", True),
        ("/foo/**", "/foo", False),
        ("/foo/**", "/foobar/a", False),
        ("/*", "/foo", True),
        ("/*", "/foo/a", False),
        ("/**", "/foo", True),
        ("/**", "/foo/a/b", True),
    ],
)
def test_wildcards_stand_for_whole_segments(
    name: str, channel: str, *, expected: bool
) -> None:
    assert subscribed((name, "ann")).matching(channel) == (
        {"ann"} if expected else set()
    )


def test_a_client_is_found_once_however_many_of_its_patterns_match() -> None:
    names = ["/a/b", "/a/*", "/a/**", "/**"]
    subscriptions = subscribed(*((name, "ann") for name in names), ("/a/b", "bob"))

    assert subscriptions.matching("/a/b") == {"ann", "bob"}
    assert subscriptions.names("ann") == set(names)


def test_a_second_subscription_to_the_same_name_changes_nothing() -> None:
    subscriptions = subscribed(("/a", "ann"), ("/a", "ann"))
    subscriptions.remove("/a", "ann")

    assert subscriptions.matching("/a") == set()


def test_what_was_never_subscribed_can_be_removed() -> None:
    subscriptions = subscribed(("/a", "ann"))
    subscriptions.remove("/a", "bob")
    subscriptions.remove("/b", "ann")
    subscriptions.forget("bob")

    assert subscriptions.matching("/a") == {"ann"}
    assert subscriptions.names("bob") == set()


def test_the_clients_found_stay_found_while_subscriptions_change() -> None:
    subscriptions = subscribed(("/a", "ann"), ("/a", "bob"))
    found = subscriptions.matching("/a")
    subscriptions.forget("ann")

    assert found == {"ann", "bob"}
    found.clear()
    assert subscriptions.matching("/a") == {"bob"}


def test_ten_thousand_clients_that_came_and_went_leave_nothing() -> None:
    subscriptions = Subscriptions()
    for i in range(10_000):
        for name in ("/news", f"/a/{i}", f"/a/{i}/**"):
            subscriptions.add(name, f"client{i}")
    assert len(subscriptions) == 20_001
    for i in range(10_000):
        subscriptions.remove(f"/a/{i}", f"client{i}")
        subscriptions.forget(f"client{i}")

    assert len(subscriptions) == 0
    assert not subscriptions._clients
    assert not subscriptions._names


class Subscribing(RuleBasedStateMachine):
    """Subscriptions against a plain set of pairs that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions = Subscriptions()
        self.model: set[tuple[str, str]] = set()

    @rule(name=NAMES, client=st.sampled_from(CLIENTS))
    def add(self, name: str, client: str) -> None:
        self.subscriptions.add(name, client)
        self.model.add((name, client))

    @rule(name=NAMES, client=st.sampled_from(CLIENTS))
    def remove(self, name: str, client: str) -> None:
        self.subscriptions.remove(name, client)
        self.model.discard((name, client))

    @rule(client=st.sampled_from(CLIENTS))
    def forget(self, client: str) -> None:
        self.subscriptions.forget(client)
        self.model = {pair for pair in self.model if pair[1] != client}

    @rule(channel=st.sampled_from(UNIVERSE))
    def match(self, channel: str) -> None:
        expected = {client for name, client in self.model if is_matched(name, channel)}
        assert self.subscriptions.matching(channel) == expected

    @invariant()
    def nothing_is_kept_but_what_is_subscribed(self) -> None:
        assert len(self.subscriptions) == len({name for name, _ in self.model})
        for client in CLIENTS:
            names = {name for name, who in self.model if who == client}
            assert self.subscriptions.names(client) == names
        assert all(self.subscriptions._clients.values())
        assert all(self.subscriptions._names.values())

    def teardown(self) -> None:
        for client in CLIENTS:
            self.subscriptions.forget(client)
        assert not self.subscriptions._clients
        assert not self.subscriptions._names


TestSubscribing = Subscribing.TestCase
TestSubscribing.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None
)


@pytest.mark.parametrize(
    ("allowed", "name", "expected"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", False),
        ("/a", "/*", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/*", True),
        ("/a/*", "/a/**", False),
        ("/a/*", "/a/b/*", False),
        ("/a/*", "/a", False),
        ("/a/**", "/a/b", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a/*", True),
        ("/a/**", "/a/**", True),
        ("/a/**", "/a/b/*", True),
        ("/a/**", "/a/b/**", True),
        ("/a/**", "/a", False),
        ("/a/**", "/ab/c", False),
        ("/a/**", "/*", False),
        ("/a/**", "/**", False),
        ("/*", "/a", True),
        ("/*", "/**", False),
        ("/**", "/a", True),
        ("/**", "/a/b/**", True),
        ("/**", "/*", True),
        ("/**", "/**", True),
    ],
)
def test_a_pattern_covers_what_lies_wholly_within_it(
    allowed: str, name: str, *, expected: bool
) -> None:
    assert Patterns([allowed]).covers(name) is expected


@pytest.mark.parametrize(
    "name",
    ["/meta/connect", "/meta/**", "/meta/a/*", "/service/a", "/service/*"],
)
def test_no_pattern_covers_the_channels_of_the_protocol(name: str) -> None:
    assert not Patterns(["/**", name]).covers(name)


@pytest.mark.parametrize(
    "name", ["", "/", "a", "//a", "/a//b", "/a/", "/a/*/b", "/a/***", "/\N{BLACK STAR}"]
)
def test_no_pattern_covers_what_is_no_channel(name: str) -> None:
    assert not Patterns(["/**", "/a/**", name]).covers(name)


def test_without_patterns_nothing_is_covered() -> None:
    assert not Patterns([]).covers("/a")


@given(allowed=st.lists(NAMES, max_size=4), name=NAMES)
@settings(max_examples=100, deadline=None)
def test_covered_means_that_every_channel_it_matches_is_allowed(
    allowed: list[str], name: str
) -> None:
    expected = all(
        any(is_matched(pattern, channel) for pattern in allowed)
        for channel in UNIVERSE
        if is_matched(name, channel)
    )
    assert Patterns(allowed).covers(name) is expected


def test_names_that_anybody_makes_up_do_not_fill_the_memory() -> None:
    patterns, heard = Patterns(["/news/**"]), Subscriptions()
    tracemalloc.start()
    try:
        for number in range(500):
            name = f"/news/{number}" + "/a" * 120
            assert patterns.covers(name)
            assert not patterns.covers(name.replace("news", "none"))
            assert heard.matching(name) == set()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_500_000
