"""What v2 clients and agents get: one data object for replies, events and errors.

Positions are those a client wants next. `chatId`, `statusCode`, `chatEnded` and
`messages` are always there: the Genesys SDK for iOS takes a chat without `chatEnded`
for an ended one, and cannot read an object without `chatId`.
"""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType, field, json, structs

from cometd_chat.model import CUSTOMER, Entry, EntryKind, Role, Session, State

_encode = json.Encoder().encode

LARGEST_LIST = 262_144
"""Bytes of a list of chats beyond which those with much to tell are cut: few customers
could make it too large for everybody otherwise."""

BRIEF = 100
"""Characters of each text of a chat that is cut."""

_SPOKEN = {EntryKind.MESSAGE, EntryKind.PUSH_URL, EntryKind.CUSTOM_NOTICE}
"""Kinds whose `text` clients read without asking whether it is there."""


class Agent(Struct, frozen=True, kw_only=True):
    """Somebody of the staff in a chat."""

    id: str
    nickname: str


class Customer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The customer as agents see him: `since` is when he went away (epoch ms)."""

    nickname: str
    online: bool
    since: int | None
    user_data: dict[str, str]


class Summary(Struct, frozen=True, kw_only=True, rename="camel"):
    """One line in an agent's list of chats; times are epoch milliseconds."""

    chat_id: str
    service: str
    subject: str
    state: State
    started_at: int
    last_at: int
    customer: Customer
    agents: tuple[Agent, ...]
    unread: int
    last_text: str


class _Party(Struct, kw_only=True, rename="camel"):
    nickname: str
    participant_id: int
    type: Role


class _Message(Struct, kw_only=True, rename="camel"):
    sender: _Party = field(name="from")
    index: int | UnsetType = UNSET
    type: EntryKind
    text: str | UnsetType = UNSET
    message_type: str | UnsetType = UNSET
    user_data: dict[str, str] | UnsetType = UNSET
    utc_time: int


class _Problem(Struct, kw_only=True):
    code: int
    advice: str


class _Data(Struct, kw_only=True, rename="camel"):
    chat_id: str = ""
    status_code: int = 0
    chat_ended: bool = False
    next_position: int | UnsetType = UNSET
    messages: Sequence[Raw] = ()
    customer: Customer | UnsetType = UNSET
    chats: Sequence[Summary] | UnsetType = UNSET
    local_id: str | UnsetType = UNSET
    position: int | UnsetType = UNSET
    errors: Sequence[_Problem] | UnsetType = UNSET


class _Event(Struct, kw_only=True):
    channel: str
    data: Raw


def message_json(entry: Entry) -> bytes:
    """Encode one element of `messages`, fit for everybody who reads the session."""
    return _encode(
        _Message(
            sender=_Party(
                nickname=entry.nickname,
                participant_id=entry.participant,
                type=entry.role,
            ),
            index=entry.position,
            type=entry.kind,
            text=entry.text if entry.text or entry.kind in _SPOKEN else UNSET,
            message_type=entry.message_type or UNSET,
            user_data=dict(entry.user_data) or UNSET,
            utc_time=_milliseconds(entry.at),
        )
    )


def custom_notice(session: Session, text: str, at: float) -> bytes:
    """Encode a notice that comes from the customer but is no entry: it has no index."""
    return _encode(
        _Message(
            sender=_Party(
                nickname=session.profile.nickname,
                participant_id=CUSTOMER,
                type=Role.CUSTOMER,
            ),
            type=EntryKind.CUSTOM_NOTICE,
            text=text,
            utc_time=_milliseconds(at),
        )
    )


def chat_data(
    session: Session,
    messages: Sequence[Entry | bytes] = (),
    *,
    next_position: int,
    presence: bool = False,
    local_id: str = "",
    position: int = 0,
) -> bytes:
    """Encode the data object of one chat.

    `messages` are entries, or what `message_json` and `custom_notice` returned.
    `presence` adds whether the customer is there. `local_id` tells which operation is
    answered, `position` where that stored something.
    `chatEnded` is said once `next_position` is beyond the end, because clients stop
    reading there.
    """
    data = _Data(
        chat_id=session.id,
        chat_ended=session.ended and next_position > session.last,
        next_position=next_position,
        messages=[Raw(_rendered(message)) for message in messages],
        customer=_customer(session) if presence else UNSET,
        local_id=local_id or UNSET,
        position=position or UNSET,
    )
    return _encode(data)


def chats_data(chats: Sequence[Summary], local_id: str = "") -> bytes:
    """Encode the data object that lists chats, or tells how some of them changed.

    Where all is too much, chats with more than their share are without business data.
    """
    data = _encode(_Data(chats=chats, local_id=local_id or UNSET))
    if len(data) <= LARGEST_LIST:
        return data
    share = LARGEST_LIST // len(chats)
    fitting = [c if len(_encode(c)) <= share else _brief(c) for c in chats]
    return _encode(_Data(chats=fitting, local_id=local_id or UNSET))


def error_data(
    code: int,
    advice: str,
    *,
    chat_id: str = "",
    retry: bool = False,
    local_id: str = "",
) -> bytes:
    """Encode the data object of a failure; it never says that the chat has ended.

    `retry` chooses `statusCode` 1, the same may work later, over 2, it will not.
    """
    return _encode(
        _Data(
            chat_id=chat_id,
            status_code=1 if retry else 2,
            local_id=local_id or UNSET,
            errors=[_Problem(code=code, advice=advice)],
        )
    )


def agent_event(channel: str, data: bytes) -> bytes:
    """Encode the Bayeux event that brings a data object."""
    return _encode(_Event(channel=channel, data=Raw(data)))


def summary(session: Session) -> Summary:
    """Tell agents about a session; the customer's key stays out."""
    return Summary(
        chat_id=session.id,
        service=session.service,
        subject=session.profile.subject,
        state=session.state,
        started_at=_milliseconds(session.started_at),
        last_at=_milliseconds(session.last_at),
        customer=_customer(session),
        agents=tuple(Agent(id=p.id, nickname=p.nickname) for p in session.agents),
        unread=session.unread,
        last_text=session.last_text,
    )


def _customer(session: Session) -> Customer:
    absent_since = session.absent_since
    return Customer(
        nickname=session.profile.nickname,
        online=session.present,
        since=None if absent_since is None else _milliseconds(absent_since),
        user_data=dict(session.profile.user_data),
    )


def _brief(chat: Summary) -> Summary:
    return structs.replace(
        chat,
        subject=chat.subject[:BRIEF],
        last_text=chat.last_text[:BRIEF],
        customer=structs.replace(chat.customer, user_data={}),
    )


def _rendered(message: Entry | bytes) -> bytes:
    return message if isinstance(message, bytes) else message_json(message)


def _milliseconds(at: float) -> int:
    return round(at * 1000)
