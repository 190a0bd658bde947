"""How far a client is in a session, and which entries come next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from cometd_chat.model import Entry, Session

Form: TypeAlias = Callable[[Session, Sequence[Entry]], bytes]
"""Renders one contiguous run of entries as a Bayeux event."""

PAGE: Final = 500
"""Most entries read from the store for one cursor at once."""


@dataclass(slots=True, eq=False)
class Cursor:
    """How far one client is in one session.

    `newest` is the highest position heard of. `alterations` counts what has changed
    beside the transcript, `known` how much of that `session` tells; they begin apart,
    for what happened after the session was looked at was told before anybody heard.
    """

    session: Session
    form: Form
    acked: int
    sent: int
    newest: int
    alterations: int = 1
    known: int = 0
    tail: list[Entry] = field(default_factory=list)

    @property
    def top(self) -> int:
        """The newest position that can be sent without reading the store."""
        return self.tail[-1].position if self.tail else self.sent

    @property
    def behind(self) -> bool:
        return self.stale or self.lacking

    @property
    def lacking(self) -> bool:
        """Tell whether entries have to be read before more can be sent."""
        return self.waiting and not self.tail

    @property
    def stale(self) -> bool:
        return self.known < self.alterations

    @property
    def waiting(self) -> bool:
        return self.newest > self.sent

    @property
    def finished(self) -> bool:
        return self.session.ended and self.acked >= self.newest

    def follow(self, entries: Sequence[Entry]) -> None:
        """Take the entries along where they continue the cursor without a hole."""
        for entry in entries:
            if entry.position == self.top + 1 and len(self.tail) < PAGE:
                self.tail.append(entry)
            self.newest = max(self.newest, entry.position)


class Reading(NamedTuple):
    """How far a client is in a session, on its way to another node."""

    session_id: str
    acked: int
    sent: int

    @property
    def confirmed(self) -> "Reading":
        """The same without what may not have reached the client."""
        return Reading(self.session_id, self.acked, self.acked)


def cut(entries: Sequence[Entry], room: int) -> tuple[Sequence[Entry], int]:
    """Return as many entries as fit, at least one, and the room that is left."""
    for count, entry in enumerate(entries, 1):
        room -= len(entry.text.encode()) + 128
        if room <= 0:
            return entries[:count], room
    return list(entries), room


def runs(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Split at holes: clients count positions from the size of a message."""
    # Positions rise, so that the two ends tell whether there is a hole at all.
    if entries and entries[-1].position - entries[0].position == len(entries) - 1:
        yield entries
        return
    start = 0
    for i in range(1, len(entries) + 1):
        if i == len(entries) or entries[i].position != entries[i - 1].position + 1:
            yield entries[start:i]
            start = i
