"""Bayeux, the server side, without I/O: no sockets, no clock, no tasks."""

from msgspec import UNSET

from . import extensions, moving
from .application import Application, Outbox, Peer, RefusedError
from .bodies import BodyError, encode, parse, screen
from .broadcast import EVERYBODY, Broadcast, Hearers, Rules
from .client import CALLBACK_POLLING, LONG_POLLING, WEBSOCKET, Client, Rewind
from .decisions import (
    Decision,
    Disconnect,
    Expired,
    Farewell,
    Handshake,
    Occurrence,
    Release,
    Request,
    Silent,
    SlowRequest,
    Subscribe,
    Unsubscribe,
)
from .frequent import Connect, Count, Publish
from .mailbox import Bounds, Mailboxes, Overflow
from .messages import (
    ABSENT,
    UNAVAILABLE,
    UNKNOWN_CLIENT,
    Advice,
    Ext,
    Limits,
    Message,
    Reply,
)
from .moving import ClientState, Mail
from .replies import refusal, reply
from .server import BayeuxServer, Options
from .subscriptions import Patterns

__all__ = [
    "ABSENT",
    "CALLBACK_POLLING",
    "EVERYBODY",
    "LONG_POLLING",
    "UNAVAILABLE",
    "UNKNOWN_CLIENT",
    "UNSET",
    "WEBSOCKET",
    "Advice",
    "Application",
    "BayeuxServer",
    "BodyError",
    "Bounds",
    "Broadcast",
    "Client",
    "ClientState",
    "Connect",
    "Count",
    "Decision",
    "Disconnect",
    "Expired",
    "Ext",
    "Farewell",
    "Handshake",
    "Hearers",
    "Limits",
    "Mail",
    "Mailboxes",
    "Message",
    "Occurrence",
    "Options",
    "Outbox",
    "Overflow",
    "Patterns",
    "Peer",
    "Publish",
    "RefusedError",
    "Release",
    "Reply",
    "Request",
    "Rewind",
    "Rules",
    "Silent",
    "SlowRequest",
    "Subscribe",
    "Unsubscribe",
    "encode",
    "extensions",
    "moving",
    "parse",
    "refusal",
    "reply",
    "screen",
]
