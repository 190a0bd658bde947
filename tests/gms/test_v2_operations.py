"""What agents may ask for, and what they are told when they ask wrongly."""

import json
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.gms import v2
from cometd_chat.gms.v2.fields import MOST_CHATS
from cometd_chat.gms.values import DEFAULT_LIMITS, Limits
from cometd_chat.model import PushOverride, Session, State

OVERRIDE = PushOverride(
    title="t",
    body="b",
    ext="e",
    sound="s",
    collapse="c",
    apns={"aps": {"alert": ["x", 1, None]}},
)

LIMITS = Limits(text=20, user_data=60)
PUSH = {
    "disabled": False,
    "title": "t",
    "body": "b",
    "ext": "e",
    "sound": "s",
    "badge": "count",
    "collapse": "c",
    "apns": {"aps": {"alert": ["x", 1, None]}},
    "android": {},
    "webpush": {},
}


def parse(operation: Any, limits: Limits = DEFAULT_LIMITS, **fields: Any) -> Any:
    data = json.dumps({"operation": operation, **fields}).encode()
    return v2.parse_operation(data, limits)


@pytest.mark.parametrize(
    ("fields", "operation"),
    [
        ({"operation": "listChats"}, v2.ListChats()),
        (
            {"operation": "listChats", "state": "waiting", "service": "s", "limit": 5},
            v2.ListChats(state=State.WAITING, service="s", limit=5),
        ),
        (
            {"operation": "listChats", "state": None, "service": "", "limit": "7"},
            v2.ListChats(limit=7),
        ),
        ({"operation": "listChats", "limit": 10**6}, v2.ListChats(limit=MOST_CHATS)),
        ({"operation": "acceptChat", "chatId": "c"}, v2.AcceptChat(chat_id="c")),
        (
            {"operation": "requestNotifications", "chatId": "c"},
            v2.RequestNotifications(chat_id="c"),
        ),
        (
            {
                "operation": "requestNotifications",
                "chatId": "c",
                "transcriptPosition": 4,
            },
            v2.RequestNotifications(chat_id="c", position=4),
        ),
        (
            {
                "operation": "requestNotifications",
                "chatId": "c",
                "transcriptPosition": "4",
            },
            v2.RequestNotifications(chat_id="c", position=4),
        ),
        (
            {"operation": "sendMessage", "chatId": "c", "message": "hi", "extra": 1},
            v2.SendMessage(chat_id="c", text="hi"),
        ),
        (
            {
                "operation": "sendMessage",
                "chatId": "c",
                "message": "hi",
                "messageType": "markdown",
                "localId": "m1",
                "messageId": "m2",
                "push": PUSH,
            },
            v2.SendMessage(
                chat_id="c",
                text="hi",
                message_type="markdown",
                local_id="m1",
                push=OVERRIDE,
            ),
        ),
        (
            {
                "operation": "sendMessage",
                "chatId": "c",
                "message": "hi",
                "messageId": "m2",
                "push": {"badge": "ignore"},
            },
            v2.SendMessage(
                chat_id="c", text="hi", local_id="m2", push=PushOverride(uncounted=True)
            ),
        ),
        ({"operation": "startTyping", "chatId": "c"}, v2.StartTyping(chat_id="c")),
        ({"operation": "stopTyping", "chatId": "c"}, v2.StopTyping(chat_id="c")),
        (
            {
                "operation": "pushUrl",
                "chatId": "c",
                "pushUrl": "HTTPS://example.org:8443/a?b#c",
                "localId": "m1",
            },
            v2.PushUrl(
                chat_id="c", url="HTTPS://example.org:8443/a?b#c", local_id="m1"
            ),
        ),
        (
            {"operation": "pushUrl", "chatId": "c", "pushUrl": "http://[::1]/é"},
            v2.PushUrl(chat_id="c", url="http://[::1]/é"),
        ),
        (
            {"operation": "customNotice", "chatId": "c", "message": "n"},
            v2.CustomNotice(chat_id="c", text="n"),
        ),
        (
            {
                "operation": "customNotice",
                "chatId": "c",
                "message": "n",
                "push": {"title": "t"},
            },
            v2.CustomNotice(chat_id="c", text="n", push=PushOverride(title="t")),
        ),
        (
            {
                "operation": "pushUrl",
                "chatId": "c",
                "pushUrl": "http://e.org",
                "push": {"disabled": True},
            },
            v2.PushUrl(
                chat_id="c", url="http://e.org", pushed=False, push=PushOverride()
            ),
        ),
        ({"operation": "leaveChat", "chatId": "c"}, v2.LeaveChat(chat_id="c")),
        ({"operation": "endChat", "chatId": "c"}, v2.EndChat(chat_id="c")),
    ],
)
def test_operations_are_read(fields: dict[str, Any], operation: v2.Operation) -> None:
    assert v2.parse_operation(json.dumps(fields).encode()) == operation


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"", "no valid JSON read"),
        (b"{", "no valid JSON read"),
        (b'{"message":"\\ud800"}', "no valid JSON read"),
        (b'{"message":"\xff"}', "no valid JSON read"),
        (b'{"limit":NaN}', "no valid JSON read"),
        (b'{"limit":1e999}', "no valid JSON read"),
        (b"[" * 100_000 + b"]" * 100_000, "no valid JSON read"),
        (b"null", "nothing read"),
        (b"true", "a boolean read"),
        (b"1.5", "a number read"),
        (b'"secret"', "a text of length 6 read"),
        (b"[{}]", "an array read"),
    ],
)
def test_data_that_is_no_object_is_refused(data: bytes, read: str) -> None:
    with pytest.raises(v2.OperationError) as caught:
        v2.parse_operation(data)
    assert str(caught.value) == f"data: {read}, an object is needed"
    assert "During handling" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("operation", "read"),
    [
        (None, "nothing read"),
        ("", "nothing read"),
        ("dropTables", "a text of length 10 read"),
        (["listChats"], "an array read"),
        ({"listChats": 1}, "an object read"),
    ],
)
def test_an_unknown_operation_is_answered_with_those_there_are(
    operation: Any, read: str
) -> None:
    with pytest.raises(v2.OperationError) as caught:
        parse(operation)
    assert str(caught.value) == (
        f"operation: {read}, one of listChats, acceptChat, requestNotifications, "
        "sendMessage, startTyping, stopTyping, pushUrl, customNotice, leaveChat, "
        "endChat is needed"
    )


