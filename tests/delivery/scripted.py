"""A store whose every await is a stop, so that a test decides what happens there.

Nothing here needs an event loop: `Running` drives a coroutine from stop to stop, and
between two stops the test may do what it likes.
"""

import types
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from cometd_chat.delivery import Delivery, Reads
from cometd_chat.model import (
    CUSTOMER,
    Entry,
    EntryKind,
    Role,
    Session,
    State,
)
from cometd_chat.store import Change, SessionNotFoundError, StoreUnavailableError


@types.coroutine
def stop(name: str) -> Generator[str, None, None]:
    """Give the control back to the test, which sees the name of the place."""
    yield name


class Running:
    """A coroutine under way; `at` is the stop where it stands, None at its end."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self._steps = work.__await__()
        self.at: str | None = ""
        self.step()

    def step(self) -> str | None:
        """Go on to the next stop."""
        try:
            self.at = next(self._steps)
        except StopIteration:
            self.at = None
        return self.at

    def finish(self, script: Sequence[tuple[int, Callable[[], object]]] = ()) -> int:
        """Go on to the end, acting at the stops of these numbers; return how many."""
        actions = dict(script)
        stops = 0
        while self.at is not None:
            if action := actions.get(stops):
                action()
            stops += 1
            self.step()
        return stops


async def side_by_side(reads: Reads) -> None:
    """Do all at the same time, each as far as the next stop of all."""
    running = [Running(read()) for read in reads]
    while left := [one for one in running if one.at is not None]:
        await stop("side by side")
        for one in left:
            one.step()


class ScriptedStore:
    """Transcripts in lists. Changes are told when the test says so."""

    def __init__(self) -> None:
        self.transcripts: dict[str, list[Entry]] = {}
        self.states: dict[str, State] = {}
        self.calls: list[str] = []
        self.broken = False
        self._watchers: list[Callable[[Change], None]] = []

    def watch(self, watcher: Callable[[Change], None]) -> None:
        self._watchers.append(watcher)

    async def get(self, session_id: str) -> Session:
        self.calls.append("get")
        await stop("before get")
        found = self._looked(lambda: self.session(session_id))
        await stop("after get")
        return found()

    async def read(self, session_id: str, after: int, limit: int = 500) -> list[Entry]:
        self.calls.append("read")
        await stop("before read")
        found = self._looked(lambda: self._entries(session_id, after, limit))
        await stop("after read")
        return found()

    def create(self, session_id: str, entries: int = 0) -> Session:
        self.transcripts[session_id] = []
        self.states[session_id] = State.ACTIVE
        self.grow(session_id, entries)
        return self.session(session_id)

    def session(self, session_id: str) -> Session:
        """Return the session as it stands; None of it is told to anybody."""
        if session_id not in self.transcripts:
            raise SessionNotFoundError("no such session")
        return Session(
            id=session_id,
            key=f"key-{session_id}",
            service="s",
            created_at=0,
            state=self.states[session_id],
            last=len(self.transcripts[session_id]),
        )

    def grow(self, session_id: str, count: int = 1, text: str = "x") -> Change:
        """Commit entries and return the change, which nobody has heard of yet."""
        entries = self.transcripts[session_id]
        new = tuple(entry(len(entries) + i, text) for i in range(1, count + 1))
        entries += new
        return Change(session_id=session_id, entries=new)

    def end(self, session_id: str) -> Change:
        self.states[session_id] = State.ENDED
        return msgspec.structs.replace(self.grow(session_id), altered=True)

    def purge(self, session_id: str) -> Change:
        del self.transcripts[session_id]
        return Change(session_id=session_id, altered=True)

    def tell(self, *changes: Change) -> None:
        for change in changes:
            for watcher in self._watchers:
                watcher(change)

    def append(self, session_id: str, count: int = 1, text: str = "x") -> None:
        """Commit entries one by one and tell of each at once, as stores do."""
        for _ in range(count):
            self.tell(self.grow(session_id, 1, text))

    def _entries(self, session_id: str, after: int, limit: int) -> list[Entry]:
        entries = self.transcripts.get(session_id, [])
        return [e for e in entries if e.position > after][:limit]

    def _looked(self, look: Callable[[], Any]) -> Callable[[], Any]:
        """Look now, but answer later: what a reader saw can be old when it arrives."""
        if self.broken:
            return _fail
        try:
            found = look()
        except SessionNotFoundError:
            return _miss
        return lambda: found


def _fail() -> Any:
    raise StoreUnavailableError("broken by the test")


def _miss() -> Any:
    raise SessionNotFoundError("no such session")


def entry(position: int, text: str = "x") -> Entry:
    return Entry(
        kind=EntryKind.MESSAGE,
        role=Role.CUSTOMER,
        participant=CUSTOMER,
        nickname="Ann",
        at=0,
        text=text,
        position=position,
    )


def render(session: Session, entries: Sequence[Entry]) -> bytes:
    """Write an event as tests read it: session, whether over, positions."""
    ended = session.ended and entries[-1].position >= session.last
    positions = [e.position for e in entries]
    return msgspec.json.encode([session.id, ended, positions])


def shown(events: Sequence[Raw] | None) -> list[Any]:
    """Return the runs of positions, and the notices, of one response."""
    assert events is not None, "the cursors are behind"
    found = [msgspec.json.decode(event) for event in events]
    return [e[2] if isinstance(e, list) else e for e in found]


def taken(delivery: Delivery, client_id: str) -> list[Any]:
    """Take, after catching up as often as need be."""
    for _ in range(10):
        if (events := delivery.take(client_id)) is not None:
            return shown(events)
        Running(delivery.catch_up(client_id)).finish()
    raise AssertionError("catching up never ends")


def positions(delivery: Delivery, client_id: str) -> list[int]:
    """Return the positions of the next response."""
    return [p for run in taken(delivery, client_id) for p in run]


def drained(delivery: Delivery, client_id: str) -> list[int]:
    """Poll until nothing is left and return all positions."""
    found: list[int] = []
    while more := positions(delivery, client_id):
        found += more
        delivery.acknowledge(client_id)
    return found
