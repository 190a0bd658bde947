"""Telling a device that there is something to read.

A *provider* sends one notification to one device and says what became of it. It
never raises for what the other side does, never retries by itself and never decides
whether a push is due: those are the worker's part. The *outcome* decides what
happens to the push and to the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from cometd_chat.model import NOTHING, Device

TAG = "chat.newagentmessage"
"""GMS's name of the event that all chat pushes belong to."""

MARKER = "cometd-chat"
"""Key in every payload by which an app knows that the push is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of the transcript as a push tells it: GMS event name and text."""

    event: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a push tells, before any provider's form.

    `id` is a UUID, the same on each try. `chat` names the chat to the app (the v1
    service id), `position` is the newest entry told about. `lines` are the unheard
    entries, oldest first; a provider leaves the oldest out when they do not fit.
    `badge` None leaves the badge alone, and is `counted` anew when the push is sent
    unless the options fix it; `silent` shows nothing, it only sets the
    badge; `bare` names chat and position, with words only where a service shows
    nothing without them. `expires_at` is wall time in seconds. `apns`, `android` and
    `webpush` are passed through to these services.
    """

    id: str
    chat: str = field(repr=False)
    service: str = ""
    position: int
    title: str = field(default="", repr=False)
    body: str = field(repr=False)
    loc_key: str = ""
    loc_args: tuple[str, ...] = field(default=(), repr=False)
    lines: tuple[Line, ...] = ()
    badge: int | None = None
    counted: bool = False
    sound: str = ""
    ext: str = field(default="", repr=False)
    category: str = ""
    thread: str = ""
    collapse: str = ""
    mutable: bool = False
    interruption: str = ""
    android_channel: str = ""
    silent: bool = False
    bare: bool = False
    expires_at: float
    apns: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    android: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    webpush: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The service took it; whether the phone shows it is the phone's business."""


class Scope(Enum):
    """What a service speaks of that wants no more for now."""

    PUSH = "this push"
    DEVICE = "all for this device"
    PROVIDER = "all of this provider"


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now: try again, not before `after` seconds if the service said so; with all
    that is in `scope`."""

    reason: str
    after: float | None = None
    scope: Scope = Scope.PUSH


@dataclass(frozen=True, slots=True)
class DeadDevice:
    """This device gets nothing any more, unless it registered later than `since`
    (wall seconds; None: always).

    `doubtful`: the fault may be ours (another environment, another app), so that many
    of these at once must not cost the devices.
    """

    reason: str
    since: float | None = None
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """This one cannot be sent, by our own fault; the device is not to blame."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The service refuses our credentials or settings: until an admin acts, nothing
    that is in `scope` works, so that pushes wait and devices stay."""

    reason: str
    scope: Scope = Scope.PROVIDER


Outcome: TypeAlias = Delivered | Retry | DeadDevice | Dropped | Misconfigured


class OptionsError(ValueError):
    """Options with which a provider cannot work. The text is fit for logs: it names
    options, and nothing that they hold."""


class PushProvider(Protocol):
    """One push account: an APNs key, a Firebase project, a company's webhook."""

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Send, and say what became of it. Bounded in time; raises only
        CancelledError, after which the notification may have been sent."""
        ...

    async def close(self) -> None:
        """Release connections; nothing may be sent afterwards."""
        ...
