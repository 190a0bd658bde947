"""What makes two registrations one device."""

import pytest

from cometd_chat.model import Device

ENDPOINT = "https://push.example.com/send/abc"


@pytest.mark.parametrize(
    ("told", "known"),
    [("gcm", "fcm"), ("android", "fcm"), ("fcm", "fcm"), ("ios", "ios"), ("x", "x")],
)
def test_types_have_one_name(told: str, known: str) -> None:
    assert Device(id="token", type=told).type == known


@pytest.mark.parametrize(
    "spelling",
    [
        f'{{"endpoint":"{ENDPOINT}","keys":{{"auth":"a","p256dh":"p"}}}}',
        f'{{ "keys": {{"p256dh": "p", "auth": "a"}}, "endpoint": "{ENDPOINT}" }}',
        f'{{"endpoint":"{ENDPOINT}","expirationTime":null}}',
        '{"endpoint":"https:\\/\\/push.example.com\\/send\\/abc"}',
    ],
)
def test_a_subscription_of_a_browser_is_known_by_its_endpoint(spelling: str) -> None:
    assert Device(id=spelling, type="webpush").name == ENDPOINT
    assert Device(id=spelling, type="customhttp").name == spelling


@pytest.mark.parametrize("odd", ["", "abc", "[]", '{"endpoint":1}', "[" * 100_000])
def test_what_is_no_subscription_is_known_as_it_is(odd: str) -> None:
    assert Device(id=odd, type="webpush").name == odd
