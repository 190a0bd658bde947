"""URLs that others chose reach public hosts on the list, and nothing else."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web

from cometd_chat.push.guard import (
    LARGEST_ANSWER,
    Answer,
    CheckedResolver,
    Forbidden,
    Outbound,
    Refused,
    Reply,
    Rules,
    Unreachable,
    is_public,
)
from cometd_chat.push.verdicts import seconds_until
from tests.keys import tls_pair
from tests.push.facts import NOW, SetClock
from tests.push.fake_webhook import FakeDns, FakeHook, answers, hook, never, stalls

ANY = Rules(hosts=("*.test", "localhost", "metadata.google.internal"))
SCHEME = "the scheme is not allowed"
USER = "a user in the URL is not allowed"
LISTED = "the host is not on the list"
LITERAL = "an address in place of a name is not allowed"
PRIVATE = "the address is not public"
NO_URL = "not a URL"

URLS = [
    # Schemes that are not the web's, or not safe
    ("http://hook.test/", SCHEME),
    ("gopher://hook.test:70/_x", SCHEME),
    ("ftp://hook.test/", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("dict://hook.test:11211/stats", SCHEME),
    ("ws://hook.test/", SCHEME),
    ("data:text/plain,x", SCHEME),
    ("//hook.test/", SCHEME),
    ("hook.test", SCHEME),
    ("", SCHEME),
    # What looks like the host is not
    ("https://hook.test@evil.example/", USER),
    ("https://hook.test:443@evil.example/", USER),
    ("https://user:word@hook.test/", USER),
    ("https://evil.example#@hook.test/", LISTED),
    ("https://evil.example?@hook.test/", LISTED),
    ("https://hook.test.evil.example/", LISTED),
    ("https://eviltest/", LISTED),
    ("https:///hook.test/", LISTED),
    ("https://evil.example\\@hook.test/", NO_URL),
    ("https://hook.test\x00.evil.example/", LISTED),
    # Other services of a host that is listed
    ("https://hook.test:22/", LISTED),
    ("https://hook.test:6379/", LISTED),
    ("https://hook.test:0/", LISTED),
    ("https://hook.test:99999/", NO_URL),
    # Names that lead inside
    ("https://localhost/", PRIVATE),
    ("https://localhost./", PRIVATE),
    ("https://metadata.google.internal/computeMetadata/v1/", PRIVATE),
    ("https://loop.test/", PRIVATE),
    ("https://mixed.test/", PRIVATE),
    ("https://six.test/", PRIVATE),
    ("https://mapped.test/", PRIVATE),
    ("https://nat64.test/", PRIVATE),
    ("https://" + "a" * 2048 + ".test/", "the URL is too long"),
]

ADDRESSES = [
    "https://8.8.8.8/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://①②⑦.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.168.0.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[fe80::1%25eth0]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
]


def inside(port: int) -> FakeDns:
    """A name service under an attacker's control."""
    loop = [["127.0.0.1"]]
    names = {
        "hook.test": loop,
        "loop.test": loop,
        "localhost": loop,
        "mixed.test": [["93.184.215.14", "10.0.0.1"]],
        "six.test": [["::1"]],
        "mapped.test": [["::ffff:10.0.0.1"]],
        "nat64.test": [["64:ff9b::a00:1"]],
        "metadata.google.internal": [["169.254.169.254"]],
    }
    return FakeDns(port=port, **names)


@dataclass
class Bench:
    """A guard between us and a server on loopback that `hook.test` leads to."""

    out: Outbound
    hook: FakeHook
    dns: FakeDns

    async def post(self, path: str = "/") -> Reply:
        return await self.out.post(f"https://hook.test{path}", b"body", {})


@asynccontextmanager
async def bench(
    rules: Rules | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Bench]:
    rules = rules or Rules(hosts=("hook.test",), private=True)
    server, client = tls_pair("hook.test")
    async with hook(server) as fake:
        dns = inside(fake.port)
        out = Outbound(rules, clock=SetClock(), resolver=dns, tls=tls or client)
        try:
            yield Bench(out, fake, dns)
        finally:
            await out.close()


@pytest.mark.parametrize(("url", "reason"), URLS)
async def test_a_url_that_leads_elsewhere_is_refused(url: str, reason: str) -> None:
    async with bench(ANY) as b:
        assert await b.out.post(url, b"body", {}) == Refused(reason)
        assert b.hook.arrived == []
        assert (b.dns.asked == []) == (reason != PRIVATE)


@pytest.mark.parametrize("url", ADDRESSES)
async def test_an_address_in_any_notation_is_refused(url: str) -> None:
    """Even if somebody put it on the list."""
    hosts = (
        "8.8.8.8",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0",
        "169.254.169.254",
        "192.168.0.1",
        "[::1]",
        "[::]",
        "[::ffff:7f00:1]",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1%25eth0]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    )
    async with bench(Rules(hosts=hosts)) as b:
        assert await b.out.post(url, b"body", {}) == Refused(LITERAL)
        assert b.dns.asked == []


