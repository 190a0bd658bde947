"""What one client gets, in which order, after which word of its own."""

import dataclasses
import itertools
from collections.abc import Callable

import msgspec
import pytest
from msgspec import Raw

from cometd_chat.bayeux import Bounds, Mailboxes
from cometd_chat.delivery import PAGE, Delivery
from cometd_chat.store import StoreUnavailableError
from tests.delivery.scripted import (
    Running,
    ScriptedStore,
    drained,
    entry,
    positions,
    render,
    shown,
    side_by_side,
    taken,
)


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def delivery(store: ScriptedStore) -> Delivery:
    return Delivery(store, Mailboxes(Bounds()))


def listening(
    store: ScriptedStore, delivery: Delivery, entries: int = 0, after: int = 0
) -> None:
    """Let client c read a new session s, and read what there is to know of it."""
    delivery.attach("c", store.create("s", entries), render, after)
    Running(delivery.catch_up("c")).finish()
    store.calls.clear()


def test_new_entries_are_delivered_without_reading_the_store(store, delivery):
    listening(store, delivery)
    for n in range(1, 4):
        store.append("s")
        assert shown(delivery.take("c")) == [[n]]
        delivery.acknowledge("c")
    assert store.calls == []


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 4 * PAGE])
def test_a_replay_brings_everything_once_and_in_order(store, delivery, count):
    listening(store, delivery, count)
    assert drained(delivery, "c") == list(range(1, count + 1))
    assert delivery.take("c") == []


def test_a_replay_of_one_page_is_one_event(store, delivery):
    listening(store, delivery, PAGE)
    assert taken(delivery, "c") == [list(range(1, PAGE + 1))]


def test_the_first_page_is_read_with_one_query_and_the_rest_with_more(store, delivery):
    delivery.attach("c", store.create("s", PAGE + 1), render, 0)
    assert len(positions(delivery, "c")) == PAGE
    assert store.calls == ["get", "read"]
    delivery.acknowledge("c")
    assert positions(delivery, "c") == [PAGE + 1]
    assert store.calls == ["get", "read", "read"]


def test_entries_beyond_a_full_tail_wait_in_the_store(store, delivery):
    listening(store, delivery)
    store.append("s", PAGE + 3)
    assert len(positions(delivery, "c")) == PAGE
    delivery.acknowledge("c")
    assert positions(delivery, "c") == [PAGE + 1, PAGE + 2, PAGE + 3]


def test_one_change_may_bring_several_entries(store, delivery):
    listening(store, delivery)
    store.tell(store.grow("s", 3))
    assert shown(delivery.take("c")) == [[1, 2, 3]]


def test_a_hole_in_the_transcript_splits_the_event(store, delivery):
    session = store.create("s")
    store.transcripts["s"] = [entry(1), entry(2), entry(4), entry(7), entry(8)]
    delivery.attach("c", dataclasses.replace(session, last=8), render, 0)
    assert taken(delivery, "c") == [[1, 2], [4], [7, 8]]


def test_a_change_after_a_hole_makes_the_store_be_read(store, delivery):
    listening(store, delivery)
    store.grow("s", 2)
    store.append("s")
    assert delivery.take("c") is None
    assert taken(delivery, "c") == [[1, 2, 3]]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_changes_in_any_order_are_put_right(store, delivery, order):
    listening(store, delivery)
    changes = [store.grow("s") for _ in range(4)]
    store.tell(*[changes[i] for i in order])
    assert drained(delivery, "c") == [1, 2, 3, 4]


def test_a_change_told_twice_is_delivered_once(store, delivery):
    listening(store, delivery)
    change = store.grow("s")
    store.tell(change, change)
    assert drained(delivery, "c") == [1]
    store.tell(change)
    assert delivery.take("c") == []


def test_changes_of_sessions_nobody_reads_are_passed_over(store, delivery):
    listening(store, delivery)
    store.create("other")
    store.append("other")
    assert delivery.take("c") == []


def read_stops() -> list[int]:
    return list(range(5))


@pytest.mark.parametrize("first", read_stops())
@pytest.mark.parametrize("second", read_stops())
def test_changes_at_any_two_moments_of_a_read_lose_and_double_nothing(
    store, delivery, first, second
):
    delivery.attach("c", store.create("s", 2), render, 0)
    assert delivery.take("c") is None
    script = [
        (first, lambda: store.append("s")),
        (second, lambda: store.append("s", 2)),
    ]
    Running(delivery.catch_up("c")).finish(script)
    if first > 3 or second > 3:
        store.append("s")
    told = len(store.transcripts["s"])
    assert drained(delivery, "c") == list(range(1, told + 1))
    assert store.calls.count("get") == 1


