"""What extensions put into messages: acks, clocks, resume, replay, activity."""

from typing import Any

import pytest
from msgspec import Raw

from cometd_chat.bayeux import (
    BayeuxServer,
    Connect,
    Disconnect,
    Mailboxes,
    Release,
    extensions,
)
from cometd_chat.bayeux.broadcast import Broadcast, Rules
from cometd_chat.bayeux.mailbox import Bounds, Overflow
from cometd_chat.bayeux.subscriptions import Patterns

from .core import admit, connect, join, message, new_server, receive, wire

NOW = 1_700_000_000_000
OLD, NEW = "old", "new"


def meta(**ext: Any) -> Any:
    return message("/meta/connect", "client1", ext=ext)


# Acknowledgements


@pytest.mark.parametrize(
    ("asked", "speaks"),
    [(True, True), (False, False), (None, False), (1, False), ("true", False)],
)
def test_only_true_asks_for_acknowledgements(asked: object, speaks: bool) -> None:
    assert extensions.asks_for_acks(meta(ack=asked)) is speaks


def test_a_message_without_extensions_asks_for_nothing() -> None:
    plain = message("/meta/handshake")
    assert not extensions.asks_for_acks(plain)
    assert extensions.batch(plain) is None
    assert extensions.resume(plain) is None
    assert extensions.replay(plain, "/a") is None
    assert extensions.timesync(plain, NOW, NOW) is None


@pytest.mark.parametrize("number", ["3", 3.0, None, [3], {"batch": 3}])
def test_a_batch_number_is_an_integer_or_none(number: object) -> None:
    assert extensions.batch(meta(ack=number)) is None
    assert extensions.batch(meta(ack=3)) == 3


def test_clients_begin_at_numbers_of_their_own_that_every_client_can_hold() -> None:
    numbers = {extensions.first_batch(f"client{n}") for n in range(1000)}
    assert len(numbers) > 990
    assert all(0 <= number < 2**31 - 1_000_000 for number in numbers)


# Clocks


def test_the_clock_of_a_client_that_knows_nothing_yet_is_answered() -> None:
    asked = meta(timesync={"tc": NOW - 1500, "l": 0, "o": 0})
    answer = extensions.timesync(asked, NOW, NOW + 7)
    assert answer == {"tc": NOW - 1500, "ts": NOW, "p": 7, "a": -1500}


@pytest.mark.parametrize(
    ("off", "answered"), [(0, False), (24, False), (-24, False), (25, True)]
)
def test_a_client_that_is_right_to_25_milliseconds_needs_no_answer(
    off: int, answered: bool
) -> None:
    asked = meta(timesync={"tc": NOW - 1500 + off, "l": 20, "o": 1480})
    assert (extensions.timesync(asked, NOW, NOW) is not None) is answered


@pytest.mark.parametrize(
    "asked",
    [
        None,
        True,
        [1, 2, 3],
        {"tc": "now"},
        {"tc": 1, "l": 0.5},
        {"tc": 1, "o": None},
    ],
)
def test_a_question_of_another_form_gets_no_answer(asked: object) -> None:
    assert extensions.timesync(meta(timesync=asked), NOW, NOW) is None


def test_a_missing_lag_and_offset_are_zero() -> None:
    answer = extensions.timesync(meta(timesync={"tc": NOW}), NOW, NOW)
    assert answer == {"tc": NOW, "ts": NOW, "p": 0, "a": 0}


@pytest.mark.parametrize(
    ("now", "written"),
    [
        (0.0, "1970-01-01T00:00:00.00"),
        (1_700_000_000.999, "2023-11-14T22:13:20.99"),
        (951_827_696.05, "2000-02-29T12:34:56.05"),
    ],
)
def test_times_are_written_as_bayeux_has_them(now: float, written: str) -> None:
    assert extensions.timestamp(now) == written


# Resume and replay, as they are asked for


def test_a_handshake_names_the_client_it_continues_and_what_it_has() -> None:
    asked = extensions.resume(meta(resume={"clientId": "a", "transcriptPosition": 4}))
    assert asked == extensions.Resume("a", 4)
    assert extensions.resume(meta(resume={"clientId": "a"})) == extensions.Resume(
        "a", None
    )


