"""Several clients of one browser share the few connections it has.

Bayeux 1.0, "Multiple clients": those that are too many poll without being held.
"""

import random
from collections import Counter
from typing import Any

import pytest

from cometd_chat.bayeux import WEBSOCKET, BayeuxServer, Client, Connect, Expired

from .core import (
    FORGET,
    OFFLINE,
    connect,
    hello,
    message,
    new_server,
    receive,
    wire,
)

COOKIE = "a cookie"
SURPLUS = {
    "reconnect": "retry",
    "interval": 2000,
    "timeout": 25_000,
    "maxInterval": 600_000,
    "multiple-clients": True,
}


@pytest.fixture
def server() -> BayeuxServer:
    return new_server(max_holds_per_browser=2)


def join(server: BayeuxServer, browser: str = COOKIE) -> Client:
    """Let a client of this browser in and answer its first connect."""
    client = server.client(wire(server.admit(hello(), None, 0, browser))["clientId"])
    assert client is not None
    answer(server, connect(server, client))
    return client


def answer(server: BayeuxServer, decision: Connect, now: float = 0) -> None:
    server.answered(decision, now)


def test_so_many_polls_are_held_and_the_others_told_to_wait(
    server: BayeuxServer,
) -> None:
    clients = [join(server) for _ in range(4)]
    held = [connect(server, client) for client in clients]
    assert [each.wait for each in held] == [True, True, False, False]
    assert all("advice" not in wire(each.reply) for each in held[:2])
    for surplus in held[2:]:
        reply = wire(surplus.reply)
        assert reply["successful"] is True
        assert reply["advice"] == SURPLUS


def test_the_first_connect_is_never_told_so(server: BayeuxServer) -> None:
    for _ in range(2):
        connect(server, join(server))
    late = server.client(wire(server.admit(hello(), None, 0, COOKIE))["clientId"])
    assert late is not None
    advice = wire(connect(server, late).reply)["advice"]
    assert advice["interval"] == 0
    assert "multiple-clients" not in advice


def test_a_place_is_free_when_a_poll_was_answered(server: BayeuxServer) -> None:
    first, second, third = (join(server) for _ in range(3))
    held = connect(server, first)
    connect(server, second)
    assert not connect(server, third).wait
    answer(server, held)
    assert connect(server, third).wait


def test_a_newer_connect_of_a_client_takes_its_own_place(server: BayeuxServer) -> None:
    first, second = join(server), join(server)
    connect(server, first)
    former = connect(server, second)
    newer = connect(server, second)
    assert newer.wait
    answer(server, former)
    assert not connect(server, join(server)).wait


def test_other_browsers_and_clients_without_cookie_are_not_concerned(
    server: BayeuxServer,
) -> None:
    for browser in (COOKIE, COOKIE, "another", "", "", ""):
        assert connect(server, join(server, browser)).wait


def test_a_socket_takes_no_place_and_gives_back_the_one_of_its_client(
    server: BayeuxServer,
) -> None:
    clients = [join(server) for _ in range(4)]
    for client in clients:
        connect(server, client)
    for client in clients:
        assert connect(server, client, connectionType=WEBSOCKET).wait
    assert not server._holds


@pytest.mark.parametrize(("most", "held"), [(0, 0), (1, 1), (-1, 9)])
def test_the_number_may_be_any_or_unlimited(most: int, held: int) -> None:
    server = new_server(max_holds_per_browser=most)
    decisions = [connect(server, join(server)) for _ in range(9)]
    assert sum(each.wait for each in decisions) == held


def goodbye(server: BayeuxServer, client: Client, now: float = 1) -> None:
    receive(server, message("/meta/disconnect", client.id), now, alone=True)


def leave(server: BayeuxServer, client: Client, held: Connect) -> None:
    goodbye(server, client)


def retire(server: BayeuxServer, client: Client, held: Connect) -> None:
    server.expel(client)


def resume(server: BayeuxServer, client: Client, held: Connect) -> None:
    new = server.client(wire(server.admit(hello(), None, 0))["clientId"])
    assert new is not None
    server.resume(client, new)


def vanish(server: BayeuxServer, client: Client, held: Connect) -> None:
    answer(server, held)
    server.sweep(OFFLINE)
    assert Expired(client) in server.sweep(FORGET)


@pytest.mark.parametrize("end", [leave, retire, resume, vanish])
def test_whichever_way_a_client_ends_its_place_is_free(end: Any) -> None:
    server = new_server(max_holds_per_browser=1)
    client = join(server)
    end(server, client, connect(server, client))
    assert not server._holds
    assert connect(server, join(server)).wait


def test_whatever_clients_do_places_are_counted_and_all_given_back() -> None:
    """Ten thousand random steps of thirty clients in three browsers."""
    random.seed(7)
    server = new_server(max_holds_per_browser=2)
    clients: list[Client] = []
    open_polls: dict[Client, Connect] = {}
    now = 0.0
    for _ in range(10_000):
        now += 0.01
        if len(clients) < 30:
            clients.append(join(server, random.choice(["a", "b", "c"])))
        client = random.choice(clients)
        match random.randrange(6):
            case 0 | 1 | 2:
                kind = random.choice([WEBSOCKET, "long-polling", "long-polling"])
                open_polls[client] = connect(server, client, now, connectionType=kind)
            case 3 | 4 if client in open_polls:
                answer(server, open_polls.pop(client), now)
            case 5 if random.random() < 0.2:
                goodbye(server, client, now)
                clients.remove(client)
                open_polls.pop(client, None)
        check(server, open_polls)
    for decision in open_polls.values():
        answer(server, decision, now)
    assert not server._holds


def check(server: BayeuxServer, open_polls: dict[Client, Connect]) -> None:
    held: Counter[str] = Counter()
    for client, decision in open_polls.items():
        if decision.wait and client.transport != WEBSOCKET:
            held[client.browser] += 1
    assert server._holds._held == held
    assert all(count <= 2 for count in held.values())
