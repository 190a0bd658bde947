"""Request bodies become messages, or the replies that refuse them."""

import json
import time
from typing import Any

import pytest
from msgspec import Raw

from cometd_chat.bayeux import (
    ABSENT,
    BodyError,
    Limits,
    Message,
    RefusedError,
    Reply,
    encode,
    parse,
    refusal,
    reply,
)
from cometd_chat.bayeux.messages import STOP, error

from .core import COMPLETE, wire

LIMITS = Limits(messages=5, depth=6)


def only(body: bytes) -> Message | Reply:
    (found,) = parse(body, LIMITS)
    return found


def read(body: bytes) -> Message:
    found = only(body)
    assert isinstance(found, Message)
    return found


def refused(body: bytes) -> dict[str, Any]:
    return wire(only(body))


IDS = [
    b'"1"',
    b'"a9"',
    b'""',
    b'"\\u00e9\\n\\"\\/"',
    '"é😀"'.encode(),
    b'"' + b"x" * 64 + b'"',
    b"1",
    b"-0",
    b"1.50",
    b"1e3",
    b"12345678901234567890123456789012345678901234567890",
    b"null",
    b"true",
]


@pytest.mark.parametrize("text", IDS)
def test_an_id_comes_back_byte_for_byte(text: bytes) -> None:
    message = read(b'{"channel":"/a","id":' + text + b"}")
    assert encode([reply(message)]) == (
        b'[{"channel":"/a","id":' + text + b',"successful":true}]'
    )


@pytest.mark.parametrize("text", IDS)
def test_a_refusal_echoes_the_id_just_the_same(text: bytes) -> None:
    body = b'{"id": ' + text + b' ,"channel":"/a","ext":5}'
    assert encode([r for r in parse(body, LIMITS) if isinstance(r, Reply)]) == (
        b'[{"channel":"/a","id":'
        + text
        + b',"successful":false,"error":"400::Invalid message"}]'
    )


def test_without_an_id_there_is_none_in_the_reply() -> None:
    assert wire(reply(read(b'{"channel":"/a"}'))) == {
        "channel": "/a",
        "successful": True,
    }


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", b'{"a":1}', b"[1]", b'"' + b"x" * 65 + b'"', b"1" * 67]
)
def test_an_id_that_is_no_scalar_or_too_long_is_refused_without_echo(
    text: bytes,
) -> None:
    expected = {
        "channel": "/a",
        "successful": False,
        "error": "405::Invalid message id",
    }
    assert refused(b'{"channel":"/a","id":' + text + b"}") == expected
    assert refused(b'{"channel":"/a","ext":5,"id":' + text + b"}") == expected


def test_all_fields_are_read_from_their_wire_names() -> None:
    message = read(
        b'{"channel":"/a","clientId":"c","version":"1.0","connectionType":"x",'
        b'"supportedConnectionTypes":["x"],"subscription":["/a","/b"],'
        b'"advice":{"timeout":0},"ext":{"a":{"b":1}},"data":{ "x" : 1.50 },'
        b'"successful":true,"unheard":[1]}'
    )
    assert message.client_id == "c"
    assert message.version == "1.0"
    assert message.connection_type == "x"
    assert message.supported_connection_types == ["x"]
    assert message.subscription == ["/a", "/b"]
    assert message.advice == {"timeout": 0}
    assert message.ext == {"a": {"b": 1}}
    assert bytes(message.data) == b'{ "x" : 1.50 }'


def test_what_the_server_alone_may_say_never_comes_back_from_a_client() -> None:
    message = read(
        b'{"channel":"/a","id":"1","data":{"from":"x"},"successful":false,'
        b'"error":"500::x","advice":{"reconnect":"none"},"ext":{"ack":1},"clientId":"c"}'
    )
    assert wire(reply(message)) == {"channel": "/a", "id": "1", "successful": True}


def test_a_message_without_data_is_told_from_one_with_null() -> None:
    assert read(b'{"channel":"/a"}').data is ABSENT
    assert bytes(read(b'{"channel":"/a","data":null}').data) == b"null"


