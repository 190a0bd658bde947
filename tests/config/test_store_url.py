"""Which addresses of a storage are understood."""

import pytest

from cometd_chat.config import loads

KEY = "[agents]\nsecret = a key of the tests, long enough for HS256\n"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/chat.db",
        "redis://cache",
        "redis://user:hidden@cache:6380/2",
        "rediss://:hidden@one:6379,two:6379",
        "redis+cluster://one,two,[::1]:7000",
        "rediss+cluster://user:hidden@one/",
    ],
)
def test_the_address_of_a_storage_is_understood(url: str) -> None:
    loaded = loads(f"{KEY}[store]\nurl = {url}\n")
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.store.url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://a b",
        "redis://one,,two",
        "redis+cluster://one/1",
        "redis://one:port",
        "redis://one:6379,two:65536",
        "redis://::1",
    ],
)
def test_an_address_that_leads_nowhere_is_refused(url: str) -> None:
    assert loads(f"{KEY}[store]\nurl = {url}\n").config is None


@pytest.mark.parametrize("prefix", ["", "a b", "chat{1}", "chat*", "x" * 65, "ä"])
def test_a_prefix_that_redis_would_take_for_something_else_is_refused(
    prefix: str,
) -> None:
    loaded = loads(f"{KEY}[store]\nurl = redis://cache\nprefix = {prefix}\n")
    (problem,) = loaded.problems
    assert loaded.config is None
    assert str(problem).startswith(f'<text>:5: error: [store] prefix = "{prefix}": ')
    assert "letters, digits" in str(problem)


def test_nodes_that_share_a_storage_share_the_key_of_the_agents() -> None:
    (problem,) = loads("[store]\nurl = redis://cache\n").problems
    assert "needs [agents] secret or jwks" in str(problem)