@pytest.mark.parametrize("told", read_stops())
def test_a_commit_is_not_lost_when_its_change_is_told_only_later(store, delivery, told):
    """The store is ahead of its own news: readers see a commit before the watchers."""
    delivery.attach("c", store.create("s", 2), render, 0)
    change = store.grow("s", 3)
    stops = Running(delivery.catch_up("c")).finish([(told, lambda: store.tell(change))])
    if told >= stops:
        store.tell(change)
    assert drained(delivery, "c") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("ahead", [1, 3])
def test_what_changed_between_the_look_and_the_attachment_is_delivered(
    store, delivery, ahead
):
    """Register, then read: whoever attaches has looked before anybody watched."""
    session = store.create("s", 1)
    store.append("s", ahead)
    delivery.attach("c", session, render, 1)
    assert drained(delivery, "c") == list(range(2, ahead + 2))


def test_an_end_between_the_look_and_the_attachment_is_delivered(store, delivery):
    session = store.create("s", 1)
    store.tell(store.end("s"))
    delivery.attach("c", session, render, 0)
    Running(delivery.catch_up("c")).finish()
    assert delivery.take("c") == [Raw(b'["s",true,[1,2]]')]


def test_a_read_that_started_before_the_cursor_moved_changes_nothing(store, delivery):
    listening(store, delivery, 3)
    assert positions(delivery, "c") == [1, 2, 3]
    store.grow("s")
    store.append("s")
    reading = Running(delivery.catch_up("c"))
    delivery.lost("c")
    reading.finish()
    assert drained(delivery, "c") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("stops", range(5))
def test_two_reads_of_one_client_deliver_once(store, delivery, stops):
    """A second poll displaces the first, whose read is still under way."""
    delivery.attach("c", store.create("s", 3), render, 0)
    slow = Running(delivery.catch_up("c"))
    for _ in range(stops):
        slow.step()
    assert positions(delivery, "c") == [1, 2, 3]
    slow.finish()
    assert shown(delivery.take("c")) == []
    delivery.acknowledge("c")
    store.append("s")
    assert drained(delivery, "c") == [4]


def test_a_slow_look_at_the_session_does_not_hide_that_it_ended(store, delivery):
    delivery.attach("c", store.create("s", 1), render, 0)
    slow = Running(delivery.catch_up("c"))
    slow.step()
    store.tell(store.end("s"))
    fast = Running(delivery.catch_up("c"))
    fast.finish()
    slow.finish()
    assert delivery.take("c") == [Raw(b'["s",true,[1,2]]')]


def test_a_lost_response_is_delivered_again_exactly(store, delivery):
    listening(store, delivery, 2)
    assert positions(delivery, "c") == [1, 2]
    delivery.acknowledge("c")
    store.append("s", 2)
    assert positions(delivery, "c") == [3, 4]
    delivery.lost("c")
    store.append("s")
    assert positions(delivery, "c") == [3, 4, 5]
    assert delivery.cursors("c")["s"].acked == 2


def test_a_lost_response_brings_its_notices_back_in_order(store, delivery):
    listening(store, delivery)
    delivery.post("c", b'"one"')
    delivery.post("c", b'"two"')
    store.append("s")
    assert taken(delivery, "c") == ["one", "two", [1]]
    delivery.post("c", b'"three"')
    delivery.lost("c")
    assert taken(delivery, "c") == ["one", "two", "three", [1]]


def test_acknowledged_entries_and_notices_do_not_come_back(store, delivery):
    listening(store, delivery)
    delivery.post("c", b'"one"')
    store.append("s")
    assert taken(delivery, "c") == ["one", [1]]
    delivery.acknowledge("c")
    delivery.lost("c")
    assert taken(delivery, "c") == []


def test_acknowledging_confirms_what_was_sent_and_no_more(store, delivery):
    listening(store, delivery, 3)
    assert positions(delivery, "c") == [1, 2, 3]
    store.append("s")
    delivery.acknowledge("c")
    cursor = delivery.cursors("c")["s"]
    assert (cursor.acked, cursor.sent, cursor.newest) == (3, 3, 4)


