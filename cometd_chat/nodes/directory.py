"""Which node has a client, and what it takes along when it moves.

One hash in Redis for each client. `number` grows by one with each change of hands,
and whoever changes anything names the number that he knows: so a node that was away
cannot touch a client that another one has taken over.

A client that is let go is *parked*: nobody has it, or the node does that wants it, and
its parcel waits here until a node goes on with it. Then the parcel is *taken up*: it is
dropped. For a client whose node died later there is the record only, which its node
wrote when it came and when it subscribed.

`parked` is the number for which the parcel holds. It moves along with a claim, so that
a parcel that was claimed and not taken up is there for the next one.
"""

from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from cometd_chat.store.redis_keys import Keys, partition_of
from cometd_chat.store.redis_link import RefusedError, Word
from cometd_chat.store.redis_servers import Router

PARKED = ""
"""Owner of a client that was let go."""

BURIED = "-"
"""Owner of a client that said goodbye."""

MEMORY = 60.0
"""Seconds for which goodbyes are remembered: longer than a request is under way."""

_FOUND = """
local owner, number = unpack(redis.call('HMGET', KEYS[1], 'owner', 'number'))
"""

_MINE = """
if owner and (owner ~= ARGV[1] or number ~= ARGV[2]) then return 0 end
"""

_KEEP = f"""{_FOUND}{_MINE}
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'number', ARGV[2], 'record', ARGV[4])
redis.call('HDEL', KEYS[1], 'parcel', 'parked')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""

# Who wants the client hears of it from here: one answer less to wait for.
_PARK = f"""{_FOUND}{_MINE}
local number = tonumber(ARGV[2]) + 1
redis.call('HSET', KEYS[1], 'owner', ARGV[6], 'number', number, 'record', ARGV[4],
  'parcel', ARGV[5], 'parked', number)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[7], ARGV[8]) end
return 1
"""

_TAKE_UP = f"""{_FOUND}{_MINE}
redis.call('HDEL', KEYS[1], 'parcel', 'parked')
return 1
"""

# A repeat, whose first reply was lost, gets the same reply: `number` is its own still.
_REMOVE = f"""{_FOUND}
if owner == '-' and number == ARGV[2] then return 1 end
{_MINE}
redis.call('DEL', KEYS[1])
if ARGV[3] ~= '0' then
  redis.call('HSET', KEYS[1], 'owner', '-', 'number', ARGV[2], 'record', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
"""

# A repeat, whose first reply was lost, gets the same reply.
_CLAIM = """
local owner, number, record, parcel, parked = unpack(redis.call(
  'HMGET', KEYS[1], 'owner', 'number', 'record', 'parcel', 'parked'))
local next = string.format('%d', tonumber(ARGV[2]) + 1)
if owner ~= ARGV[1] or number ~= next then
  if owner == '-' or number ~= ARGV[2] then return {} end
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'number', next)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if parked == ARGV[2] then
  redis.call('HSET', KEYS[1], 'parked', next)
elseif parked ~= next then
  parcel = ''
end
return {record, parcel}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is: `owner` is a node, `PARKED` or `BURIED`."""

    owner: str
    number: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Handover:
    """The node that a client goes to, and the message that tells it so."""

    node: str
    channel: str
    message: bytes


NOBODY = Handover(PARKED, "", b"")
"""The client waits for whoever comes."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was found of a client: the parcel is empty if its node left none."""

    number: int
    record: bytes
    parcel: bytes


class Directory:
    """The entries of all clients; `node` is the name of this one.

    `lifetime` is in seconds: an entry that was not renewed for so long is dropped.
    Every method raises StoreUnavailableError when Redis cannot be asked.
    """

    def __init__(self, router: Router, keys: Keys, node: str, lifetime: float) -> None:
        self._router = router
        self._keys = keys
        self._node = node
        self.lifetime = lifetime

    async def find(self, client_id: str) -> Place | None:
        """Return where the client is, None if it is unknown."""
        words = ("HMGET", self._key(client_id), "owner", "number", "record")
        found = await self._router.read(partition_of(client_id), *words)
        owner, number, record = found
        if owner is None:
            return None
        return Place(owner.decode(), int(number), record)

    async def keep(self, client_id: str, number: int, record: bytes) -> bool:
        """Note, or renew, that this node has the client; False if another one has."""
        return bool(await self._run(_KEEP, client_id, number, self._ttl, record))

    async def park(
        self,
        client_id: str,
        number: int,
        record: bytes,
        parcel: bytes,
        to: Handover = NOBODY,
    ) -> bool:
        """Let the client go; False if it was not this node's any more.

        The node that it goes to has it from now on, with the next number.
        """
        words = self._ttl, record, parcel, to.node, to.channel, to.message
        return bool(await self._run(_PARK, client_id, number, *words))

    async def take_up(self, client_id: str, number: int) -> bool:
        """Drop the parcel of a client that goes on at this node; False if another one
        has it."""
        return bool(await self._run(_TAKE_UP, client_id, number))

    async def claim(self, client_id: str, number: int) -> Claimed | None:
        """Take the client over from whoever had it; None if another one was first.

        Its parcel stays until it is taken up.
        """
        found = await self._run(_CLAIM, client_id, number, self._ttl)
        return Claimed(number + 1, found[0], found[1]) if found else None

    async def remove(self, client_id: str, number: int, *, meant: bool) -> bool:
        """Note that the client is gone; False if it was not this node's any more.

        One that `meant` it is remembered as `BURIED` for a while.
        """
        ttl = round(MEMORY * 1000) if meant else 0
        return bool(await self._run(_REMOVE, client_id, number, ttl))

    @property
    def _ttl(self) -> int:
        return round(self.lifetime * 1000)

    def _key(self, client_id: str) -> str:
        return self._keys.of(client_id, "bayeux")

    async def _run(self, script: str, client_id: str, number: int, *words: Word) -> Any:
        arguments = (1, self._key(client_id), self._node, number, *words)
        partition = partition_of(client_id)
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        write = self._router.write
        try:
            return await write(partition, "EVALSHA", digest, *arguments)
        except RefusedError:  # NOSCRIPT: this server does not know it yet
            return await write(partition, "EVAL", script, *arguments)
