"""Tokens and headers: what proves somebody, and what does not."""

import base64
import json
import os
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cometd_chat.bayeux import Peer
from cometd_chat.chat import (
    FORWARDED_FOR,
    Agent,
    IdentityError,
    TokenAuth,
    make_agent_token,
)
from cometd_chat.chat.identity import LEEWAY
from cometd_chat.config import Config, LiveConfig, loads
from cometd_chat.model import Role
from tests.chat.world import SECRET, configured

NOW = 2_000_000_000


def auth(config: str = "") -> TokenAuth:
    return TokenAuth(LiveConfig(configured(config)))


def refused(tokens: TokenAuth, token: str) -> str:
    with pytest.raises(IdentityError) as caught:
        tokens.agent(token)
    assert token not in str(caught.value)
    return str(caught.value)


def part(value: object) -> str:
    data = json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_names_the_agent():
    token = make_agent_token(
        SECRET,
        {"sub": "ann", "name": "Ann", "role": "supervisor", "services": ["a", "b"]},
    )
    assert auth().agent(token) == Agent(
        id="ann",
        nickname="Ann",
        role=Role.SUPERVISOR,
        services=frozenset({"a", "b"}),
    )


@pytest.mark.parametrize("name", [None, "", 7, []])
def test_an_agent_without_a_name_is_called_by_his_id(name):
    token = make_agent_token(SECRET, {"sub": "ann", "name": name})
    assert auth().agent(token) == Agent(id="ann", nickname="ann")


def test_an_agent_serves_his_services_or_all():
    assert Agent(id="a", nickname="a").serves("x")
    some = Agent(id="a", nickname="a", services=frozenset({"y"}))
    assert (some.serves("x"), some.serves("y")) == (False, True)


@pytest.mark.parametrize("exp", [NOW, f"{NOW}", NOW + 0.5])
def test_a_token_is_good_until_its_end_however_that_is_written(exp):
    claims = json.dumps({"sub": "ann", "exp": exp}).encode()
    agent = auth().agent(jwt.api_jws.encode(claims, SECRET))
    assert not agent.expired(NOW)
    assert agent.expired(NOW + LEEWAY + 1)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": ""},
        {"sub": 7},
        {"sub": None},
        {"sub": "ann", "role": "admin"},
        {"sub": "ann", "role": 1},
        {"sub": "ann", "role": None},
        {"sub": "ann", "services": "sales"},
        {"sub": "ann", "services": [1]},
        {"sub": "ann", "services": None},
        {"sub": "ann", "exp": 1},
        {"sub": "ann", "exp": "soon"},
        {"sub": "ann", "nbf": 4_000_000_000},
        {"sub": "a" * 257},
        {"sub": "a\0"},
        {"sub": "\ud800"},
        {"sub": "ann", "name": "\ud800"},
        {"sub": "ann", "name": "a" * 257},
    ],
)
def test_claims_that_are_wrong_are_refused(claims):
    refused(auth(), jwt.api_jws.encode(json.dumps(claims).encode(), SECRET))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "\ud800.b.c",
        part({"alg": "none"}) + "." + part({"sub": "ann"}) + ".",
        part({"alg": "None"}) + "." + part({"sub": "ann"}) + ".",
        part({"alg": "HS256", "x": json.loads("[" * 900 + "]" * 900)}) + ".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":' + b"[" * 100_000).decode() + ".e30.e30",
        part(["HS256"]) + "." + part({"sub": "ann"}) + ".",
        jwt.encode({"sub": "ann"}, "another secret, of thirty-two bytes"),
        jwt.encode({"sub": "ann"}, SECRET * 2, algorithm="HS512"),
        jwt.api_jws.encode(b'["ann"]', SECRET),
    ],
)
def test_tokens_that_prove_nothing_are_refused(token):
    with pytest.raises(IdentityError):
        auth().agent(token)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("x", "it is no JSON Web Token"),
        (jwt.encode({"sub": "ann", "exp": 1}, SECRET), "it has expired"),
        (jwt.encode({"sub": "ann", "nbf": 1e11}, SECRET), "it is not valid yet"),
        (jwt.encode({"sub": "ann"}, SECRET[::-1]), "it is signed with another key"),
        (
            jwt.encode({"sub": "ann"}, SECRET * 2, algorithm="HS512"),
            "it is signed with another algorithm",
        ),
        (jwt.encode({"name": "Ann"}, SECRET), "it has no sub"),
    ],
)
def test_a_refused_token_is_told_why(token, reason):
    assert refused(auth(), token) == f"the token is refused: {reason}"


def test_without_a_key_there_are_no_agents():
    tokens = TokenAuth(LiveConfig(Config()))
    assert refused(tokens, jwt.encode({"sub": "ann"}, SECRET)) == (
        "no key is configured to verify tokens with"
    )


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def key_set(path: Path, *keys: dict[str, object]) -> str:
    file = path / "keys.json"
    file.write_text(json.dumps({"keys": keys}))
    return f"jwks = {file}"


def public(key: object, kid: str | None = "k") -> dict[str, object]:
    kind = jwt.algorithms.RSAAlgorithm if key is RSA else jwt.algorithms.ECAlgorithm
    shown = json.loads(kind.to_jwk(key.public_key()))  # type: ignore[attr-defined]  # either
    return {**shown, "kid": kid} if kid else shown