def test_acknowledging_without_a_response_confirms_nothing(store, delivery):
    listening(store, delivery, 3)
    delivery.acknowledge("c")
    assert delivery.cursors("c")["s"].acked == 0


@pytest.mark.parametrize(
    ("position", "expected"),
    [(0, [1, 2, 3, 4, 5]), (2, [3, 4, 5]), (3, [4, 5]), (4, [5]), (5, []), (99, [])],
)
def test_a_client_is_believed_the_position_it_says(store, delivery, position, expected):
    listening(store, delivery, 3)
    assert positions(delivery, "c") == [1, 2, 3]
    store.append("s", 2)
    delivery.acknowledge("c", position)
    assert delivery.cursors("c")["s"].acked == min(position, 5)
    assert drained(delivery, "c") == expected


def test_a_position_says_nothing_when_several_sessions_are_read(store, delivery):
    listening(store, delivery, 2)
    delivery.attach("c", store.create("t", 2), render, 0)
    assert taken(delivery, "c") == [[1, 2], [1, 2]]
    delivery.acknowledge("c", 0)
    assert taken(delivery, "c") == []
    assert {c.acked for c in delivery.cursors("c").values()} == {2}


def test_a_client_reads_several_sessions(store, delivery):
    listening(store, delivery)
    delivery.attach("c", store.create("t", 1), render, 0)
    assert taken(delivery, "c") == [[1]]
    store.append("s")
    store.append("t")
    assert taken(delivery, "c") == [[1], [2]]
    delivery.lost("c")
    assert sorted(taken(delivery, "c")) == [[1], [1, 2]]


def test_a_client_may_start_in_the_middle_and_beyond_the_end(store, delivery):
    session = store.create("s", 3)
    for after, expected in [(2, [3]), (3, []), (7, []), (-1, [1, 2, 3])]:
        delivery.attach("c", session, render, after)
        assert drained(delivery, "c") == expected


@pytest.mark.parametrize("after", [0, 1, 3])
def test_attaching_again_moves_the_cursor_and_leaves_none_behind(
    store, delivery, after
):
    """Else what the old cursor had ready would be sent by both."""
    listening(store, delivery, 3)
    assert delivery.take("c") is not None  # the entries are sent, but unconfirmed
    store.append("s")
    delivery.attach("c", store.session("s"), render, after)
    delivery.lost("c")
    assert drained(delivery, "c") == list(range(after + 1, 5))
    store.append("s")
    assert drained(delivery, "c") == [5]


def test_attaching_again_does_not_finish_the_new_cursor_by_the_old(store, delivery):
    listening(store, delivery)
    store.tell(store.end("s"))
    assert positions(delivery, "c") == [1]
    delivery.attach("c", store.session("s"), render, 0)
    assert delivery.acknowledge("c") == []
    assert positions(delivery, "c") == [1]


def test_detaching_stops_what_is_under_way(store, delivery):
    listening(store, delivery, 2)
    assert positions(delivery, "c") == [1, 2]
    store.grow("s")
    store.append("s")
    reading = Running(delivery.catch_up("c"))
    delivery.detach("c", "s")
    reading.finish()
    delivery.lost("c")
    store.append("s")
    assert taken(delivery, "c") == []
    assert delivery.acknowledge("c") == []


def test_detaching_what_is_not_attached_is_no_error(store, delivery):
    delivery.detach("c", "s")
    listening(store, delivery)
    delivery.detach("c", "other")
    assert delivery.watchers("s").keys() == {"c"}


def test_nothing_is_kept_of_a_forgotten_client(store, delivery):
    listening(store, delivery, 2)
    delivery.attach("c", store.create("t", 2), render, 0)
    delivery.attach("d", store.session("t"), render, 0)
    delivery.post("c", b'"one"')
    taken(delivery, "c")
    delivery.forget("c")
    assert delivery.cursors("c") == {}
    assert delivery.watchers("s") == {}
    assert delivery.watchers("t").keys() == {"d"}
    delivery.forget("d")
    assert (delivery._readers, delivery._watchers) == ({}, {})


def test_forgetting_while_a_read_is_under_way_leaves_no_trace(store, delivery):
    delivery.attach("c", store.create("s", 2), render, 0)
    reading = Running(delivery.catch_up("c"))
    delivery.forget("c")
    reading.finish()
    assert (delivery._readers, delivery._watchers) == ({}, {})


