"""What a v1 client asks for. An empty value means the same as none.

How the parameters came (form, multipart, JSON, query) is the business of the caller,
who merges them into one mapping.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from cometd_chat.gms.values import (
    DEFAULT_LIMITS,
    LONGEST_ID,
    POSITIONS,
    Limits,
    fault,
    measure,
    read_position,
)
from cometd_chat.model import Device, Profile

DEVICE_TYPES = (
    "gcm",
    "fcm",
    "ios",
    "android",
    "customhttp",
    "httpcb",
    "orscb",
    "webpush",
    "comet",
)
"""Values of `push_notification_type` (GMS option `pushEnabled`)."""

_NAMES = frozenset({"userDisplayName", "firstName", "lastName"})
_LOCAL_IDS = frozenset({"localId", "messageId"})
_PUSH = frozenset(
    {
        "push_notification_deviceid",
        "push_notification_type",
        "push_notification_language",
        "push_notification_debug",
        "push_notification_provider",
    }
)
_SERVICE = _PUSH | {"_verbose"}
_OPEN = (
    _NAMES
    | _PUSH
    | {"_verbose", "notify_by", "email", "subject", "subscriptionID", "message"}
)
_DEVICE = _PUSH | {"uuid", "muted", "quiet", "zone"}
_RECEIPT = frozenset({"id", "serviceId", "state"})
_STATES = ("shown", "opened")
_OPERATION = _LOCAL_IDS | {"_verbose", "message", "transcriptPosition"}


class V1Error(ValueError):
    """The request cannot be understood; the text is fit for the reply and for logs.

    `status` is the HTTP status: 415 where GMS expects another value, otherwise 400.
    """

    def __init__(
        self, message: str, *, status: int = 400, exception: str = "BadRequestException"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.exception = exception


@dataclass(frozen=True, slots=True, kw_only=True)
class NewService:
    """Create a service, to which the chat will belong, perhaps with a device."""

    verbose: bool = False
    device: Device | None = None
    user_data: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChat:
    """Open the chat of a service; `comet` asks for notifications by CometD."""

    profile: Profile
    device: Device | None = None
    comet: bool = False
    message: str = field(default="", repr=False)
    verbose: bool = False
    subscription_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Anything a client does in an open chat, `refresh` and `send` above all.

    `position` is the last position the client has. `local_id` names a message for
    good: sent again under the same name, it is stored once.
    """

    verbose: bool = False
    message: str | None = field(default=None, repr=False)
    position: int | None = None
    local_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An app's word that it has shown a push, or that its user `opened` it.

    `id` and `key` (the v1 service id) are those of the push's marker.
    """

    id: str
    key: str = field(repr=False)
    opened: bool


def parse_service(
    parameters: Mapping[str, str], limits: Limits = DEFAULT_LIMITS
) -> NewService:
    """Read the parameters of service creation.

    Raises: V1Error.
    """
    known, user_data = _split(parameters, _SERVICE, limits)
    return NewService(
        verbose=_flag(known, "_verbose"), device=_device(known), user_data=user_data
    )


def parse_open(
    parameters: Mapping[str, str], limits: Limits = DEFAULT_LIMITS
) -> OpenChat:
    """Read the parameters of chat creation; those that GMS does not name are user data.

    Raises: V1Error.
    """
    known, user_data = _split(parameters, _OPEN, limits)
    return OpenChat(
        profile=_profile(known, user_data, limits),
        device=_device(known),
        comet=_choice(known, "notify_by", ("comet",), default="") == "comet",
        message=known.get("message", ""),
        verbose=_flag(known, "_verbose"),
        subscription_id=known.get("subscriptionID", ""),
    )


def parse_operation(
    parameters: Mapping[str, str], limits: Limits = DEFAULT_LIMITS
) -> Operation:
    """Read the parameters of any operation in a chat; unknown ones have no meaning.

    Raises: V1Error.
    """
    ours = {name: value for name, value in parameters.items() if name in _OPERATION}
    known, _ = _split(ours, _OPERATION, limits)
    return Operation(
        verbose=_flag(known, "_verbose"),
        message=known.get("message"),
        position=_position(known),
        local_id=known.get("localId") or known.get("messageId", ""),
    )


def parse_device(
    parameters: Mapping[str, str], limits: Limits = DEFAULT_LIMITS
) -> Device:
    """Read the parameters of a device's registration.

    Those of chat creation, or `uuid`: a text that means something to the company's
    own webhook. Also `muted`, and `quiet` hours (`22:00-07:00`) in a time `zone`.

    Raises: V1Error.
    """
    ours = {name: value for name, value in parameters.items() if name in _DEVICE}
    known, _ = _split(ours, _DEVICE, limits)
    if "uuid" in known:
        known["push_notification_deviceid"] = known["uuid"]
        known.setdefault("push_notification_type", "customhttp")
    device = _device(known)
    if device is None:
        raise V1Error("push_notification_deviceid or uuid is needed", status=415)
    return replace(
        device,
        muted=_flag(known, "muted"),
        quiet=known.get("quiet", ""),
        zone=known.get("zone", ""),
    )


def parse_receipt(
    parameters: Mapping[str, str], limits: Limits = DEFAULT_LIMITS
) -> Receipt:
    """Read the parameters of a push's receipt.

    Raises: V1Error.
    """
    ours = {name: value for name, value in parameters.items() if name in _RECEIPT}
    known, _ = _split(ours, _RECEIPT, limits)
    for name in ("id", "serviceId"):
        if name not in known:
            raise V1Error(f"{name} is needed")
    opened = _choice(known, "state", _STATES, default="shown") == "opened"
    return Receipt(id=known["id"], key=known["serviceId"], opened=opened)


def _split(
    parameters: Mapping[str, str], names: Collection[str], limits: Limits
) -> tuple[dict[str, str], dict[str, str]]:
    """Part the non-empty parameters into those that GMS names and user data."""
    known: dict[str, str] = {}
    user_data: dict[str, str] = {}
    for name, value in parameters.items():
        if value and name in names:
            _check(name, value, _room(name, limits))
            known[name] = value
        elif value:
            user_data[name] = value
    if user_data:
        _check_user_data(user_data, limits)
    return known, user_data


def _room(name: str, limits: Limits) -> int:
    if name == "message":
        return limits.text
    if name in _LOCAL_IDS:
        return LONGEST_ID
    return limits.nickname if name in _NAMES else limits.user_data


def _check(name: str, value: str, at_most: int) -> None:
    if wrong := fault(value, at_most):
        raise V1Error(f"{name}: {wrong}")


def _check_user_data(user_data: Mapping[str, str], limits: Limits) -> None:
    # Keys of user data are content as well: they stay out of the error texts.
    if len(user_data) > limits.user_data_keys:
        raise V1Error(
            f"user data: {len(user_data)} keys read, "
            f"at most {limits.user_data_keys} are allowed"
        )
    _check("user data", "".join(k + v for k, v in user_data.items()), limits.user_data)


def _profile(
    known: Mapping[str, str], user_data: Mapping[str, str], limits: Limits
) -> Profile:
    first_name, last_name = known.get("firstName", ""), known.get("lastName", "")
    full_name = " ".join(filter(None, (first_name, last_name)))
    nickname = known.get("userDisplayName") or full_name or "Customer"
    _check("firstName and lastName", nickname, limits.nickname)
    return Profile(
        nickname=nickname,
        first_name=first_name,
        last_name=last_name,
        email=known.get("email", ""),
        subject=known.get("subject", ""),
        user_data=user_data,
    )


def _device(known: Mapping[str, str]) -> Device | None:
    if "push_notification_deviceid" not in known:
        return None
    return Device(
        id=known["push_notification_deviceid"],
        type=_choice(known, "push_notification_type", DEVICE_TYPES),
        provider=known.get("push_notification_provider", ""),
        language=known.get("push_notification_language", ""),
        debug=_flag(known, "push_notification_debug"),
    )


def _flag(known: Mapping[str, str], name: str) -> bool:
    return _choice(known, name, ("true", "false"), default="false") == "true"


def _choice(
    known: Mapping[str, str],
    name: str,
    allowed: Collection[str],
    default: str | None = None,
) -> str:
    """Return the value in small letters, or `default` if there is no value."""
    value = known.get(name, default)
    if value is not None and (value == default or value.lower() in allowed):
        return value.lower()
    raise _unexpected(name, value, "one of " + ", ".join(allowed))


def _position(known: Mapping[str, str]) -> int | None:
    if (value := known.get("transcriptPosition")) is None:
        return None
    if (position := read_position(value)) is None:
        raise _unexpected("transcriptPosition", value, POSITIONS)
    return position


def _unexpected(name: str, value: str | None, allowed: str) -> V1Error:
    return V1Error(
        f"{name}: {measure(value)}, {allowed} is allowed",
        status=415,
        exception="UnexpectedValueException",
    )
