"""Which partition something belongs to, and what its keys are called.

All keys of one session are in one *partition*, so that one script can change them in
one step; so is what waits for a time (leases, pushes, jobs). A partition is a hash tag,
and thereby one slot of a cluster. The tags are chosen so that their slots lie in the
middle of as many equal ranges: with any number of servers, each has its even share.
"""

from binascii import crc32, crc_hqx

LAYOUT = 1
"""Version of what the keys mean; a newer one in the storage is refused."""

SLOTS = 16384
"""Of a Redis cluster (its specification, "Key distribution model")."""

_TAGS = (
    "0.b52 1.c17 2.57h 3.43m 4.nh6 5.ol3 6.1ct 7.0gq 8.4b9 9.het a.58w b.7bq c.7p5"
    " d.1zo e.1lk f.36m 10.705 11.640 12.qtw 13.4x2 14.fny 15.ocd 16.dfs 17.ebv"
    " 18.4mn 19.5ik 1a.h4h 1b.bgv 1c.bu2 1d.110 1e.dil 1f.f3j 20.141 21.004 22.3x3"
    " 23.g2n 24.hce 25.anx 26.bbw 27.cfr 28.2ij 29.3mo 2a.f9t 2b.dcr 2c.96v 2d.754"
    " 2e.7g8 2f.5y6 30.6gh 31.7cm 32.4ob 33.5kg 34.23t 35.37q 36.82f 37.96c 38.q2s"
    " 39.a4f 3a.ic5 3b.k93 3c.6l7 3d.0fm 3e.04a 3f.2ng"
)
TAGS = _TAGS.split()
PARTITIONS = len(TAGS)


def partition_of(name: str) -> int:
    """Return the partition of a session, device, user, client or customer's key.

    Raises: UnicodeEncodeError for a lone surrogate.
    """
    return crc32(name.encode()) % PARTITIONS


def slot_of(partition: int) -> int:
    """Return the slot of a cluster in which the keys of the partition are."""
    return crc_hqx(TAGS[partition].encode(), 0) % SLOTS


class Keys:
    """Names of keys; each begins with the prefix of this storage."""

    def __init__(self, prefix: str) -> None:
        self.bases = [f"{prefix}:{{{tag}}}:" for tag in TAGS]
        """What the keys of each partition begin with."""
        self.own = [base + "partition" for base in self.bases]
        """The hash with the facts about a partition itself."""
        self.channels = [base + "news" for base in self.bases]
        self.layout = self.bases[0] + "layout"

    def of(self, name: str, kind: str) -> str:
        """Return the key for one kind of facts about something, by its name."""
        return f"{self.bases[partition_of(name)]}{kind}:{name}"

    def everywhere(self, kind: str) -> list[str]:
        """Return the keys for something that each partition has of its own."""
        return [base + kind for base in self.bases]
