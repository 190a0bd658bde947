"""What each service gets, field for field and byte for byte."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.model import Device
from cometd_chat.push import MARKER, Line, Notification
from cometd_chat.push.payloads import (
    PayloadTooLargeError,
    apns_collapse_id,
    apns_payload,
    comet_data,
    fcm_message,
    gms_webhook_body,
    signed_webhook_body,
    web_push_body,
)

NOW = 1_700_000_000.0
DEVICE = Device(id="device-7", type="customhttp", language="de-DE")

PLAIN = Notification(
    id="5d1f2c3e-0000-4000-8000-0123456789ab",
    chat="180-chat",
    position=7,
    body="New message from Agent",
    expires_at=NOW + 3600,
)
SPOKEN = replace(
    PLAIN,
    lines=(
        Line(event="Notice.Joined", text="has joined"),
        Line(event="Message.Text", text="Grüß Gott 👋"),
    ),
)
FULL = replace(
    SPOKEN,
    title="Ann",
    badge=2,
    sound="ping",
    ext="order-9",
    category="CHAT",
    thread="180",
    collapse="180",
    mutable=True,
    interruption="time-sensitive",
    android_channel="chats",
)
SILENT = replace(FULL, silent=True, apns={"aps": {"alert": "no"}}, webpush={"x": 1})

TRANSCRIPT = [{"Notice.Joined": "has joined"}, {"Message.Text": "Grüß Gott 👋"}]
MARK = {"v": 1, "id": PLAIN.id, "chat": "180-chat", "position": 7}
FULL_MARK = {**MARK, "badge": 2, "ext": "order-9"}
GMS = {
    "message": "New message from Agent",
    "serviceId": "180-chat",
    "lastTranscript": TRANSCRIPT,
}


def fcm(n: Notification, **more: Any) -> dict[str, Any]:
    return fcm_message(n, {"token": "t"}, now=NOW, **more)


def test_apns_gets_the_plain_form_in_as_few_bytes_as_possible() -> None:
    assert apns_payload(PLAIN) == (
        b'{"aps":{"alert":{"body":"New message from Agent"}},'
        b'"cometd-chat":{"v":1,"id":"5d1f2c3e-0000-4000-8000-0123456789ab",'
        b'"chat":"180-chat","position":7}}'
    )


def test_apns_gets_everything() -> None:
    assert json.loads(apns_payload(FULL)) == {
        "aps": {
            "alert": {"title": "Ann", "body": "New message from Agent"},
            "badge": 2,
            "sound": "ping",
            "category": "CHAT",
            "thread-id": "180",
            "mutable-content": 1,
            "interruption-level": "time-sensitive",
        },
        "lastTranscript": TRANSCRIPT,
        MARKER: FULL_MARK,
    }
    assert "Grüß Gott 👋".encode() in apns_payload(FULL)


def test_apns_gets_a_localised_text_in_place_of_the_body() -> None:
    localised = replace(PLAIN, loc_key="NEW", loc_args=("Ann", "2"))
    assert json.loads(apns_payload(localised))["aps"] == {
        "alert": {"loc-key": "NEW", "loc-args": ["Ann", "2"]}
    }


def test_what_passes_through_joins_ours_but_not_the_marker() -> None:
    more = {
        "aps": {"alert": {"launch-image": "x.png", "body": "other"}, "sound": "bell"},
        "order": {"id": 9},
        MARKER: "forged",
    }
    assert json.loads(apns_payload(replace(FULL, lines=(), apns=more))) == {
        "aps": {
            "alert": {"title": "Ann", "body": "other", "launch-image": "x.png"},
            "badge": 2,
            "sound": "bell",
            "category": "CHAT",
            "thread-id": "180",
            "mutable-content": 1,
            "interruption-level": "time-sensitive",
        },
        "order": {"id": 9},
        MARKER: FULL_MARK,
    }


@pytest.mark.parametrize(
    ("badge", "aps"),
    [(0, {"badge": 0}), (2, {"badge": 2}), (None, {"content-available": 1})],
)
def test_a_silent_push_to_apns_shows_nothing(
    badge: int | None, aps: dict[str, int]
) -> None:
    payload = json.loads(apns_payload(replace(SILENT, badge=badge)))
    assert payload.keys() == {"aps", MARKER}
    assert payload["aps"] == aps


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("ü", False),
        ("a b", False),
        ("a\n", False),
        ("\ud800", False),
    ],
)
def test_collapse_ids_are_headers_of_64_bytes(text: str, taken: bool) -> None:
    made = apns_collapse_id(text)
    assert (made == text) is taken
    assert len(made.encode()) <= 64
    assert made.isascii()


def test_fcm_gets_the_plain_form() -> None:
    assert fcm(PLAIN) == {
        "token": "t",
        "notification": {"body": "New message from Agent"},
        "data": {
            "message": '{"message":"New message from Agent","serviceId":"180-chat",'
            '"lastTranscript":[]}',
            MARKER: '{"v":1,"id":"5d1f2c3e-0000-4000-8000-0123456789ab",'
            '"chat":"180-chat","position":7}',
        },
        "android": {"priority": "high", "ttl": "3600s"},
        "apns": {
            "headers": {
                "apns-push-type": "alert",
                "apns-priority": "10",
                "apns-expiration": "1700003600",
            }
        },
    }


def test_fcm_gets_everything() -> None:
    message = fcm(FULL)
    data = message.pop("data")
    assert json.loads(data.pop("message")) == GMS
    assert json.loads(data.pop(MARKER)) == FULL_MARK
    assert not data
    assert message == {
        "token": "t",
        "notification": {"title": "Ann", "body": "New message from Agent"},
        "android": {
            "priority": "high",
            "ttl": "3600s",
            "collapse_key": "180",
            "notification": {
                "channel_id": "chats",
                "tag": "180",
                "sound": "ping",
                "notification_count": 2,
            },
        },
        "apns": {
            "headers": {
                "apns-push-type": "alert",
                "apns-priority": "10",
                "apns-expiration": "1700003600",
                "apns-collapse-id": "180",
            },
            "payload": {
                "aps": {
                    "badge": 2,
                    "sound": "ping",
                    "category": "CHAT",
                    "thread-id": "180",
                    "mutable-content": 1,
                    "interruption-level": "time-sensitive",
                }
            },
        },
    }


def test_fcm_gets_localised_texts_for_both_systems() -> None:
    message = fcm(replace(PLAIN, title="Ann", loc_key="NEW", loc_args=("2",)))
    assert message["android"]["notification"] == {
        "body_loc_key": "NEW",
        "body_loc_args": ["2"],
    }
    assert message["apns"]["payload"]["aps"]["alert"] == {
        "title": "Ann",
        "loc-key": "NEW",
        "loc-args": ["2"],
    }


@pytest.mark.parametrize(
    ("life", "ttl"), [(-5, "0s"), (0, "0s"), (59.9, "59s"), (1e9, "2419200s")]
)
def test_fcm_gets_a_life_time_it_takes(life: float, ttl: str) -> None:
    assert fcm(replace(PLAIN, expires_at=NOW + life))["android"]["ttl"] == ttl


@pytest.mark.parametrize("badge", [0, 2, None])
def test_a_silent_push_to_fcm_is_data_of_low_priority(badge: int | None) -> None:
    message = fcm(replace(SILENT, badge=badge))
    assert message.keys() == {"token", "data", "android", "apns"}
    assert message["data"].keys() == {MARKER}
    assert json.loads(message["data"][MARKER]).get("badge") == badge
    assert message["android"] == {
        "priority": "normal",
        "ttl": "3600s",
        "collapse_key": "180",
    }
    headers = message["apns"]["headers"]
    visible = badge is not None
    assert headers["apns-push-type"] == ("alert" if visible else "background")
    assert headers["apns-priority"] == "5"
    expected = {"badge": badge} if visible else {"content-available": 1}
    assert message["apns"]["payload"] == {"aps": expected}


def test_what_passes_through_to_android_joins_ours_without_reserved_keys() -> None:
    more = {
        "priority": "normal",
        "notification": {"color": "#fff", "tag": "x"},
        "data": {
            "order": 9,
            "from": "x",
            "message_type": "x",
            "gcm.n": "x",
            "google.x": "x",
            MARKER: "forged",
        },
    }
    message = fcm(replace(PLAIN, collapse="180", android=more))
    assert message["android"] == {
        "priority": "normal",
        "ttl": "3600s",
        "collapse_key": "180",
        "notification": {"color": "#fff", "tag": "x"},
    }
    assert message["data"].keys() == {"message", "order", MARKER}
    assert message["data"]["order"] == "9"
    assert json.loads(message["data"][MARKER]) == MARK


def test_what_passes_through_to_iphones_behind_fcm_cannot_forge_the_marker() -> None:
    more = {"aps": {"sound": "bell"}, "order": 9, MARKER: "forged"}
    assert fcm(replace(PLAIN, apns=more))["apns"]["payload"] == {
        "aps": {"sound": "bell"},
        "order": 9,
    }


def test_customhttp_gets_the_two_properties_of_gms() -> None:
    assert json.loads(gms_webhook_body(DEVICE, FULL)) == {
        "deviceId": "device-7",
        "message": {**GMS, MARKER: FULL_MARK},
    }
    silent = json.loads(gms_webhook_body(DEVICE, SILENT))["message"]
    assert silent == {
        "message": "",
        "serviceId": "180-chat",
        "lastTranscript": [],
        MARKER: FULL_MARK,
    }


def test_a_signed_webhook_gets_everything() -> None:
    about = {
        "type": "chat.newagentmessage",
        "id": "5d1f2c3e-0000-4000-8000-0123456789ab",
        "expiresAt": NOW + 3600,
        "device": {"id": "device-7", "type": "customhttp", "language": "de-DE"},
        "collapse": "180",
        "badge": 2,
        MARKER: FULL_MARK,
    }
    assert json.loads(signed_webhook_body(DEVICE, FULL)) == {
        **about,
        "title": "Ann",
        "body": "New message from Agent",
        "sound": "ping",
        "category": "CHAT",
        "thread": "180",
        "lastTranscript": TRANSCRIPT,
    }
    silent = json.loads(signed_webhook_body(DEVICE, SILENT))
    assert silent == {**about, "silent": True}


def test_a_signed_webhook_is_the_same_on_each_try() -> None:
    assert signed_webhook_body(DEVICE, FULL) == signed_webhook_body(DEVICE, FULL)


def test_a_browser_gets_what_its_service_worker_shows() -> None:
    more = {"icon": "/chat.png", MARKER: "forged"}
    assert json.loads(web_push_body(replace(FULL, webpush=more))) == {
        "tag": "180",
        "title": "Ann",
        "body": "New message from Agent",
        "sound": "ping",
        "category": "CHAT",
        "thread": "180",
        "lastTranscript": TRANSCRIPT,
        "icon": "/chat.png",
        MARKER: FULL_MARK,
    }
    assert json.loads(web_push_body(SILENT)) == {"silent": True, MARKER: FULL_MARK}


def test_a_payload_of_exactly_the_limit_is_not_cut() -> None:
    size = len(apns_payload(FULL))
    assert apns_payload(FULL, size) == apns_payload(FULL)
    assert len(apns_payload(FULL, size - 1)) < size


def test_the_oldest_lines_go_first() -> None:
    lines = tuple(Line(event="Message.Text", text=f"line {i} ü") for i in range(400))
    payload = apns_payload(replace(PLAIN, lines=lines))
    told = json.loads(payload)["lastTranscript"]
    one_more = len('{"Message.Text":"line 399 ü"},'.encode())
    assert 4096 - one_more < len(payload) <= 4096
    assert told == [{"Message.Text": line.text} for line in lines[-len(told) :]]
    assert json.loads(payload)["aps"]["alert"]["body"] == PLAIN.body


def test_then_the_body_is_cut_and_the_title_last() -> None:
    long = replace(FULL, body="ä" * 5000, title="ö" * 200)
    payload = apns_payload(long)
    told = json.loads(payload)
    assert "lastTranscript" not in told
    body = told["aps"]["alert"]["body"]
    assert body.endswith("ä…")
    assert 4096 - 2 < len(payload) <= 4096
    assert told["aps"]["alert"]["title"] == long.title

    tight = json.loads(apns_payload(long, 400))["aps"]["alert"]
    assert "body" not in tight
    assert tight["title"].endswith("ö…")


def test_arguments_of_a_localised_body_are_cut_before_the_title() -> None:
    long = replace(
        PLAIN, title="Ann", loc_key="NEW", loc_args=("short", "x" * 5000, "y" * 5000)
    )
    payload = apns_payload(long)
    alert = json.loads(payload)["aps"]["alert"]
    assert alert["title"] == "Ann"
    assert alert["loc-args"][0] == "short"
    assert len(alert["loc-args"][1]) == len(alert["loc-args"][2]) > 1900
    assert len(payload) <= 4096


def test_no_more_is_cut_than_must_be() -> None:
    body = "x" * 50 + "👩‍👩‍👧‍👦"
    size = len(apns_payload(replace(PLAIN, body=body)))
    payload = apns_payload(replace(PLAIN, body=body), size - 1)
    assert json.loads(payload)["aps"]["alert"]["body"] == "x" * 50 + "…"


def test_pictures_are_never_cut_in_two() -> None:
    family = "👩‍👩‍👧‍👦"
    body = json.loads(apns_payload(replace(PLAIN, body=family * 400)))["aps"]["alert"][
        "body"
    ]
    assert body == family * (len(body) // len(family)) + "…"


def test_what_cannot_be_cut_is_too_large() -> None:
    with pytest.raises(PayloadTooLargeError, match="4096") as caught:
        apns_payload(replace(FULL, apns={"x": "secret" * 1000}))
    assert "secret" not in str(caught.value)


def test_half_a_surrogate_pair_does_not_break_the_encoding() -> None:
    broken = replace(SPOKEN, body="a\ud83db", lines=(Line(event="E", text="\udc00"),))
    assert json.loads(apns_payload(broken))["aps"]["alert"]["body"] == "a?b"
    message = fcm(broken)
    assert message["notification"]["body"] == "a?b"
    assert json.loads(message["data"]["message"])["lastTranscript"] == [{"E": "?"}]


TEXTS = st.text(max_size=300) | st.text(alphabet='aä"\\\n👩‍🚀🇩🇪', max_size=300)


@given(
    title=TEXTS,
    body=TEXTS,
    lines=st.lists(TEXTS, max_size=8),
    arguments=st.lists(TEXTS, max_size=3),
    limit=st.integers(700, 1500),
)
def test_every_form_keeps_its_limit_and_stays_json(
    title: str, body: str, lines: list[str], arguments: list[str], limit: int
) -> None:
    told = replace(
        PLAIN,
        title=title,
        body=body,
        lines=tuple(Line(event="Message.Text", text=text) for text in lines),
        loc_key="NEW" if arguments else "",
        loc_args=tuple(arguments),
    )
    sent = fcm(told, limit=limit)
    del sent["token"]
    for payload in (
        apns_payload(told, limit),
        gms_webhook_body(DEVICE, told, limit),
        signed_webhook_body(DEVICE, told, limit),
        web_push_body(told, limit),
        json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode(),
    ):
        assert len(payload) <= limit
        assert isinstance(json.loads(payload.decode("utf-8")), dict)


BARE = replace(FULL, title="", mutable=True, bare=True, lines=())


def test_a_bare_push_names_chat_and_position_and_lets_the_app_ask() -> None:
    mark = FULL_MARK
    assert json.loads(web_push_body(BARE)) == {MARKER: mark}
    post = json.loads(signed_webhook_body(DEVICE, BARE))
    assert post.keys() == {
        "type",
        "id",
        "expiresAt",
        "device",
        "collapse",
        "badge",
        MARKER,
    }
    message = fcm(BARE)
    assert message.keys() == {"token", "data", "android", "apns"}
    assert message["data"].keys() == {MARKER}
    assert message["android"]["priority"] == "high"
    aps = message["apns"]["payload"]["aps"]
    assert aps["alert"] == {"body": "New message from Agent"}
    assert aps["mutable-content"] == 1


def test_the_event_on_cometd_is_the_object_of_gms_with_the_marker() -> None:
    assert comet_data(SPOKEN) == {**GMS, MARKER: MARK}
