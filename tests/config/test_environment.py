"""The environment wins over the file; secrets may stand in files of their own."""

from pathlib import Path

import pytest

from cometd_chat.config import load, loads
from cometd_chat.config.check import EVENT

KEY = "k" * 40


def test_a_variable_wins_over_the_file() -> None:
    loaded = loads("[server]\nport = 1\n", {"COMETD_CHAT_SERVER__PORT": "2"})
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.server.port == 2
    assert str(loaded.origins["server", "port"]) == "COMETD_CHAT_SERVER__PORT"


def test_variables_alone_are_a_configuration() -> None:
    env = {"COMETD_CHAT_AGENTS__SECRET": KEY, "COMETD_CHAT_PUSH__PUSHENABLED": ""}
    loaded = load(None, env)
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.agents.secret == KEY
    assert loaded.config.push.push_enabled == ()


def test_dots_and_hyphens_are_underscores() -> None:
    section = f"push.provider.a.event.{EVENT}"
    named = section.upper().replace(".", "_")
    env = {
        "COMETD_CHAT_SERVICE_NIGHT_DESK___PROVIDER_NAME": "a",
        "COMETD_CHAT_CHAT__FLEX_DISCONNECT_TIMEOUT": "6",
        "COMETD_CHAT_PUSH__PUSHENABLED": "customhttp",
        f"COMETD_CHAT_{named}__DEBUG_CUSTOMHTTP_URL": "http://b",
    }
    text = f"[service.night-desk]\n[push.provider.a]\n[{section}]\n"
    loaded = loads(text, env)
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.service("night-desk").provider_name == "a"
    assert loaded.config.chat.flex_disconnect_timeout == 6
    assert loaded.config.provider("a", EVENT, debug=True).customhttp_url == ("http://b")


def test_a_wrong_variable_is_named() -> None:
    loaded = load(None, {"COMETD_CHAT_SERVER__PORT": ""})
    (problem,) = loaded.problems
    assert str(problem) == (
        'COMETD_CHAT_SERVER__PORT: error: [server] port = "": '
        "expected port 0..65535. Leave it out for 8080"
    )
    assert loaded.config is None


def test_an_unknown_variable_gets_the_nearest_name() -> None:
    env = {"COMETD_CHAT_SERVER__PROT": "1", "COMETD_CHAT_QQ__QQ": "hidden"}
    loaded = load(None, env)
    unknown, misspelt = map(str, loaded.problems)
    assert unknown == "COMETD_CHAT_QQ__QQ: warning: unknown option (ignored)"
    assert misspelt == (
        "COMETD_CHAT_SERVER__PROT: warning: unknown option. "
        "Did you mean COMETD_CHAT_SERVER__PORT? (ignored)"
    )


def test_other_variables_are_not_ours() -> None:
    env = {"COMETD_CHAT_CONFIG": "a.ini", "COMETD__X": "1", "PATH": "/bin"}
    assert load(None, env).problems == ()


def test_a_variable_that_fits_two_sections_is_an_error() -> None:
    text = "[service.a-b]\n[service.a.b]\n"
    loaded = loads(text, {"COMETD_CHAT_SERVICE_A_B___TTL": "5"})
    (problem,) = loaded.problems
    assert str(problem) == (
        "COMETD_CHAT_SERVICE_A_B___TTL: error: may speak of [service.a-b] and "
        "[service.a.b]: rename one"
    )


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_stand_in_a_file(end: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(KEY.encode() + end.encode())
    loaded = loads(f"[agents]\nSecret_File = {file}\n")
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.agents.secret == KEY
    assert str(loaded.origins["agents", "secret"]) == "<text>:2"


def test_a_variable_may_name_the_file_of_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(KEY)
    env = {"COMETD_CHAT_AGENTS__SECRET_FILE": str(file)}
    loaded = loads(f"[agents]\nsecret = {'x' * 40}\n", env)
    assert loaded.problems == ()
    assert loaded.config
    assert loaded.config.agents.secret == KEY


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hidden\nhidden\n", "a secret has one line only"),
        (b"hidden\rhidden", "a secret has one line only"),
        (b"hidden\n\n", "a secret has one line only"),
        (b"\n", "the secret is empty"),
        (b"hidden\xff", "the file is not UTF-8"),
        (b"hidden" * 20_000, "the file is longer than 65536 bytes"),
    ],
)
def test_what_a_file_with_a_secret_must_not_be(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    loaded = loads(f"[agents]\nsecret_file = {file}\n")
    assert [str(problem) for problem in loaded.problems] == [
        f"<text>:2: error: [agents] secret_file = ***: {reason}"
    ]


def test_secrets_are_not_in_the_representation_of_anything() -> None:
    loaded = loads(
        f"[agents]\nsecret = {KEY}\n[auth]\ncustomer_secret = {KEY}\n"
        f"[push.provider.a]\ncustomhttp.secret = {KEY}\ndebug.fcm.apiKey = {KEY}\n"
    )
    assert loaded.config
    assert loaded.config.provider("a").customhttp_secret == KEY
    assert loaded.config.provider("a", debug=True).fcm_api_key == KEY
    assert KEY not in f"{loaded!r} {loaded.config.provider('a', debug=True)!r}"
