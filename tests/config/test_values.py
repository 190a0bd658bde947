"""Values are read as they are documented, and shown as they are read."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from cometd_chat.config import Config, loads
from cometd_chat.config.kinds import Kind
from cometd_chat.config.sections import SECTIONS


def value(section: str, option: str, text: str) -> object:
    loaded = loads(f"[{section}]\n{option} = {text}\n")
    assert loaded.problems == ()
    assert loaded.config
    return getattr(getattr(loaded.config, section), option)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("25", 25.0),
        ("1.5", 1.5),
        ("1500ms", 1.5),
        ("25s", 25.0),
        ("25 s", 25.0),
        ("2m", 120.0),
        ("0.05h", 180.0),
    ],
)
def test_durations_have_units_and_a_bare_number_is_seconds(
    text: str, seconds: float
) -> None:
    assert value("bayeux", "timeout", text) == seconds


def test_days_are_a_unit_of_durations() -> None:
    assert value("store", "ended_retention", "30d") == 30 * 86400.0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("4096B", 4096),
        ("4KB", 4000),
        ("4KiB", 4096),
        ("1.5 KiB", 1536),
        ("2MB", 2_000_000),
        ("2MiB", 2 << 20),
    ],
)
def test_sizes_have_units_and_a_bare_number_is_bytes(text: str, size: int) -> None:
    assert value("limits", "body", text) == size


@pytest.mark.parametrize(
    ("text", "truth"),
    [(t, True) for t in ("yes", "true", "on", "1", "TRUE", "Yes")]
    + [(t, False) for t in ("no", "false", "off", "0", "OFF")],
)
def test_yes_and_no_have_many_names(text: str, truth: bool) -> None:
    assert value("bayeux", "timestamps", text) is truth


@pytest.mark.parametrize(
    "host", ["::1", "localhost", "127.0.0.1", "Chat-1.localhost", "127.0.0.2"]
)
def test_hosts_are_addresses_or_names(host: str) -> None:
    loaded = loads(f"[server]\nhost = {host}\ntrusted_proxies = 127.0.0.1\n")
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.server.host == host


def test_lists_are_split_at_commas_and_at_line_ends() -> None:
    loaded = loads(
        "[server]\n"
        "trusted_proxies =\n"
        "  10.0.0.0/8, 192.168.1.1\n"
        "  # the load balancer\n"
        "  fd00::/8,\n"
        "\n"
        "  ::1\n"
    )
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.server.trusted_proxies == tuple(
        map(ip_network, ("10.0.0.0/8", "192.168.1.1/32", "fd00::/8", "::1/128"))
    )


def test_an_empty_list_is_a_list() -> None:
    loaded = loads("[push]\npushEnabled =\n")
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.push.push_enabled == ()


def test_texts_may_have_anything_even_lines() -> None:
    loaded = loads(
        "[service.a]\n"
        "_client_timeout_notification_message = 100 % new; ${HOME} = là\n"
        "  second line\n"
        "_agent_timeout_notification_message =\n"
    )
    assert loaded.problems == ()
    assert loaded.config
    options = loaded.config.service("a")
    text = "100 % new; ${HOME} = là\nsecond line"
    assert options.client_timeout_notification_message == text
    assert options.agent_timeout_notification_message == ""


def test_channels_of_broadcasts_may_end_in_wildcards() -> None:
    channels = ("/news", "/news/*", "/team/a/**")
    assert value("bayeux", "broadcast_channels", ", ".join(channels)) == channels


def test_origins_are_schemes_with_hosts_or_all_of_them() -> None:
    for origin in (
        "https://www.example.com",
        "http://[::1]:80",
        "app://localhost",
        "*",
    ):
        loaded = loads(f"[server]\nallowed_origins = {origin}")
        assert loaded.problems == ()
        assert loaded.config is not None
        assert loaded.config.server.allowed_origins == (origin,)


def test_files_and_addresses(tmp_path: Path) -> None:
    key = tmp_path / "key.p8"
    key.touch()
    loaded = loads(
        f"[push]\npushEnabled = ios\n"
        f"[push.provider.main]\n"
        f"apns.key_file = {key}\n"
        f"apns.key_id = KEY\napns.team_id = TEAM\napns.topic = com.example.shop\n"
        f"apns.server = https://127.0.0.1:2197\n"
        f"apple.badge = 0\n"
    )
    assert loaded.problems == ()
    assert loaded.config
    provider = loaded.config.provider("main")
    assert provider.apns_key_file == key
    assert provider.apns_server == "https://127.0.0.1:2197"
    assert provider.apple_badge == 0


@pytest.mark.parametrize(
    "text", ["jpeg:jpg:pdf", "jpeg, jpg, pdf", ".jpeg JPG pdf", "jpeg:jpg::pdf:jpg"]
)
def test_extensions_are_written_as_gms_does_or_as_other_lists(text: str) -> None:
    loaded = loads(f"[files]\nupload-file-types = {text}\n")
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.files.upload_file_types == ("jpeg", "jpg", "pdf")


@pytest.mark.parametrize("name", ["chat-files", "chat.files", "chat-files/a/b_c"])
def test_buckets_may_have_a_prefix(name: str) -> None:
    loaded = loads(f"[files]\ns3.bucket = {name}\n")
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.files.s3_bucket == name


def test_names_of_options_are_the_same_in_any_case() -> None:
    loaded = loads(
        "[push]\nPUSHENABLED = comet\n[chat]\n_Client_Timeout_Notification=1"
    )
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.push.push_enabled == ("comet",)
    assert loaded.config.service("any").client_timeout_notification == 1


def test_nothing_configured_is_the_default() -> None:
    loaded = loads("")
    assert loaded.problems == ()
    assert loaded.config is not None
    assert loaded.config.server == Config().server
    assert loaded.config.service("any") == Config().service("any")


DEFAULTS = [(o.name, o.kind, o.default) for s in SECTIONS for o in s.options]


@pytest.mark.parametrize(("name", "kind", "default"), DEFAULTS)
def test_every_default_is_shown_as_it_is_read(
    name: str, kind: Kind[object], default: object
) -> None:
    if default not in (None, ""):
        assert kind.parse(kind.show(default)) == default, name


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [("90", "90s"), ("0.05", "50ms"), ("120", "2m"), ("0", "0s"), ("7200", "2h")],
)
def test_durations_are_shown_in_the_greatest_unit(seconds: str, shown: str) -> None:
    kind = next(o.kind for s in SECTIONS for o in s.options if o.name == "coalesce")
    assert kind.show(float(seconds)) == shown
