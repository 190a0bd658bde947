"""The chat object of v1, byte for byte where clients depend on it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.gms import v1
from cometd_chat.model import CUSTOMER, Entry, EntryKind, Role, Session, State

STARTED = 1425414972.75  # 2015-03-03T20:36:12.75Z
SESSION = Session(
    id="0001BaAFC4J8000N",
    key="180655e104ca6cf447d",
    service="request-chat",
    state=State.ACTIVE,
    created_at=STARTED,
    started_at=STARTED,
    last=6,
)
ENDED = replace(SESSION, state=State.ENDED)
VERBOSE = v1.Verbose(base_path="/genesys", host="chat.example", port=8080, tls=True)


def entry(position: int, kind: EntryKind = EntryKind.MESSAGE, **facts: Any) -> Entry:
    defaults: dict[str, Any] = {
        "role": Role.AGENT,
        "participant": 2,
        "nickname": "agentName",
        "at": STARTED + 29,
        "text": "Hello" if kind is EntryKind.MESSAGE else "",
    }
    return Entry(position=position, kind=kind, **(defaults | facts))


TYPING = entry(5, EntryKind.TYPING_STARTED, at=STARTED + 28)
HELLO = entry(6)


def test_the_chat_object_in_full() -> None:
    assert v1.chat_object(SESSION, [TYPING, HELLO], position=6) == (
        b'{"chatSessionId":"0001BaAFC4J8000N","chatIxnState":"TRANSCRIPT",'
        b'"transcriptPosition":"6","transcriptToShow":['
        b'["Notice.TypingStarted","agentName","is typing","28","AGENT"],'
        b'["Message.Text","agentName","Hello","29","AGENT"]],'
        b'"chatServiceMessage":"Chat service is available",'
        b'"startedAt":"2015-03-03T20:36:12Z"}'
    )


def test_the_transcript_is_an_array_even_without_entries() -> None:
    chat = json.loads(v1.chat_object(SESSION, [], position=4))
    assert (chat["transcriptToShow"], chat["transcriptPosition"]) == ([], "4")


@pytest.mark.parametrize(
    ("session", "position", "created", "state"),
    [
        (SESSION, 6, True, "CONNECTED"),
        (SESSION, 6, False, "TRANSCRIPT"),
        (ENDED, 6, False, "DISCONNECTED"),
        (ENDED, 7, False, "DISCONNECTED"),
        (ENDED, 6, True, "DISCONNECTED"),
        (ENDED, 5, False, "TRANSCRIPT"),
    ],
)
def test_disconnected_is_said_only_with_the_last_entry(
    session: Session, position: int, created: bool, state: str
) -> None:
    chat = v1.chat_object(session, [], position=position, created=created)
    assert json.loads(chat)["chatIxnState"] == state


def test_verbose_adds_every_field_the_android_sample_reads() -> None:
    path = "/genesys/1/service/180655e104ca6cf447d/ixn/chat"
    brief = json.loads(v1.chat_object(SESSION, [HELLO], position=6))
    full = v1.chat_object(SESSION, [HELLO], position=6, verbose=VERBOSE)
    assert json.loads(full) == brief | {
        "userId": "0000000000000001",
        "secureKey": "180655e104ca6cf447d",
        "checkChatServiceLoadBalancerPath": "/ready",
        "chatServerLoadBalancerAlias": "1",
        "chatServerHost": "chat.example",
        "chatWebApiPort": 8080,
        "isTLSrequired": True,
        "clientTimeZoneOffset": "0",
        "_chatIxnAPI_SEND_URL": f"{path}/send",
        "_chatIxnAPI_REFRESH_URL": f"{path}/refresh",
        "_chatIxnAPI_START_TYPING_URL": f"{path}/startTyping",
        "_chatIxnAPI_STOP_TYPING_URL": f"{path}/stopTyping",
        "_chatIxnAPI_DISCONNECT_URL": f"{path}/disconnect",
        "_chatIxnAPI_REFRESH_FROM_START_URL": f"{path}/refresh?transcriptPosition=0",
    }


@pytest.mark.parametrize(
    ("kind", "event", "text"),
    [
        (EntryKind.JOINED, "Notice.Joined", "has joined the session"),
        (EntryKind.LEFT, "Notice.Left", "has left the session"),
        (EntryKind.MESSAGE, "Message.Text", "said"),
        (EntryKind.TYPING_STARTED, "Notice.TypingStarted", "is typing"),
        (EntryKind.TYPING_STOPPED, "Notice.TypingStopped", "stopped typing"),
        (EntryKind.PUSH_URL, "Notice.PushUrl", "said"),
        (EntryKind.CUSTOM_NOTICE, "Notice.Custom", "said"),
        (EntryKind.NICKNAME_UPDATED, "Notice.Custom", "has a new nickname"),
        (EntryKind.FILE_UPLOADED, "Notice.Custom", "has sent a file: bill.pdf"),
        (EntryKind.FILE_DELETED, "Notice.Custom", "has deleted a file: bill.pdf"),
    ],
)
def test_every_kind_of_entry_has_its_event_and_text(
    kind: EntryKind, event: str, text: str
) -> None:
    told = entry(1, kind, text="said", user_data={"file-name": "bill.pdf"})
    assert v1.entry_row(told, int(STARTED))[:3] == [event, "agentName", text]
    assert v1.event_name(kind) == event


def test_no_kind_of_entry_is_forgotten() -> None:
    assert all(v1.event_name(kind) for kind in EntryKind)


def test_entries_without_a_text_are_told_in_the_words_of_the_transcript() -> None:
    assert v1.entry_words(entry(1, text="Hello")) == "Hello"
    assert v1.entry_words(entry(1, EntryKind.JOINED)) == "has joined the session"
    assert v1.entry_words(entry(1, EntryKind.LEFT)) == "has left the session"


def test_a_file_without_a_name_is_told_as_such() -> None:
    row = v1.entry_row(entry(1, EntryKind.FILE_UPLOADED), int(STARTED))
    assert row[2] == "has sent a file: without a name"


@pytest.mark.parametrize(
    ("role", "party"),
    [
        (Role.CUSTOMER, "CLIENT"),
        (Role.AGENT, "AGENT"),
        (Role.SUPERVISOR, "SUPERVISOR"),
        (Role.EXTERNAL, "EXTERNAL"),
    ],
)
def test_parties_are_written_in_capitals(role: Role, party: str) -> None:
    assert v1.entry_row(entry(1, role=role), int(STARTED))[4] == party


@pytest.mark.parametrize(
    ("at", "offset"),
    [(STARTED, "0"), (STARTED - 100, "0"), (STARTED + 0.3, "1"), (STARTED + 29, "29")],
)
def test_offsets_count_from_the_second_that_started_at_tells(
    at: float, offset: str
) -> None:
    assert v1.entry_row(entry(1, at=at), int(STARTED))[3] == offset


def test_the_index_of_fast_refresh_is_a_sixth_string() -> None:
    row = ["Message.Text", "agentName", "Hello", "29", "AGENT", "6"]
    chat = v1.chat_object(SESSION, [HELLO], position=6, index=True)
    event = v1.notification(SESSION, [HELLO], "f" * 32, index=True)
    assert json.loads(chat)["transcriptToShow"] == [row]
    assert json.loads(event)["data"]["message"]["transcriptToShow"] == [row]


def test_a_notification_carries_the_chat_object_to_the_gms_channel() -> None:
    event = v1.notification(
        SESSION, [TYPING, HELLO], "fdf93730c1e411e4a5e8f1be76b28efd"
    )
    assert json.loads(event) == {
        "channel": "/_genesys",
        "data": {
            "id": "fdf93730c1e411e4a5e8f1be76b28efd",
            "tag": "service.chat.refresh.180655e104ca6cf447d",
            "message": json.loads(v1.chat_object(SESSION, [TYPING, HELLO], position=6)),
        },
    }


def test_a_notification_without_entries_tells_that_the_chat_is_over() -> None:
    message = json.loads(v1.notification(ENDED, [], "0" * 32))["data"]["message"]
    assert message["chatIxnState"] == "DISCONNECTED"
    assert message["transcriptPosition"] == "6"
    assert message["transcriptToShow"] == []


def test_a_replay_in_parts_does_not_end_before_its_last_part() -> None:
    first = json.loads(v1.notification(ENDED, [TYPING], "0" * 32))
    second = json.loads(v1.notification(ENDED, [HELLO], "1" * 32))
    states = [event["data"]["message"]["chatIxnState"] for event in (first, second)]
    assert states == ["TRANSCRIPT", "DISCONNECTED"]


def test_the_reply_to_service_creation() -> None:
    assert v1.service_object(SESSION, "/genesys", verbose=False) == (
        b'{"_id":"180655e104ca6cf447d"}'
    )
    assert json.loads(v1.service_object(SESSION, "/genesys", verbose=True)) == {
        "_id": "180655e104ca6cf447d",
        "_chatIxnAPI-CREATE-URL": "/genesys/1/service/180655e104ca6cf447d/ixn/chat",
    }


def test_the_body_of_an_error() -> None:
    assert v1.error_body('no "x"', "BadRequestException") == (
        b'{"message":"no \\"x\\"","exception":"BadRequestException"}'
    )


@given(st.lists(st.text(), min_size=1), st.integers(min_value=1, max_value=10**6))
def test_a_client_finds_the_position_of_every_entry_by_counting_back(
    texts: list[str], first: int
) -> None:
    entries = [entry(first + i, text=text) for i, text in enumerate(texts)]
    message = json.loads(v1.notification(SESSION, entries, "0" * 32))["data"]["message"]
    rows = message["transcriptToShow"]
    given_back = v1.parse_operation(
        {"transcriptPosition": message["transcriptPosition"]}
    )
    assert given_back.position is not None
    found = {given_back.position - (len(rows) - 1) + i: r for i, r in enumerate(rows)}
    assert {p: row[2] for p, row in found.items()} == {
        e.position: e.text for e in entries
    }


@given(st.text(), st.text(), st.sampled_from(EntryKind), st.sampled_from(Role))
def test_an_entry_is_always_five_strings_on_one_line(
    nickname: str, text: str, kind: EntryKind, role: Role
) -> None:
    told = entry(CUSTOMER, kind, nickname=nickname, text=text, role=role)
    row = v1.entry_row(told, int(STARTED))
    assert [type(cell) for cell in row] == [str] * 5
    assert row[1] == nickname
    encoded = v1.notification(SESSION, [told], "0" * 32)
    shown = json.loads(encoded)["data"]["message"]["transcriptToShow"]
    assert shown == [row]
    assert b"\n" not in encoded