def test_of_repeated_fields_the_last_one_counts_everywhere() -> None:
    message = read(
        b'{"channel":"/a","channel":"/b","clientId":"x","clientId":"y","id":1,"id":2}'
    )
    assert (message.channel, message.client_id) == ("/b", "y")
    assert bytes(message.id) == b"2"


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b"\t[\n]\r"])
def test_an_empty_array_holds_no_messages(body: bytes) -> None:
    assert parse(body, LIMITS) == []
    assert encode([]) == b"[]"


@pytest.mark.parametrize(
    "body", [b'{"channel":"/a"}', b'[{"channel":"/a"}]', b' [ {"channel":"/a"} ]\n']
)
def test_a_single_object_is_as_good_as_an_array_of_one(body: bytes) -> None:
    assert read(body).channel == "/a"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"nul",
        b"[",
        b'"',
        b'{"channel":"/a"',
        b'{"channel":"/a"} x',
        b'[{"channel":"/a"},]',
        b'{"channel":"/a","id":NaN}',
        b'{"channel":"/a","data":Infinity}',
        b'{"channel":"/a","data":01}',
        b'{"channel":"/a","data":"\\x"}',
        b'{"channel":"/a","data":"\\ud800"}',
        b'{"channel":"/a","id":"\\udc00"}',
        b'{"channel":"/a","ext":{"x":"\\ud800"}}',
        b'{"channel":"\\ud800"}',
        b'{"channel":"/a","data":"\x00"}',
        b'{"channel":"/a","data":"line\nbreak"}',
        b"\xef\xbb\xbf[]",
        # Not JSON either, though a field of a wrong type comes first.
        b"[1, x",
        b"5 x",
        b'{"channel":1',
        b'{"channel":1} x',
        b'[{"channel":5},{"channel":"/a","ext":{"x":"\\ud800"}}]',
        b'[{"subscription":5,"channel":"\\ud800"}]',
    ],
)
def test_what_is_no_json_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(BodyError, match="valid JSON") as caught:
        parse(body, LIMITS)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"channel":"/a","data":"\xff"}', b'[{"data":"\xed\xa0\x80"}]']
)
def test_bytes_that_are_no_utf8_are_refused_even_where_nobody_looks(
    body: bytes,
) -> None:
    with pytest.raises(BodyError, match="UTF-8") as caught:
        parse(body, LIMITS)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "part",
    [
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"{}",
        b'{"id":"7"}',
        b'{"channel":""  ,"ext":1}',
        b'{"channel":5,"id":"7"}',
        b'{"channel":null,"id":"7"}',
    ],
)
def test_what_has_no_channel_is_refused_without_any_echo(part: bytes) -> None:
    expected = {"successful": False, "error": "400::Invalid message"}
    assert refused(b"[" + part + b"]") == expected


@pytest.mark.parametrize("body", [b"null", b"5", b'"text"', b"{}", b" true "])
def test_a_value_that_is_no_message_is_refused_like_one_in_an_array(
    body: bytes,
) -> None:
    assert refused(body) == {"successful": False, "error": "400::Invalid message"}


WRONG = [
    b'"clientId":5',
    b'"clientId":["c"]',
    b'"version":1.0',
    b'"connectionType":{}',
    b'"supportedConnectionTypes":"long-polling"',
    b'"supportedConnectionTypes":[1]',
    b'"subscription":{}',
    b'"subscription":["/a",null]',
    b'"subscription":[["/a"]]',
    b'"advice":[]',
    b'"advice":"none"',
    b'"ext":5',
    b'"ext":[]',
]


@pytest.mark.parametrize("field", WRONG)
def test_one_wrong_field_spoils_its_message_and_no_other(field: bytes) -> None:
    bad = b'{"channel":"/b","id":"2",' + field + b"}"
    first, second, third = parse(
        b'[{"channel":"/a","id":"1"},' + bad + b',{"channel":"/c","id":"3"}]', LIMITS
    )
    assert isinstance(first, Message)
    assert isinstance(third, Message)
    assert (first.channel, third.channel) == ("/a", "/c")
    assert wire(second) == {
        "channel": "/b",
        "id": "2",
        "successful": False,
        "error": "400::Invalid message",
    }


@pytest.mark.parametrize("channel", ["/meta/connect", "/meta/handshake"])
@pytest.mark.parametrize("field", ['"ext":5', '"id":[]'])
def test_whoever_sends_a_malformed_connect_or_handshake_is_told_to_stop(
    channel: str, field: str
) -> None:
    answer = refused(f'{{"channel":"{channel}",{field}}}'.encode())
    assert answer["successful"] is False
    assert answer["advice"]["reconnect"] == "none"


