"""HTTP to addresses that others chose, without becoming their tool.

A device may bring the URL its pushes go to. Whoever controls that URL would have us
speak to machines only we can reach: the metadata service of a cloud, an admin port
on loopback, a database (server-side request forgery). So a post passes four gates:

1. The URL: scheme, no user or password, a host that is on the list.
2. The name: resolved once, and every address it has must be a public one. The
   connection is made to an address that was checked; asking a second time would let
   the name change its meaning in between (DNS rebinding).
3. The connection: no proxy from the environment, no cookies, nothing remembered.
4. The answer: redirects are not followed, time and size are bounded.

URLs are secrets here (a push subscription is one): no reason contains any of it.
"""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from socket import AF_UNSPEC, AddressFamily
from typing import TypeAlias, assert_never

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cometd_chat.clock import Clock
from cometd_chat.push import Dropped, Outcome, Retry
from cometd_chat.push.verdicts import Verdict, outcome, seconds_until

LONGEST_URL = 2048
"""Characters of a URL; push services stay far below."""

LARGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the rest is left on the wire."""

UNTRUSTED_TIMEOUT = 5.0
"""Seconds for a whole exchange with a host that is not the admin's."""

CONNECTIONS = 100
"""Connections that one provider holds at the same time."""

USER_AGENT = "cometd-chat"

_WEB = {"http", "https"}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be posted to.

    `hosts` is the complete list: `host`, `*.domain` for everything below it, either
    with `:port` where that is not the scheme's own. `plain` also allows http,
    `private` addresses that are not public, `literals` an address in place of a name.
    `timeout` is in seconds, for the exchange as a whole.
    """

    hosts: tuple[str, ...] = field(default=(), repr=False)
    plain: bool = False
    private: bool = False
    literals: bool = False
    timeout: float = UNTRUSTED_TIMEOUT

    def lists(self, authority: str) -> bool:
        """Say whether `host` or `host:port` is on the list."""
        return any(_covers(entry.lower(), authority) for entry in self.hosts)


def _covers(entry: str, authority: str) -> bool:
    if entry.startswith("*."):
        return authority.endswith(entry[1:])
    return authority == entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side said. `retry_after` is in seconds, `body` at most
    `LARGEST_ANSWER` bytes, cut where it was longer or did not come in time."""

    status: int
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Our own rules forbid it; nothing was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer; what was sent may have arrived all the same."""

    reason: str


Reply: TypeAlias = Answer | Refused | Unreachable


def checked(url: str, rules: Rules) -> URL | Refused:
    """Return the URL as it will be used, or why it may not be.

    Check and use share one parsed object: two parsers that disagree about where the
    host ends would make the check worthless.
    """
    if len(url) > LONGEST_URL:
        return Refused("the URL is too long")
    try:
        parsed = URL(url)
        authority = (parsed.host_port_subcomponent or "").lower()
    except ValueError:
        return Refused("not a URL")
    reason = _objection(parsed, authority, rules)
    return Refused(reason) if reason else parsed


def _objection(url: URL, authority: str, rules: Rules) -> str:
    if url.scheme not in (_WEB if rules.plain else {"https"}):
        return "the scheme is not allowed"
    if url.user is not None or url.password is not None:
        return "a user in the URL is not allowed"
    if not rules.lists(authority):
        return "the host is not on the list"
    return _literal_objection(url.host or "", rules)


def _literal_objection(host: str, rules: Rules) -> str:
    # A host that ends in a number is an IPv4 address in some notation (WHATWG URL).
    if not (":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])):
        return ""
    if not rules.literals:
        return "an address in place of a name is not allowed"
    if not (rules.private or is_public(host)):
        return "the address is not public"
    return ""


def is_public(host: str) -> bool:
    """Say whether `host`, an IP address, is one of the public internet.

    An IPv4 address inside an IPv6 one is where the packet ends, so it decides
    (mapped, RFC 4291; 6to4, RFC 3056; NAT64, RFC 6052).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is None:
            return address.is_global and address in _GLOBAL_UNICAST
        address = inner
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address.ipv4_mapped or address.sixtofour


class Forbidden(Exception):  # noqa: N818 - says what the name resolves to
    """The name leads to an address that may not be connected to."""


class CheckedResolver(AbstractResolver):
    """Resolves with `inner`, and lets nothing through that is not public."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; raise Forbidden if one is not public.

        One is enough: a name with public and private addresses is an attack.
        """
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(result["host"]) for result in found):
            raise Forbidden
        return found

    async def close(self) -> None:
        await self._inner.close()


class Outbound:
    """Posts to URLs that the rules allow. `resolver` and `tls` are seams for tests."""

    def __init__(
        self,
        rules: Rules,
        *,
        clock: Clock,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post once, within the time of the rules; raises only CancelledError."""
        target = checked(url, self._rules)
        if isinstance(target, Refused):
            return target
        try:
            return await self._exchange(target, body, headers)
        except Forbidden:
            return Refused("the address is not public")
        except TimeoutError:
            return Unreachable("no answer in time")
        # ValueError: aiohttp's word for a URL that it cannot put into a request.
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unreachable(f"no answer ({type(error).__name__})")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(
        self, url: URL, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        session = self._open()
        async with session.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as response:
            later = response.headers.get("Retry-After", "")
            return Answer(
                status=response.status,
                retry_after=seconds_until(later, self._clock.time()),
                body=await _head(response),
            )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session(self._rules, self._resolver, self._tls)
        return self._session


def _session(
    rules: Rules, resolver: AbstractResolver | None, tls: ssl.SSLContext | None
) -> aiohttp.ClientSession:
    resolver = resolver or aiohttp.ThreadedResolver()
    connector = aiohttp.TCPConnector(
        resolver=resolver if rules.private else CheckedResolver(resolver),
        ssl=tls or True,
        limit=CONNECTIONS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=rules.timeout),
        # A small answer could unpack to gigabytes.
        auto_decompress=False,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


async def _head(response: aiohttp.ClientResponse) -> bytes:
    """Return the start of the body, or what came of it.

    The status has said what became of the push; a body that stalls must not turn
    that into a failure, or the device would get the same push again and again.
    """
    read = bytearray()
    try:
        while len(read) < LARGEST_ANSWER:
            part = await response.content.read(LARGEST_ANSWER - len(read))
            if not part:
                break
            read += part
    except (aiohttp.ClientError, OSError):
        pass
    return bytes(read)


def judge(reply: Reply, verdicts: Mapping[int, Verdict]) -> Outcome:
    """Return what a reply means.

    The keys of `verdicts` are statuses and, for all others, their first digit.
    """
    match reply:
        case Refused(reason):
            return Dropped(reason)
        case Unreachable(reason):
            return Retry(reason)
        case Answer(status=status):
            verdict = verdicts.get(status) or verdicts.get(status // 100)
            reason = f"answered with status {status}"
            return outcome(verdict or Verdict.DROPPED, reason, reply.retry_after)
    assert_never(reply)
