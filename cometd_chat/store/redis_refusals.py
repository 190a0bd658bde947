"""What refusals of Redis mean, in words that tell what to do."""

import re

from cometd_chat.store.redis_link import RefusedError

_MEANINGS = {
    "DENIED": "it is in protected mode and lets in nobody from other machines: give it"
    " a password, which [store] password tells",
    "MISCONF": "it cannot write to its disk; its own log says why",
    "NOAUTH": "it wants a password: set [store] password, and [store] user if it has"
    " several",
    "NOREPLICAS": "fewer replicas follow it than min-replicas-to-write in its"
    " redis.conf asks for",
    "OOM": "its memory is full: raise maxmemory in its redis.conf",
    "WRONGPASS": "user or password may be wrong: they are in [store] url, or in"
    " [store] user and password",
}

_IN_SCRIPT = re.compile("user executing the script can't|ACL failure in script")


def meaning(refusal: RefusedError) -> str:
    """Return the code of a refusal, and what to do about it where that is known.

    Without values of ours: Redis names commands, but no keys.
    """
    if refusal.code == "NOPERM" or _IN_SCRIPT.search(refusal.detail):
        return f"{refusal.code}, {_forbidden(refusal.detail)}"
    known = _MEANINGS.get(refusal.code)
    return f"{refusal.code}, {known}" if known else refusal.code


def _forbidden(detail: str) -> str:
    found = re.search(r"run the '([\w|]+)' command", detail)
    if found:
        what = f"may not run {found[1].upper()}"
    elif _IN_SCRIPT.search(detail):
        what = "may not run what a script calls"
    else:
        kind = "channels" if "channel" in detail else "keys"
        what = f"may not use {kind} of [store] prefix"
    return f"the user {what}: docs/redis.md has the rights that it needs"