@pytest.mark.parametrize(
    ("operation", "fields", "text"),
    [
        ("acceptChat", {}, "chatId: nothing read, a text is needed"),
        ("endChat", {"chatId": ""}, "chatId: nothing read, a text is needed"),
        ("leaveChat", {"chatId": 7}, "chatId: a number read, a text is needed"),
        (
            "stopTyping",
            {"chatId": "c" * 129},
            "chatId: 129 bytes read, at most 128 are allowed",
        ),
        (
            "startTyping",
            {"chatId": "\0"},
            "chatId: NUL read, every other character is allowed",
        ),
        (
            "sendMessage",
            {"chatId": "c"},
            "message: nothing read, a text is needed",
        ),
        (
            "sendMessage",
            {"chatId": "c", "message": "é" * 11},
            "message: 22 bytes read, at most 20 are allowed",
        ),
        (
            "customNotice",
            {"chatId": "c", "message": ["secret"]},
            "message: an array read, a text is needed",
        ),
        (
            "sendMessage",
            {"chatId": "c", "message": "hi", "localId": 5},
            "localId: a number read, a text is needed",
        ),
        (
            "listChats",
            {"state": "new"},
            ("state: a text of length 3 read, one of waiting, active, ended is needed"),
        ),
        (
            "listChats",
            {"limit": 0},
            "limit: a number read, a whole number from 1 on is needed",
        ),
        (
            "listChats",
            {"limit": True},
            "limit: a boolean read, a whole number from 1 on is needed",
        ),
    ],
)
def test_wrong_fields_are_named_with_what_is_allowed(
    operation: str, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(v2.OperationError) as caught:
        parse(operation, LIMITS, **fields)
    assert str(caught.value) == text


@pytest.mark.parametrize("position", [-1, 2**53 + 1, 1.5, "-1", "x", [], True])
def test_a_position_is_a_whole_number(position: Any) -> None:
    with pytest.raises(v2.OperationError, match=r"^transcriptPosition: "):
        parse("requestNotifications", chatId="c", transcriptPosition=position)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "ftp://example.org",
        "/relative",
        "//example.org/x",
        "example.org",
        "http:",
        "http://",
        "http:///path",
        "http://:80/",
        "http:example.org",
        "http://example.org:99999/",
        "http://[::1",
        "http:\\\\example.org",
        "http://example.org\\@evil.example",
        "http://exa mple.org",
        "http://example.org/\nx",
        " http://example.org",
    ],
)
def test_only_absolute_web_addresses_may_be_pushed(url: str) -> None:
    with pytest.raises(v2.OperationError) as caught:
        parse("pushUrl", chatId="c", pushUrl=url)
    assert str(caught.value) == (
        f"pushUrl: a text of length {len(url)} read, "
        "an absolute URL of http or https is needed"
    )


