"""What v1 clients may ask, and what they are told when they ask wrongly."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.gms import v1
from cometd_chat.gms.values import Limits
from cometd_chat.model import Device, Profile

LIMITS = Limits(text=20, nickname=8, user_data=40, user_data_keys=2)
DEVICE = {"push_notification_deviceid": "token-1", "push_notification_type": "fcm"}


def test_a_chat_can_be_opened_without_a_single_parameter() -> None:
    assert v1.parse_open({}) == v1.OpenChat(profile=Profile(nickname="Customer"))


def test_every_parameter_of_chat_creation_is_read() -> None:
    opened = v1.parse_open(
        {
            "_verbose": "True",
            "notify_by": "comet",
            "firstName": "Ada",
            "lastName": "Byron",
            "email": "ada@example.org",
            "subject": "Router",
            "userDisplayName": "ada",
            "subscriptionID": "sub-1",
            "message": "hi",
            "push_notification_deviceid": "token-1",
            "push_notification_type": "gcm",
            "push_notification_language": "de-DE",
            "push_notification_debug": "true",
            "push_notification_provider": "acme",
            "FirstName": "Grace",
            "plan": "gold",
        }
    )
    assert opened == v1.OpenChat(
        profile=Profile(
            nickname="ada",
            first_name="Ada",
            last_name="Byron",
            email="ada@example.org",
            subject="Router",
            user_data={"FirstName": "Grace", "plan": "gold"},
        ),
        device=Device(
            id="token-1", type="fcm", provider="acme", language="de-DE", debug=True
        ),
        comet=True,
        message="hi",
        verbose=True,
        subscription_id="sub-1",
    )


def test_an_empty_value_means_the_same_as_no_parameter() -> None:
    names = ["subscriptionID", "_verbose", "notify_by", "push_notification_deviceid"]
    assert v1.parse_open(dict.fromkeys([*names, "plan", "message"], "")) == (
        v1.parse_open({})
    )


@pytest.mark.parametrize(
    ("parameters", "nickname"),
    [
        ({"userDisplayName": "ada", "firstName": "Ada"}, "ada"),
        ({"firstName": "Ada", "lastName": "Byron"}, "Ada Byron"),
        ({"firstName": "Ada"}, "Ada"),
        ({"lastName": "Byron"}, "Byron"),
        ({"FirstName": "Ada"}, "Customer"),
    ],
)
def test_the_nickname_is_the_best_name_given(
    parameters: dict[str, str], nickname: str
) -> None:
    assert v1.parse_open(parameters).profile.nickname == nickname


def test_full_names_longer_than_a_nickname_matter_only_without_a_display_name() -> None:
    names = {"firstName": "1234567", "lastName": "1234567"}
    opened = v1.parse_open(names | {"userDisplayName": "ada"}, LIMITS)
    assert opened.profile.nickname == "ada"
    with pytest.raises(v1.V1Error, match="firstName and lastName: 15 bytes read"):
        v1.parse_open(names, LIMITS)


@pytest.mark.parametrize("type_", v1.DEVICE_TYPES)
def test_all_push_types_of_gms_are_known(type_: str) -> None:
    opened = v1.parse_open(DEVICE | {"push_notification_type": type_})
    assert opened.device == Device(id="token-1", type=type_)


def test_without_a_device_id_there_is_no_device() -> None:
    assert v1.parse_open({"push_notification_type": "palmos"}).device is None


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"_verbose": "yes"},
            "_verbose: a text of length 3 read, one of true, false is allowed",
        ),
        (
            {"notify_by": "pigeon"},
            "notify_by: a text of length 6 read, one of comet is allowed",
        ),
        (
            DEVICE | {"push_notification_type": "palmos"},
            (
                "push_notification_type: a text of length 6 read, one of gcm, fcm, "
                "ios, android, customhttp, httpcb, orscb, webpush, comet is allowed"
            ),
        ),
        (
            DEVICE | {"push_notification_type": ""},
            (
                "push_notification_type: nothing read, one of gcm, fcm, "
                "ios, android, customhttp, httpcb, orscb, webpush, comet is allowed"
            ),
        ),
        (
            DEVICE | {"push_notification_debug": "1"},
            (
                "push_notification_debug: a text of length 1 read, "
                "one of true, false is allowed"
            ),
        ),
    ],
)
def test_values_gms_does_not_expect_are_answered_with_415(
    parameters: dict[str, str], text: str
) -> None:
    with pytest.raises(v1.V1Error) as caught:
        v1.parse_open(parameters)
    assert str(caught.value) == text
    assert caught.value.status == 415
    assert caught.value.exception == "UnexpectedValueException"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"message": "é" * 11}, "message: 22 bytes read, at most 20 are allowed"),
        (
            {"userDisplayName": "123456789"},
            "userDisplayName: 9 bytes read, at most 8 are allowed",
        ),
        ({"subject": "s" * 41}, "subject: 41 bytes read, at most 40 are allowed"),
        (
            {"secret": "s" * 20, "hidden": "s" * 20},
            "user data: 52 bytes read, at most 40 are allowed",
        ),
        (
            {"a": "1", "b": "2", "c": "3"},
            "user data: 3 keys read, at most 2 are allowed",
        ),
        (
            {"message": "\ud800"},
            "message: unpaired surrogates read, Unicode characters are allowed",
        ),
        (
            {"\udfff": "1"},
            "user data: unpaired surrogates read, Unicode characters are allowed",
        ),
        (
            {"plan": "gold\0"},
            "user data: NUL read, every other character is allowed",
        ),
    ],
)
def test_what_is_too_long_or_no_text_is_named_but_not_quoted(
    parameters: dict[str, str], text: str
) -> None:
    with pytest.raises(v1.V1Error) as caught:
        v1.parse_open(parameters, LIMITS)
    assert str(caught.value) == text
    assert caught.value.status == 400
    assert caught.value.exception == "BadRequestException"


def test_exactly_the_limit_is_allowed() -> None:
    opened = v1.parse_open(
        {"message": "m" * 20, "userDisplayName": "n" * 8, "k" * 20: "v" * 20}, LIMITS
    )
    assert (opened.message, opened.profile.nickname) == ("m" * 20, "n" * 8)


def test_service_creation_keeps_everything_but_verbose_as_user_data() -> None:
    service = v1.parse_service({"_verbose": "TRUE", "plan": "gold", "message": "x"})
    assert service == v1.NewService(
        verbose=True, user_data={"plan": "gold", "message": "x"}
    )


def test_service_creation_has_limits_too() -> None:
    with pytest.raises(v1.V1Error, match=r"^user data: 3 keys read"):
        v1.parse_service({"a": "1", "b": "2", "c": "3"}, LIMITS)


@pytest.mark.parametrize(
    ("parameters", "operation"),
    [
        ({}, v1.Operation()),
        ({"message": "", "transcriptPosition": ""}, v1.Operation()),
        ({"_verbose": "FALSE", "stray": "\0"}, v1.Operation()),
        ({"_verbose": "tRuE"}, v1.Operation(verbose=True)),
        ({"transcriptPosition": "0"}, v1.Operation(position=0)),
        ({"transcriptPosition": "007"}, v1.Operation(position=7)),
        ({"transcriptPosition": str(2**53)}, v1.Operation(position=2**53)),
        (
            {"message": " &+%é", "transcriptPosition": "3", "localId": "m1"},
            v1.Operation(message=" &+%é", position=3, local_id="m1"),
        ),
        ({"messageId": "m2"}, v1.Operation(local_id="m2")),
        ({"messageId": "m2", "localId": "m1"}, v1.Operation(local_id="m1")),
    ],
)
def test_operations_are_read(
    parameters: dict[str, str], operation: v1.Operation
) -> None:
    assert v1.parse_operation(parameters) == operation


@pytest.mark.parametrize(
    "position",
    ["-1", "+1", " 1", "1.0", "1e3", "x", "٣", str(2**53 + 1), "9" * 5000, "\u00b2"],
)
def test_a_position_is_a_decimal_number_up_to_two_to_the_53(position: str) -> None:
    with pytest.raises(v1.V1Error, match=r"^transcriptPosition: ") as caught:
        v1.parse_operation({"transcriptPosition": position})
    assert caught.value.status == 415
    assert str(caught.value) == (
        f"transcriptPosition: a text of length {len(position)} read, "
        "a whole number from 0 to 9007199254740992 is allowed"
    )


@pytest.mark.parametrize("name", ["localId", "messageId"])
def test_local_ids_are_short(name: str) -> None:
    with pytest.raises(v1.V1Error, match=rf"^{name}: 129 bytes read"):
        v1.parse_operation({name: "i" * 129})


def test_what_customers_say_stays_out_of_representations() -> None:
    opened = v1.parse_open(DEVICE | {"message": "my PIN", "firstName": "Ada"})
    operation = v1.parse_operation({"message": "my PIN"})
    assert "PIN" not in repr(opened) + repr(operation)
    assert "token-1" not in repr(opened)


NAMES = [
    "_verbose", "notify_by", "userDisplayName", "firstName", "lastName", "message",
    "transcriptPosition", "localId", "messageId", *DEVICE, "push_notification_debug",
]  # fmt: skip
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
VALUES = ANY_TEXT | st.sampled_from(["true", "comet", "fcm", "3"])
PARAMETERS = st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, VALUES, max_size=6)


def outcome(parse: Callable[..., object], parameters: dict[str, str]) -> object:
    try:
        return parse(parameters, LIMITS)
    except v1.V1Error as error:
        return error


@given(PARAMETERS)
def test_whatever_comes_is_understood_or_answered_with_an_error(
    parameters: dict[str, str],
) -> None:
    for parse in (v1.parse_service, v1.parse_open, v1.parse_operation):
        result = outcome(parse, parameters)
        if isinstance(result, v1.V1Error):
            assert v1.error_body(str(result), result.exception)
            assert result.status in {400, 415}


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=10))
def test_nothing_a_client_adds_is_lost_or_altered(extra: dict[str, str]) -> None:
    user_data = {f"x{name}": value for name, value in extra.items()}
    if any("\0" in name + value for name, value in user_data.items()):
        with pytest.raises(v1.V1Error, match="NUL"):
            v1.parse_service(user_data)
    else:
        assert v1.parse_service(user_data).user_data == user_data
        assert v1.parse_open(user_data).profile.user_data == user_data


def test_a_device_is_registered_with_the_parameters_of_chat_creation() -> None:
    device = v1.parse_device(
        {
            "push_notification_deviceid": "token",
            "push_notification_type": "fcm",
            "push_notification_language": "de",
            "muted": "true",
            "quiet": "22:00-07:00",
            "zone": "Europe/Berlin",
            "something": "else",
        }
    )
    assert (device.id, device.type, device.language) == ("token", "fcm", "de")
    assert (device.muted, device.quiet, device.zone) == (
        True,
        "22:00-07:00",
        "Europe/Berlin",
    )


def test_an_opaque_text_stands_for_a_device_of_the_companys_own() -> None:
    device = v1.parse_device({"uuid": "anything at all"})
    assert (device.id, device.type, device.muted) == (
        "anything at all",
        "customhttp",
        False,
    )


def test_a_registration_without_a_device_is_refused() -> None:
    with pytest.raises(v1.V1Error, match="or uuid is needed") as caught:
        v1.parse_device({"muted": "true"})
    assert caught.value.status == 415


def test_a_service_may_be_created_with_a_device_which_is_no_user_data() -> None:
    asked = v1.parse_service(
        {
            "order": "9",
            "push_notification_deviceid": "token",
            "push_notification_type": "ios",
        }
    )
    assert asked.device == Device(id="token", type="ios")
    assert asked.user_data == {"order": "9"}
    assert v1.parse_service({"order": "9"}).device is None


def test_a_receipt_names_push_and_chat_and_says_shown_or_opened() -> None:
    known = {"id": "p-1", "serviceId": "k", "something": "else"}
    assert v1.parse_receipt(known) == v1.Receipt(id="p-1", key="k", opened=False)
    assert not v1.parse_receipt({**known, "state": "shown"}).opened
    assert v1.parse_receipt({**known, "state": "Opened"}).opened


@pytest.mark.parametrize("missing", ["id", "serviceId"])
def test_a_receipt_needs_both(missing: str) -> None:
    known = {"id": "p-1", "serviceId": "k", missing: ""}
    with pytest.raises(v1.V1Error, match=f"{missing} is needed") as caught:
        v1.parse_receipt(known)
    assert caught.value.status == 400


def test_a_receipt_says_nothing_else() -> None:
    with pytest.raises(v1.V1Error, match="one of shown, opened is allowed") as caught:
        v1.parse_receipt({"id": "p-1", "serviceId": "k", "state": "seen"})
    assert caught.value.status == 415
