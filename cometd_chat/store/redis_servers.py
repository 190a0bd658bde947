"""Finding the server that is in charge of a partition, and asking it.

A call is tried again while its patience lasts: at another server when this one says
so, after a short pause when nobody is in charge (a failover), and also when the
connection was lost on the way. The last is safe because whatever must not happen
twice carries the id of its operation (`lua/common.lua`).

Reads and writes have connections of their own, so that reads do not wait for what
confirms the writes.

Known are the servers that are configured, and those of which the last search has heard:
where servers are replaced for ever, each under a new address, the former are forgotten.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

from cometd_chat.recurring import Outage
from cometd_chat.store import StoreUnavailableError
from cometd_chat.store.redis_keys import PARTITIONS
from cometd_chat.store.redis_link import (
    CONNECT_TIMEOUT,
    Address,
    Command,
    Link,
    LostError,
    RefusedError,
    UnconfirmedError,
)
from cometd_chat.store.redis_refusals import meaning
from cometd_chat.store.redis_topology import (
    Role,
    Servers,
    chosen,
    owners_of,
    redirection,
    role_of,
    with_history,
)

T = TypeVar("T")

_Map: TypeAlias = tuple[list[Address | None], list[Address]]
"""The owner of each partition, and all members."""

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds for which a call is tried again before it fails."""

FIRST_PAUSE = 0.02
"""Seconds before the second try; later pauses double, each is shortened at random."""

LONGEST_PAUSE = 0.3

OTHERS = CONNECT_TIMEOUT
"""Seconds for which others may say, after one has, that they are the primary too."""

LOOK_PERIOD = 2.0
"""Seconds between two looks, while there is work, who is in charge: a former primary
that was cut off from its replicas answers as before."""

_NOBODY = {
    "ASK",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "READONLY",
    "TRYAGAIN",
    "BUSY",
}
"""Errors of a server that cannot do it now, and has not done it."""


