"""What CometD's extensions put into `ext`, and what is answered.

* *ack*: the client repeats the number of the last answer to a connect that it got.
  It only echoes, so that the numbers are ours to choose; they begin anywhere, lest a
  number kept over a handshake be taken for one of the new client.
* *timesync*: how far the clocks of client and server are apart.
* *timestamp*: when a message was sent.
* *binary*: data is encoded bytes; passed on as it is.
* *resume*: ours; a handshake that continues a former client.
* *replay*: from which position on a subscription reads, as Salesforce has it.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .messages import Message

ACCURATE_MS = 25
"""Accuracy below which CometD's timesync sends no answer, in milliseconds."""

NEW_ONLY = -1
"""Replay value: what comes from now on."""

EVERYTHING = -2
"""Replay value: all that there is."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The former client that a handshake wants to continue, and what it has."""

    client_id: str
    position: object


def asks_for_acks(message: Message) -> bool:
    """Tell whether a handshake speaks the acknowledgement extension."""
    return _ext(message).get("ack") is True


def first_batch(client_id: str) -> int:
    """Return a number to begin with, in the range of every client's integers."""
    return zlib.crc32(client_id.encode()) & 0xFFFFFF


def batch(message: Message) -> int | None:
    """Return the number that a connect acknowledges."""
    number = _ext(message).get("ack")
    return number if isinstance(number, int) else None


def resume(message: Message) -> Resume | None:
    """Return what a handshake wants to continue."""
    asked = _ext(message).get("resume")
    client_id = asked.get("clientId") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(client_id, str):
        return None
    return Resume(client_id, asked.get("transcriptPosition"))


def replay(message: Message, channel: str) -> object:
    """Return the value that a subscribe gives for a channel, None without one."""
    asked = _ext(message).get("replay")
    return asked.get(channel) if isinstance(asked, dict) else None


def timesync(message: Message, received_ms: int, now_ms: int) -> dict[str, Any] | None:
    """Return the answer to `ext.timesync` {tc, l, o}: {tc, ts, p, a}.

    All in milliseconds: `tc` the client's time, `l` its lag, `o` its offset; `ts`
    when the message was received, `p` how long it was kept, a held connect's hold
    included, `a` the accuracy. None where CometD's server gives none.
    """
    asked = _ext(message).get("timesync")
    if not isinstance(asked, Mapping):
        return None
    tc, lag, offset = (asked.get(name, 0) for name in ("tc", "l", "o"))
    if not all(isinstance(value, int) for value in (tc, lag, offset)):
        return None
    accuracy = tc + offset + lag - received_ms
    if lag and abs(accuracy) < ACCURATE_MS:
        return None
    kept = now_ms - received_ms
    return {"tc": tc, "ts": received_ms, "p": kept, "a": accuracy}


def passed_on(message: Message) -> dict[str, Any] | None:
    """Return what the readers of a broadcast message get of its `ext`.

    Only `binary`, which tells how to read the data: anything else is between the
    publisher and the server, and may be a secret.
    """
    binary = _ext(message).get("binary")
    return None if binary is None else {"binary": binary}


def timestamp(now: float) -> str:
    """Return wall time in Bayeux's profile of ISO 8601, GMT."""
    moment = datetime.fromtimestamp(now, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 10_000:02}"


def _ext(message: Message) -> Mapping[str, Any]:
    return message.ext or {}
