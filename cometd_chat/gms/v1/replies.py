"""What a v1 client gets: the chat object, alone as a reply or inside a notification.

Numbers travel as strings, and positions are those of the last entry: a client counts
back from `transcriptPosition` to find the position of every entry in the same object.
Hence one object carries one contiguous run of entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import UNSET, Struct, UnsetType, field, json
from msgspec.structs import asdict

from cometd_chat.gms.values import ALIAS, USER_ID
from cometd_chat.model import Entry, EntryKind, Role, Session

_encode = json.Encoder().encode

_EVENTS = {
    EntryKind.JOINED: "Notice.Joined",
    EntryKind.LEFT: "Notice.Left",
    EntryKind.MESSAGE: "Message.Text",
    EntryKind.TYPING_STARTED: "Notice.TypingStarted",
    EntryKind.TYPING_STOPPED: "Notice.TypingStopped",
    EntryKind.PUSH_URL: "Notice.PushUrl",
    EntryKind.CUSTOM_NOTICE: "Notice.Custom",
    # Version 1 has no events for these; old clients break at any eighth name.
    EntryKind.NICKNAME_UPDATED: "Notice.Custom",
    EntryKind.FILE_UPLOADED: "Notice.Custom",
    EntryKind.FILE_DELETED: "Notice.Custom",
}

_PHRASES = {
    EntryKind.JOINED: "has joined the session",
    EntryKind.LEFT: "has left the session",
    EntryKind.TYPING_STARTED: "is typing",
    EntryKind.TYPING_STOPPED: "stopped typing",
    EntryKind.NICKNAME_UPDATED: "has a new nickname",
    EntryKind.FILE_UPLOADED: "has sent a file",
    EntryKind.FILE_DELETED: "has deleted a file",
}

_PARTIES = {role: role.upper() for role in Role}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbose:
    """What `_verbose=true` tells beyond the chat: where the server can be reached.

    `base_path` starts with a slash and does not end with one, or it is empty.
    """

    base_path: str
    host: str
    port: int
    tls: bool


class _Chat(Struct, kw_only=True, rename="camel"):
    chat_session_id: str
    chat_ixn_state: str
    transcript_position: str
    transcript_to_show: list[list[str]]
    chat_service_message: str = "Chat service is available"
    started_at: str


class _VerboseChat(_Chat, kw_only=True, rename="camel"):
    user_id: str = USER_ID
    secure_key: str
    check_chat_service_load_balancer_path: str = "/ready"
    chat_server_load_balancer_alias: str = ALIAS
    chat_server_host: str
    chat_web_api_port: int
    tls_required: bool = field(name="isTLSrequired")
    client_time_zone_offset: str = "0"
    send_url: str = field(name="_chatIxnAPI_SEND_URL")
    refresh_url: str = field(name="_chatIxnAPI_REFRESH_URL")
    start_typing_url: str = field(name="_chatIxnAPI_START_TYPING_URL")
    stop_typing_url: str = field(name="_chatIxnAPI_STOP_TYPING_URL")
    disconnect_url: str = field(name="_chatIxnAPI_DISCONNECT_URL")
    refresh_from_start_url: str = field(name="_chatIxnAPI_REFRESH_FROM_START_URL")


class _NotificationData(Struct, kw_only=True):
    id: str
    tag: str
    message: _Chat


class _Notification(Struct, kw_only=True):
    channel: str = "/_genesys"
    data: _NotificationData


class _Service(Struct, kw_only=True):
    id: str = field(name="_id")
    create_url: str | UnsetType = field(name="_chatIxnAPI-CREATE-URL", default=UNSET)


class _Error(Struct, kw_only=True):
    message: str
    exception: str


def event_name(kind: EntryKind) -> str:
    """Return the GMS name of an event, as in GMS option `_filtering_chat_events`."""
    return _EVENTS[kind]


def entry_words(entry: Entry) -> str:
    """Return the entry's own text, or where it has none what the transcript says."""
    return entry.text or _text(entry)


