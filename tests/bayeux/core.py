"""Small words for tests that talk to the Bayeux core."""

import itertools
import json
from typing import Any

from cometd_chat.bayeux import (
    BayeuxServer,
    Client,
    Connect,
    Decision,
    Limits,
    Message,
    Options,
    Reply,
    encode,
    parse,
)

TIMEOUT = 25.0
OFFLINE = 10.0
FORGET = 600.0
COMPLETE = {"reconnect", "interval", "timeout", "maxInterval"}


def new_server(**options: Any) -> BayeuxServer:
    """Make a server whose clients are called client1, client2 …"""
    numbers = itertools.count(1)
    times = {"timeout": TIMEOUT, "max_interval": FORGET, "offline_after": OFFLINE}
    return BayeuxServer(Options(**(times | options)), lambda: f"client{next(numbers)}")


def message(channel: str, client: str | None = None, **fields: Any) -> Message:
    """Make the message that a client would send with these fields (wire names)."""
    content = {"channel": channel, "id": "1", **fields}
    if client is not None:
        content["clientId"] = client
    (found,) = parse(json.dumps(content).encode(), Limits())
    assert isinstance(found, Message)
    return found


def wire(answer: object) -> dict[str, Any]:
    """Return a reply as a client sees it."""
    assert isinstance(answer, Reply)
    (seen,) = json.loads(encode([answer]))
    assert isinstance(seen, dict)
    return seen


def hello() -> Message:
    """Make a handshake that every server grants."""
    return message("/meta/handshake", supportedConnectionTypes=["long-polling"])


def admit(server: BayeuxServer, now: float = 0.0) -> Client:
    """Let a new client in; it has not connected yet."""
    client = server.client(wire(server.admit(hello(), None, now))["clientId"])
    assert client is not None
    return client


def receive(
    server: BayeuxServer, sent: Message, now: float, *, alone: bool
) -> Decision:
    """Let the server have a message, from the client whose id it bears."""
    client = server.client(sent.client_id or "")
    return server.receive(sent, client, now, alone=alone)


def connect(
    server: BayeuxServer,
    client: Client,
    now: float = 0.0,
    *,
    alone: bool = True,
    **fields: Any,
) -> Connect:
    """Send a connect of a known client."""
    sent = message("/meta/connect", client.id, **fields)
    decision = receive(server, sent, now, alone=alone)
    assert isinstance(decision, Connect)
    return decision


def join(server: BayeuxServer, now: float = 0.0) -> Client:
    """Let a new client in and answer its first connect."""
    client = admit(server, now)
    server.answered(connect(server, client, now), now)
    return client
