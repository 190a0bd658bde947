"""Fifty thousand messages that nobody meant, to the endpoint of a node."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.app import Node
from cometd_chat.web.cometd import CometdEndpoint
from cometd_chat.web.exchange import DISPLACED, Exchange
from tests import ways
from tests.clients.pair import Pair
from tests.clients.raw import BayeuxClient, Json, V1Chat, is_event

from .conftest import agent_token
from .nodes import NEWS, chats, configured, holding, make_node, publish

pytestmark = pytest.mark.slow

MESSAGES = {1: 50_000, 2: 20_000}
"""How many are sent, by the number of nodes: two of them take twice as long."""
AT_ONCE = 20
"""Requests that are served at a time."""
LATE = 503
"""What a client is answered if the other node has no time for this one, as on a machine
that has none."""

LIMITS = bayeux.Limits(messages=20, depth=20)

META = ["handshake", "connect", "subscribe", "unsubscribe", "disconnect"]
CHANNELS = [
    *(f"/meta/{name}" for name in META * 4),
    "/meta/connect/x",
    "/meta/**",
    "/meta",
    NEWS,
    "/news/**",
    "/news/*",
    "/_genesys",
    "/service/agent",
    "/service/agent",
    "/service/agent",
    "/service/x",
    "/**",
    "/",
    "",
    "x",
    "/a b",
    "/ü",
    "/" + "x" * 300,
    "/__proto__",
]
WORDS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    1e308,
    2**63,
    -(2**70),
    "",
    "1",
    "x",
    "-2",
    "\x00",
    "\u2028",
    "💥",
    "x" * 2000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"clientId": "x"},
    "long-polling",
    "websocket",
]
FIELDS = [
    "channel",
    "id",
    "clientId",
    "version",
    "connectionType",
    "supportedConnectionTypes",
    "subscription",
    "advice",
    "ext",
    "data",
    "__proto__",
    "successful",
]
TOKEN = agent_token()
OPERATIONS = [
    "listChats",
    "acceptChat",
    "requestNotifications",
    "sendMessage",
    "startTyping",
    "pushUrl",
    "customNotice",
    "leaveChat",
    "nonsense",
]


class Recorded(Exchange):
    """An exchange with nobody behind it."""

    def __init__(self, connection: object, endpoint: CometdEndpoint) -> None:
        super().__init__(connection)
        self.endpoint = endpoint
        self.outcomes: list[bytes | int] = []
        self.cut = False

    @property
    def dead(self) -> bool:
        return self.cut

    @property
    def unconfirmed(self) -> bool:
        return False

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        self.outcomes.append(bayeux.encode(messages))

    def refuse(self, status: int) -> None:
        # As in long-polling, only the first outcome counts.
        if not self.outcomes:
            self.outcomes.append(status)


class Fuzz:
    """Sends what it makes up, and knows some of what came back."""

    def __init__(self, endpoints: list[CometdEndpoint], chats: list[str]) -> None:
        self.endpoints = endpoints
        self.chats = chats
        self.known = ["unknown"]
        self.open: list[Recorded] = []
        self.sent = 0
        self.refused = 0
        self.late = 0

    async def step(self) -> None:
        body = self.body()
        try:
            batch = bayeux.parse(body, LIMITS)
        except bayeux.BodyError:
            self.refused += 1
            return
        exchange = Recorded(random.randrange(50), random.choice(self.endpoints))
        self.open.append(exchange)
        headers = random.choice(({}, {"gms_user": random.choice(("a", "b", "c"))}))
        peer = bayeux.Peer(headers=headers, browser=random.choice(("", "x", "y")))
        work = exchange.endpoint.serve(exchange, batch, peer)
        if work is not None:
            await work

    def settle(self) -> None:
        """End exchanges that have their outcome; cut some of the others."""
        still = []
        for exchange in self.open:
            if exchange.outcomes:
                exchange.written = random.random() < 0.9
                exchange.endpoint.polls.ended(exchange)
                self.check(exchange)
            else:
                exchange.cut = random.random() < 0.05
                still.append(exchange)
        self.open = still

    def check(self, exchange: Recorded) -> None:
        (outcome,) = exchange.outcomes
        if outcome == LATE and ways.nodes() > 1:
            self.late += 1
            return
        if isinstance(outcome, int):
            assert outcome == DISPLACED
            return
        messages = json.loads(outcome)
        assert isinstance(messages, list)
        for message in messages:
            if is_event(message):
                assert not {"clientId", "successful"} & set(message)
            else:
                check_reply(message)
                self.learn(message)

    def learn(self, message: Json) -> None:
        if "clientId" in message:
            self.known.append(message["clientId"])
            if len(self.known) > 60:
                del self.known[random.randrange(1, 40)]

    # What is sent

    def body(self) -> bytes:
        # A few bodies have too many messages.
        count = 21 if random.random() < 0.01 else random.choice((1, 1, 1, 2, 3, 10))
        messages = [self.message() for _ in range(count)]
        self.sent += count
        value = messages[0] if count == 1 and random.random() < 0.2 else messages
        body = json.dumps(value, ensure_ascii=random.random() < 0.5).encode()
        return body if random.random() < 0.9 else mutilated(body)

    def message(self) -> Any:
        if random.random() < 0.02:
            return word()
        channel = random.choice(CHANNELS)
        message: Json = {"channel": channel, "id": str(random.randrange(99))}
        message["clientId"] = random.choice(self.known)
        message |= self.proper(channel)
        for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
            message[random.choice(FIELDS)] = word()
        if random.random() < 0.1:
            message.pop(random.choice(list(message)))
        return message

    def proper(self, channel: str) -> Json:
        """Return the fields that such a message should have."""
        match channel:
            case "/meta/handshake":
                kinds = {"supportedConnectionTypes": ["long-polling"]}
                return {**kinds, "ext": self.ext()}
            case "/meta/connect":
                timeout = random.choice((0, 0, 1, 100, 60_000))
                kind = random.choice(("long-polling", "websocket"))
                return {
                    "connectionType": kind,
                    "advice": {"timeout": timeout},
                    "ext": self.ext(),
                }
            case "/meta/subscribe" | "/meta/unsubscribe":
                names = random.sample(CHANNELS, random.randrange(1, 4))
                one = random.random() < 0.7
                found = random.choice((NEWS, "/_genesys", "/service/agent", names[0]))
                return {"subscription": found if one else names, "ext": self.ext()}
            case "/meta/disconnect":
                # Rare, or nobody would stay long enough for anything else.
                return {} if random.random() < 0.03 else {"clientId": "unknown"}
            case _:
                return {"data": self.data()}

    def ext(self) -> Json:
        found: Json = {}
        if random.random() < 0.3:
            found["auth"] = {"token": random.choice((TOKEN, TOKEN, "x", ""))}
        for name, make in {
            "ack": lambda: random.choice((True, 0, 1, 2**70, "x")),
            "resume": lambda: {"clientId": random.choice(self.known)},
            "replay": lambda: {"/_genesys": random.choice(WORDS)},
            "timesync": lambda: {"tc": word(), "l": word(), "o": random.randrange(9)},
            "serviceId": word,
            "transcriptPosition": word,
        }.items():
            if random.random() < 0.2:
                found[name] = make()
        return found

    def data(self) -> Any:
        if random.random() < 0.2:
            return word()
        return {
            "operation": random.choice(OPERATIONS),
            "chatId": random.choice([*self.chats, "x"]),
            "message": random.choice(("hi", word())),
            "transcriptPosition": word(),
        }


def word() -> Any:
    return random.choice(WORDS)


def mutilated(body: bytes) -> bytes:
    at = random.randrange(len(body))
    match random.randrange(5):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + random.randbytes(3) + body[at:]
        case 2:
            return b"[" * random.randrange(40) + body
        case 3:
            return body + body
        case _:
            return random.randbytes(at)


def check_reply(reply: Json) -> None:
    assert isinstance(reply["successful"], bool)
    assert ("error" in reply) is not reply["successful"]
    if reply.get("channel") in {"/meta/connect", "/meta/handshake"}:
        assert reply["successful"] or reply["advice"]["reconnect"] in {
            "none",
            "handshake",
        }
    if "advice" in reply:
        wanted = {"reconnect", "interval", "timeout", "maxInterval"}
        assert wanted <= set(reply["advice"])


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node | Pair]:
    path = configured(
        tmp_path,
        offline_after="200ms",
        max_interval="5s",
        handshakes_per_second="1000000",
    )
    async with make_node(path) as running:
        yield running


async def test_nothing_fails_and_nobody_is_stuck(
    node: Node | Pair, caplog: pytest.LogCaptureFixture
) -> None:
    random.seed(20261121)
    made = []
    for user in "abc":
        async with V1Chat(f"{node.url}/genesys", user=user) as chat:
            await chat.create_service()
            await chat.create_chat(notify_by="comet", userDisplayName="Cleo")
            made.append(chat.session_id)
    fuzz = Fuzz([chat.endpoint for chat in chats(node)], made)
    with caplog.at_level(logging.ERROR):
        while fuzz.sent < MESSAGES[ways.nodes()]:
            await asyncio.gather(*(fuzz.step() for _ in range(AT_ONCE)))
            fuzz.settle()
        assert fuzz.refused > 100
        assert fuzz.late < fuzz.sent / 100
        await served_as_ever(node, fuzz)
        for endpoint in fuzz.endpoints:
            await endpoint.close()
        fuzz.settle()
    assert fuzz.open == []
    assert [record.getMessage() for record in caplog.records] == []


async def served_as_ever(node: Node | Pair, fuzz: Fuzz) -> None:
    """Old clients get an answer, and new ones hear each other."""
    url = f"{node.url}/cometd"
    async with BayeuxClient(url) as old:
        for client_id in fuzz.known:
            old.client_id = client_id
            reply = await old.connect(advice={"timeout": 0})
            assert reply["successful"] or reply["error"].startswith("402:")
    async with BayeuxClient(url) as one, BayeuxClient(url) as two:
        for client in (one, two):
            await client.handshake()
            assert (await client.subscribe(NEWS))["successful"]
            await client.connect()
            client.start_polling()
            await holding(node, client.client_id)
        await publish(one, "hi")
        await publish(two, "ho")
        for client in (one, two):
            await client.wait_for(lambda c=client: len(c.events) == 2)
            assert [e["data"] for e in client.events] == ["hi", "ho"]
