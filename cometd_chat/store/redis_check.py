"""What a server must be like before anything is written to it."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from cometd_chat.store import StoreError, StoreUnavailableError
from cometd_chat.store.redis_keys import LAYOUT, Keys
from cometd_chat.store.redis_link import (
    Address,
    Command,
    Link,
    LostError,
    RefusedError,
    TlsError,
)
from cometd_chat.store.redis_refusals import meaning
from cometd_chat.store.redis_topology import Servers

OLDEST = (7, 0)
"""Version of Redis whose commands the scripts need; Valkey says 7.2 or newer."""

WAITAOF = (7, 2)
"""Version of Redis from which a write can wait for the disk."""

DATABASES = 16
"""Databases that a server has which was not told otherwise."""

CONFIRMATION_MS = 1000
"""Milliseconds for which a write waits for a replica, or the disk."""


class Durability(StrEnum):
    """What has to be true of a write before it is acknowledged."""

    RELAXED = "relaxed"
    DURABLE = "durable"
    REPLICATED = "replicated"


class UnsuitableServerError(StoreError):
    """The server would lose chats, or is none of the kind that is needed."""

    def __init__(self, text: str, *, option: str = "url") -> None:
        super().__init__(text)
        self.option = option


class NewerLayoutError(StoreError):
    """The storage was written by a newer version of this program."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a server tells of itself; empty for what it does not tell."""

    version: tuple[int, ...]
    cluster: bool
    primary: bool
    replicas: int
    appends: bool
    syncs: str
    eviction: str


async def examine_all(
    servers: Servers,
    primaries: Sequence[Address],
    others: Sequence[Address],
    durability: Durability,
    *,
    volatile: bool,
) -> Command | None:
    """Return the command that has to confirm each write, None for none.

    `others` may become primary; those that cannot be reached are passed over.

    Raises: as `examine`.
    """

    async def one(address: Address) -> Command | None:
        with suppress(*() if address in primaries else (StoreUnavailableError,)):
            return await examine(servers, address, durability, volatile=volatile)
        return None

    found = await asyncio.gather(*map(one, [*primaries, *others]))
    return next(filter(None, found), None)


async def examine(
    servers: Servers, address: Address, durability: Durability, *, volatile: bool
) -> Command | None:
    """Return the command that has to confirm each write here, None for none.

    With `volatile`, the server may lose everything.

    Raises: UnsuitableServerError; StoreUnavailableError when it cannot be reached.
    """
    traits = await _traits(servers, address)
    if problems := _kind_problems(traits, servers):
        raise UnsuitableServerError(f"{address} {problems[0]}")
    losses = _loss_problems(traits, durability)
    if losses and not volatile:
        raise UnsuitableServerError(f"{address} {losses[0]}")
    return None if losses else _confirmation(traits, durability)


def layout_refusal(found: bytes) -> NewerLayoutError | None:
    """Return why a storage with this layout cannot be used, if it cannot."""
    if found == str(LAYOUT).encode():
        return None
    return NewerLayoutError(
        f"the storage has layout {found.decode()}, this program knows up to {LAYOUT}:"
        " use the newer program"
    )


def layout_words(keys: Keys) -> Command:
    """Return the command that claims an empty storage and tells its layout."""
    return ("SET", keys.layout, LAYOUT, "NX", "GET")


async def _traits(servers: Servers, address: Address) -> Traits:
    try:
        link = await Link.connect(address, servers.login)
        try:
            info = _facts((await link.send(("INFO",))).decode())
            config = await _config(link, "append*")
        finally:
            link.abort()
    except (OSError, LostError) as error:
        problem = "cannot be reached, or does not speak the protocol of Redis"
        if isinstance(error, TlsError):
            problem += f": {error}"
        raise StoreUnavailableError(f"{address} {problem}") from error
    except RefusedError as refusal:
        why = f"refuses: {meaning(refusal)}"
        if "DB index" in refusal.detail:
            why = await _databases(servers, address)
        raise UnsuitableServerError(f"{address} {why}") from None
    return _known(info, config)


async def _databases(servers: Servers, address: Address) -> str:
    """Say which databases the server has, where it has not the one that is wanted."""
    login, count = replace(servers.login, database=0), DATABASES
    with suppress(OSError, LostError, RefusedError):
        link = await Link.connect(address, login)
        try:
            count = int((await _config(link, "databases")).get("databases", count))
        finally:
            link.abort()
    return (
        f"has no database {servers.login.database}, the number behind the last / of"
        f" [store] url: expected 0 to {count - 1}, or more 'databases' in redis.conf"
    )


def _known(info: dict[str, str], config: dict[str, str]) -> Traits:
    numbers = re.findall(r"\d+", info.get("redis_version", ""))
    appends = config.get("appendonly") == "yes" or info.get("aof_enabled") == "1"
    limited = info.get("maxmemory", "0") != "0"
    return Traits(
        version=tuple(map(int, numbers)),
        cluster=info.get("cluster_enabled") == "1",
        primary=info.get("role") == "master",
        replicas=sum("state=online" in value for value in info.values()),
        appends=appends,
        syncs=config.get("appendfsync", ""),
        eviction=info.get("maxmemory_policy", "") if limited else "",
    )


async def _config(link: Link, pattern: str) -> dict[str, str]:
    """Return what the server was told; nothing where the command is forbidden."""
    try:
        flat = await link.send(("CONFIG", "GET", pattern))
    except RefusedError:
        return {}
    texts = [word.decode() for word in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _facts(info: str) -> dict[str, str]:
    lines = (line.partition(":") for line in info.splitlines())
    return {name: value for name, colon, value in lines if colon}


def _kind_problems(traits: Traits, servers: Servers) -> list[str]:
    problems = []
    if traits.version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        problems.append(f"is older than Redis {oldest}")
    if traits.cluster and not servers.cluster:
        problems.append("is part of a cluster: use redis+cluster:// in [store] url")
    if servers.cluster and not traits.cluster:
        problems.append("is part of no cluster: use redis:// in [store] url")
    return problems


def _loss_problems(traits: Traits, durability: Durability) -> list[str]:
    problems = []
    if not traits.appends:
        problems.append(
            "keeps no append-only file and would lose chats when it stops: set"
            " 'appendonly yes' in redis.conf, or, if chats may be lost,"
            " [store] allow_volatile = true"
        )
    if traits.eviction not in {"", "noeviction"}:
        problems.append(
            f"drops keys when its memory is full ({traits.eviction}): set"
            " 'maxmemory-policy noeviction' in redis.conf"
        )
    synced = traits.syncs == "always" or traits.version >= WAITAOF
    if durability is Durability.DURABLE and not synced:
        problems.append(
            "does not write each change to the disk before it answers: set"
            " 'appendfsync always' in redis.conf, or [store] durability = relaxed"
        )
    if durability is Durability.REPLICATED and traits.primary and not traits.replicas:
        problems.append(
            "has no replica, without which [store] durability = replicated refuses each"
            " message: start one, or set [store] durability = durable"
        )
    return problems


def _confirmation(traits: Traits, durability: Durability) -> Command | None:
    if durability is Durability.REPLICATED:
        return ("WAIT", 1, CONFIRMATION_MS)
    if durability is Durability.DURABLE and traits.syncs != "always":
        return ("WAITAOF", 1, 0, CONFIRMATION_MS)
    return None
