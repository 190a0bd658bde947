"""Which promises a record keeps, and what it measured.

A screen shows what came as apps do: an entry whose position is not above the last one
shown is dropped. Such an entry has *come again* if it was shown before. If not, it was
overtaken, and its screen never shows it: that breaks the order.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.record import AGENT, CUSTOMER, Arrival, Push, Reader, Record, Sent

GOAL = 5.0
"""Seconds of silence that a fault may cost."""

IN_FLIGHT = 2.0
"""Seconds before and after a fault in which a push may have been under way: the answer
of the company's server is on its way, or is not stored yet."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Counts, and durations in seconds.

    `silent` is the longest time in which no send was acknowledged, `waited` the longest
    that one sender waited, from the first try. `unseen` is the longest from the
    acknowledgement of a message to its display on a screen that was there. `typical`
    and `slow` are the median and the 99th percentile from the first try to the display
    at the other side.
    """

    sent: int
    acknowledged: int
    lost: int
    unshown: int
    twice: int
    disordered: int
    again: int
    silent: float
    waited: float
    unseen: float
    typical: float
    slow: float
    due: int
    told: int
    missing: int
    surplus: int
    in_flight: int
    absences: int
    handshakes: int

    def broken(self, goal: float = GOAL) -> list[str]:
        """Return what was promised and not kept."""
        counts = {
            "messages were never acknowledged": self.sent - self.acknowledged,
            "acknowledged messages are not stored": self.lost,
            "stored messages are not on a screen": self.unshown,
            "messages are twice in a chat or on a screen": self.twice,
            "messages are out of order": self.disordered,
            "messages were to be pushed and were not": self.missing,
            "messages were pushed once too often": self.surplus,
            "absences of customers who were there were told": self.absences,
            "handshakes were needed": self.handshakes,
        }
        found = [f"{count} {what}" for what, count in counts.items() if count]
        if not self.acknowledged:
            found.append("nothing was acknowledged")
        for what, seconds in (
            ("no send was acknowledged", self.silent),
            ("one sender waited", self.waited),
            ("a message was not shown", self.unseen),
        ):
            if seconds > goal:
                found.append(f"for {seconds:.1f} s {what}: more than {goal:g} s")
        return found


def judge(record: Record) -> Verdict:
    """Compare what was shown and pushed with what was acknowledged and stored."""
    known = record.acknowledged
    shown = {r: _screen(record.arrived.get(r, ())) for r in _readers(record)}
    stored = {c: [e.text for e in es if e.text] for c, es in record.stored.items()}
    delays = _delays(record, shown)
    latencies = sorted(_latencies(record, shown))
    told = _Told(record)
    return Verdict(
        sent=len(record.sent),
        acknowledged=len(known),
        lost=sum(s.text not in stored.get(s.chat, ()) for s in known),
        unshown=sum(
            len(set(stored.get(reader.chat, ())) - screen.texts.keys())
            for reader, screen in shown.items()
        ),
        twice=_twice(stored.values()) + _twice(s.order for s in shown.values()),
        disordered=sum(s.overtaken for s in shown.values())
        + sum(_inverted(record, texts) for texts in stored.values()),
        again=sum(screen.again for screen in shown.values()),
        silent=_silence(record, known),
        waited=max((s.stored_at or 0.0) - s.at for s in known) if known else 0.0,
        unseen=max(delays, default=0.0),
        typical=_percentile(latencies, 0.5),
        slow=_percentile(latencies, 0.99),
        due=len(record.due),
        told=len(record.due & told.texts),
        missing=len(record.due - told.texts),
        surplus=told.surplus,
        in_flight=told.in_flight,
        absences=record.absences,
        handshakes=record.handshakes,
    )


@dataclass
class _Screen:
    order: list[str]
    texts: dict[str, float]
    again: int
    overtaken: int


def _screen(arrivals: Sequence[Arrival]) -> _Screen:
    screen, positions, last = _Screen([], {}, 0, 0), set[int](), 0
    for arrival in arrivals:
        if arrival.position > last:
            last = arrival.position
            positions.add(last)
            if arrival.text:
                screen.order.append(arrival.text)
                screen.texts.setdefault(arrival.text, arrival.at)
        elif arrival.position in positions:
            screen.again += 1
        else:
            screen.overtaken += 1
    return screen


def _readers(record: Record) -> list[Reader]:
    return [Reader(chat, who) for chat in record.stored for who in (CUSTOMER, AGENT)]


def _twice(lists: Iterable[Sequence[str]]) -> int:
    return sum(len(texts) - len(set(texts)) for texts in lists)


def _inverted(record: Record, texts: Sequence[str]) -> int:
    """Count messages that stand behind a later one of their sender."""
    count, last = 0, defaultdict[str, float](lambda: -math.inf)
    for text in texts:
        if sent := record.sent.get(text):
            count += sent.at < last[sent.by]
            last[sent.by] = max(sent.at, last[sent.by])
    return count


def _silence(record: Record, known: Sequence[Sent]) -> float:
    times = [s.stored_at for s in known if s.stored_at is not None]
    inside = [t for t in times if record.begun <= t <= record.ended]
    steps = pairwise([record.begun, *inside, record.ended])
    return max(later - earlier for earlier, later in steps)


def _delays(record: Record, shown: dict[Reader, _Screen]) -> list[float]:
    return [
        at - sent.stored_at
        for reader, screen in shown.items()
        if not (reader.who == CUSTOMER and reader.chat in record.apart)
        for text, at in screen.texts.items()
        if (sent := record.sent.get(text)) and sent.stored_at is not None
    ]


def _latencies(record: Record, shown: dict[Reader, _Screen]) -> list[float]:
    return [
        at - sent.at
        for reader, screen in shown.items()
        if not (reader.who == CUSTOMER and reader.chat in record.apart)
        for text, at in screen.texts.items()
        if (sent := record.sent.get(text)) and sent.by != reader.who
    ]


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


class _Told:
    """What the company's server was told: each message once is right.

    The same push once more is *in flight* if the fault fell between its first arrival
    and the note that it was sent; everything else that comes again is surplus.
    """

    def __init__(self, record: Record) -> None:
        self._since = record.struck - IN_FLIGHT
        self._until = record.mended + IN_FLIGHT
        self.texts: set[str] = set()
        self.surplus = self.in_flight = 0
        first: dict[str, Push] = {}
        messages = Counter[str]()
        for push in record.pushes:
            before = first.setdefault(push.id, push)
            if before is push:
                messages.update(push.texts)
            elif self._since <= before.at <= self._until:
                self.in_flight += 1
            else:
                self.surplus += 1
        self.texts = set(messages)
        for text, count in messages.items():
            self.surplus += count - (text in record.due)
