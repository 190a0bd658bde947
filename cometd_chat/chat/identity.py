"""Who a client or a caller is, and how that is found out."""

import functools
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import jwt
from msgspec import Struct

from cometd_chat.bayeux import Peer
from cometd_chat.config import LiveConfig, Network
from cometd_chat.gms.values import fault
from cometd_chat.model import Role

LEEWAY = 30
"""Seconds by which the clocks of token makers may differ from ours."""

MAX_USER = 256
"""Longest name of a user or an agent in bytes of UTF-8."""

FORWARDED_FOR = "X-Forwarded-For"
"""Header field in which each proxy names whom it speaks for, behind the others."""

# PyJWT takes tokens and key sets of wrong shapes, and keys that do not belong to the
# algorithm of a token, for mistakes of its caller.
_REFUSED = (
    jwt.PyJWTError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
)
_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidSignatureError: "it is signed with another key",
    jwt.InvalidAlgorithmError: "it is signed with another algorithm",
    jwt.MissingRequiredClaimError: "it has no sub",
    jwt.DecodeError: "it is no JSON Web Token",
}
"""What to tell of the faults that callers make; others keep PyJWT's names."""

_ASYMMETRIC = ["RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"]


class IdentityError(Exception):
    """A token that does not prove what it should; never carries the token."""


class Customer(Struct, frozen=True, kw_only=True):
    """A customer's client, bound by user (GMS header `gms_user`) or service id.

    `position` is the transcript position that came with the handshake.
    """

    user: str = ""
    key: str = ""
    position: int | None = None

    def __repr__(self) -> str:
        return f"Customer(position={self.position})"  # the rest is nobody's business


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent's client. Empty `services` means all of them.

    `expires_at` is the end of his token (wall seconds): he has to bring a new one.
    """

    id: str
    nickname: str
    role: Role = Role.AGENT
    services: frozenset[str] = frozenset()
    expires_at: float = field(default=math.inf, compare=False)

    def expired(self, now: float) -> bool:
        return now > self.expires_at + LEEWAY

    def serves(self, service: str) -> bool:
        return not self.services or service in self.services


Identity: TypeAlias = Customer | Agent


class AuthHook(Protocol):
    """Turns what a peer brings along into who it is."""

    def agent(self, token: str) -> Agent:
        """Return whom the token of an agent names.

        Raises: IdentityError.
        """
        ...

    def user(self, peer: Peer) -> str:
        """Return the customer's user name, or an empty one if none is proved.

        Raises: IdentityError for a proof that is wrong.
        """
        ...


class TokenAuth:
    """JSON Web Tokens (RFC 7519) for agents, `gms_user` as the options say."""

    def __init__(self, live: LiveConfig) -> None:
        self._live = live

    def agent(self, token: str) -> Agent:
        options = self._live.current.agents
        claims = _verify(token, options.secret, options.jwks)
        name, services = claims.get("name"), claims.get("services", [])
        if not isinstance(name, str) or not name:
            name = claims["sub"]
        return Agent(
            id=_sound(claims["sub"], "sub"),
            nickname=_sound(name, "name"),
            role=_role(claims.get("role", "agent")),
            services=_services(services),
            # Read as PyJWT does, which takes digits in quotes as well.
            expires_at=int(claims["exp"]) if "exp" in claims else math.inf,
        )

    def user(self, peer: Peer) -> str:
        config = self._live.current
        header = peer.headers.get("gms_user", "")
        if not header or config.auth.gms_user == "off":
            return ""
        if config.auth.gms_user == "signed":
            auth = config.auth
            claims = _verify(header, auth.customer_secret, auth.customer_jwks)
            return _sound(claims["sub"], "sub")
        proxies = config.server.trusted_proxies
        if proxies and not _among(peer.address, proxies):
            return ""
        return _sound(header, "gms_user")

    def caller(self, peer: Peer) -> str:
        """Return the address that a request came from.

        That of the peer, unless it is a trusted proxy: then the last one in
        `X-Forwarded-For` that is none, for whatever stands before it may be invented.
        """
        proxies, address = self._live.current.server.trusted_proxies, peer.address
        hops = peer.headers.get(FORWARDED_FOR, "").split(",") if proxies else []
        while hops and _among(address, proxies):
            address = hops.pop().strip() or address
        return address


def make_agent_token(secret: str, claims: Mapping[str, Any]) -> str:
    """Return a token that `TokenAuth.agent` accepts with the same secret."""
    return jwt.encode(dict(claims), secret, algorithm="HS256")


def _verify(token: str, secret: str, jwks: Path | None) -> dict[str, Any]:
    # The kind of key decides the algorithms, never the token: otherwise a public
    # key could be used as the secret of a forged HS256 token.
    try:
        key: Any = _jwk(token, jwks) if jwks else secret
        algorithms = _ASYMMETRIC if jwks else ["HS256"]
        if not key:
            raise IdentityError("no key is configured to verify tokens with")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            leeway=LEEWAY,
            options={"require": ["sub"], "verify_aud": False},
        )
    except _REFUSED as exc:
        reason = _REASONS.get(type(exc), type(exc).__name__)
        raise IdentityError(f"the token is refused: {reason}") from None
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise IdentityError("the token names nobody")
    return claims


def _jwk(token: str, path: Path) -> Any:
    keys = _key_set(path, path.stat().st_mtime_ns)
    kid = jwt.get_unverified_header(token).get("kid")
    for key in keys.keys:
        if kid is None or key.key_id == kid:
            return key.key
    raise IdentityError("the token was signed with an unknown key")


@functools.lru_cache(maxsize=4)
def _key_set(path: Path, _version: int) -> jwt.PyJWKSet:
    return jwt.PyJWKSet.from_json(path.read_text(encoding="utf-8"))


def _sound(name: str, field: str) -> str:
    """Return the name unless it could not be stored, or not be sent again."""
    if wrong := fault(name, MAX_USER):
        raise IdentityError(f"{field}: {wrong}")
    return name


def _role(name: object) -> Role:
    match name:
        case "agent":
            return Role.AGENT
        case "supervisor":
            return Role.SUPERVISOR
        case _:
            raise IdentityError('the role is neither "agent" nor "supervisor"')


def _services(names: object) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise IdentityError("services is not a list of names")
    return frozenset(names)


def _among(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    # What a socket for both families shows of an IPv4 peer (RFC 4291 §2.5.5.2).
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in network for network in networks)
