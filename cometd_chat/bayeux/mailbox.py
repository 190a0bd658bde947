"""What waits for each client and has no position in a transcript.

How it works. A mailbox is a queue of encoded events, and behind it the *batch*: the
events that went into responses and are not acknowledged yet. `take()` moves events
from the queue to the batch, `acknowledge()` empties the batch, `lost()` puts it back
in front of the queue. Both have bounds, so that a client that stopped reading costs
a fixed amount of memory.

Events come *at once* or *lazy*. Every mailbox has one moment from which it deserves a
wake: now, for an event at once; the earliest deadline of its lazy events; or never.
A wake takes everything along, so that events never overtake each other.

Deadlines sit in a heap like the alarms of `server.py`: one that is no longer true is
left where it is and put right when it rings.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from msgspec import Raw

_AT_ONCE = -math.inf
_NEVER = math.inf


class Overflow(Enum):
    """What gives way when more waits for a client than its mailbox holds."""

    OLDEST = "oldest"
    """The oldest events are dropped; those of the batch are not touched."""

    RELEASE = "release"
    """The client itself: it has to shake hands again, and so learns of its loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one mailbox holds: `events` and `size` (bytes) of what waits.

    `batch` is the most bytes that may be unacknowledged, and so the size of one
    response; only a single event may be larger.
    """

    events: int = 1000
    size: int = 1_048_576
    batch: int = 262_144
    overflow: Overflow = Overflow.OLDEST


@dataclass(slots=True, eq=False)
class _Mailbox:
    """`gone` counts the events that have left it for good, in front of the batch."""

    queue: deque[Raw] = field(default_factory=deque)
    size: int = 0
    batch: list[Raw] = field(default_factory=list)
    batch_size: int = 0
    gone: int = 0
    wake_at: float = _NEVER
    alarm: float = _NEVER

    def take(self) -> Raw:
        """Move the first event of the queue to the end of the batch."""
        event = self.queue.popleft()
        self.batch.append(event)
        self.batch_size += len(event)
        self.size -= len(event)
        return event

    def put_back(self) -> None:
        """Move the last event of the batch to the front of the queue."""
        event = self.batch.pop()
        self.queue.appendleft(event)
        self.batch_size -= len(event)
        self.size += len(event)
        self.wake_at = _AT_ONCE

    def drop(self) -> None:
        """Drop the first event of the queue."""
        self.size -= len(self.queue.popleft())
        self.gone += not self.batch


class Mailboxes:
    """The mailboxes of all clients of one node; `dropped` counts lost events.

    A mailbox opens with its first event, and closes with `forget()` only. The length
    is the number of open ones. Times are monotonic seconds. `bounds` may be replaced
    at any time, and hold for a mailbox when the next event comes.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._boxes: dict[str, _Mailbox] = {}
        self._overflowed: set[str] = set()
        self._alarms: list[tuple[float, str]] = []
        self._wake: Callable[[str], None] = lambda _: None
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._boxes)

    def on_wake(self, wake: Callable[[str], None]) -> None:
        """Call `wake` with a client's id whenever an event at once came for it."""
        self._wake = wake

    def post(
        self, client_id: str, event: Raw, *, lazy_until: float | None = None
    ) -> None:
        """Put an event into the client's mailbox.

        A lazy one wakes nobody: it goes out with what comes at once, with a poll
        that ends anyway, or after `due()` has named the client.
        """
        self.post_all((client_id,), event, lazy_until=lazy_until)

    def post_all(
        self,
        client_ids: Iterable[str],
        event: Raw,
        *,
        lazy_until: float | None = None,
    ) -> None:
        """Put one event into the mailboxes of several clients."""
        put = [c for c in client_ids if self._put(c, event, lazy_until)]
        # All mailboxes first: whoever is woken runs the code of a transport.
        if lazy_until is None:
            for client_id in put:
                self._wake(client_id)

    def take(self, client_id: str) -> list[Raw]:
        """Return the events for one response, in order; they join the batch.

        Lazy ones are among them. Empty while the batch has no room: what does not
        fit keeps the client `waiting()`, and follows after `acknowledge()`.
        """
        box = self._boxes.get(client_id)
        if box is None:
            return []
        taken = []
        while box.queue and self._fits(box):
            taken.append(box.take())
        box.wake_at = _AT_ONCE if box.queue else _NEVER
        return taken

    def acknowledge(self, client_id: str) -> None:
        """Note that the client got all that was taken for it."""
        if box := self._boxes.get(client_id):
            box.gone += len(box.batch)
            box.batch.clear()
            box.batch_size = 0

    def mark(self, client_id: str) -> int:
        """Return what tells `lost()` later how much had been taken until now."""
        box = self._boxes.get(client_id)
        return 0 if box is None else box.gone + len(box.batch)

    def lost(self, client_id: str, since: int = 0) -> None:
        """Put back in front what of the batch was taken since that mark: it did not
        reach the client. What was put back too early, for it did, joins the batch.

        A client with events is `waiting()` from then on, and is not woken: this is
        said by whoever serves its next poll.
        """
        box = self._boxes.get(client_id)
        if box is None:
            return
        kept = max(since - box.gone, 0)
        while len(box.batch) > kept:
            box.put_back()
        while len(box.batch) < kept and box.queue:
            box.take()
        if not box.queue:
            box.wake_at = _NEVER
        self._bound(client_id, box)

    def move(self, old: str, new: str) -> None:
        """Give the mailbox of a client to the one that goes on in its place, and with
        it what the client still has to learn of its losses."""
        if old in self._overflowed:
            self._overflowed.discard(old)
            self._overflowed.add(new)
        if box := self._boxes.pop(old, None):
            box.alarm = _NEVER
            self._boxes[new] = box
            if box.wake_at not in {_AT_ONCE, _NEVER}:
                self._arm(new, box)

    def forget(self, client_id: str) -> None:
        """Drop everything that is kept for a client that is gone."""
        self._boxes.pop(client_id, None)
        self._overflowed.discard(client_id)

    def waiting(self, client_id: str) -> bool:
        """Tell whether the client's poll should be answered now.

        If not, there may be lazy events all the same: `take()` when it ends.
        """
        box = self._boxes.get(client_id)
        return box is not None and box.wake_at == _AT_ONCE

    def due(self, now: float) -> list[str]:
        """Return the clients to be woken, for a lazy event has waited long enough.

        They are named once and `waiting()` from then on. Call it about as often as
        deadlines shall be exact.
        """
        found = []
        while self._alarms and self._alarms[0][0] <= now:
            at, client_id = heapq.heappop(self._alarms)
            box = self._boxes.get(client_id)
            if box is not None and box.alarm == at and self._ring(client_id, box, now):
                found.append(client_id)
        return found

    def overflowed(self) -> list[str]:
        """Return the clients to be released, until they are forgotten.

        They have lost events, and get no others: advise them to shake hands again.
        """
        return list(self._overflowed)

    def _put(self, client_id: str, event: Raw, lazy_until: float | None) -> bool:
        """Tell whether there was a place for the event."""
        if client_id in self._overflowed or self._hopeless(event):
            self.dropped += 1
            return False
        box = self._boxes.get(client_id) or self._open(client_id)
        box.queue.append(event)
        box.size += len(event)
        if lazy_until is None:
            box.wake_at = _AT_ONCE
        elif lazy_until < box.wake_at:
            box.wake_at = lazy_until
            self._arm(client_id, box)
        return self._bound(client_id, box)

    def _open(self, client_id: str) -> _Mailbox:
        box = self._boxes[client_id] = _Mailbox()
        return box

    def _hopeless(self, event: Raw) -> bool:
        # It would push everything else out of the mailbox and still not fit.
        oldest = self.bounds.overflow is Overflow.OLDEST
        return oldest and len(event) > self.bounds.size

    def _bound(self, client_id: str, box: _Mailbox) -> bool:
        """Keep the mailbox within its bounds; tell whether it is still there."""
        while len(box.queue) > self.bounds.events or box.size > self.bounds.size:
            if self.bounds.overflow is Overflow.RELEASE:
                self._give_up(client_id, box)
                return False
            box.drop()
            self.dropped += 1
        return True

    def _give_up(self, client_id: str, box: _Mailbox) -> None:
        self.dropped += len(box.queue)
        del self._boxes[client_id]
        self._overflowed.add(client_id)

    def _fits(self, box: _Mailbox) -> bool:
        """Tell whether the batch has room for the next event; an empty one has."""
        size = box.batch_size + len(box.queue[0])
        return not box.batch or size <= self.bounds.batch

    def _ring(self, client_id: str, box: _Mailbox, now: float) -> bool:
        """Tell whether the client's time has come; if it moved, wait for it again."""
        box.alarm = _NEVER
        if box.wake_at > now:
            self._arm(client_id, box)
            return False
        news = box.wake_at != _AT_ONCE
        box.wake_at = _AT_ONCE
        return news

    def _arm(self, client_id: str, box: _Mailbox) -> None:
        if box.wake_at < box.alarm:
            box.alarm = box.wake_at
            heapq.heappush(self._alarms, (box.alarm, client_id))
