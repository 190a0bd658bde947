"""The data object of v2, its messages, and the summaries that agents see."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cometd_chat.gms import v2
from cometd_chat.model import (
    CUSTOMER,
    Entry,
    EntryKind,
    Participant,
    Profile,
    Role,
    Session,
    State,
)

SESSION = Session(
    id="00048aAPEQJ8000U",
    key="NSgiKiYfAV4X",
    service="support",
    state=State.ACTIVE,
    created_at=1432845000.0,
    started_at=1432845088.0,
    profile=Profile(nickname="Ada", subject="Router", user_data={"plan": "gold"}),
    participants=(
        Participant(number=CUSTOMER, role=Role.CUSTOMER, nickname="Ada"),
        Participant(number=2, role=Role.AGENT, nickname="Ann", id="a-1"),
    ),
    last=2,
    last_at=1432845099.5,
    last_text="Hello",
    unread=3,
)
ENDED = replace(SESSION, state=State.ENDED)
HELLO = Entry(
    position=2,
    kind=EntryKind.MESSAGE,
    role=Role.AGENT,
    participant=2,
    nickname="Ann",
    at=1432845099.5,
    text="Hello",
)
HELLO_JSON = {
    "from": {"nickname": "Ann", "participantId": 2, "type": "Agent"},
    "index": 2,
    "type": "Message",
    "text": "Hello",
    "utcTime": 1432845099500,
}


def data(*args: Any, **kwargs: Any) -> Any:
    return json.loads(v2.chat_data(*args, **kwargs))


def test_a_message_in_full() -> None:
    told = structs.replace(HELLO, message_type="markdown", user_data={"k": "v"})
    assert v2.message_json(told) == (
        b'{"from":{"nickname":"Ann","participantId":2,"type":"Agent"},"index":2,'
        b'"type":"Message","text":"Hello","messageType":"markdown",'
        b'"userData":{"k":"v"},"utcTime":1432845099500}'
    )


def test_fields_without_content_are_left_out() -> None:
    assert json.loads(v2.message_json(HELLO)) == HELLO_JSON


@pytest.mark.parametrize("kind", EntryKind)
def test_the_text_is_there_whenever_clients_read_it_unasked(kind: EntryKind) -> None:
    message = json.loads(v2.message_json(structs.replace(HELLO, kind=kind, text="")))
    always = {EntryKind.MESSAGE, EntryKind.PUSH_URL, EntryKind.CUSTOM_NOTICE}
    assert message["type"] == kind.value
    assert ("text" in message) == (kind in always)


def test_a_custom_notice_comes_from_the_customer_and_has_no_index() -> None:
    notice = v2.custom_notice(SESSION, "customer is not online", 1432845100.0)
    assert json.loads(notice) == {
        "from": {"nickname": "Ada", "participantId": 1, "type": "Client"},
        "type": "CustomNotice",
        "text": "customer is not online",
        "utcTime": 1432845100000,
    }


def test_the_data_of_a_chat_for_an_agent_has_no_keys_of_the_customer() -> None:
    assert data(SESSION, [HELLO], next_position=3) == {
        "chatId": "00048aAPEQJ8000U",
        "statusCode": 0,
        "chatEnded": False,
        "nextPosition": 3,
        "messages": [HELLO_JSON],
    }


def test_messages_that_are_rendered_already_are_used_as_they_are() -> None:
    notice = v2.custom_notice(SESSION, "away", 0.0)
    mixed = data(SESSION, [v2.message_json(HELLO), notice], next_position=3)
    assert mixed["messages"] == [HELLO_JSON, json.loads(notice)]


def test_messages_are_an_array_even_when_there_are_none() -> None:
    assert data(SESSION, next_position=3)["messages"] == []


@pytest.mark.parametrize(
    ("session", "next_position", "ended"),
    [(SESSION, 3, False), (ENDED, 3, True), (ENDED, 2, False)],
)
def test_a_chat_is_told_to_be_over_only_behind_its_last_entry(
    session: Session, next_position: int, ended: bool
) -> None:
    assert data(session, next_position=next_position)["chatEnded"] is ended


def test_presence_tells_that_the_customer_is_there() -> None:
    assert data(SESSION, next_position=3, presence=True)["customer"] == {
        "nickname": "Ada",
        "online": True,
        "since": None,
        "userData": {"plan": "gold"},
    }


def test_presence_tells_since_when_the_customer_is_away() -> None:
    away = replace(SESSION, absent_since=1432845200.25)
    customer = data(away, next_position=3, presence=True)["customer"]
    assert (customer["online"], customer["since"]) == (False, 1432845200250)


def test_a_receipt_joins_the_local_id_and_the_position() -> None:
    brief = data(SESSION, next_position=3)
    assert data(SESSION, next_position=3, local_id="m1", position=2) == brief | {
        "localId": "m1",
        "position": 2,
    }


def test_a_list_of_chats() -> None:
    assert json.loads(v2.chats_data([v2.summary(SESSION)])) == {
        "chatId": "",
        "statusCode": 0,
        "chatEnded": False,
        "messages": [],
        "chats": [
            {
                "chatId": "00048aAPEQJ8000U",
                "service": "support",
                "subject": "Router",
                "state": "active",
                "startedAt": 1432845088000,
                "lastAt": 1432845099500,
                "customer": {
                    "nickname": "Ada",
                    "online": True,
                    "since": None,
                    "userData": {"plan": "gold"},
                },
                "agents": [{"id": "a-1", "nickname": "Ann"}],
                "unread": 3,
                "lastText": "Hello",
            }
        ],
    }


def test_an_empty_list_of_chats_is_an_answer_too() -> None:
    assert json.loads(v2.chats_data([]))["chats"] == []


def test_an_error_that_will_not_go_away() -> None:
    assert json.loads(v2.error_data(240, "no such chat")) == {
        "chatId": "",
        "statusCode": 2,
        "chatEnded": False,
        "messages": [],
        "errors": [{"code": 240, "advice": "no such chat"}],
    }


def test_an_error_that_is_worth_a_retry_names_what_failed() -> None:
    error = v2.error_data(249, "later", chat_id="c", retry=True, local_id="m1")
    assert json.loads(error) == {
        "chatId": "c",
        "statusCode": 1,
        "chatEnded": False,
        "messages": [],
        "localId": "m1",
        "errors": [{"code": 249, "advice": "later"}],
    }


def test_an_agent_event_is_a_bayeux_event_around_the_data() -> None:
    event = v2.agent_event("/service/agent", v2.chats_data([]))
    assert json.loads(event) == {
        "channel": "/service/agent",
        "data": json.loads(v2.chats_data([])),
    }


@pytest.mark.parametrize("state", State)
def test_nothing_that_agents_get_holds_the_customers_key(state: State) -> None:
    session = replace(SESSION, state=state)
    told = [
        v2.chats_data([v2.summary(session)]),
        v2.chat_data(session, [HELLO], next_position=3, presence=True),
        v2.custom_notice(session, "away", 0.0),
    ]
    assert b"NSgiKiYfAV4X" not in b"".join(told)


@given(
    st.text(),
    st.text(),
    st.dictionaries(st.text(), st.text(), max_size=3),
    st.sampled_from(EntryKind),
    st.sampled_from(Role),
)
def test_every_fact_of_an_entry_comes_through(
    nickname: str, text: str, user_data: dict[str, str], kind: EntryKind, role: Role
) -> None:
    told = structs.replace(
        HELLO, nickname=nickname, text=text, user_data=user_data, kind=kind, role=role
    )
    message = json.loads(v2.message_json(told))
    assert message["from"] == {
        "nickname": nickname,
        "participantId": 2,
        "type": role.value,
    }
    assert message["type"] == kind.value
    assert message.get("text", "") == text
    assert message.get("userData", {}) == user_data
    assert message["index"] == 2
