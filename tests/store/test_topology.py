"""Which of several servers is the primary, as far as they know themselves."""

import pytest

from cometd_chat.store.redis_link import Address
from cometd_chat.store.redis_topology import Role, chosen, with_history

INFO = b"""role:master\r
connected_slaves:4\r
slave0:ip=127.0.0.1,port=1,state=online,offset=14,lag=0\r
slave1:ip=127.0.0.1,port=2,state=online,offset=14,lag=10\r
slave2:ip=127.0.0.1,port=3,state=online,offset=14,lag=11\r
slave3:ip=127.0.0.1,port=4,state=wait_bgsave,offset=0,lag=0\r
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


def test_a_server_says_whose_data_it_has_and_who_follows() -> None:
    told = with_history(Role(Address("a", 1), None, 3), INFO)
    assert (told.history, told.former, told.replicas) == ("aaa1", "bbb2", 2)
    silent = with_history(Role(Address("a", 1), None, 3), None)
    assert (silent.history, silent.former, silent.replicas) == ("", "", 3)
