"""The facts everybody talks about: sessions, their transcripts, who takes part.

A *session* is one chat; it outlives the Bayeux clients that come and go. Its
*transcript* is a sequence of *entries* with positions 1, 2, 3 … without holes (but for
those that `Store.append` leaves on purpose).
Everything here is immutable: a store returns a new value when a fact has changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from msgspec import Struct, json

CUSTOMER = 1
"""Participant number of the customer in every session."""

JOINING = 0
"""Participant number in a draft that speaks of whoever joins with it."""

SERVER = -1
"""Participant number in what the server itself says; it is in no chat."""

NOTHING: Mapping[str, str] = MappingProxyType({})

ALSO_CALLED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"fcm": ("gcm", "android")}
)
"""Types of devices that GMS knows by several names, which mean one service with one
kind of token."""

BROWSER = "webpush"
"""Type of devices whose id is a browser's subscription."""

_TYPES = {also: name for name, others in ALSO_CALLED.items() for also in others}


class Role(StrEnum):
    """What a participant is; the values are those of the wire (GMS Chat API v2)."""

    CUSTOMER = "Client"
    AGENT = "Agent"
    SUPERVISOR = "Supervisor"
    EXTERNAL = "External"


class EntryKind(StrEnum):
    """What an entry tells; the values are those of the wire (GMS Chat API v2)."""

    JOINED = "ParticipantJoined"
    LEFT = "ParticipantLeft"
    MESSAGE = "Message"
    TYPING_STARTED = "TypingStarted"
    TYPING_STOPPED = "TypingStopped"
    PUSH_URL = "PushUrl"
    CUSTOM_NOTICE = "CustomNotice"
    NICKNAME_UPDATED = "NicknameUpdated"
    FILE_UPLOADED = "FileUploaded"
    FILE_DELETED = "FileDeleted"


class State(StrEnum):
    """The life of a session: created, asked for, answered, over."""

    NEW = "new"
    WAITING = "waiting"
    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOverride:
    """What the sender of an entry wants of its push (Tencent's OfflinePushInfo).

    What is empty is left to the options. An entry that is `uncounted` is not in the
    badge. `apns`, `android` and `webpush` pass through to these services.
    """

    title: str = field(default="", repr=False)
    body: str = field(default="", repr=False)
    ext: str = field(default="", repr=False)
    sound: str = ""
    collapse: str = ""
    uncounted: bool = False
    apns: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)
    android: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)
    webpush: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)


# A struct, for a transcript of hundreds of entries is made at once when it is read:
# a dataclass takes six times as long. The collector of cycles need not look at the many
# that are kept: an entry is made of what was there before it, and changes no more.
class Draft(Struct, frozen=True, kw_only=True, gc=False):
    """An entry before the store has given it a position.

    `at` is wall time in seconds. `notable` says that the entry may be announced by
    push while the customer is absent, `push` what that push shall be like.
    """

    kind: EntryKind
    role: Role
    participant: int
    nickname: str
    at: float
    text: str = ""
    message_type: str = ""
    user_data: Mapping[str, str] = NOTHING
    notable: bool = False
    push: PushOverride | None = None


class Entry(Draft, frozen=True, kw_only=True, gc=False):
    """One line of a transcript."""

    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody who takes part in a session; `id` is empty for the customer."""

    number: int
    role: Role
    nickname: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where the customer's pushes go (GMS parameters `push_notification_*`).

    `type` and `name` together name it; the type is one of `canonical_type`.
    `registered_at` is wall time in seconds. A device that is `muted` rings for nothing,
    and between the hours of `quiet` (such as "22:00-07:00", in the IANA time zone
    `zone`) it waits.
    """

    id: str = field(repr=False)
    type: str
    provider: str = ""
    language: str = ""
    debug: bool = False
    registered_at: float = 0.0
    muted: bool = False
    quiet: str = ""
    zone: str = ""

    def __post_init__(self) -> None:
        # However it was made, also from what an earlier revision has stored: an app
        # that calls its type otherwise after an update is still on the same phone.
        object.__setattr__(self, "type", canonical_type(self.type))

    @property
    def name(self) -> str:
        """What the id names; see `device_name`."""
        return device_name(self.type, self.id)