def test_an_unknown_client_has_nothing_and_no_call_makes_it_known(store, delivery):
    delivery.lost("c")
    delivery.forget("c")
    delivery.detach("c", "s")
    assert delivery.acknowledge("c", 3) is None
    assert delivery.take("c") == []
    assert Running(delivery.catch_up("c")).at is None
    assert delivery._readers == {}


def test_a_full_mailbox_drops_the_oldest_and_counts(store):
    mailboxes = Mailboxes(Bounds(events=2))
    delivery = Delivery(store, mailboxes)
    for n in range(5):
        delivery.post("c", b"%d" % n)
    assert taken(delivery, "c") == [3, 4]
    assert mailboxes.dropped == 3


def test_lost_responses_do_not_let_a_mailbox_grow(store):
    mailboxes = Mailboxes(Bounds(events=2))
    delivery = Delivery(store, mailboxes)
    for n in range(4):
        delivery.post("c", b"%d" % n)
        taken(delivery, "c")
        delivery.lost("c")
    assert taken(delivery, "c") == [2, 3]
    assert mailboxes.dropped == 2


def test_a_reply_is_cut_at_its_size_and_the_rest_follows(store):
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=1000)
    delivery.attach("c", store.create("s"), render, 0)
    Running(delivery.catch_up("c")).finish()
    store.append("s", 7, "x" * 300)
    replies = []
    while found := positions(delivery, "c"):
        replies.append(found)
        delivery.acknowledge("c")
    assert replies == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_cut_reply_that_is_lost_comes_again_with_the_rest(store):
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=400)
    delivery.attach("c", store.create("s", 5), render, 0)
    assert positions(delivery, "c") == [1, 2, 3, 4]
    delivery.lost("c")
    assert drained(delivery, "c") == [1, 2, 3, 4, 5]


def test_the_rest_of_a_cut_reply_needs_no_further_change(store):
    """The read brought more than the news had told of until then."""
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=400)
    delivery.attach("c", store.create("s", 2), render, 0)
    late = store.grow("s", 6)
    assert positions(delivery, "c") == [1, 2, 3, 4]
    delivery.acknowledge("c")
    assert positions(delivery, "c") == [5, 6, 7, 8]
    store.tell(late)
    delivery.acknowledge("c")
    assert delivery.take("c") == []


def test_an_entry_larger_than_a_reply_is_sent_alone(store):
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=100)
    delivery.attach("c", store.create("s"), render, 0)
    Running(delivery.catch_up("c")).finish()
    store.append("s", 2, "x" * 5000)
    assert [positions(delivery, "c"), positions(delivery, "c")] == [[1], [2]]


def test_sessions_that_do_not_fit_into_a_reply_come_with_the_next(store):
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=100)
    for name in "st":
        delivery.attach("c", store.create(name, 1), render, 0)
    assert taken(delivery, "c") == [[1]]
    delivery.acknowledge("c")
    assert taken(delivery, "c") == [[1]]
    assert all(c.sent == 1 for c in delivery.cursors("c").values())


def test_an_ended_session_is_let_go_once_it_was_read_to_its_end(store, delivery):
    listening(store, delivery)
    store.append("s")
    store.tell(store.end("s"))
    assert taken(delivery, "c") == [[1, 2]]
    assert delivery.watchers("s")
    (finished,) = delivery.acknowledge("c")
    assert (finished.session.id, finished.acked) == ("s", 2)
    assert finished.session.ended
    assert delivery.watchers("s") == delivery.cursors("c") == {}


def test_an_ended_session_is_kept_until_its_end_is_confirmed(store):
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=100)
    delivery.attach("c", store.create("s", 1), render, 0)
    store.tell(store.end("s"))
    assert positions(delivery, "c") == [1]
    assert delivery.acknowledge("c") == []
    assert positions(delivery, "c") == [2]
    delivery.lost("c")
    assert delivery.acknowledge("c") == []
    assert positions(delivery, "c") == [2]
    assert len(delivery.acknowledge("c")) == 1


@pytest.mark.parametrize("told", range(4))
def test_an_ended_session_is_never_let_go_before_its_end(store, told):
    """Even if the news of the last entries comes after the read that brought them."""
    delivery = Delivery(store, Mailboxes(Bounds()), max_reply=400)
    delivery.attach("c", store.create("s", 2), render, 0)
    changes = [store.grow("s", 5), store.end("s")]
    Running(delivery.catch_up("c")).finish([(told, lambda: store.tell(*changes))])
    assert drained(delivery, "c") == list(range(1, 9))


