"""Whether the user at Redis may do all that will have to be done.

Asked at the start. What is missing would show up much later otherwise, in the middle
of a chat, or never: a subscription that is refused looks like one that is silent.
"""

import asyncio
from collections.abc import Sequence

from cometd_chat.store.redis_check import UnsuitableServerError
from cometd_chat.store.redis_link import (
    Address,
    Command,
    Link,
    LostError,
    RefusedError,
)
from cometd_chat.store.redis_topology import Servers

RIGHTS = "+@all -@admin -@dangerous +info +role +cluster|slots +config|get"
"""What a user needs beside keys and channels, as `docs/redis.md` says."""

COMMANDS = """
DEL k, EXISTS k, GET k, SET k v, RENAME k k, PEXPIRE k 1,
HDEL k f, HEXISTS k f, HGET k f, HGETALL k, HINCRBY k f 1, HKEYS k, HLEN k, HMGET k f,
HSET k f v, HSETNX k f v, HVALS k,
SADD k m, SMEMBERS k, SREM k m,
XADD k * f v, XLEN k, XRANGE k - +, XREVRANGE k + -,
ZADD k 1 m, ZCARD k, ZCOUNT k 1 2, ZRANGE k 0 1, ZRANGEBYSCORE k 1 2, ZREM k m,
ZREMRANGEBYRANK k 0 1, ZREVRANGE k 0 1, ZSCAN k 0, ZSCORE k m,
EVAL s 1 k, EVALSHA s 1 k, EVAL_RO s 1 k, EVALSHA_RO s 1 k, PUBLISH k m, SUBSCRIBE k,
INFO, ROLE, TIME, CLUSTER SLOTS
"""
"""What is asked of servers, here or in a script, with a key or channel `k`."""


async def check_rights(
    servers: Servers,
    addresses: Sequence[Address],
    prefix: str,
    confirm: Command | None,
) -> None:
    """Ask servers whether the user may do all that is needed, `confirm` included; those
    that cannot be reached are passed over.

    Raises: UnsuitableServerError, for the first that would refuse something.
    """
    commands = _needed(prefix, confirm)
    asked = (_refused(servers, address, commands) for address in addresses)
    answers = await asyncio.gather(*asked)
    for address, command in zip(addresses, answers, strict=True):
        if command:
            raise _forbidden(servers, address, prefix, command)


def _needed(prefix: str, confirm: Command | None) -> list[Command]:
    lines = (line.split() for line in COMMANDS.split(","))
    key = f"{prefix}:rights"
    found = [tuple(key if word == "k" else word for word in line) for line in lines]
    return [*found, *([confirm] if confirm else [])]


async def _refused(
    servers: Servers, address: Address, commands: Sequence[Command]
) -> str:
    """Return the first command that is refused, empty if there is none.

    In a transaction that is given up: so nothing is done, and all is asked. Whoever may
    not begin one, which nothing else needs, is not asked.
    """
    try:
        link = await Link.connect(address, servers.login)
        try:
            await link.send(("MULTI",))  # before the rest, which would be done else
            sent = map(link.send, commands)
            replies = await asyncio.gather(*sent, return_exceptions=True)
        finally:
            link.abort()
    except (OSError, LostError, RefusedError):
        return ""
    told = zip(commands, replies, strict=True)
    return next((str(command[0]) for command, reply in told if _forbids(reply)), "")


def _forbids(reply: object) -> bool:
    return isinstance(reply, RefusedError) and reply.code == "NOPERM"


def _forbidden(
    servers: Servers, address: Address, prefix: str, command: str
) -> UnsuitableServerError:
    user = servers.login.user or "default"
    return UnsuitableServerError(
        f"{address} would refuse {command!r} with what begins with {prefix!r} to the"
        f" user {user!r}: give it 'ACL SETUSER {user} ~{prefix}:* &{prefix}:* {RIGHTS}'"
        ", or another prefix that this user has",
        option="prefix",
    )