def canonical_type(name: str) -> str:
    """Return the one name of a type of devices that may have several."""
    return _TYPES.get(name, name)


def device_name(device_type: str, device_id: str) -> str:
    """Return what names a device of this type: the id, but for a browser the endpoint.

    A subscription is JSON, which may be spelled in many ways, with further members.
    """
    if device_type != BROWSER:
        return device_id
    return endpoint_of(device_id) or device_id


class _Subscription(Struct):
    endpoint: str


_to_subscription = json.Decoder(_Subscription).decode


def endpoint_of(subscription: str) -> str:
    """Return the endpoint of a browser's subscription; empty if there is none.

    It is what identifies the subscription (W3C Push API, "push endpoint").
    """
    try:
        return _to_subscription(subscription).endpoint
    except (ValueError, RecursionError):
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the customer told about himself when he asked for the chat."""

    nickname: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    subject: str = ""
    user_data: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One chat.

    `id` names it to agents (`chatId`, `chatSessionId`); `key` is the customer's
    secret (the v1 service id, the v2 `secureKey`). Times are wall seconds, positions
    count entries: `last` is the newest, `acked` the newest that the customer
    confirmed, `announced` the newest that a push told about, `notable` the newest
    that a push may tell about. `absent_since` is None while the customer is present,
    `pushes` counts the announcements since.
    `devices` come in the order of their registration.
    """

    id: str
    key: str = field(repr=False)
    service: str
    user: str = field(default="", repr=False)
    state: State = State.NEW
    created_at: float
    started_at: float = 0.0
    ended_at: float = 0.0
    comet: bool = False
    profile: Profile = field(default=Profile(), repr=False)
    devices: tuple[Device, ...] = ()
    participants: tuple[Participant, ...] = ()
    last: int = 0
    last_at: float = 0.0
    last_text: str = field(default="", repr=False)
    unread: int = 0
    acked: int = 0
    announced: int = 0
    notable: int = 0
    absent_since: float | None = None
    pushes: int = 0

    @property
    def ended(self) -> bool:
        return self.state is State.ENDED

    @property
    def open(self) -> bool:
        return self.state in {State.WAITING, State.ACTIVE}

    @property
    def present(self) -> bool:
        return self.absent_since is None

    @property
    def agents(self) -> tuple[Participant, ...]:
        """Everybody in the session but the customer."""
        return tuple(p for p in self.participants if p.number != CUSTOMER)

    def participant(self, agent_id: str) -> Participant | None:
        """Return the agent's own part in this session, if he has one."""
        return next((p for p in self.agents if p.id == agent_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A push to one device, to be kept until it was sent.

    `id` is a UUID, the same on each try. `position` is the newest entry that it tells
    about. `content` is the sender's own business and may hold chat text. It is sent
    between `not_before` and `expires_at` (wall seconds) or never. A `silent` one shows
    nothing, so that it is sent to a customer who is present and to a muted device too.
    """

    id: str
    device: Device
    provider: str
    position: int
    content: bytes = field(repr=False)
    not_before: float
    expires_at: float
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(NewJob):
    """A push lent to one sender until `lease` (wall seconds).

    `attempts` is how often it was tried and given back.
    """

    session_id: str
    attempts: int
    lease: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPush:
    """A push that its provider took, and what the app has said of it since.

    `id` is that of its job. Times are wall seconds, None for what was not said.
    """

    id: str
    device_type: str
    provider: str
    position: int
    sent_at: float
    shown_at: float | None = None
    opened_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """The customer asks for the chat: new becomes waiting.

    Its device is registered with it.
    """

    profile: Profile
    device: Device | None = None
    comet: bool = False
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """An agent comes in: waiting becomes active. `alone`: only if no agent is in."""

    agent_id: str
    role: Role
    nickname: str
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """An agent goes; without any agent left, active becomes waiting again."""

    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The chat is over for everybody; `by_customer`, his devices go with it."""

    by_customer: bool = False


Transition: TypeAlias = Open | Join | Leave | End