class Router:
    """Sends each command to the primary of its partition.

    `room` is how many calls may be under way at one time. `confirm` follows writes.
    `use` says what the servers do here, where the log tells that they fail.
    """

    def __init__(
        self,
        servers: Servers,
        room: int,
        confirm: Command | None,
        use: str = "which keeps the chats",
    ) -> None:
        self.servers = servers
        self.confirm = confirm
        self._room = self._free = room
        self._idle = asyncio.Event()
        self._idle.set()
        self._owners: list[Address | None] = [None] * PARTITIONS
        self._voice = 0
        self._known = list(servers.addresses)
        self._links: dict[tuple[Address, bool], asyncio.Task[Link]] = {}
        self._search: asyncio.Task[None] | None = None
        self._next_look = 0.0
        self._rivals: list[str] = []
        self._closed = False
        places = ", ".join(map(str, servers.addresses))
        self._outage = Outage(log, f"Redis at {places} ([store] url), {use},")

    async def read(self, partition: int, *command: str | bytes | int | float) -> Any:
        """Return the reply to a command that changes nothing.

        Raises: StoreUnavailableError; StoreError for a command that was wrong.
        """
        return await self._call(partition, command, writes=False)

    async def read_all(self, commands: Sequence[tuple[int, Command]]) -> list[Any]:
        """Return the replies to many commands that change nothing.

        Raises: as `read`.
        """
        sent = [self._ask(partition, command) for partition, command in commands]
        replies = await asyncio.gather(*sent, return_exceptions=True)
        failed = [n for n, reply in enumerate(replies) if isinstance(reply, Exception)]
        # Together: one after the other would cost a round trip for each.
        again = (self.read(commands[n][0], *commands[n][1]) for n in failed)
        for n, reply in zip(failed, await asyncio.gather(*again), strict=True):
            replies[n] = reply
        return replies

    def _ask(self, partition: int, command: Command) -> "asyncio.Future[Any]":
        """Send the command at once where that is possible; else the reply fails."""
        owner = self._owners[partition]
        task = self._links.get((owner, False)) if owner else None
        if task is not None and task.done() and not _useless(task):
            return task.result().send(command)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(LostError())
        return future

    async def write(self, partition: int, *command: str | bytes | int | float) -> Any:
        """Return the reply to a command, once it is as durable as it has to be.

        Raises: as `read`; RefusedError `NOSCRIPT`.
        """
        return await self._call(partition, command, writes=True)

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish to all who listen, at whichever server.

        By the same primary each time, as long as that can be reached: so what one
        says stays in order, and no failover has to be waited for.

        Raises: as `read`.
        """
        await self._call(None, ("PUBLISH", channel, message), writes=True)

    async def primaries(self) -> list[Address]:
        """Return the servers in charge; the first that is known, if nobody says so."""
        with suppress(OSError, LostError, RefusedError, StoreUnavailableError):
            await self._owner(0)
        owners = [owner for owner in self._owners if owner]
        return list(dict.fromkeys(owners or self.servers.addresses[:1]))

    def besides(self, primaries: Sequence[Address]) -> list[Address]:
        """Return the servers that are known and are none of these."""
        return [one for one in self._known if one not in primaries]

    async def any_server(self, *, avoid: Address | None = None) -> Address:
        """Return a server that can be reached, another one than `avoid` if possible.

        Raises: StoreUnavailableError.
        """
        known = sorted(self._known, key=lambda a: (a == avoid, random.random()))  # noqa: S311 - no secret
        for address in known:
            try:
                await self._link(address, writes=False)
            except (OSError, LostError, RefusedError):
                continue
            return address
        raise StoreUnavailableError("no Redis server can be reached")

    async def close(self) -> None:
        """Wait for what is under way, then disconnect."""
        self._closed = True
        await self._idle.wait()  # bounded: nothing is tried again now
        for task in list(self._links.values()):
            task.cancel()
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().abort()
        await asyncio.gather(*self._links.values(), return_exceptions=True)
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)

    async def _call(
        self, partition: int | None, command: Command, *, writes: bool
    ) -> Any:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        if self._free <= 0:
            raise StoreUnavailableError("too much work is waiting for the database")
        self._free -= 1
        self._idle.clear()
        self._look_again()
        try:
            reply = await self._persist(partition, command, writes=writes)
        except StoreUnavailableError as error:
            self._outage.failed(error)
            raise
        else:
            if self._outage.lasts:
                self._outage.worked()
            return reply
        finally:
            self._free += 1
            if self._free == self._room:
                self._idle.set()

    async def _persist(
        self, partition: int | None, command: Command, *, writes: bool
    ) -> Any:
        """Try again while there is patience; without a partition, anywhere else."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        pause = FIRST_PAUSE
        while True:
            place = self._voice if partition is None else partition
            owner = self._owners[place]
            try:
                owner = owner or await self._owner(place)
                return await self._try(owner, command, writes=writes)
            except (OSError, LostError, RefusedError) as error:
                problem = _explained(error, owner)
                self._mistrust(place, owner, error)
            if partition is None:
                self._voice = random.randrange(PARTITIONS)  # noqa: S311 - no secret
            if loop.time() + pause > end or self._closed:
                raise StoreUnavailableError(f"the database failed: {problem}")
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, owner: Address, command: Command, *, writes: bool) -> Any:
        link = await self._link(owner, writes=writes)
        try:
            return await link.send(command)
        except UnconfirmedError:
            raise StoreUnavailableError(
                "the database has not confirmed that a copy exists"
            ) from None
        except RefusedError as refusal:
            # The slot is moving, and the one key of a read has moved already. Writes
            # wait: a script also needs keys that may not have moved yet.
            if refusal.code != "ASK" or writes:
                raise
            there = await self._link(redirection(refusal, owner), writes=writes)
            asking = there.send(("ASKING",))
            reply = there.send(command)
            await asking
            return await reply

    def _mistrust(
        self, partition: int, owner: Address | None, error: Exception
    ) -> None:
        """Learn from an error, with this owner, that another try may avoid.

        Raises: the error itself where none may.
        """
        if not isinstance(error, RefusedError):
            self._disown(owner)
        elif error.code == "MOVED":
            address = redirection(error, owner)
            self._owners[partition] = address
            if address not in self._known:
                self._known.append(address)
                self._searching().add_done_callback(_expected)
        elif error.code in _NOBODY:
            self._disown(owner)
        elif error.code in {"NOSCRIPT"}:
            raise error
        else:
            problem = f"the database failed: {_problem(error)}"
            raise StoreUnavailableError(problem) from None

    def _disown(self, server: Address | None) -> None:
        """Ask anew who has what this one had. The others go on; and where another has
        it by now, the error was late."""
        self._owners = [None if one == server else one for one in self._owners]

    async def _link(self, address: Address, *, writes: bool) -> Link:
        """Return the connection, made if need be: once for all who want it."""
        key = (address, writes)
        task = self._links.get(key)
        if task is None or (task.done() and _useless(task)):
            confirm = self.confirm if writes else None
            task = asyncio.create_task(
                Link.connect(address, self.servers.login, confirm=confirm)
            )
            self._links[key] = task
        if task.done():
            return task.result()
        return await asyncio.shield(task)

    def _look_again(self) -> None:
        """Look now and then whether another server is in charge. Nobody waits for it;
        clusters say so themselves."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look or self.servers.cluster or len(self._known) < 2:
            return
        self._next_look = now + LOOK_PERIOD
        self._searching().add_done_callback(_expected)

    def _searching(self) -> "asyncio.Task[None]":
        """Return the search for who is in charge: one serves all who ask."""
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._find_owners())
        return self._search

    async def _owner(self, partition: int) -> Address:
        """Return the primary of the partition."""
        await asyncio.shield(self._searching())
        owner = self._owners[partition]
        if owner is None:
            nobody = "no server answers that is in charge"
            raise LostError(_dispute(self._rivals) if self._rivals else nobody)
        return owner

    async def _find_owners(self) -> None:
        """Ask all servers that are known who is in charge of what."""
        await (self._find_slots() if self.servers.cluster else self._find_primary())

    async def _find_slots(self) -> None:
        """Believe the first member that knows all owners: the cluster settles disputes.
        One that was cut off, or has just joined, may know a part."""
        with _asking(self._slots(one) for one in self._known) as tasks:
            for answer in asyncio.as_completed(tasks):
                with suppress(RefusedError):  # as long as another one answers
                    if (found := await answer) and None not in found[0]:
                        self._believe(found)
                        return
            if found := max(_answered(tasks), key=_extent, default=None):
                self._believe(found)

    def _believe(self, found: _Map) -> None:
        self._owners, members = found
        self._know(members)

    async def _find_primary(self) -> None:
        """Compare what all say of themselves: a former primary may have come back."""
        with _asking(self._role(one) for one in self._known) as tasks:
            for answer in asyncio.as_completed(tasks):
                with suppress(RefusedError):  # as long as another one answers
                    if (role := await answer) and role.primary is None:
                        break
            await asyncio.wait(tasks, timeout=OTHERS)
            roles = _answered(tasks)
        if roles:
            named = [role.primary for role in roles if role.primary]
            self._know([*(role.address for role in roles), *named])
        self._choose(await self._distinct([r for r in roles if r.primary is None]))

    async def _distinct(self, primaries: Sequence[Role]) -> list[Role]:
        """Return each server once: it may be known by several addresses."""
        if len(primaries) < 2:
            return list(primaries)
        asked = (self._told(one.address, "INFO", "replication") for one in primaries)
        told = map(with_history, primaries, await asyncio.gather(*asked))
        return list({one.history or str(one.address): one for one in told}.values())

    def _choose(self, primaries: Sequence[Role]) -> None:
        primary = chosen(primaries)
        rivals = [] if primary else sorted(str(one.address) for one in primaries)
        if rivals and rivals != self._rivals:
            log.error("%s, and no replica of one decides it", _dispute(rivals))
        self._rivals = rivals
        if primary:
            self._owners = [primary.address] * PARTITIONS

    async def _slots(self, address: Address) -> _Map | None:
        """Return what this member says, None if it cannot be reached, or has been
        thrown out of the cluster and knows nobody."""
        ranges = await self._told(address, "CLUSTER", "SLOTS")
        return owners_of(ranges, address) if ranges else None

    async def _role(self, address: Address) -> Role | None:
        reply = await self._told(address, "ROLE")
        return role_of(address, reply) if reply else None

    async def _told(self, address: Address, *command: str) -> Any:
        """Return the reply of this very server, None if it cannot be reached."""
        try:
            link = await self._link(address, writes=False)
            return await link.send(command)
        except (OSError, LostError):
            return None

    def _know(self, members: Iterable[Address]) -> None:
        """Know these, and no others but those that are configured."""
        self._known = list(dict.fromkeys([*self.servers.addresses, *members]))
        for key, task in list(self._links.items()):
            if key[0] not in self._known and task.done() and _needless(task):
                del self._links[key]


@contextmanager
def _asking(
    questions: Iterable[Coroutine[Any, Any, T]],
) -> Iterator[list["asyncio.Task[T]"]]:
    tasks = [asyncio.create_task(question) for question in questions]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()


def _answered(tasks: Iterable["asyncio.Task[T | None]"]) -> list[T]:
    """Return what was answered by now.

    Raises: RefusedError where all who answered refuse.
    """
    done = [task for task in tasks if task.done()]
    refusals = [error for task in done if (error := task.exception())]
    known = [task.result() for task in done if not task.exception()]
    answers = [answer for answer in known if answer is not None]
    if refusals and not answers:
        raise refusals[0]
    return answers


def _extent(found: _Map) -> int:
    """Return of how many partitions the owner is known."""
    return PARTITIONS - found[0].count(None)


def _expected(search: "asyncio.Task[None]") -> None:
    """Let a search that nobody waits for fail: a server may be loading its data."""
    if not search.cancelled():
        search.exception()


def _dispute(rivals: Sequence[str]) -> str:
    return f"{' and '.join(rivals)} both say that they are the primary"


def _useless(task: "asyncio.Task[Link]") -> bool:
    failed = task.cancelled() or task.exception() is not None
    return failed or task.result().closed.is_set()


def _needless(task: "asyncio.Task[Link]") -> bool:
    """Tell whether nobody uses the connection; it is given up then."""
    if _useless(task):
        return True
    if idle := task.result().idle:
        task.result().abort()
    return idle


def _explained(error: Exception, server: Address | None) -> str:
    """Say what went wrong, with which server if it was one that was in charge, and
    without the values that it went wrong with."""
    return f"{_problem(error)} ({server})" if server else _problem(error)


def _problem(error: Exception) -> str:
    if isinstance(error, RefusedError):
        return meaning(error)
    if isinstance(error, LostError):
        return str(error) or "the connection was lost"
    return "no connection"
