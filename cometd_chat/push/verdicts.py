"""What the answer of a push service means, in the words of the providers' tables."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import assert_never

from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Outcome,
    Retry,
    Scope,
)


class Verdict(Enum):
    """The outcomes, as the tables of the providers name them."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"
    DOUBTFUL = "dead, unless the fault is ours"
    DROPPED = "dropped"
    MISCONFIGURED = "misconfigured"
    PARTLY_MISCONFIGURED = "misconfigured for devices like this one"


def outcome(verdict: Verdict, reason: str, after: float | None = None) -> Outcome:
    """Return the outcome that a table's verdict stands for."""
    match verdict:
        case Verdict.DELIVERED:
            return Delivered()
        case Verdict.RETRY:
            return Retry(reason, after)
        case Verdict.DEAD | Verdict.DOUBTFUL:
            return DeadDevice(reason, doubtful=verdict is Verdict.DOUBTFUL)
        case Verdict.DROPPED:
            return Dropped(reason)
        case Verdict.MISCONFIGURED:
            return Misconfigured(reason)
        case Verdict.PARTLY_MISCONFIGURED:
            return Misconfigured(reason, Scope.PUSH)
    assert_never(verdict)


def seconds_until(text: str, now: float) -> float | None:
    """Read a Retry-After header (RFC 9110 §10.2.3): seconds, or a date.

    `now` is wall time. None stands for a header that is missing or makes no sense.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # A date without a zone is in GMT, as all of HTTP's are.
    moment = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
