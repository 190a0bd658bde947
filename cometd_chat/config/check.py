"""What options must agree on with each other."""

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from types import MappingProxyType
from typing import TypeAlias

from cometd_chat.config.ini import Origin, Problem, Severity
from cometd_chat.config.resolve import Config
from cometd_chat.config.sections import options_of

Origins: TypeAlias = Mapping[tuple[str, str], Origin]
"""Where options were set, by section and field; those never set are not in it."""

Finding: TypeAlias = tuple[Severity, str, str, str]
"""Severity, section and field that the message is about, and the message."""

NOWHERE: Origins = MappingProxyType({})
SHORTEST_SECRET = 32
"""Bytes of a key for HMAC with SHA-256 (RFC 7518 §3.2)."""


def check(
    config: Config, origins: Origins = NOWHERE, unsure: Collection[str] = ()
) -> list[Problem]:
    """Return what does not fit together.

    Rules about sections that are `unsure`, because some of their options could not
    be read, are left out.
    """
    return [
        _problem(finding, origins)
        for sections, rule in RULES
        if not sections & set(unsure)
        for finding in rule(config)
    ]


def _problem(finding: Finding, origins: Origins) -> Problem:
    severity, section, attr, message = finding
    origin = origins.get((section, attr), Origin())
    name = next(o.name for o in options_of(section) if o.attr == attr)
    return Problem(
        file=origin.file,
        line=origin.line,
        severity=severity,
        message=f"[{section}] {name}{message}",
    )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _forgeable_user(config: Config) -> Iterator[Finding]:
    server, auth = config.server, config.auth
    guarded = server.trusted_proxies or auth.i_understand_gms_user_is_spoofable
    if auth.gms_user == "trusted" and not guarded and not is_loopback(server.host):
        message = (
            f" = trusted on {server.host} without trusted_proxies: every caller can "
            "pose as any user. Set [server] trusted_proxies, or "
            "i_understand_gms_user_is_spoofable = true"
        )
        yield "error", "auth", "gms_user", message


def _readable_traffic(config: Config) -> Iterator[Finding]:
    server = config.server
    if is_loopback(server.host) or server.tls_cert or server.trusted_proxies:
        return
    message = (
        f" = {server.host} without tls_cert and without trusted_proxies: traffic is "
        "readable by others"
    )
    yield "warning", "server", "host", message


def _signed_without_key(config: Config) -> Iterator[Finding]:
    auth = config.auth
    if auth.gms_user == "signed" and not (auth.customer_secret or auth.customer_jwks):
        message = " = signed needs customer_secret or customer_jwks"
        yield "error", "auth", "gms_user", message


def _half_of_tls(config: Config) -> Iterator[Finding]:
    cert, key = config.server.tls_cert, config.server.tls_key
    if cert and not key:
        yield "error", "server", "tls_cert", " needs tls_key"
    if key and not cert:
        yield "error", "server", "tls_key", " needs tls_cert"


def _short_secret(config: Config) -> Iterator[Finding]:
    for section, attr, secret in (
        ("agents", "secret", config.agents.secret),
        ("auth", "customer_secret", config.auth.customer_secret),
    ):
        length = len(secret.encode())
        if 0 < length < SHORTEST_SECRET:
            message = f" has {length} bytes, expected {SHORTEST_SECRET} or more"
            yield "error", section, attr, message


def _unknown_provider(config: Config) -> Iterator[Finding]:
    known = config.providers
    for section, attr, name in _named_providers(config):
        if name and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f". Did you mean {near[0]}?" if near else ""
            message = f" = {name}: there is no [push.provider.{name}]{hint}"
            yield "warning", section, attr, message


def _named_providers(config: Config) -> Iterator[tuple[str, str, str]]:
    yield "push", "default_provider", config.push.default_provider
    for section, values in config.layers.items():
        if "provider_name" in values:
            yield section, "provider_name", str(values["provider_name"])


def _customhttp_without_url(config: Config) -> Iterator[Finding]:
    on = "customhttp" in config.push.push_enabled
    if on and not any("customhttp_url" in values for values in config.layers.values()):
        message = " has customhttp, but there is no customhttp.url to post to"
        yield "warning", "push", "push_enabled", message


def _key_of_one_node(config: Config) -> Iterator[Finding]:
    agents, url = config.agents, config.store.url
    if url.startswith("redis") and not (agents.secret or agents.jwks):
        message = (
            " needs [agents] secret or jwks: a key that one node made for itself would "
            "be unknown to the others"
        )
        yield "error", "store", "url", message


def _workers_of_one_file(config: Config) -> Iterator[Finding]:
    workers, url = config.server.workers, config.store.url
    if workers > 1 and not url.startswith("redis"):
        message = (
            f" = {workers}: expected 1, as [store] url = {url} is a SQLite file, which "
            "belongs to one process. Several need a Redis, such as "
            "redis://cache.example.com:6379"
        )
        yield "error", "server", "workers", message


Rule: TypeAlias = Callable[[Config], Iterator[Finding]]

RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset({"server", "auth"}), _forgeable_user),
    (frozenset({"server"}), _readable_traffic),
    (frozenset({"auth"}), _signed_without_key),
    (frozenset({"server"}), _half_of_tls),
    (frozenset({"agents", "auth"}), _short_secret),
    (frozenset(), _unknown_provider),
    (frozenset({"push"}), _customhttp_without_url),
    (frozenset({"store", "agents"}), _key_of_one_node),
    (frozenset({"server", "store"}), _workers_of_one_file),
)