def test_a_client_that_says_it_has_the_end_is_done(store, delivery):
    listening(store, delivery)
    store.tell(store.end("s"))
    Running(delivery.catch_up("c")).finish()
    assert [c.acked for c in delivery.acknowledge("c", 1)] == [1]
    assert delivery.cursors("c") == {}


def test_whoever_attaches_at_the_end_of_an_ended_session_is_done(store, delivery):
    store.create("s", 1)
    store.end("s")
    delivery.attach("c", store.session("s"), render, 2)
    assert len(delivery.acknowledge("c")) == 1


def test_a_purged_session_detaches_its_readers(store, delivery):
    listening(store, delivery, 1)
    delivery.attach("c", store.create("t", 1), render, 0)
    store.append("s")
    store.tell(store.purge("s"))
    assert delivery.take("c") is None
    assert taken(delivery, "c") == [[1]]
    assert delivery.cursors("c").keys() == {"t"}


def test_entries_that_are_gone_are_not_waited_for(store, delivery):
    """A transcript that was rolled back: the news spoke of more than there is."""
    listening(store, delivery)
    store.grow("s")
    store.append("s", 2)
    store.transcripts["s"].clear()
    assert taken(delivery, "c") == []
    store.append("s")
    assert drained(delivery, "c") == [1]


def test_news_that_comes_while_nothing_is_read_is_not_forgotten(store, delivery):
    delivery.attach("c", store.create("s", 1), render, 0)
    reading = Running(delivery.catch_up("c"))
    while reading.at != "before read":
        reading.step()
    store.transcripts["s"].clear()
    reading.step()
    store.tell(store.grow("s", 2))
    reading.finish()
    assert drained(delivery, "c") == [1, 2]


def test_an_altered_session_is_read_again_with_its_next_entry(store, delivery):
    listening(store, delivery)
    store.tell(store.end("s"))
    assert delivery.take("c") is None
    Running(delivery.catch_up("c")).finish()
    assert delivery.take("c") == [Raw(b'["s",true,[1]]')]
    assert store.calls == ["get"]


def test_a_session_that_is_altered_while_it_is_read_is_read_once_more(store, delivery):
    listening(store, delivery)
    store.tell(msgspec.structs.replace(store.grow("s"), altered=True))
    reading = Running(delivery.catch_up("c"))
    reading.step()
    store.tell(store.end("s"))
    reading.finish()
    assert delivery.take("c") is None
    Running(delivery.catch_up("c")).finish()
    assert delivery.take("c") == [Raw(b'["s",true,[1,2]]')]


@pytest.mark.parametrize("stop", [0, 2])
def test_a_store_that_fails_is_asked_again(store, delivery, stop):
    listening(store, delivery)
    store.grow("s")
    store.tell(store.end("s"))
    reading = Running(delivery.catch_up("c"))
    for _ in range(stop):
        reading.step()
    store.broken = True
    with pytest.raises(StoreUnavailableError):
        reading.finish()
    store.broken = False
    assert delivery.take("c") is None
    Running(delivery.catch_up("c")).finish()
    assert delivery.take("c") == [Raw(b'["s",true,[1,2]]')]


def test_a_new_client_goes_on_where_the_old_one_was(store, delivery):
    listening(store, delivery, 2)
    delivery.attach("d", store.session("s"), render, 2)
    assert positions(delivery, "c") == [1, 2]
    delivery.acknowledge("c")
    delivery.post("c", b'"one"')
    store.append("s")
    assert taken(delivery, "c") == ["one", [3]]
    store.append("s")
    names = woken(delivery)
    delivery.move("c", "new")
    assert names == ["new"]
    assert (delivery.cursors("c"), taken(delivery, "c")) == ({}, [])
    assert delivery.watchers("s").keys() == {"d", "new"}
    assert taken(delivery, "new") == ["one", [3, 4]]
    store.append("s")
    delivery.acknowledge("new")
    assert taken(delivery, "new") == [[5]]


@pytest.mark.parametrize("stops", range(4))
def test_a_read_of_the_old_client_serves_the_new_one(store, delivery, stops):
    delivery.attach("c", store.create("s", 2), render, 0)
    reading = Running(delivery.catch_up("c"))
    for _ in range(stops):
        reading.step()
    delivery.move("c", "new")
    reading.finish()
    assert drained(delivery, "new") == [1, 2]


