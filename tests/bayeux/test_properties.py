"""What holds for the Bayeux core whatever comes in, and in whatever order."""

import itertools
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from cometd_chat.bayeux import (
    BayeuxServer,
    BodyError,
    Client,
    Connect,
    Decision,
    Expired,
    Limits,
    Message,
    Release,
    Reply,
    Silent,
    Subscribe,
    encode,
    parse,
    refusal,
    reply,
    screen,
)

from .core import (
    FORGET,
    OFFLINE,
    TIMEOUT,
    admit,
    connect,
    hello,
    join,
    message,
    receive,
)
from .core import new_server as make_server

# Bodies

CHANNELS = st.sampled_from(
    [
        "/meta/handshake",
        "/meta/connect",
        "/meta/subscribe",
        "/meta/unsubscribe",
        "/meta/disconnect",
        "/meta/",
        "/service/a",
        "/a",
        "/a/*",
        "",
    ]
)
NUMBERS = st.one_of(
    st.integers(), st.integers(-(10**400), 10**400), st.floats(allow_nan=False)
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=70))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
CLIENTS = st.sampled_from(["client1", "client2", "client3", "client4", ""])
ODD = {
    "channel": CHANNELS | VALUES,
    "id": VALUES,
    "clientId": CLIENTS | VALUES,
    "version": st.just("1.0") | VALUES,
    "connectionType": VALUES,
    "supportedConnectionTypes": st.lists(st.just("long-polling")) | VALUES,
    "subscription": CHANNELS | st.lists(CHANNELS, max_size=4) | VALUES,
    "advice": st.fixed_dictionaries({"timeout": VALUES}) | VALUES,
    "ext": VALUES,
    "data": VALUES,
    "successful": VALUES,
}
GOOD = {
    "id": st.text(max_size=8) | st.integers() | st.just(1.5),
    "clientId": CLIENTS,
    "subscription": CHANNELS | st.lists(CHANNELS, max_size=4),
    "advice": st.fixed_dictionaries({"timeout": SCALARS}),
}
MESSAGES = st.one_of(
    st.fixed_dictionaries({"channel": CHANNELS}, optional=GOOD),
    st.fixed_dictionaries({}, optional=ODD),
)
REQUESTS = st.lists(MESSAGES, max_size=6) | MESSAGES | VALUES


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw a request body: mostly JSON, sometimes cut or with a byte changed."""
    body = json.dumps(draw(REQUESTS), ensure_ascii=draw(st.booleans())).encode(
        errors="surrogatepass"
    )
    match draw(st.integers(0, 9)):
        case 0:
            return draw(st.binary(max_size=40))
        case 1:
            return body[: draw(st.integers(0, len(body)))]
        case 2:
            at = draw(st.integers(0, len(body)))
            return body[:at] + draw(st.binary(min_size=1, max_size=1)) + body[at + 1 :]
        case _:
            return body


def inhabited() -> BayeuxServer:
    """Make a server that knows client1 and client2, and that client3 left."""
    server = make_server()
    join(server)
    admit(server)
    receive(server, message("/meta/disconnect", admit(server).id), 0, alone=True)
    return server


def carried_out(server: BayeuxServer, decision: Decision) -> list[Reply]:
    """Return the replies an application may give to a decision, granting or not."""
    match decision:
        case Reply():
            return [decision]
        case Connect(reply=answer):
            return [answer]
        case Subscribe(client, sent, _):
            return [server.subscribe(client, sent)]
        case _ if hasattr(decision, "reply"):
            return [decision.reply]
        case _:
            sent = decision.message
            if sent.channel == "/meta/handshake":
                return [server.admit(sent, None, 0), server.refuse(sent, "403::No")]
            return [reply(sent), refusal(sent, "403::No")]


def echo(sent: dict[str, Any]) -> dict[str, Any]:
    """Return what a reply must repeat of a message."""
    return {name: sent[name] for name in ("channel", "id") if name in sent}


def load(text: bytes) -> Any:
    """Read JSON with numbers as they are written, so that 1 is not 1.0."""
    return json.loads(text, parse_int=lambda n: ("number", n), parse_float=str)


def accepted(body: bytes, limits: Limits) -> list[Message | Reply] | None:
    """Return what is in a body, or None if it was refused with a proper status."""
    try:
        return parse(body, limits)
    except BodyError as exc:
        if exc.status in {400, 413}:
            return None
        raise


@settings(max_examples=200, deadline=None)
@given(bodies())
def test_whatever_comes_is_answered_or_refused_as_a_whole(body: bytes) -> None:
    server, found = inhabited(), accepted(body, Limits())
    if found is None:
        return
    sent = load(body)
    sent = sent if isinstance(sent, list) else [sent]
    assert len(found) == len(sent)
    alone = len(found) == 1
    for item, original in zip(found, sent, strict=True):
        if isinstance(item, Message):
            answers = carried_out(server, receive(server, item, 0, alone=alone))
        else:
            answers = [item]
        seen = load(encode(answers))
        assert seen
        for answer in seen:
            check_answer(answer, original)
    assert len(screen(found)) in {1, len(found)}


def check_answer(answer: dict[str, Any], original: Any) -> None:
    assert isinstance(answer["successful"], bool)
    assert ("error" in answer) is not answer["successful"]
    assert "data" not in answer
    wanted = echo(original) if isinstance(original, dict) else {}
    if answer.get("error", "").startswith("405::Invalid message id"):
        wanted.pop("id")
    if "channel" not in answer:  # what has no channel is no message
        assert not answer["successful"]
        wanted = {}
    assert echo(answer) == wanted


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_mean_nothing_never_break_the_parser(body: bytes) -> None:
    found = accepted(body, Limits(messages=3, depth=3))
    assert found is None or len(found) <= 3


# Time


@dataclass
class Expected:
    """What must be true of a known client, told independently of the server."""

    client: Client
    word: float
    answered: float
    poll: Connect | None = None
    deadline: float | None = None
    connected: bool = False
    silent: bool = False

    def due(self, now: float) -> list[object]:
        """Return what a sweep at this time must report, and note it."""
        if self.poll is not None:
            if self.deadline is None or self.deadline > now:
                return []
            self.deadline = None
            return [Release(self.client)]
        happened: list[object] = []
        if not self.silent and self.answered + OFFLINE <= now:
            self.silent = True
            happened.append(Silent(self.client))
        if self.silent and max(self.word, self.answered) + FORGET <= now:
            happened.append(Expired(self.client))
        return happened


TIMES = st.sampled_from([0.4, OFFLINE / 2, OFFLINE, TIMEOUT, FORGET / 2, FORGET])


class Clients(RuleBasedStateMachine):
    """Clients come, poll, speak, leave and fall silent; a model tells what is due."""

    known = Bundle("known")
    gone = Bundle("gone")
    polls = Bundle("polls")

    def __init__(self) -> None:
        super().__init__()
        self.server = make_server()
        self.now = 1000.0
        self.model: dict[str, Expected] = {}
        self.left: set[str] = set()
        self.expired: set[str] = set()
        self.numbers = itertools.count()

    @rule(target=known)
    def handshake(self) -> Client:
        client = self.server.client(
            load(encode([self.server.admit(hello(), None, self.now)]))[0]["clientId"]
        )
        assert client is not None
        self.model[client.id] = Expected(client, self.now, self.now)
        return client

    @rule(
        target=polls,
        client=known,
        alone=st.booleans(),
        asked=st.sampled_from([None, 0, 500, 10_000, 10**9]),
    )
    def poll(self, client: Client, *, alone: bool, asked: int | None) -> Any:
        expected = self.model.get(client.id)
        fields = {} if asked is None else {"advice": {"timeout": asked}}
        if expected is None:
            self.refused(client, "/meta/connect")
            return multiple()
        decision = connect(self.server, client, self.now, alone=alone, **fields)
        hold = TIMEOUT if asked is None else min(TIMEOUT, asked / 1000)
        held = alone and expected.connected and hold > 0
        assert decision.wait is held
        expected.poll = decision
        expected.deadline = self.now + hold if held else None
        expected.silent = False
        expected.word = self.now
        return decision

    @rule(connected=polls)
    def answer(self, connected: Connect) -> None:
        self.server.answered(connected, self.now)
        expected = self.model.get(connected.client.id)
        if expected is not None and expected.poll is connected:
            expected.poll = None
            expected.connected = True
            expected.answered = self.now

    @rule(client=known, seconds=st.sampled_from([0.0, 1.0, TIMEOUT]))
    def poll_and_answer(self, client: Client, seconds: float) -> None:
        connected = self.poll(client, alone=True, asked=None)
        if isinstance(connected, Connect):
            self.now += seconds
            self.answer(connected)

    @rule(
        client=known,
        channel=st.sampled_from(["/a", "/meta/subscribe", "/meta/unsubscribe", "/*"]),
    )
    def speak(self, client: Client, channel: str) -> None:
        expected = self.model.get(client.id)
        if expected is None:
            self.refused(client, channel)
            return
        name = f"/a/{next(self.numbers)}"
        sent = message(channel, client.id, subscription=name)
        carried_out(self.server, receive(self.server, sent, self.now, alone=True))
        assert len(client.subscriptions) <= self.server.options.max_subscriptions
        expected.word = self.now

    @rule(target=gone, client=consumes(known))
    def disconnect(self, client: Client) -> Client:
        sent = message("/meta/disconnect", client.id)
        receive(self.server, sent, self.now, alone=True)
        if self.model.pop(client.id, None):
            self.left.add(client.id)
        return client

    @rule(client=gone)
    def come_late(self, client: Client) -> None:
        self.refused(client, "/meta/connect")

    @rule(seconds=TIMES)
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=TIMES)
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.sweep()

    @rule()
    def sweep(self) -> None:
        happened = self.server.sweep(self.now)
        due = {name: e.due(self.now) for name, e in self.model.items()}
        for name, expected in due.items():
            assert [h for h in happened if h.client.id == name] == expected
            if any(isinstance(h, Expired) for h in expected):
                del self.model[name]
                assert name not in self.expired
                self.expired.add(name)
        assert len(happened) == sum(map(len, due.values()))
        assert all(at > self.now for at, _, _ in self.server._alarms._heap)

    def refused(self, client: Client, channel: str) -> None:
        sent = message(channel, client.id)
        answer = receive(self.server, sent, self.now, alone=True)
        assert isinstance(answer, Reply)
        assert not answer.successful
        if channel == "/meta/connect" and client.id in self.expired:
            assert load(encode([answer]))[0]["advice"]["reconnect"] == "handshake"

    @invariant()
    def known_clients_are_those_of_the_model(self) -> None:
        assert self.server._clients.keys() == self.model.keys()

    @invariant()
    def silence_is_what_the_model_says(self) -> None:
        for expected in self.model.values():
            assert expected.client.silent is expected.silent

    @invariant()
    def nobody_is_both_known_and_remembered_as_gone(self) -> None:
        assert not self.server._clients.keys() & self.server._tombstones.keys()
        assert self.server._tombstones.keys() <= self.left

    @invariant()
    def every_client_has_an_alarm_or_an_open_poll(self) -> None:
        alarms = {(at, client.id) for at, _, client in self.server._alarms._heap}
        for expected in self.model.values():
            client = expected.client
            armed = (client.alarm, client.id) in alarms
            being_answered = client.poll is not None and expected.deadline is None
            assert armed or being_answered

    def teardown(self) -> None:
        for expected in self.model.values():
            if expected.poll is not None:
                self.server.answered(expected.poll, self.now)
        self.server.sweep(self.now + FORGET + TIMEOUT)
        assert not self.server._clients
        assert not self.server._alarms
        assert not self.server._tombstones


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