def keyed(path: Path, *keys: dict[str, object]) -> TokenAuth:
    loaded = loads(f"[agents]\n{key_set(path, *keys)}\n")
    assert loaded.config is not None, loaded.problems
    return TokenAuth(LiveConfig(loaded.config))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "RS512"), (EC, "ES256")],
    ids=["rs256", "rs512", "es256"],
)
@pytest.mark.parametrize("kid", ["k", None])
def test_a_token_may_be_signed_with_a_private_key(tmp_path, key, algorithm, kid):
    tokens = keyed(tmp_path, public(key, kid))
    headers = {"kid": kid} if kid else {}
    token = jwt.encode({"sub": "ann"}, key, algorithm=algorithm, headers=headers)
    assert tokens.agent(token).id == "ann"


def test_the_public_key_is_no_secret_to_sign_with(tmp_path):
    """The confusion of algorithms: everybody has the public key."""
    tokens = keyed(tmp_path, public(RSA))
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.decode().strip().encode()):
        head = part({"alg": "HS256", "kid": "k"}) + "." + part({"sub": "ann"})
        signature = jwt.algorithms.HMACAlgorithm(
            jwt.algorithms.HMACAlgorithm.SHA256
        ).sign(head.encode(), secret)
        sealed = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        refused(tokens, f"{head}.{sealed}")


def test_a_secret_does_not_sign_where_a_key_set_is_used(tmp_path):
    refused(keyed(tmp_path, public(RSA)), jwt.encode({"sub": "ann"}, SECRET))


def test_a_token_of_another_kind_than_the_key_is_refused(tmp_path):
    """No more than that: it must not be an error of the server."""
    token = jwt.encode({"sub": "ann"}, EC, algorithm="ES256", headers={"kid": "k"})
    refused(keyed(tmp_path, public(RSA)), token)
    token = jwt.encode({"sub": "ann"}, RSA, algorithm="RS256", headers={"kid": "k"})
    refused(keyed(tmp_path, public(EC)), token)


def test_a_token_of_an_unknown_key_is_refused(tmp_path):
    token = jwt.encode({"sub": "ann"}, RSA, algorithm="RS256", headers={"kid": "z"})
    assert "unknown key" in refused(keyed(tmp_path, public(RSA)), token)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"keys": []}', '{"keys": [1]}', "\xff", "[", "[]"]
)
def test_a_broken_key_set_proves_nobody(tmp_path, text):
    tokens = keyed(tmp_path, public(RSA))
    (tmp_path / "keys.json").write_text(text, encoding="latin-1")
    os.utime(tmp_path / "keys.json", (NOW, NOW))
    refused(tokens, jwt.encode({"sub": "ann"}, RSA, algorithm="RS256"))


def test_a_new_key_set_is_read_without_a_restart(tmp_path):
    tokens = keyed(tmp_path, public(RSA, None))
    token = jwt.encode({"sub": "ann"}, EC, algorithm="ES256")
    refused(tokens, token)
    key_set(tmp_path, public(EC, None))
    os.utime(tmp_path / "keys.json", (NOW, NOW))
    assert tokens.agent(token).id == "ann"
    (tmp_path / "keys.json").unlink()
    refused(tokens, token)


def of(user: str, address: str = "127.0.0.1") -> Peer:
    return Peer(headers={"gms_user": user} if user else {}, address=address)


def test_no_header_is_nobody_in_every_mode():
    for mode in ("off", "signed", "trusted"):
        tokens = auth(f"[auth]\ngms_user={mode}\ncustomer_secret={SECRET}")
        assert tokens.user(of("")) == ""


def test_a_header_counts_for_nothing_when_that_is_off():
    assert auth("[auth]\ngms_user=off").user(of("kim")) == ""


def test_a_signed_header_names_the_user():
    tokens = auth(f"[auth]\ngms_user=signed\ncustomer_secret={SECRET}")
    assert tokens.user(of(jwt.encode({"sub": "kim"}, SECRET))) == "kim"
    for wrong in ("kim", jwt.encode({"sub": "kim"}, SECRET[::-1])):
        with pytest.raises(IdentityError):
            tokens.user(of(wrong))


def test_a_customers_token_is_no_agents():
    tokens = auth(f"[auth]\ngms_user=signed\ncustomer_secret={SECRET[::-1]}")
    token = jwt.encode({"sub": "kim"}, SECRET[::-1])
    assert tokens.user(of(token)) == "kim"
    refused(tokens, token)


@pytest.mark.parametrize("user", ["a" * 257, "a\0b", "caf\udce9"])
def test_a_user_that_cannot_be_stored_is_refused(user):
    with pytest.raises(IdentityError) as caught:
        auth("[auth]\ngms_user=trusted").user(of(user))
    assert user not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("11.1.2.3", False),
        ("fd00::1", True),
        ("fe80::1", False),
        ("", False),
        ("unix", False),
    ],
)
def test_only_trusted_proxies_may_name_the_user(address, trusted):
    tokens = auth(
        "[server]\ntrusted_proxies = 10.0.0.0/8, fd00::/8\n[auth]\ngms_user=trusted"
    )
    assert tokens.user(of("kim", address)) == ("kim" if trusted else "")


@pytest.mark.parametrize(
    ("address", "forwarded", "caller"),
    [
        ("10.1.2.3", "192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", "192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("10.1.2.3", "6.6.6.6, 192.0.2.7,10.9.9.9", "192.0.2.7"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "unknown", "unknown"),
        ("10.1.2.3", "192.0.2.7, ", "192.0.2.7"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("11.1.2.3", "192.0.2.7", "11.1.2.3"),
        ("", "192.0.2.7", ""),
    ],
)
def test_only_trusted_proxies_may_name_the_caller(address, forwarded, caller):
    peer = Peer(headers={FORWARDED_FOR: forwarded}, address=address)
    assert auth("[server]\ntrusted_proxies = 10.0.0.0/8").caller(peer) == caller
    assert auth().caller(peer) == address
