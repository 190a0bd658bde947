"""What APNs answers, and what that means for the push and the device."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TypeAlias

from aioapns.common import NotificationResult

from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Outcome,
    Retry,
    Scope,
)
from cometd_chat.push.verdicts import seconds_until


class Reply(NotificationResult):
    """What APNs said; `description` is Apple's word for the reason."""

    __slots__ = ("retry_after",)

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        told = _object(body)
        reason, timestamp = told.get("reason"), told.get("timestamp")
        super().__init__(
            headers.get("apns-id", ""),
            headers.get(":status", ""),
            reason if isinstance(reason, str) else "",
            timestamp if isinstance(timestamp, int) else None,
        )
        self.retry_after = headers.get("retry-after", "")


def _object(body: bytes) -> dict[str, object]:
    with suppress(ValueError):
        told = json.loads(body)
        return told if isinstance(told, dict) else {}
    return {}


_Verdict: TypeAlias = Callable[[Reply, float], Outcome]


def outcome(reply: Reply, now: float) -> Outcome:
    """Return what a reply means. `now` is wall time in seconds."""
    by_status = _BY_STATUS.get(reply.status, _later(10))
    return _BY_REASON.get(reply.description or "", by_status)(reply, now)


def _reason(reply: Reply) -> str:
    return reply.description or f"status {reply.status}"


def _delivered(_reply: Reply, _now: float) -> Outcome:
    return Delivered()


def _gone(reply: Reply, _now: float) -> Outcome:
    since = reply.timestamp
    return DeadDevice(_reason(reply), None if since is None else since / 1000)


def _doubtful(reply: Reply, _now: float) -> Outcome:
    return DeadDevice(_reason(reply), doubtful=True)


def _dropped(reply: Reply, _now: float) -> Outcome:
    return Dropped(_reason(reply))


def _misconfigured(reply: Reply, _now: float) -> Outcome:
    return Misconfigured(_reason(reply))


def _later(least: float = 0, scope: Scope = Scope.PUSH) -> _Verdict:
    """Try again when the server says, but not before `least` seconds."""

    def verdict(reply: Reply, now: float) -> Outcome:
        told = seconds_until(reply.retry_after, now)
        after = max(least, told or 0)
        return Retry(_reason(reply), after or None, scope)

    return verdict


_BY_REASON: Mapping[str, _Verdict] = MappingProxyType(
    {
        "BadDeviceToken": _doubtful,
        "DeviceTokenNotForTopic": _doubtful,
        "TopicDisallowed": _doubtful,
        "IdleTimeout": _later(),
        "ExpiredProviderToken": _later(),
        "ExpiredToken": _gone,
        "Unregistered": _gone,
        "BadCertificate": _misconfigured,
        "BadCertificateEnvironment": _misconfigured,
        "BadEnvironmentKeyIdInToken": _misconfigured,
        "BadEnvironmentKeyInToken": _misconfigured,  # Apple's own spelling of it
        "Forbidden": _misconfigured,
        "InvalidProviderToken": _misconfigured,
        "MissingProviderToken": _misconfigured,
        "UnrelatedKeyIdInToken": _misconfigured,
        "TooManyProviderTokenUpdates": _later(60, Scope.PROVIDER),
        "TooManyRequests": _later(60, Scope.DEVICE),
    }
)
"""What Apple's words mean ("Handling notification responses from APNs")."""

_BY_STATUS: Mapping[str, _Verdict] = MappingProxyType(
    {
        "200": _delivered,
        "400": _dropped,
        "403": _misconfigured,
        "404": _dropped,
        "405": _dropped,
        "410": _gone,
        "413": _dropped,
        "429": _later(60),
    }
)
"""What a reply means whose reason is not told or not known: all else comes later."""
