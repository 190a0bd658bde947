"""Where servers are, and what they say about who is in charge of what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cometd_chat.store import StoreError
from cometd_chat.store.redis_keys import PARTITIONS, SLOTS, slot_of
from cometd_chat.store.redis_link import Address, Login, RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the storage is: some servers of a cluster, or one and its replicas."""

    addresses: tuple[Address, ...]
    login: Login
    cluster: bool = False


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
