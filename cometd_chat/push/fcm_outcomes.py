"""What Google's answers mean for a push."""

from typing import Final

import httpx
import msgspec
from firebase_admin import (  # type: ignore[import-untyped]  # no stubs
    exceptions,
    messaging,
)

from cometd_chat.push import Outcome
from cometd_chat.push.verdicts import Verdict, outcome, seconds_until

QUOTA_PAUSE = 60.0
"""Seconds to wait after QUOTA_EXCEEDED if Google does not say how long."""

VERDICTS: Final[tuple[tuple[type[Exception], Verdict], ...]] = (
    (messaging.UnregisteredError, Verdict.DEAD),
    # Of another project: its devices are, or our account is.
    (messaging.SenderIdMismatchError, Verdict.DOUBTFUL),
    # Google cannot reach Apple or a browser with the key that Firebase was given;
    # Android phones need none.
    (messaging.ThirdPartyAuthError, Verdict.PARTLY_MISCONFIGURED),
    # Without a code of FCM these speak of the project, not of the device.
    (exceptions.PermissionDeniedError, Verdict.MISCONFIGURED),
    (exceptions.NotFoundError, Verdict.MISCONFIGURED),
    (exceptions.UnauthenticatedError, Verdict.MISCONFIGURED),
    (exceptions.InvalidArgumentError, Verdict.DROPPED),
    (exceptions.FailedPreconditionError, Verdict.DROPPED),
    (exceptions.OutOfRangeError, Verdict.DROPPED),
    (exceptions.FirebaseError, Verdict.RETRY),
)
"""What an error means; the first line that fits counts."""


def refuses_token(error: Exception | None) -> bool:
    """Tell whether it is our access token that Google does not take."""
    # The exact type: its subclass is about the key of Apple, not about ours.
    return type(error) is exceptions.UnauthenticatedError


def judged(error: Exception, now: float) -> Outcome:
    """Return the outcome that an error of firebase-admin means; `now` is wall time."""
    verdict = next(verdict for kind, verdict in VERDICTS if isinstance(error, kind))
    response = getattr(error, "http_response", None)
    if verdict is Verdict.DROPPED and _blames_target(response):
        verdict = Verdict.DOUBTFUL
    return outcome(verdict, f"FCM: {type(error).__name__}", _pause(error, now))


def _pause(error: Exception, now: float) -> float | None:
    response = getattr(error, "http_response", None)
    said = response.headers.get("retry-after", "") if response is not None else ""
    after = seconds_until(said, now)
    if after is None and isinstance(error, exceptions.ResourceExhaustedError):
        return QUOTA_PAUSE
    return after


class _Violation(msgspec.Struct):
    field: str = ""


class _Detail(msgspec.Struct, rename="camel"):
    field_violations: tuple[_Violation, ...] = ()


class _Fault(msgspec.Struct):
    message: str = ""
    details: tuple[_Detail, ...] = ()


class _Refusal(msgspec.Struct):
    """The body of an error, as far as it is read (google.rpc.BadRequest)."""

    error: _Fault


def _blames_target(response: httpx.Response | None) -> bool:
    """Say whether it is the address that is wrong, and not the rest of the message."""
    if response is None:
        return False
    try:
        fault = msgspec.json.decode(response.content, type=_Refusal).error
    except msgspec.DecodeError:
        return False
    fields = {v.field for detail in fault.details for v in detail.field_violations}
    return bool(fields & {"message.token", "message.fid"}) or (
        "not a valid FCM registration token" in fault.message
    )