def test_nothing_is_kept_of_a_client_that_was_moved(store, delivery):
    delivery.move("unknown", "new")
    listening(store, delivery, 2)
    delivery.move("c", "new")
    delivery.forget("c")
    delivery.forget("new")
    assert (delivery._readers, delivery._watchers) == ({}, {})


def test_the_word_of_a_client_is_taken_where_it_reads_one_session(store, delivery):
    delivery.believe("c", 1)
    listening(store, delivery, 2)
    assert positions(delivery, "c") == [1, 2]
    delivery.believe("c", 1)
    assert positions(delivery, "c") == [2]
    delivery.attach("c", store.create("t", 1), render, 0)
    delivery.believe("c", 0)
    assert taken(delivery, "c") == [[1]]


def test_a_second_poll_during_the_first_look_misses_nothing(store, delivery):
    """Neither may take the session for known before one of them has read it."""
    session = store.create("s")
    store.append("s")
    delivery.attach("c", session, render, 0)
    first = Running(delivery.catch_up("c"))
    delivery.lost("c")
    delivery.acknowledge("c")
    assert delivery.take("c") is None
    first.finish()
    assert positions(delivery, "c") == [1]


def woken(delivery: Delivery) -> list[str]:
    names: list[str] = []
    delivery.on_wake(names.append)
    return names


def test_clients_are_woken_by_whatever_waits_for_them(store, delivery):
    names = woken(delivery)
    listening(store, delivery)
    assert names == ["c"]
    delivery.attach("d", store.session("s"), render, 0)
    store.append("s")
    assert names == ["c", "d", "c", "d"]
    delivery.post("d", b"1")
    assert names[4:] == ["d"]


def test_nobody_is_woken_by_what_brings_nothing(store, delivery):
    listening(store, delivery, 1)
    change = store.grow("s")
    store.tell(change)
    drained(delivery, "c")
    names = woken(delivery)
    store.tell(change, msgspec.structs.replace(change, entries=(), altered=True))
    assert names == []


def test_what_is_known_to_be_needed_is_read_at_once(store):
    delivery = Delivery(store, Mailboxes(Bounds()), each=side_by_side)
    delivery.attach("c", store.create("s", 3), render, 0)
    reading = Running(delivery.catch_up("c"))
    assert store.calls == ["get", "read"]
    reading.finish()
    assert store.calls == ["get", "read"]
    assert taken(delivery, "c") == [[1, 2, 3]]


def test_a_client_that_is_woken_may_take_at_once(store, delivery):
    listening(store, delivery)
    replies: list[object] = []
    delivery.on_wake(lambda name: replies.append(shown(delivery.take(name))))
    store.append("s", 2)
    assert replies == [[[1]], [[2]]]


def test_what_belongs_together_is_told_at_once(store, delivery):
    listening(store, delivery)
    delivery.attach("d", store.session("s"), render, 0)
    names = woken(delivery)
    with delivery.together("c"), delivery.together("c"):
        store.append("s")
        delivery.post("c", b"1")
        assert names == ["d"]
    assert names == ["d", "c"]
    delivery.post("c", b"2")
    assert names == ["d", "c", "c"]


def test_who_waited_for_what_failed_hears_the_rest(store, delivery):
    listening(store, delivery)
    names: list[str] = []
    delivery.on_wake(failing_for("d", names))
    delivery.attach("c", store.session("s"), render, 0)
    with pytest.raises(ValueError, match="d"), delivery.together("c"):
        delivery.post("d", b"1")
    assert names == ["c", "d", "c"]


def failing_for(name: str, log: list[str]) -> Callable[[str], None]:
    def wake(woken: str) -> None:
        log.append(woken)
        if woken == name:
            raise ValueError(name)

    return wake


def test_a_client_whose_waking_fails_takes_no_news_from_the_others(store, delivery):
    listening(store, delivery)
    delivery.attach("d", store.session("s"), render, 0)
    drained(delivery, "d")
    names: list[str] = []
    delivery.on_wake(failing_for("c", names))
    with pytest.raises(ValueError, match="c"):
        store.append("s")
    assert drained(delivery, "d") == [1]
    assert drained(delivery, "c") == [1]
