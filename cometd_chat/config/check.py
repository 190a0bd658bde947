"""What options must agree on with each other."""

from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import product
from types import MappingProxyType
from typing import TypeAlias

from cometd_chat.config.ini import Origin, Problem, Severity
from cometd_chat.config.push_options import ProviderOptions
from cometd_chat.config.resolve import Config
from cometd_chat.config.sections import DEBUG, names_in, options_of, provider_chain
from cometd_chat.config.table import rows

Origins: TypeAlias = Mapping[tuple[str, str], Origin]
"""Where options were set, by section and field; those never set are not in it."""

Finding: TypeAlias = tuple[Severity, str, str, str]
"""Severity, section and field that the message is about, and the message."""

NOWHERE: Origins = MappingProxyType({})
SHORTEST_SECRET = 32
"""Bytes of a key for HMAC with SHA-256 (RFC 7518 §3.2)."""

SHORTEST_SIGNING_KEY = 24
"""Bytes of a key that signs posts (Standard Webhooks 1.0)."""

EVENT = "chat.newagentmessage"
"""The event that all pushes of chats belong to, whatever the entry (GMS)."""


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


_NEEDS = {
    "ios": ("apns_key_file", "apple_keystore"),
    "fcm": ("fcm_credentials_file",),
    "gcm": ("fcm_credentials_file",),
    "android": ("fcm_credentials_file",),
    "customhttp": ("customhttp_url",),
    "httpcb": ("httpcb_hosts",),
    "webpush": ("webpush_vapid_key_file",),
}
"""Fields of which a push type needs one, so that anything can be sent."""


def _push_without_means(config: Config) -> Iterator[Finding]:
    have = _set_anywhere(config)
    for name in config.push.push_enabled:
        if name == "orscb":
            message = " has orscb, but nothing is sent to devices of this type"
            yield "warning", "push", "push_enabled", message
        elif (needs := _NEEDS.get(name)) and have.isdisjoint(needs):
            options = " or ".join(map(_provider_option, needs))
            message = f" has {name}, but there is no {options} to send with"
            yield "warning", "push", "push_enabled", message


def _means_without_push(config: Config) -> Iterator[Finding]:
    enabled = config.push.push_enabled
    for section, values in config.layers.items():
        for attr in values:
            types = [
                t for t, needs in _NEEDS.items() if attr.removeprefix(DEBUG) in needs
            ]
            # An empty list is no slip: it switches all pushes off.
            if types and enabled and not set(types) & set(enabled):
                message = f" has no effect: pushEnabled has no {' or '.join(types)}"
                yield "warning", section, attr, message


def _provider_option(attr: str) -> str:
    return next(o.name for o in rows(ProviderOptions) if o.attr == attr)


def _set_anywhere(config: Config) -> set[str]:
    """Return the options that some section sets, be it for debugging."""
    names = (attr for values in config.layers.values() for attr in values)
    return {attr.removeprefix(DEBUG) for attr in names}


def _nobody_to_write_to(config: Config) -> Iterator[Finding]:
    have = _set_anywhere(config)
    if "webpush_vapid_key_file" in have and "webpush_subject" not in have:
        message = (
            " has webpush, but there is no webpush.subject, such as "
            "mailto:push@example.com: some push services refuse what names nobody"
        )
        yield "warning", "push", "push_enabled", message


def _unusable_signing_key(config: Config) -> Iterator[Finding]:
    twins = ("customhttp_secret", f"{DEBUG}customhttp_secret")
    for (section, values), attr in product(config.layers.items(), twins):
        keys = str(values.get(attr, "")).split()
        if not all(map(_is_signing_key, keys)):
            message = (
                f": expected base64 of {SHORTEST_SIGNING_KEY} bytes or more, with or "
                "without whsec_ in front; several separated by spaces"
            )
            yield "error", section, attr, message


def _is_signing_key(secret: str) -> bool:
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return len(key) >= SHORTEST_SIGNING_KEY


_OF_A_KEY = ("apns_key_id", "apns_team_id", "apns_topic")
"""Fields without which a key for APNs is of no use."""


def _useless_apns_key(config: Config) -> Iterator[Finding]:
    for name, debug in product(config.providers or ("",), (False, True)):
        key = DEBUG * debug + "apns_key_file"
        options = config.provider(name, EVENT, debug=debug)
        missing = [attr for attr in _OF_A_KEY if not getattr(options, attr)]
        _, section = config.laid(provider_chain(name, EVENT)).get(key, (None, ""))
        if section and missing:
            title = f"push.provider.{name}" if name else section
            whom = "" if title == section else f" to [{title}]"
            needed = ", ".join(map(_provider_option, missing))
            yield "warning", section, key, f" is of no use{whom} without {needed}"


def _unknown_event(config: Config) -> Iterator[Finding]:
    for section, values in config.layers.items():
        event = names_in(section).get("event", EVENT)
        if event != EVENT and values:
            message = f" has no effect: {event} is no event of chats, {EVENT} is"
            yield "warning", section, next(iter(values)), message


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


def _two_places(config: Config) -> Iterator[Finding]:
    if config.files.folder and config.files.s3_bucket:
        message = f" = {config.files.folder} beside s3.bucket: files have one place"
        yield "error", "files", "folder", message


def _half_of_an_account(config: Config) -> Iterator[Finding]:
    files = config.files
    if files.s3_access_key and not files.s3_secret_key:
        yield "error", "files", "s3_access_key", " needs s3.secret_key"
    if files.s3_secret_key and not files.s3_access_key:
        yield "error", "files", "s3_secret_key", " needs s3.access_key"


def _account_for_nothing(config: Config) -> Iterator[Finding]:
    files = config.files
    if not files.s3_bucket:
        for attr in ("s3_endpoint", "s3_region", "s3_access_key", "s3_secret_key"):
            if getattr(files, attr):
                yield "warning", "files", attr, " has no effect without s3.bucket"


Rule: TypeAlias = Callable[[Config], Iterator[Finding]]

RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset({"server", "auth"}), _forgeable_user),
    (frozenset({"server"}), _readable_traffic),
    (frozenset({"auth"}), _signed_without_key),
    (frozenset({"server"}), _half_of_tls),
    (frozenset({"agents", "auth"}), _short_secret),
    (frozenset(), _unknown_provider),
    (frozenset({"push"}), _push_without_means),
    (frozenset({"push"}), _means_without_push),
    (frozenset({"push"}), _nobody_to_write_to),
    (frozenset(), _unusable_signing_key),
    (frozenset({"push"}), _useless_apns_key),
    (frozenset(), _unknown_event),
    (frozenset({"store", "agents"}), _key_of_one_node),
    (frozenset({"server", "store"}), _workers_of_one_file),
    (frozenset({"files"}), _two_places),
    (frozenset({"files"}), _half_of_an_account),
    (frozenset({"files"}), _account_for_nothing),
)
