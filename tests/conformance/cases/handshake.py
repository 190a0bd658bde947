"""Handshakes (Bayeux 1.0 §4.1)."""

import re

from tests.conformance.case import (
    ADMITTED,
    CONNECT,
    FAILED,
    HANDSHAKE,
    NEVER,
    NOBODY,
    PUBLISH,
    REFUSED,
    RETRY,
    STOP,
    SUBSCRIBE,
    SUBSCRIBED,
    TAKEN,
    Case,
    Other,
    without,
)

CASES = [
    Case(
        clause="Bayeux 1.0 §4.1.1 Handshake Request",
        name="what shares a request with a handshake is ignored",
        given="new",
        send=[PUBLISH | NOBODY, HANDSHAKE, CONNECT | NOBODY],
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0 §4.1.1 Handshake Request",
        name="without connection types the handshake fails",
        given="new",
        send=[without(HANDSHAKE, "supportedConnectionTypes")],
        expect=[REFUSED | FAILED],
    ),
    Case(
        clause="Bayeux 1.0 §4.1.1 Handshake Request",
        name="a malformed handshake gets advice",
        given="new",
        send=[HANDSHAKE | {"supportedConnectionTypes": 1}],
        expect=[REFUSED | FAILED | {"advice": {"reconnect": str}}],
    ),
    Case(
        clause="Bayeux 1.0 §4.1.2 Handshake Response",
        name="without a common connection type the handshake fails for good",
        given="new",
        send=[HANDSHAKE | {"supportedConnectionTypes": ["carrier-pigeon"]}],
        expect=[REFUSED | {"id": "h"} | FAILED | {"advice": STOP}],
    ),
    Case(
        clause="Bayeux 1.0 §3.4 supportedConnectionTypes",
        name="types that nobody knows do no harm beside others",
        given="new",
        send=[
            HANDSHAKE
            | {"supportedConnectionTypes": ["in-process", "x", "long-polling"]}
        ],
        expect=[ADMITTED],
    ),
    Case(
        clause="Bayeux 1.0 §3.6 advice",
        name="a handshake is answered with complete advice",
        given="new",
        send=[HANDSHAKE],
        expect=[ADMITTED | {"advice": RETRY}],
    ),
    Case(
        clause="Bayeux 1.0 §3.3 minimumVersion",
        name="the reply names a version that the client understands",
        given="new",
        send=[HANDSHAKE | {"minimumVersion": "1.0"}],
        expect=[ADMITTED | {"version": "1.0"}],
    ),
    Case(
        clause="Bayeux 1.0 §2.4 Client ID",
        name="a client's id is alphanumeric and hard to guess",
        given="new",
        send=[HANDSHAKE],
        expect=[ADMITTED | {"clientId": re.compile(r"[A-Za-z0-9]{20,}")}],
    ),
    Case(
        clause="CometD: a new handshake makes a new session",
        name="a second handshake makes a second client",
        send=[HANDSHAKE | {"clientId": "$client"}],
        expect=[ADMITTED | {"clientId": Other("$client")}],
    ),
    Case(
        clause="CometD: the version is not compared",
        name="an odd version is welcome",
        given="new",
        send=[HANDSHAKE | {"version": "1.0beta", "minimumVersion": "0.9"}],
        expect=[ADMITTED],
    ),
    Case(
        clause="CometD: the version is not compared",
        name="a handshake without a version is welcome",
        given="new",
        send=[without(HANDSHAKE, "version")],
        expect=[ADMITTED],
    ),
    Case(
        clause="CometD: acknowledgement extension",
        name="a handshake that asks for acknowledgements is told that there are some",
        given="new",
        send=[HANDSHAKE | {"ext": {"ack": True}}],
        expect=[ADMITTED | {"ext": {"ack": True}}],
    ),
    Case(
        clause="CometD: acknowledgement extension",
        name="a handshake that does not ask for acknowledgements is told nothing",
        given="new",
        send=[HANDSHAKE | {"ext": {"ack": False}}],
        expect=[ADMITTED | {"ext": NEVER}],
    ),
    Case(
        clause="CometD: clients subscribe before they connect",
        name="a client may subscribe and publish before its first connect",
        given="admitted",
        send=[SUBSCRIBE, PUBLISH],
        expect=[SUBSCRIBED, TAKEN],
    ),
]
