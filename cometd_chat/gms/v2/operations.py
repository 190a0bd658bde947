"""What an agent asks for: the `data` of a publish on the agents' channel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cometd_chat.gms.v2.fields import MOST_CHATS, Fields, decode
from cometd_chat.gms.values import DEFAULT_LIMITS, Limits
from cometd_chat.model import PushOverride, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all operations share: the answer repeats `local_id`, if there is one."""

    local_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChats(Request):
    """List chats, of one state and one service if given, and follow their changes."""

    state: State | None = None
    service: str = ""
    limit: int = MOST_CHATS


@dataclass(frozen=True, slots=True, kw_only=True)
class InChat(Request):
    """An operation in one chat."""

    chat_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptChat(InChat):
    """Join a chat that waits for an agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNotifications(InChat):
    """Follow a chat, from this position on (inclusive); None means from the start."""

    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling(InChat):
    """What the customer may be told of by push, unless it is not `pushed`; `push`
    overrides the notification of this entry."""

    pushed: bool = True
    push: PushOverride | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMessage(Telling):
    """Say something. Sent again under the same `local_id`, it is stored once."""

    text: str = field(repr=False)
    message_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTyping(InChat):
    """Show that the agent is typing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTyping(InChat):
    """Show that the agent stopped typing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushUrl(Telling):
    """Show the customer a page; `url` is absolute, its scheme http or https."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomNotice(Telling):
    """Tell the other side's program something."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveChat(InChat):
    """Go; the chat stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChat(InChat):
    """End the chat for everybody."""


Operation: TypeAlias = (
    ListChats
    | AcceptChat
    | RequestNotifications
    | SendMessage
    | StartTyping
    | StopTyping
    | PushUrl
    | CustomNotice
    | LeaveChat
    | EndChat
)


def parse_operation(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Operation:
    """Read the JSON `data` of a publish; fields nobody knows are passed over.

    Raises: OperationError, which names the field and what is allowed there.
    """
    fields = Fields(decode(data), limits)
    return _READERS[fields.one_of("operation", _READERS)](fields)


def _chat(fields: Fields) -> dict[str, str]:
    return {"chat_id": fields.text("chatId"), "local_id": fields.local_id()}


def _telling(fields: Fields) -> dict[str, Any]:
    return {**_chat(fields), "pushed": fields.pushed(), "push": fields.push()}


def _message(fields: Fields) -> str:
    return fields.text("message", fields.limits.text)


_READERS: Mapping[str, Callable[[Fields], Operation]] = {
    "listChats": lambda fields: ListChats(
        local_id=fields.local_id(),
        state=fields.state(),
        service=fields.optional("service"),
        limit=fields.limit(),
    ),
    "acceptChat": lambda fields: AcceptChat(**_chat(fields)),
    "requestNotifications": lambda fields: RequestNotifications(
        **_chat(fields), position=fields.optional_position()
    ),
    "sendMessage": lambda fields: SendMessage(
        **_telling(fields),
        text=_message(fields),
        message_type=fields.optional("messageType"),
    ),
    "startTyping": lambda fields: StartTyping(**_chat(fields)),
    "stopTyping": lambda fields: StopTyping(**_chat(fields)),
    "pushUrl": lambda fields: PushUrl(**_telling(fields), url=fields.url()),
    "customNotice": lambda fields: CustomNotice(
        **_telling(fields), text=_message(fields)
    ),
    "leaveChat": lambda fields: LeaveChat(**_chat(fields)),
    "endChat": lambda fields: EndChat(**_chat(fields)),
}
