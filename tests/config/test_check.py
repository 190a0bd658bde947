"""Options that do not fit together."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from cometd_chat.config import (
    AgentOptions,
    AuthOptions,
    Config,
    ServerOptions,
    check,
    loads,
)
from cometd_chat.config.table import without_password

TRUSTED = AuthOptions(gms_user="trusted")
PROXIES = ServerOptions(host="0.0.0.0", trusted_proxies=(ip_network("10.0.0.0/8"),))
TLS = ServerOptions(host="0.0.0.0", tls_cert=Path("c"), tls_key=Path("k"))


def severities(config: Config) -> list[str]:
    return [problem.severity for problem in check(config)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_users_may_be_trusted(host: str) -> None:
    assert check(Config(server=ServerOptions(host=host), auth=TRUSTED)) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "chat.example.com", "192.168.1.1"])
def test_elsewhere_trusted_users_need_trusted_proxies(host: str) -> None:
    config = Config(server=ServerOptions(host=host), auth=TRUSTED)
    assert severities(config) == ["error", "warning"]


def test_trusted_proxies_are_enough() -> None:
    assert check(Config(server=PROXIES, auth=TRUSTED)) == []


def test_saying_that_one_understands_is_enough() -> None:
    auth = AuthOptions(gms_user="trusted", i_understand_gms_user_is_spoofable=True)
    assert severities(Config(server=TLS, auth=auth)) == []


def test_encrypted_traffic_cannot_be_read_by_others() -> None:
    assert severities(Config(server=TLS)) == []
    assert severities(Config(server=ServerOptions(host="::"))) == ["warning"]


@pytest.mark.parametrize(
    "auth",
    [
        AuthOptions(gms_user="signed", customer_secret="x" * 32),
        AuthOptions(gms_user="signed", customer_jwks=Path("keys.json")),
    ],
)
def test_signed_users_need_one_of_two_keys(auth: AuthOptions) -> None:
    assert check(Config(auth=auth)) == []
    assert severities(Config(auth=AuthOptions(gms_user="signed"))) == ["error"]


@pytest.mark.parametrize(
    ("secret", "found"),
    [("", []), ("x" * 31, ["error"]), ("x" * 32, []), ("ü" * 16, [])],
)
def test_a_key_of_hmac_has_32_bytes(secret: str, found: list[str]) -> None:
    assert severities(Config(agents=AgentOptions(secret=secret))) == found


@pytest.mark.parametrize("types", ["", "comet, customhttp"])
def test_an_address_for_pushes_may_stand_beside_pushes_that_are_off(types: str) -> None:
    text = f"[push]\npushEnabled = {types}\ncustomhttp.url = https://push.example.com\n"
    assert loads(text).problems == ()


def test_without_origins_a_problem_has_no_place() -> None:
    (problem,) = check(Config(auth=AuthOptions(gms_user="signed")))
    assert str(problem) == (
        "error: [auth] gms_user = signed needs customer_secret or customer_jwks"
    )


def test_passwords_in_addresses_are_not_shown() -> None:
    assert without_password("redis://a:b/c@h/0") == "redis://***@h/0"
    assert without_password("https://h/p") == "https://h/p"
