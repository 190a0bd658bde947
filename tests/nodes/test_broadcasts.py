"""What was published lately, and how far who has heard it."""

from cometd_chat.chat.luggage import Published
from cometd_chat.nodes.broadcasts import FORGOTTEN, LATELY, Broadcasts


def news(data: bytes) -> Published:
    return Published(channel="/news", data=data, sender="s")


def test_a_client_that_arrives_missed_what_it_did_not_hear() -> None:
    here = Broadcasts()
    for number in (1, 2):
        here.note("x", number, news(b"%d" % number), 0.0)
    assert here.missed({"x": 1}, LATELY) == [news(b"2")]
    assert here.missed({}, LATELY + 0.1) == []


def test_a_node_that_is_gone_is_forgotten() -> None:
    here = Broadcasts()
    here.note("gone", 7, news(b"a"), 0.0)
    here.note("here", 1, news(b"b"), 1.0)
    assert here.heard("c") == {"gone": 7, "here": 1}
    here.note("here", 2, news(b"c"), 0.1 + FORGOTTEN)
    assert here.heard("c") == {"here": 2}
    assert here.missed(here.heard("c"), 0.1 + FORGOTTEN) == []