@pytest.mark.parametrize("asked", [None, "client1", {}, {"clientId": 7}, [{}]])
def test_a_resume_of_another_form_continues_nobody(asked: object) -> None:
    assert extensions.resume(meta(resume=asked)) is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [({"/a": -1, "/b": 7}, -1), ({"/b": 7}, None), (-1, None), (None, None)],
)
def test_a_replay_is_asked_for_by_channel(asked: object, found: object) -> None:
    assert extensions.replay(meta(replay=asked), "/a") == found


# Activity


def quiet(both: bool = False) -> BayeuxServer:
    """Return a server that ends clients whose users did nothing for a minute."""
    return new_server(max_inactivity=60.0, deliveries_are_activity=both)


def poll(server: BayeuxServer, client: Any, now: float, *, events: bool) -> None:
    decision = connect(server, client, now)
    server.answered(decision, now, events=events)


def test_a_client_that_only_polls_is_ended_and_not_called_back() -> None:
    server = quiet()
    client = join(server)
    poll(server, client, 60, events=True)
    decision = receive(server, meta(), 60.1, alone=True)
    assert isinstance(decision, Disconnect)
    answer = wire(decision.reply)
    assert answer["successful"] is True
    assert answer["advice"]["reconnect"] == "none"
    assert len(server) == 0
    late = wire(receive(server, meta(), 61, alone=True))
    assert late["advice"]["reconnect"] == "none"


def test_the_held_connect_of_a_client_that_is_ended_tells_it_as_well() -> None:
    server = quiet()
    client = join(server)
    held = connect(server, client, 59)
    receive(server, meta(), 61, alone=True)
    assert wire(held.reply)["advice"]["reconnect"] == "none"


@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("/service/x", {"data": 1}),
        ("/meta/subscribe", {"subscription": "/a"}),
        ("/meta/unsubscribe", {"subscription": "/a"}),
    ],
)
def test_everything_but_a_poll_is_activity(channel: str, fields: Any) -> None:
    server = quiet()
    client = join(server)
    receive(server, message(channel, client.id, **fields), 59, alone=True)
    assert isinstance(receive(server, meta(), 119, alone=True), Connect)
    assert isinstance(receive(server, meta(), 119.1, alone=True), Disconnect)


@pytest.mark.parametrize(
    ("both", "events", "ended"),
    [(True, True, False), (True, False, True), (False, True, True)],
)
def test_deliveries_count_as_activity_if_that_is_wanted(
    both: bool, events: bool, ended: bool
) -> None:
    server = quiet(both)
    client = join(server)
    poll(server, client, 59, events=events)
    decision = receive(server, meta(), 100, alone=True)
    assert isinstance(decision, Disconnect) is ended


def test_without_the_option_a_client_may_listen_for_ever() -> None:
    server = new_server()
    client = join(server)
    poll(server, client, 1e9, events=False)
    assert len(server) == 1


# A client that has to begin anew


def test_a_client_that_is_expelled_learns_it_from_its_held_connect() -> None:
    server = new_server()
    client = join(server)
    held = connect(server, client, 1)
    server.expel(client)
    answer = wire(held.reply)
    assert answer["successful"] is False
    assert answer["error"].startswith("402:")
    assert answer["advice"]["reconnect"] == "handshake"
    assert len(server) == 0


def test_a_client_that_is_expelled_between_polls_learns_it_from_the_next_one() -> None:
    server = new_server()
    client = join(server)
    server.expel(client)
    answer = wire(receive(server, meta(), 1, alone=True))
    assert answer["advice"]["reconnect"] == "handshake"


def test_an_expelled_client_sets_no_alarm_any_more() -> None:
    server = new_server()
    client = join(server)
    held = connect(server, client, 1)
    server.expel(client)
    server.answered(held, 1)
    assert server.sweep(1e9) == []
    assert not server._alarms


# Resume, on the server


def test_a_new_client_goes_on_in_place_of_the_old_one() -> None:
    server = new_server()
    old, new = join(server), admit(server)
    for client, name in ((old, "/a"), (old, "/b"), (new, "/c")):
        asked = message("/meta/subscribe", client.id, subscription=name)
        assert wire(server.subscribe(client, asked))["successful"]
    held = connect(server, old, 1)
    server.resume(old, new)
    assert new.subscriptions == {"/a", "/b", "/c"}
    assert server.client(old.id) is None
    answer = wire(held.reply)
    assert answer["successful"] is True
    assert answer["advice"]["reconnect"] == "none"