async def test_a_literal_may_be_allowed_and_still_has_to_be_public() -> None:
    rules = Rules(hosts=("10.0.0.1", "[::1]", "127.1"), literals=True)
    async with bench(rules) as b:
        for url in ("https://10.0.0.1/", "https://[::1]/", "https://127.1/"):
            assert await b.out.post(url, b"", {}) == Refused(PRIVATE)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:4700::1111", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("2002:5db8:d70e::1", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("203.0.113.7", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::a00:1", False),
        ("2002:a00:1::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("hook.test", False),
    ],
)
def test_public_addresses_are_told_from_others(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_name_that_changes_its_meaning_is_asked_only_once() -> None:
    """What was checked is what is connected to: the second answer never counts."""
    rebinding = FakeDns(hook_test=[["93.184.215.14"], ["127.0.0.1"]])
    resolver = CheckedResolver(rebinding)
    assert [r["host"] for r in await resolver.resolve("hook.test", 443)] == [
        "93.184.215.14"
    ]
    with pytest.raises(Forbidden):
        await resolver.resolve("hook.test", 443)
    async with bench() as b:
        assert await b.post() == Answer(status=200)
        assert b.dns.asked == ["hook.test"]


async def test_a_post_arrives_as_it_was_sent() -> None:
    async with bench() as b:
        reply = await b.out.post("https://hook.test/a?b=c", b"\x00text", {"X-A": "1"})
        (arrived,) = b.hook.arrived
    assert reply == Answer(status=200)
    assert (arrived.path, arrived.body) == ("/a?b=c", b"\x00text")
    assert arrived.headers["X-A"] == "1"
    assert arrived.headers["User-Agent"] == "cometd-chat"


async def test_a_listed_domain_covers_what_is_below_it_and_no_more() -> None:
    rules = Rules(hosts=("*.Push.Test", "hook.test:8443"))
    assert rules.lists("a.push.test")
    assert rules.lists("a.b.push.test")
    assert rules.lists("hook.test:8443")
    assert not rules.lists("push.test")
    assert not rules.lists("a.push.test:8443")
    assert not rules.lists("hook.test")


async def test_redirects_are_not_followed() -> None:
    async with bench() as b:
        b.hook.handler = answers(307, headers={"Location": "https://hook.test/inner"})
        assert await b.post() == Answer(status=307)
        assert [each.path for each in b.hook.arrived] == ["/"]


async def test_cookies_are_not_kept() -> None:
    async with bench() as b:
        b.hook.handler = answers(200, headers={"Set-Cookie": "who=them"})
        await b.post()
        await b.post()
        assert all("Cookie" not in each.headers for each in b.hook.arrived)


async def test_a_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with bench() as b:
        assert await b.post() == Answer(status=200)


async def test_a_long_answer_is_cut() -> None:
    async with bench() as b:
        b.hook.handler = answers(200, b"x" * (LARGEST_ANSWER * 3))
        assert await b.post() == Answer(status=200, body=b"x" * LARGEST_ANSWER)


async def test_a_packed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(b"0" * 10_000_000)
    async with bench() as b:
        b.hook.handler = answers(200, packed, {"Content-Encoding": "gzip"})
        assert await b.post() == Answer(status=200, body=packed)


async def test_a_stalling_answer_still_says_its_status() -> None:
    rules = Rules(hosts=("hook.test",), private=True, timeout=0.3)
    async with bench(rules) as b:
        b.hook.handler = stalls
        assert await b.post() == Answer(status=200, body=b"start")


async def test_silence_ends_in_time() -> None:
    rules = Rules(hosts=("hook.test",), private=True, timeout=0.3)
    async with bench(rules) as b:
        b.hook.handler = never
        assert await b.post() == Unreachable("no answer in time")


async def test_a_post_can_be_cancelled() -> None:
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await never(request)

    async with bench() as b:
        b.hook.handler = handler
        posting = asyncio.create_task(b.post())
        await asked.wait()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        b.hook.handler = answers(204)
        assert await b.post() == Answer(status=204)


async def test_no_host_and_no_trust_are_told_without_the_url() -> None:
    async with bench(Rules(hosts=("*.test",), private=True)) as b:
        reply = await b.out.post("https://gone.test/secret", b"", {})
        assert reply == Unreachable("no answer (ClientConnectorDNSError)")
    async with bench(tls=ssl.create_default_context()) as b:
        reply = await b.post("/secret")
        assert reply == Unreachable("no answer (ClientConnectorCertificateError)")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-5", None),
        ("1e9", None),
        ("9" * 400, None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Tue, 14 Nov 99999 22:00:00 GMT", None),
        ("Tue, 14 Nov 99999999999 22:14:20 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert seconds_until(text, NOW) == seconds
