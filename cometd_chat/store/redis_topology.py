"""Where servers are, and what they say about who is in charge of what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cometd_chat.store import StoreError
from cometd_chat.store.redis_keys import PARTITIONS, SLOTS, slot_of
from cometd_chat.store.redis_link import Address, Login, RefusedError

FOLLOWING = 10
"""Seconds for which a replica that is silent still follows, as for Redis by default
(`min-replicas-max-lag`): a primary that was cut off lists its replicas for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the storage is: some servers of a cluster, or one and its replicas."""

    addresses: tuple[Address, ...]
    login: Login
    cluster: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """What a server that is in no cluster says it is.

    `primary` is its primary, None for one that is primary itself. `history` names the
    history of its data, and `former` the one of the server that it took over from.
    """

    address: Address
    primary: Address | None
    replicas: int = 0
    history: str = ""
    former: str = ""


def role_of(address: Address, reply: Sequence[Any]) -> Role:
    """Return what the server at the address answered to `ROLE`."""
    if reply[0] == b"master":
        return Role(address, None, len(reply[2]))
    return Role(address, Address(reply[1].decode(), reply[2]))


def with_history(role: Role, info: bytes | None) -> Role:
    """Return the role with what `INFO replication` says, if it does: the data's
    history, of which no two primaries have the same, and how many follow by now."""
    if info is None:
        return role
    return replace(
        role,
        replicas=_followers(info),
        history=_named("master_replid", info),
        former=_named("master_replid2", info),
    )


def _followers(info: bytes) -> int:
    lags = re.findall(rb"\bstate=online,offset=\d+,lag=(\d+)", info)
    return sum(int(lag) <= FOLLOWING for lag in lags)


def _named(field: str, info: bytes) -> str:
    found = re.search(rb"\b%b:(\w+)" % field.encode(), info)
    return found[1].decode() if found else ""


def chosen(primaries: Sequence[Role]) -> Role | None:
    """Return which of those who say they are primary is, None if nothing decides it.

    There are two where a former primary was started again, or was cut off, before it
    was told of its successor. Then nobody follows it; or it does not know so yet, but
    its successor knows from whom it took over.
    """
    candidates = [one for one in primaries if one.replicas] or primaries
    if len(candidates) > 1:
        histories = {one.history for one in candidates if one.history}
        candidates = [one for one in candidates if one.former in histories]
    return candidates[0] if len(candidates) == 1 else None


def owners_of(
    ranges: Sequence[Any], asked: Address
) -> tuple[list[Address | None], list[Address]]:
    """Return the owner of each partition, and all members, by `CLUSTER SLOTS`.

    A server without a host is the one that was `asked`.
    """
    owners: dict[range, Address] = {}
    members: list[Address] = []
    for first, last, *servers in ranges:
        found = [
            Address(host.decode() if host else asked.host, port)
            for host, port, *_ in servers
        ]
        owners[range(first, last + 1)] = found[0]
        members += found
    by_partition = [
        next((owner for slots, owner in owners.items() if slot in slots), None)
        for slot in map(slot_of, range(PARTITIONS))
    ]
    return by_partition, list(dict.fromkeys(members))


def redirection(refusal: RefusedError, asked: Address | None) -> Address:
    """Read `3999 127.0.0.1:6381`; without a host, it is the one that was asked.

    Raises: StoreError when it cannot be read.
    """
    slot, _, place = refusal.detail.partition(" ")
    host, _, port = place.rpartition(":")
    host = host or (asked.host if asked else "")
    if not (slot.isdigit() and int(slot) < SLOTS and port.isdigit() and host):
        raise StoreError("the database sent a redirection to nowhere")
    return Address(host, int(port))
