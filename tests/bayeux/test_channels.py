"""What a channel name may look like, and to which world it belongs."""

import sys

import pytest

from cometd_chat.bayeux import channels
from cometd_chat.bayeux.channels import Kind
from cometd_chat.bayeux.subscriptions import Patterns

LONGEST = "/" + "a" * (channels.MAX_LENGTH - 1)


@pytest.mark.parametrize(
    "name",
    [
        "/a",
        "/chat/room-1",
        "/_genesys",
        "/service/agent",
        "/A9 !#$()+-.@_{}~/b",
        "/meta/connect",
        LONGEST,
    ],
)
def test_messages_may_be_sent_on_plain_names(name: str) -> None:
    assert channels.is_name(name)
    assert not channels.is_pattern(name)


@pytest.mark.parametrize("name", ["/*", "/**", "/a/*", "/a/b/**"])
def test_a_wildcard_may_stand_for_the_last_segments_only(name: str) -> None:
    assert channels.is_pattern(name)
    assert not channels.is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a",
        "a/b",
        "/a/",
        "//a",
        "/a//b",
        "//_genesys",
        "/a/*/b",
        "/a/**/b",
        "/a/***",
        "/a/b*",
        "/a*",
        "/a\n",
        "/a\x00",
        "/a?b",
        "/a/%2fb",
        "/a\\b",
        "/é",
        "/\N{CYRILLIC SMALL LETTER A}",
        "/\N{FULLWIDTH LATIN SMALL LETTER A}",
        "/\N{ARABIC-INDIC DIGIT ONE}",
        LONGEST + "a",
        LONGEST + "/*",
    ],
)
def test_everything_else_is_neither_a_name_nor_a_pattern(name: str) -> None:
    assert not channels.is_name(name)
    assert not channels.is_pattern(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/meta/connect", Kind.META),
        ("/meta/subscribe/x", Kind.META),
        ("/meta/", Kind.META),
        ("/meta/*", Kind.META),
        ("/meta/**", Kind.META),
        ("/service/agent", Kind.SERVICE),
        ("/service/**", Kind.SERVICE),
        ("/chat", Kind.BROADCAST),
        ("/meta", Kind.BROADCAST),
        ("/metadata/x", Kind.BROADCAST),
        ("/services/x", Kind.BROADCAST),
        ("/chat/meta/x", Kind.BROADCAST),
        ("/**", Kind.BROADCAST),
    ],
)
def test_the_first_segment_alone_decides_the_world(name: str, kind: Kind) -> None:
    assert channels.kind(name) is kind


def test_names_that_are_too_long_are_not_remembered() -> None:
    name, patterns = "/" + "a" * channels.MAX_LENGTH, Patterns(["/**"])
    before = sys.getrefcount(name)
    assert not channels.is_name(name)
    assert not channels.is_pattern(name)
    assert not patterns.covers(name)
    assert sys.getrefcount(name) == before
