"""Finding sessions, and changing them by what is decided in Python.

A session itself is the truth. Lists of it elsewhere (of a user, of a client, in a
state) are in other partitions or are read without a lock, so that they only hint:
whatever is found by them is checked against the session. They are written before the
fact that they point at, where the session exists already, so that they may say too
much, but nothing is missing; a session that they name and that is gone was purged, and
its name is removed where it is met.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias

from cometd_chat.model import Device, Session, State
from cometd_chat.store import (
    Change,
    Quiet,
    SessionDamagedError,
    SessionNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from cometd_chat.store.codec import legible, to_json
from cometd_chat.store.redis_keys import PARTITIONS, partition_of
from cometd_chat.store.redis_news import News
from cometd_chat.store.redis_rows import Row, new_row, stored_names, to_row
from cometd_chat.store.redis_scripts import Scripts

TRIES = 64
"""How often a change is decided anew because another one came between."""

NEWLY = 2
"""What `claim_key` answers for a key that nobody had."""

ASK = b'{"version":"?"}'
"""A change of no version of a session: it changes nothing."""

Range: TypeAlias = tuple[str, str, str]
"""A sorted set that each partition has, the least and the greatest score."""

Found: TypeAlias = tuple[float, str]
"""A score and its member."""

_LISTS = [(n, state) for n in range(PARTITIONS) for state in ("active", "waiting")]
"""The lists of open sessions: a partition and a state."""

ASKED_AT_ONCE = 16
"""Lists of which is asked together whether they have sessions."""

Decision: TypeAlias = Callable[[Row], bytes | None]
"""Returns what a session becomes (`change`), None to leave it as it is."""


def no_session() -> SessionNotFoundError:
    return SessionNotFoundError("no such session")


def change(
    row: Row,
    fields: Sequence[str],
    *,
    devices: Iterable[Device] | None = None,
    state: State | None = None,
) -> bytes:
    """Return a change of the session as scripts take it, for this version of it.

    `devices` are all that the session has from then on, None if they stay.
    """
    named = None
    if devices is not None:
        named = [
            (*name, str(int(one.muted)))
            for one in devices
            for name in stored_names(one)
        ]
    return to_json(
        {
            "version": row.version,
            "fields": fields,
            "devices": named,
            "state": state or row.session.state,
        }
    )


class Sessions:
    """The sessions of a storage."""

    def __init__(self, scripts: Scripts, news: News) -> None:
        self._scripts = scripts
        self._keys = scripts.keys
        self._router = scripts.router
        self._news = news

    async def row(self, session_id: str) -> Row:
        """Return the session with its version.

        Raises: SessionNotFoundError, also for text that no storage could hold;
        SessionDamagedError.
        """
        try:
            key = self._keys.of(session_id, "s")
        except UnicodeEncodeError:
            raise no_session() from None
        flat = await self._router.read(partition_of(session_id), "HGETALL", key)
        row = to_row(session_id, flat)
        if row is None:
            raise no_session()
        return row

    async def create(self, session: Session) -> int:
        """Keep a new session; return how many of its partition were never opened.

        Raises: StoreError when its id or key is that of another session.
        """
        place = partition_of(session.key)
        words = (session.id, session.key)
        claimed = await self._scripts.run_at("claim_key", place, *words)
        created = [b"exists"]
        if claimed:
            created = await self._scripts.run("create", session.id, *new_row(session))
        if created[0] == b"ok":
            self.tell_altered(session.id, created[1])
            if session.user:
                await self.list_under(session.user, "user", session.id)
            return int(created[2])
        if claimed == NEWLY:
            await self._scripts.run_at("release_key", place, *words)
        raise StoreError("the id or key of a new session has been used before")

    async def find(self, key: str) -> Session:
        """Return the session with this secret key.

        Raises: SessionNotFoundError.
        """
        try:
            name = self._keys.of(key, "key")
        except UnicodeEncodeError:
            raise no_session() from None
        session_id = await self._router.read(partition_of(key), "GET", name)
        if session_id is None:
            raise no_session()
        session = (await self.row(session_id.decode())).session
        if session.key != key:
            raise no_session()
        return session

    async def rows(self, names: Sequence[str]) -> dict[str, Row | None]:
        """Return these sessions by id, None for each that is gone, without those that
        are damaged."""
        hashes = [
            (partition_of(name), ("HGETALL", self._keys.of(name, "s")))
            for name in names
        ]
        known = {}
        replies = await self._router.read_all(hashes)
        for name, flat in zip(names, replies, strict=True):
            with suppress(SessionDamagedError):
                known[name] = to_row(name, flat)
        return known

    async def list_under(self, name: str, kind: str, session_id: str) -> None:
        """Let a user or client lead to the session."""
        place = partition_of(name)
        await self._scripts.run_at("list", place, session_id, kind, name)

    async def unlist(self, name: str, kind: str, session_id: str) -> None:
        """Let a user or client lead there no longer."""
        key = self._keys.of(name, kind)
        await self._router.write(partition_of(name), "SREM", key, session_id)

    async def listed(self, name: str, kind: str) -> list[Session]:
        """Return the sessions to which a user or client leads, or led."""
        key = self._keys.of(name, kind)
        members = await self._router.read(partition_of(name), "SMEMBERS", key)
        names = [member.decode() for member in members]
        rows = await self.rows(names)
        # Can wait, while reading cannot: there may be no replica that confirms it.
        with suppress(StoreUnavailableError):
            for session_id in [gone for gone, row in rows.items() if row is None]:
                await self.unlist(name, kind, session_id)
        return [row.session for row in rows.values() if row]

    async def of_user(self, user: str) -> list[Session]:
        """`Store.of_user`."""
        if not user:
            return []
        mine = [
            session
            for session in await self.listed(user, "user")
            if session.user == user
            and (session.open or (session.ended and session.acked < session.last))
        ]
        return sorted(mine, key=lambda one: (one.started_at, one.id))

    async def of_client(self, client_id: str) -> list[Session]:
        """`Store.of_client`."""
        known = await self.listed(client_id, "client")
        read = await self._router.read_all(
            [
                (partition_of(s.id), ("ZSCORE", self._keys.of(s.id, "r"), client_id))
                for s in known
            ]
        )
        mine = [s for s, until in zip(known, read, strict=True) if until is not None]
        return sorted(mine, key=lambda one: (one.created_at, one.id))

    async def in_states(
        self, states: Collection[State], services: Collection[str], limit: int
    ) -> list[Session]:
        """`Store.sessions`."""
        kinds = [f"in:{state}" for state in set(states)]
        if services:
            kinds = [f"{kind}:{one}" for kind in kinds for one in set(services)]
        ranges = [(kind, "-inf", "+inf") for kind in kinds]
        found = await self.earliest(ranges, limit)
        rows = await self.rows(list(dict.fromkeys(name for _, name in found)))
        known = [row.session for row in rows.values() if row]
        sessions = [session for session in known if session.state in states]
        return sorted(sessions, key=lambda one: (one.started_at, one.id))

    async def earliest(self, ranges: Sequence[Range], limit: int) -> list[Found]:
        """Return up to `limit` members of all partitions, least score first."""
        if limit <= 0:
            return []
        replies = await self._router.read_all(
            [
                (n, (*_RANGE, base + kind, least, most, *_SCORES, limit))
                for n, base in enumerate(self._keys.bases)
                for kind, least, most in ranges
            ]
        )
        found = [one for reply in replies for one in _found(reply)]
        return sorted(found)[:limit]

    async def quiet(
        self, before: float, cursor: str, limit: int
    ) -> tuple[list[Quiet], str]:
        """`Store.quiet`; a cursor is the number of a list, and where it was left."""
        number, place = cursor.split() if cursor else (await self._filled(0), "0")
        if not number:
            return [], ""
        partition, state = _LISTS[int(number)]
        words = (state, place, limit, repr(before))
        reply = await self._scripts.ask_at("quiet", partition, "", *words)
        if (place := reply[0].decode()) == "0":
            number = await self._filled(int(number) + 1)
        cursor = f"{number} {place}" if number else ""
        found = [_to_quiet(*facts) for facts in reply[1]]
        return [one for one in found if one], cursor

    async def _filled(self, first: int) -> str:
        """Return the number of the next list with sessions; empty if there is none.

        Where there are few sessions, nearly all of the lists are empty.
        """
        bases = self._keys.bases
        for start in range(first, len(_LISTS), ASKED_AT_ONCE):
            lists = _LISTS[start : start + ASKED_AT_ONCE]
            counts = await self._router.read_all(
                [(n, ("ZCARD", f"{bases[n]}in:{state}")) for n, state in lists]
            )
            if any(counts):
                return str(start + next(i for i, n in enumerate(counts) if n))
        return ""

    async def newcomers(self, partition: int, limit: int) -> list[Found]:
        """Return the oldest sessions of a partition that were never opened, with the
        time of their creation."""
        key = self._keys.bases[partition] + "new"
        words = ("ZRANGE", key, 0, limit - 1, "WITHSCORES")
        return _found(await self._router.read(partition, *words))

    async def names(self, kind: str) -> list[str]:
        """Return the members of sets that each partition has, in order."""
        sets = enumerate(self._keys.everywhere(kind))
        replies = await self._router.read_all([(n, ("SMEMBERS", s)) for n, s in sets])
        return sorted({name.decode() for reply in replies for name in reply})

    async def amend(self, session_id: str, decide: Decision) -> Row:
        """Change the session as it is decided; return what it was before.

        Raises: SessionNotFoundError; SessionDamagedError; StoreUnavailableError.
        """
        for _ in range(TRIES):
            row = await self.row(session_id)
            wanted = decide(row)
            # Also if nothing is left to do: what was read may not be confirmed yet.
            words = ASK if wanted is None else wanted
            outcome, *number = await self._scripts.run("amend", session_id, words)
            if wanted is None:
                return row
            if outcome == b"ok":
                self.tell_altered(session_id, number[0])
                return row
        raise crowded()

    def tell_altered(self, session_id: str, number: bytes) -> None:
        """Tell the change of this number, 0 for none."""
        self.tell(Change(session_id=session_id, altered=True), number)

    def tell(self, news: Change, number: bytes) -> None:
        if int(number):
            self._news.take(partition_of(news.session_id), int(number), news)


def _to_quiet(name: bytes, service: bytes, last: bytes, since: bytes) -> Quiet | None:
    with suppress(SessionDamagedError), legible(name):
        return Quiet(
            session_id=name.decode(),
            service=service.decode(),
            last=int(last),
            since=float(since),
        )
    return None


def _found(reply: Sequence[bytes]) -> list[Found]:
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [(float(score), member.decode()) for member, score in pairs]


_RANGE = ("ZRANGEBYSCORE",)
_SCORES = ("WITHSCORES", "LIMIT", 0)


def crowded() -> StoreUnavailableError:
    return StoreUnavailableError("too many change the session at the same time")