def test_the_advice_to_stop_is_complete_like_any_other() -> None:
    assert (
        set(json.loads(encode([Reply(successful=False, advice=STOP)]))[0]["advice"])
        == COMPLETE
    )


def nested(levels: int) -> bytes:
    """Return a body of so many levels; the array and the message are two of them."""
    inner = levels - 2
    return b'[{"channel":"/a","data":' + b"[" * inner + b"]" * inner + b"}]"


def test_nesting_is_allowed_up_to_the_limit_and_not_further() -> None:
    assert isinstance(only(nested(6)), Message)
    with pytest.raises(BodyError, match="nesting") as caught:
        parse(nested(7), LIMITS)
    assert caught.value.status == 400


def test_brackets_in_strings_are_no_nesting() -> None:
    text = json.dumps('[[[[[[[[{{{{{{{{"]\\').encode()
    message = read(b'{"channel":"/a","data":[{"' + b"[{" * 9 + b'":' + text + b"}]}")
    assert text in bytes(message.data)


def test_wide_is_not_deep() -> None:
    message = read(b'{"channel":"/a","data":[' + b"[]," * 50 + b"{}]}")
    assert len(json.loads(bytes(message.data))) == 51


@pytest.mark.parametrize("depth", [1_025, 100_000])
def test_nesting_beyond_the_stack_is_refused_whatever_the_limit(depth: int) -> None:
    body = b'[{"channel":"/a","ext":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]"
    for limits in (LIMITS, Limits(depth=10**9)):
        with pytest.raises(BodyError) as caught:
            parse(body, limits)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "hostile",
    [
        b'"' + b'\\"' * 130_000 + b"[" * 7,
        b'"\\' * 130_000 + b"[" * 7,
        b"[" * 262_144,
        b"[]," * 87_000,
        b'[""' + b',""' * 87_000 + b"]" + b"{" * 7,
        b"[1" + b",1" * 130_000 + b"]",
    ],
)
def test_no_body_of_the_greatest_size_takes_more_than_a_moment(hostile: bytes) -> None:
    started = time.process_time()
    with pytest.raises(BodyError):
        parse(hostile, LIMITS)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("part", [b'{"channel":"/a"}', b"5"])
def test_as_many_messages_as_allowed_are_served_and_not_one_more(part: bytes) -> None:
    assert len(parse(b"[" + b",".join([part] * 5) + b"]", LIMITS)) == 5
    with pytest.raises(BodyError, match="More than 5 messages") as caught:
        parse(b"[" + b",".join([part] * 6) + b"]", LIMITS)
    assert caught.value.status == 413


def test_a_refusal_never_shows_the_data_it_refuses() -> None:
    message = read(b'{"channel":"/a","id":"1","data":{"secret":1}}')
    assert wire(refusal(message, error(403, "Denied", "/a"))) == {
        "channel": "/a",
        "id": "1",
        "successful": False,
        "error": "403:/a:Denied",
    }


@pytest.mark.parametrize(
    ("arguments", "wire_form"),
    [
        ((), "404::Unknown"),
        (("/a",), "404:/a:Unknown"),
        (("/a", "b"), "404:/a,b:Unknown"),
    ],
)
def test_the_wire_form_of_an_error_is_code_arguments_text(
    arguments: tuple[str, ...], wire_form: str
) -> None:
    assert error(404, "Unknown", *arguments) == wire_form
    assert str(RefusedError(404, "Unknown", *arguments)) == wire_form


def test_a_refusal_of_the_application_means_stop_unless_it_says_otherwise() -> None:
    assert RefusedError(403, "No").reconnect == "none"
    assert RefusedError(503, "Later", reconnect="handshake").reconnect == "handshake"


def test_a_response_is_an_array_with_replies_and_finished_events() -> None:
    event = Raw(b'{"channel":"/a","data":{"n":1.50}}')
    ok = Reply(channel="/meta/connect", successful=True)
    assert encode([event, ok]) == (
        b'[{"channel":"/a","data":{"n":1.50}},'
        b'{"channel":"/meta/connect","successful":true}]'
    )
