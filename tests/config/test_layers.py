"""The most specific section wins."""

import pytest

from cometd_chat.config import Config, loads


def config(text: str) -> Config:
    loaded = loads(text)
    assert not [p for p in loaded.problems if p.severity == "error"]
    assert loaded.config
    return loaded.config


TIMES = (
    "[chat]\n_ttl = 1\n[chat.a]\n_ttl = 2\n[service.a]\n_ttl = 3\n[chat.b]\n_ttl=4\n"
)


@pytest.mark.parametrize(("service", "ttl"), [("a", 3), ("b", 4), ("c", 1)])
def test_a_service_before_its_chats_before_all_chats(service: str, ttl: int) -> None:
    assert config(TIMES).service(service).ttl == ttl


def test_an_unknown_service_has_the_defaults() -> None:
    options = Config().service("any")
    assert options.client_timeout_notification == 90
    assert options.client_timeout_notification_message == "New message from Agent"
    assert options.agent_timeout_notification_message == "customer is not online"
    assert options.filtering_chat_events == (
        "Notice.TypingStarted",
        "Notice.TypingStopped",
    )
    assert options.chat_endpoint == "gms_builtin"
    assert options.ttl == 86400


def test_what_was_resolved_once_is_kept_but_not_for_every_name_of_customers() -> None:
    options = config(TIMES)
    assert options.chat_service("a") is options.chat_service("a")
    assert options.chat_service("x") is options.chat_service("y")
    assert options.service("x") is options.service("y")


def test_titles_may_be_written_as_on_the_pages_of_gms() -> None:
    """They say: "Navigate to Options > Service.<service_name>"."""
    options = config(
        "[Service.Shop]\n_ttl = 3\n[PUSH]\ndefaultProvider = Main\n"
        "[Push.Provider.Main.Event.Any]\nfcm.title = x\n"
    )
    assert (options.services, options.providers) == (("Shop",), ("Main",))
    assert options.service("Shop").ttl == 3
    assert options.service("shop").ttl == 86400
    assert options.provider("", "Any").fcm_title == "x"
    assert options.provider("", "any").fcm_title == ""


def test_the_filter_of_push_is_the_default_of_services() -> None:
    options = config(
        "[push]\nfiltering_chat_events = Message.Text\n"
        "[service.a]\n_filtering_chat_events = Notice.Left\n"
    )
    assert options.service("a").filtering_chat_events == ("Notice.Left",)
    assert options.service("b").filtering_chat_events == ("Message.Text",)


def test_chats_of_a_service_lie_over_all_chats() -> None:
    options = config(
        "[chat]\nflex-disconnect-timeout = 10\nenable_notification_mode = on\n"
        "[chat.night desk]\npush_notification_include_payload = on\n"
    )
    night = options.chat_service("night desk")
    assert night.flex_disconnect_timeout == 10
    assert night.enable_notification_mode
    assert night.push_notification_include_payload
    assert options.chat_service("day") == options.chat


PROVIDERS = """
[push]
fcm.title = push
fcm.body = push
apns.topic = push
apple.sound = push
defaultProvider = main
[push.provider.main]
fcm.title = provider
fcm.body = provider
apns.topic = provider
[push.provider.event.chat.x]
fcm.title = event
fcm.body = event
[push.provider.main.event.chat.x]
fcm.title = both
"""


@pytest.mark.parametrize(
    ("name", "event", "won"),
    [
        ("main", "chat.x", ("both", "event", "provider", "push")),
        ("", "chat.x", ("both", "event", "provider", "push")),
        ("main", "chat.y", ("provider", "provider", "provider", "push")),
        ("other", "chat.x", ("event", "event", "push", "push")),
        ("other", "", ("push", "push", "push", "push")),
    ],
)
def test_provider_and_event_before_event_before_provider_before_push(
    name: str, event: str, won: tuple[str, ...]
) -> None:
    options = config(PROVIDERS).provider(name, event)
    fields = (
        options.fcm_title,
        options.fcm_body,
        options.apns_topic,
        options.apple_sound,
    )
    assert fields == won


def test_a_debug_twin_wins_over_every_plain_option() -> None:
    """A device in debug mode never reaches what is meant for the real ones."""
    options = config(
        "[push]\ndebug.customhttp.url = http://test\n"
        "[push.provider.a]\ncustomhttp.url = http://real\ncustomhttp.message = hi\n"
    )
    assert options.provider("a").customhttp_url == "http://real"
    assert options.provider("a", debug=True).customhttp_url == "http://test"
    assert options.provider("a", debug=True).customhttp_message == "hi"


def test_services_and_providers_are_listed() -> None:
    options = config(
        "[chat.b]\n[service.a]\n[service.b]\n[push.provider.m]\n"
        "[push.provider.n.event.chat.x]\n[push.provider.event.chat.y]\n"
    )
    assert options.services == ("a", "b")
    assert options.providers == ("m", "n")


def test_a_configuration_cannot_be_changed() -> None:
    options = config("[service.a]\n_ttl = 1\n")
    with pytest.raises(TypeError):
        options.layers["service.a"]["ttl"] = 2  # type: ignore[index]  # the test
