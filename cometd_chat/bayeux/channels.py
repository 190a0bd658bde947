"""The grammar of channel names (Bayeux 1.0, "Channels").

One classifier decides what a channel is, and everything that authorises or routes
asks it. Servers that compared prefixes instead let `/meta/subscribe/x` through.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final

HANDSHAKE: Final = "/meta/handshake"
CONNECT: Final = "/meta/connect"
SUBSCRIBE: Final = "/meta/subscribe"
UNSUBSCRIBE: Final = "/meta/unsubscribe"
DISCONNECT: Final = "/meta/disconnect"

MAX_LENGTH: Final = 256
"""Longest channel name in characters; Bayeux sets no limit, a server needs one."""

# Clients in the field use more characters than the grammar of the specification
# has; CometD's validator accepts these, so they must keep working.
_NAME: Final = re.compile(r"(?:/[A-Za-z0-9 !#$()+\-.@_{}~]+)+", re.ASCII).fullmatch
_PATTERN: Final = re.compile(
    r"(?:/[A-Za-z0-9 !#$()+\-.@_{}~]+)*/\*{1,2}", re.ASCII
).fullmatch


class Kind(Enum):
    """The three worlds of channels: the protocol, requests, events."""

    META = "meta"
    SERVICE = "service"
    BROADCAST = "broadcast"


def kind(channel: str) -> Kind:
    """Tell to which world the channel belongs, by its first segment."""
    if channel.startswith("/meta/"):
        return Kind.META
    return Kind.SERVICE if channel.startswith("/service/") else Kind.BROADCAST


def is_name(channel: str) -> bool:
    """Tell whether messages may be sent on this channel (no wildcards)."""
    return len(channel) <= MAX_LENGTH and _is_name(channel)


def is_pattern(channel: str) -> bool:
    """Tell whether the channel ends in a wildcard segment, `*` or `**`."""
    return len(channel) <= MAX_LENGTH and _is_pattern(channel)


# Whatever is longer is not kept: thousands of names as long as requests may be would
# fill the memory.


@lru_cache(maxsize=4096)
def _is_name(channel: str) -> bool:
    return _NAME(channel) is not None


@lru_cache(maxsize=4096)
def _is_pattern(channel: str) -> bool:
    return _PATTERN(channel) is not None