def test_urls_have_a_length() -> None:
    with pytest.raises(v2.OperationError, match="pushUrl: 2049 bytes read"):
        parse("pushUrl", chatId="c", pushUrl="http://e.org/".ljust(2049, "x"))


def nested(levels: int) -> dict[str, Any]:
    return {"x": nested(levels - 1) if levels else 1}


@pytest.mark.parametrize(
    ("push", "text"),
    [
        ("loud", "push: a text of length 4 read, an object is needed"),
        ([], "push: an array read, an object is needed"),
        (
            {"tittle": "secret"},
            (
                "push: unknown field read, allowed: disabled, title, body, ext, sound, "
                "badge, collapse, apns, android, webpush"
            ),
        ),
        (
            {"disabled": "yes"},
            "push.disabled: a text of length 3 read, true or false is needed",
        ),
        ({"title": 1}, "push.title: a number read, a text is needed"),
        ({"apns": []}, "push.apns: an array read, an object is needed"),
        (
            {"badge": "more"},
            "push.badge: a text of length 4 read, one of count, ignore is needed",
        ),
        ({"badge": []}, "push.badge: an array read, one of count, ignore is needed"),
        ({"apns": nested(7)}, "push: at most 8 levels are allowed"),
        ({"body": "é" * 30}, "push: 71 bytes read, at most 60 are allowed"),
        (
            {"apns": {"aps": "x"}},
            "push.apns.aps: a text of length 1 read, an object is needed",
        ),
        (
            {"android": {"notification": []}},
            "push.android.notification: an array read, an object is needed",
        ),
    ],
)
def test_the_push_of_a_message_is_checked_when_it_comes(push: Any, text: str) -> None:
    with pytest.raises(v2.OperationError) as caught:
        parse("sendMessage", LIMITS, chatId="c", message="hi", push=push)
    assert str(caught.value) == text


def test_a_push_leaves_room_for_ours() -> None:
    with pytest.raises(v2.OperationError, match="at most 2048 are allowed"):
        parse("sendMessage", chatId="c", message="hi", push={"ext": "x" * 2048})


def test_the_deepest_push_allowed() -> None:
    push = {"apns": nested(6)}
    sent = parse("sendMessage", chatId="c", message="hi", push=push)
    assert sent.push == PushOverride(apns=push["apns"])


def test_a_message_that_is_not_to_be_pushed() -> None:
    def pushed(**push: object) -> bool:
        sent = parse("sendMessage", chatId="c", message="hi", push=push)
        return bool(sent.pushed)

    assert [pushed(), pushed(disabled=False), pushed(disabled=True)] == [1, 1, 0]


def test_what_agents_say_stays_out_of_representations() -> None:
    said = [
        parse("sendMessage", chatId="c", message="PIN", push={"title": "PIN"}),
        parse("customNotice", chatId="c", message="PIN"),
        parse("pushUrl", chatId="c", pushUrl="http://example.org/PIN"),
    ]
    assert "PIN" not in repr(said)


@given(st.integers(min_value=1, max_value=2**53))
def test_the_next_position_told_is_the_position_asked_for(position: int) -> None:
    session = Session(id="c", key="k", service="s", created_at=0.0)
    told = json.loads(v2.chat_data(session, next_position=position))
    for form in (told["nextPosition"], str(told["nextPosition"])):
        asked = parse("requestNotifications", chatId="c", transcriptPosition=form)
        assert asked.position == position


FIELDS = [
    "chatId", "message", "state", "service", "limit", "transcriptPosition",
    "messageType", "localId", "messageId", "push", "pushUrl",
]  # fmt: skip
OPERATIONS = [
    "listChats", "acceptChat", "requestNotifications", "sendMessage", "startTyping",
    "stopTyping", "pushUrl", "customNotice", "leaveChat", "endChat",
]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.sampled_from(["c", "3", "http://[", "waiting", *PUSH]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*PUSH]), inner),
    max_leaves=8,
)


def outcome(data: bytes) -> v2.Operation | v2.OperationError:
    try:
        return v2.parse_operation(data, LIMITS)
    except v2.OperationError as error:
        return error


@given(
    st.sampled_from(OPERATIONS) | JSON,
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
def test_whatever_json_comes_is_an_operation_or_an_operation_error(
    operation: Any, fields: dict[str, Any]
) -> None:
    data = json.dumps({"operation": operation, "chatId": "c"} | fields).encode()
    result = outcome(data)
    if isinstance(result, v2.OperationError):
        assert v2.error_data(1, str(result))


@given(st.binary())
def test_bytes_that_happen_to_come_are_refused(data: bytes) -> None:
    with pytest.raises(v2.OperationError):
        v2.parse_operation(data)
