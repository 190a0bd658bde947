"""Which of several servers is the primary, as far as they know themselves."""

import pytest

from cometd_chat.store.redis_link import Address
from cometd_chat.store.redis_topology import Role, chosen, with_history

INFO = b"""role:master\r
connected_slaves:1\r
master_replid:aaa1\r
master_replid2:bbb2\r
second_repl_offset:15\r
"""


def primary(name: str, former: str = "", *, replicas: int = 0) -> Role:
    return Role(Address(name, 1), None, replicas, history=name, former=former)


OLD, NEW = primary("old"), primary("new", "old")
OTHER = primary("other")


@pytest.mark.parametrize(
    ("primaries", "expected"),
    [
        ([], None),
        ([OLD], "old"),
        ([NEW], "new"),
        ([OLD, NEW], "new"),
        ([NEW, OLD], "new"),
        ([OLD, OTHER], None),
        ([OLD, NEW, OTHER], "new"),
        ([primary(""), OTHER], None),
        ([primary("old", replicas=2), NEW], "old"),
        ([primary("old", replicas=2), primary("new", "old", replicas=1)], "new"),
        ([primary("old", replicas=2), primary("other", replicas=1)], None),
    ],
)
def test_the_one_that_is_followed_or_took_over_is_the_primary(
    primaries: list[Role], expected: str | None
) -> None:
    found = chosen(primaries)
    assert (found and found.history) == expected


def test_a_server_says_whose_data_it_has() -> None:
    told = with_history(Role(Address("a", 1), None), INFO)
    assert (told.history, told.former) == ("aaa1", "bbb2")
    silent = with_history(Role(Address("a", 1), None), None)
    assert (silent.history, silent.former) == ("", "")
