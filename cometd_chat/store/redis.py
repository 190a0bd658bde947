"""The store on Redis (7.0 or newer) or Valkey: for several nodes.

The server may be single, have replicas, or be a cluster. The work is spread over
modules, from the wire up:

* `redis_link`: one connection; `redis_servers`: which server, and again if need be;
* `redis_keys`: partitions; `redis_scripts` and `lua/`: the atomic steps;
* `redis_news`: changes reach the watchers of all nodes;
* `redis_sessions`, `redis_append`, `redis_devices`, `redis_claims`: what is done.

Three things hold everywhere. Each change is one script on one partition, and what
spans partitions is ordered so that a crash in between harms nobody. Each change has an
id, so that a lost reply is asked for again and the change is made once. A position is
never given to a second entry: where a new primary may lack the newest entries, as
after a failover, the next entry leaves a gap of 1000.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Self

from cometd_chat.model import (
    Device,
    Draft,
    Entry,
    Job,
    NewJob,
    SentPush,
    Session,
    State,
    Transition,
)
from cometd_chat.store import (
    DEFAULT_LIMITS,
    Appended,
    Due,
    Limits,
    Once,
    Quiet,
    StoreUnavailableError,
    Watcher,
)
from cometd_chat.store.codec import legible
from cometd_chat.store.redis_append import Append
from cometd_chat.store.redis_check import (
    Durability,
    examine_all,
    layout_refusal,
    layout_words,
)
from cometd_chat.store.redis_claims import Claims
from cometd_chat.store.redis_devices import Devices
from cometd_chat.store.redis_keys import PARTITIONS, Keys, partition_of
from cometd_chat.store.redis_news import News
from cometd_chat.store.redis_purge import Purge
from cometd_chat.store.redis_rights import check_rights
from cometd_chat.store.redis_rows import to_entries
from cometd_chat.store.redis_scripts import Scripts
from cometd_chat.store.redis_servers import Router
from cometd_chat.store.redis_sessions import Sessions, no_session
from cometd_chat.store.redis_topology import Servers
from cometd_chat.store.redis_url import parse

__all__ = ["Durability", "RedisStore", "parse"]

MOST = 2**31 - 1
"""More than a transcript has entries."""

LARGEST_BADGE = 2**31 - 1


class RedisStore:
    """A `SharedStore`. Of one event loop; made by `open`."""

    def __init__(self, router: Router, keys: Keys, limits: Limits) -> None:
        self._router = router
        self._keys = keys
        self._limits = limits
        self._news = News(router, keys)
        self._scripts = Scripts(router, keys)
        self._sessions = Sessions(self._scripts, self._news)
        self._devices = Devices(self._scripts, self._sessions)
        self._claims = Claims(self._scripts, self._sessions, self._devices)
        self._purge = Purge(self._scripts, self._sessions, self._devices)

    @classmethod
    async def open(
        cls,
        servers: Servers,
        *,
        prefix: str = "chat",
        durability: Durability = Durability.DURABLE,
        allow_volatile: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        room: int = 10_000,
    ) -> Self:
        """Connect; keys begin with the prefix.

        `room` is how many calls may be under way before the next is refused.

        Raises: UnsuitableServerError; NewerLayoutError; StoreUnavailableError.
        """
        router = Router(servers, room, None)
        try:
            primaries = await router.primaries()
            others = router.besides(primaries)
            router.confirm = await examine_all(
                servers, primaries, others, durability, volatile=allow_volatile
            )
            known = [*primaries, *others]
            await check_rights(servers, known, prefix, router.confirm)
            store = cls(router, Keys(prefix), limits)
            await store._start()
        except BaseException:
            await router.close()
            raise
        return store

    async def _start(self) -> None:
        found = await self._router.write(0, *layout_words(self._keys))
        if found is not None and (refusal := layout_refusal(found)):
            raise refusal
        numbers = [
            await self._scripts.run_at("start", partition, "")
            for partition in range(PARTITIONS)
        ]
        await self._news.start([int(number) for number in numbers])

    async def create(self, session: Session) -> None:
        new = await self._sessions.create(session)
        await self._devices.own(session)
        # Ids are random, so that each partition has about its share of them.
        if (beyond := new - max(1, self._limits.new // PARTITIONS)) > 0:
            # Can wait for the next that comes: this one is kept already.
            with suppress(StoreUnavailableError):
                await self._purge.displace(partition_of(session.id), beyond)

    async def get(self, session_id: str) -> Session:
        return (await self._sessions.row(session_id)).session

    async def find(self, key: str) -> Session:
        return await self._sessions.find(key)

    async def of_user(self, user: str) -> list[Session]:
        return await self._sessions.of_user(user)

    async def of_client(self, client_id: str) -> list[Session]:
        return await self._sessions.of_client(client_id)

    async def sessions(
        self, states: Collection[State], services: Collection[str], limit: int
    ) -> list[Session]:
        return await self._sessions.in_states(states, services, limit)

    async def append(
        self,
        session_id: str,
        drafts: Sequence[Draft],
        *,
        transition: Transition | None = None,
        once: Once | None = None,
        expected: int | None = None,
    ) -> Appended:
        return await Append(
            scripts=self._scripts,
            sessions=self._sessions,
            devices=self._devices,
            session_id=session_id,
            drafts=drafts,
            transition=transition,
            once=once,
            expected=expected,
            limit=self._limits.entries,
        )()

    async def read(self, session_id: str, after: int, limit: int = 500) -> list[Entry]:
        if limit <= 0 or after >= MOST:
            return []
        key = self._keys.of(session_id, "e")
        start = f"{max(after, 0) + 1}-0"
        words = ("XRANGE", key, start, "+", "COUNT", min(limit, MOST))
        items = await self._router.read(partition_of(session_id), *words)
        with legible(session_id):
            return to_entries(items)

    async def quiet(
        self, before: float, cursor: str, limit: int
    ) -> tuple[list[Quiet], str]:
        return await self._sessions.quiet(before, cursor, limit)

    async def mark_present(
        self, session_id: str, client_id: str, until: float, acked: int = 0
    ) -> bool:
        words = (client_id, repr(until), acked)
        outcome, *number = await self._scripts.run("present", session_id, *words, "")
        if outcome == b"stranger":
            await self._sessions.list_under(client_id, "client", session_id)
            outcome, *number = await self._scripts.run(
                "present", session_id, *words, "1"
            )
        return self._changed(session_id, outcome, number)

    async def mark_absent(
        self,
        session_id: str,
        client_id: str,
        at: float,
        *,
        acked: int = 0,
        position: int | None = None,
    ) -> bool:
        word = "" if position is None else position
        words = (client_id, repr(at), acked, word)
        outcome, *number = await self._scripts.run("absent", session_id, *words)
        return self._changed(session_id, outcome, number)

    async def expire_presence(self, now: float, limit: int = 100) -> list[Session]:
        return await self._claims.expire(now, limit)

    async def acknowledge(self, session_id: str, position: int) -> None:
        _known(await self._scripts.run("acknowledge", session_id, position))

    async def unheard_services(self) -> list[str]:
        return await self._sessions.names("services")

    async def claim_due(
        self, service: str, now: float, delay: float, lease: float, limit: int = 20
    ) -> list[Due]:
        return await self._claims.due(service, now, delay, lease, limit)

    async def announce(self, due: Due, position: int, jobs: Sequence[NewJob]) -> bool:
        return await self._claims.announce(due, position, jobs)

    async def postpone(self, due: Due, until: float) -> bool:
        return await self._claims.postpone(due, until)

    async def claim_badges(
        self, now: float, lease: float, limit: int = 20
    ) -> list[Due]:
        return await self._claims.badges(now, lease, limit)

    async def update_badge(self, due: Due, jobs: Sequence[NewJob]) -> bool:
        return await self._claims.update_badge(due, jobs)

    async def job_providers(self) -> list[str]:
        return await self._sessions.names("providers")

    async def claim_jobs(
        self, provider: str, now: float, lease: float, limit: int = 20
    ) -> list[Job]:
        return await self._claims.jobs(provider, now, lease, limit)

    async def finish_job(self, job: Job, sent_at: float | None = None) -> bool:
        return await self._claims.finish(job, sent_at)

    async def retry_job(self, job: Job, at: float) -> bool:
        return await self._claims.retry(job, at)

    async def cancel_jobs(self, session_id: str) -> int:
        _, count = await self._scripts.run("cancel_jobs", session_id)
        return int(count)

    async def sent_pushes(self, session_id: str) -> list[SentPush]:
        return await self._claims.sent(session_id)

    async def confirm_push(
        self, session_id: str, push_id: str, at: float, *, opened: bool
    ) -> bool:
        return await self._claims.confirm(session_id, push_id, at, opened=opened)

    async def register_device(self, session_id: str, device: Device, at: float) -> None:
        await self._devices.register(session_id, device, at)

    async def deregister_device(self, session_id: str, device_id: str | None) -> int:
        return await self._devices.deregister(session_id, device_id)

    async def forget_device(
        self, device_type: str, device_id: str, since: float | None
    ) -> int:
        return await self._devices.forget(device_type, device_id, since)

    async def badge(self, session_id: str) -> int:
        user = (await self.get(session_id)).user
        others = [s.id for s in await self.of_user(user) if s.open]
        names = dict.fromkeys([session_id, *others])
        counts = [await self._scripts.ask("badge", name) for name in names]
        return sum(int(count or 0) for count in counts)

    async def set_badge_base(self, session_id: str, count: int, at: float) -> None:
        base = max(0, min(count, LARGEST_BADGE))
        _known(await self._scripts.run("set_base", session_id, base, repr(at)))

    async def purge(self, new_before: float, ended_before: float) -> int:
        return await self._purge(new_before, ended_before)

    def watch(self, watcher: Watcher) -> None:
        self._news.watchers.add(watcher)

    async def time(self) -> float:
        # Of one server, the same for all nodes: those of a cluster may differ too.
        seconds, micros = await self._router.read(0, "TIME")
        return int(seconds) + int(micros) / 1e6

    async def close(self) -> None:
        await self._news.close()
        await self._router.close()

    def _changed(self, session_id: str, outcome: bytes, number: list[Any]) -> bool:
        _known([outcome])
        self._sessions.tell_altered(session_id, number[0])
        return bool(int(number[0]))


def _known(reply: list[Any]) -> None:
    if reply[0] == b"none":
        raise no_session()