def entry_row(entry: Entry, started_at: int, *, index: bool = False) -> list[str]:
    """Return one element of `transcriptToShow`, fit for every client of the session.

    Five strings: event, nickname, text, whole seconds since `startedAt`, party. GMS
    option `enable-fast-chat-transcript-refresh` says that it "adds an Index"; as
    the element is an array, `index` appends the position as a sixth string.
    """
    # Both ends are cut to whole seconds first, because `startedAt` is on the wire:
    # what the client adds up is then the second in which the entry was written.
    seconds = int(entry.at) - started_at
    offset = str(seconds) if seconds > 0 else "0"
    event, party = _EVENTS[entry.kind], _PARTIES[entry.role]
    row = [event, entry.nickname, _text(entry), offset, party]
    if index:
        row.append(str(entry.position))
    return row


def chat_object(
    session: Session,
    entries: Sequence[Entry],
    *,
    position: int,
    created: bool = False,
    index: bool = False,
    verbose: Verbose | None = None,
) -> bytes:
    """Encode the chat object, the reply to every v1 operation.

    `position` is that of the last entry, or the client's own if there is none. The
    state is CONNECTED in the reply to creation (`created`). It becomes DISCONNECTED
    when the chat is over and `position` has reached its end: clients stop reading
    at this word, and would lose what had not been sent before it.
    """
    chat = _chat(session, entries, position, created=created, index=index)
    return _encode(_in_full(chat, session, verbose) if verbose else chat)


def notification(
    session: Session,
    entries: Sequence[Entry],
    notification_id: str,
    *,
    index: bool = False,
) -> bytes:
    """Encode the Bayeux event that brings a run of entries to channel `/_genesys`.

    `notification_id` is unique, 32 hexadecimal digits. Without entries the event
    tells the state of the chat at its newest position.
    """
    position = entries[-1].position if entries else session.last
    data = _NotificationData(
        id=notification_id,
        tag=f"service.chat.refresh.{session.key}",
        message=_chat(session, entries, position, created=False, index=index),
    )
    return _encode(_Notification(data=data))


def service_object(session: Session, base_path: str, *, verbose: bool) -> bytes:
    """Encode the reply to service creation: the id, and where to create the chat."""
    create_url = _chat_path(session, base_path) if verbose else UNSET
    return _encode(_Service(id=session.key, create_url=create_url))


def error_body(message: str, exception: str) -> bytes:
    """Encode the body of every reply with an HTTP status of 400 and above."""
    return _encode(_Error(message=message, exception=exception))


def _text(entry: Entry) -> str:
    # Nearly all entries are messages, and to name a member of an enumeration costs more
    # than to look for one.
    phrase = _PHRASES.get(entry.kind)
    if phrase is None:
        return entry.text
    if entry.kind in {EntryKind.FILE_UPLOADED, EntryKind.FILE_DELETED}:
        return f"{phrase}: {entry.user_data.get('file-name', 'without a name')}"
    return phrase


def _chat(
    session: Session,
    entries: Sequence[Entry],
    position: int,
    *,
    created: bool,
    index: bool,
) -> _Chat:
    started_at = int(session.started_at)
    return _Chat(
        chat_session_id=session.id,
        chat_ixn_state=_state(session, position, created=created),
        transcript_position=str(position),
        transcript_to_show=[entry_row(e, started_at, index=index) for e in entries],
        started_at=_utc(started_at),
    )


@lru_cache(maxsize=4096)
def _utc(seconds: int) -> str:
    """Return a moment in ISO 8601; that of a chat's start is asked for all the time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _state(session: Session, position: int, *, created: bool) -> str:
    if session.ended and position >= session.last:
        return "DISCONNECTED"
    return "CONNECTED" if created else "TRANSCRIPT"


def _in_full(chat: _Chat, session: Session, verbose: Verbose) -> _VerboseChat:
    path = _chat_path(session, verbose.base_path)
    return _VerboseChat(
        **asdict(chat),
        # No key of our own: the caller used this very id to get here.
        secure_key=session.key,
        chat_server_host=verbose.host,
        chat_web_api_port=verbose.port,
        tls_required=verbose.tls,
        send_url=f"{path}/send",
        refresh_url=f"{path}/refresh",
        start_typing_url=f"{path}/startTyping",
        stop_typing_url=f"{path}/stopTyping",
        disconnect_url=f"{path}/disconnect",
        refresh_from_start_url=f"{path}/refresh?transcriptPosition=0",
    )


def _chat_path(session: Session, base_path: str) -> str:
    return f"{base_path}/1/service/{session.key}/ixn/chat"