def test_an_old_client_that_was_resumed_leaves_nothing() -> None:
    server = new_server()
    old, new = join(server), admit(server)
    held = connect(server, old, 1)
    server.resume(old, new)
    server.answered(held, 2)
    occurrences = server.sweep(1e9)
    assert {found.client for found in occurrences} == {new}
    assert len(server) == 0
    assert not server._alarms


def test_a_late_connect_of_the_old_client_is_one_of_an_unknown_client() -> None:
    server = new_server()
    old, new = join(server), admit(server)
    server.resume(old, new)
    answer = wire(receive(server, message("/meta/connect", old.id), 1, alone=True))
    assert answer["error"].startswith("402:")


def test_a_client_without_a_poll_can_be_resumed_too() -> None:
    server = new_server()
    old, new = admit(server), admit(server)
    server.resume(old, new)
    assert len(server) == 1
    assert Release not in {type(found) for found in server.sweep(1e9)}


# Resume, in mailboxes and subscriptions


def boxes(**bounds: Any) -> tuple[Mailboxes, list[str]]:
    found = Mailboxes(Bounds(**bounds))
    woken: list[str] = []
    found.on_wake(woken.append)
    return found, woken


def texts(box: Mailboxes, client: str) -> list[bytes]:
    return [bytes(event) for event in box.take(client)]


def test_a_mailbox_moves_with_what_is_in_it_and_what_was_on_its_way() -> None:
    box, _ = boxes()
    box.post(OLD, Raw(b"1"))
    box.take(OLD)
    box.post(OLD, Raw(b"2"))
    box.lost(OLD)
    box.move(OLD, NEW)
    assert box.waiting(NEW)
    assert not box.waiting(OLD)
    assert texts(box, NEW) == [b"1", b"2"]
    assert texts(box, OLD) == []
    box.forget(NEW)
    assert len(box) == 0


def test_lazy_events_keep_their_deadline_over_a_move() -> None:
    box, _ = boxes()
    box.post(OLD, Raw(b"1"), lazy_until=5.0)
    box.move(OLD, NEW)
    assert box.due(4.9) == []
    assert box.due(5.0) == [NEW]
    assert not box._alarms


def test_a_mailbox_that_was_never_opened_moves_as_nothing() -> None:
    box, _ = boxes()
    box.move(OLD, NEW)
    assert len(box) == 0
    assert box.due(1e9) == []


def test_a_client_with_losses_to_learn_of_learns_them_under_its_new_name() -> None:
    box, _ = boxes(events=1, overflow=Overflow.RELEASE)
    box.post(OLD, Raw(b"1"))
    box.post(OLD, Raw(b"2"))
    box.move(OLD, NEW)
    assert box.overflowed() == [NEW]
    box.forget(NEW)
    assert box.overflowed() == []


def test_subscriptions_move_and_nothing_is_left_behind() -> None:
    box, _ = boxes()
    broadcast = Broadcast(Rules(allowed=Patterns(["/a/**"])), box)
    broadcast.subscribe(OLD, ["/a/x", "/a/*"])
    broadcast.move(OLD, NEW)
    assert broadcast.subscriptions.names(NEW) == {"/a/x", "/a/*"}
    assert broadcast.subscriptions.names(OLD) == frozenset()
    assert broadcast.publish("/a/x", Raw(b"1"), sender=None, now=0.0) == 1
    broadcast.forget(NEW)
    assert len(broadcast.subscriptions) == 0


@pytest.mark.parametrize(
    ("ext", "passed"),
    [
        ({"binary": {}, "auth": {"token": "secret"}}, {"binary": {}}),
        ({"auth": {"token": "secret"}}, None),
        (None, None),
    ],
)
def test_only_what_tells_how_to_read_the_data_is_passed_on(
    ext: dict[str, Any] | None, passed: dict[str, Any] | None
) -> None:
    assert extensions.passed_on(message("/news", ext=ext)) == passed
