"""What the figures should be, and whether they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bench.figures import Figures, ratio, table
from bench.tables import most_per_second, replay_ms
from bench.targets import OURS

PEERS = ("faye", "cometd-nodejs-server")

Pick: TypeAlias = Callable[[Figures, str], float | None]
"""Picks a figure of a server, by its name; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure of ours, the most it should be, and that as a share of the others'.

    Both are asked for by the name of a server. `shares` are the greatest shares, in the
    order of `PEERS`; 0 where there is no such goal. With `at_least`, these are the
    least that it should be, and the least shares.
    """

    name: str
    limit: float
    digits: int
    ours: Pick
    others: Pick | None = None
    shares: tuple[float, float] = (0.0, 0.0)
    at_least: bool = False

    @property
    def sign(self) -> str:
        """Return how a figure is compared to its limit."""
        return "≥" if self.at_least else "≤"

    def met(self, value: float, limit: float) -> bool:
        """Tell whether a figure, or a share, is on the right side of its limit."""
        return value >= limit if self.at_least else value <= limit


def _of(tag: str, phase: str, field: str) -> Pick:
    return lambda figures, name: figures.median(tag, phase, field, label=name)


def _real(field: str) -> Pick:
    """Pick from the real chats, at the greatest rate."""

    def pick(figures: Figures, name: str) -> float | None:
        rates = figures.each("gmschat", "steady", "rate")
        if not rates:
            return None
        return figures.median("gmschat", "steady", field, rate=rates[-1], label=name)

    return pick


def _steepest(figures: Figures, name: str) -> float | None:
    """Pick the greatest cost of a message among many clients, to that among few."""
    clients = figures.each("chats", "steady", "clients")
    costs = [
        figures.median("chats", "steady", "us_per_delivery", clients=number, label=name)
        for number in clients
    ]
    known = [cost for cost in costs if cost]
    return max(known) / known[0] if known else None


def _most(figures: Figures, name: str) -> float | None:
    return most_per_second(figures, "ladder", name)


_CHAT = _of("chat", "steady", "us_per_delivery")
_P99 = _of("chat", "steady", "latency_p99_ms")

GOALS = (
    Goal(
        name="chats, stored: µs per delivery",
        limit=36,
        digits=1,
        ours=_real("us_per_delivery"),
        others=_CHAT,
        shares=(0.3, 0.45),
    ),
    Goal(
        name="chats, stored: p99 ms",
        limit=2.2,
        digits=1,
        ours=_real("latency_p99_ms"),
        others=_P99,
        shares=(1, 1),
    ),
    Goal(
        name="rooms: µs per delivery",
        limit=36,
        digits=1,
        ours=_of("chat", "steady", "us_per_delivery"),
        others=_CHAT,
        shares=(0.3, 0.45),
    ),
    Goal(
        name="rooms: p99 ms",
        limit=2.2,
        digits=1,
        ours=_of("chat", "steady", "latency_p99_ms"),
        others=_P99,
        shares=(1, 1),
    ),
    Goal(
        name="one to 1,000: µs per delivery",
        limit=25,
        digits=1,
        ours=_of("fanout", "steady", "us_per_delivery"),
        others=_of("fanout", "steady", "us_per_delivery"),
        shares=(0.45, 0.45),
    ),
    Goal(
        name="all come at once: µs per client",
        limit=100,
        digits=0,
        ours=_of("storm", "setup", "us_per_session"),
        others=_of("storm", "setup", "us_per_session"),
        shares=(0.3, 0.3),
    ),
    Goal(
        name="rooms: messages per s",
        limit=14_000,
        digits=0,
        ours=_most,
        others=_most,
        shares=(2.8, 0),
        at_least=True,
    ),
    Goal(
        name="held poll: KiB",
        limit=8,
        digits=1,
        ours=_of("idle", "memory", "kib_per_session"),
    ),
    Goal(
        name="held polls: CPU %",
        limit=5,
        digits=1,
        ours=_of("idle", "steady", "cpu_pct"),
    ),
    Goal(name="replay of 500 entries: ms CPU", limit=2, digits=2, ours=replay_ms),
    Goal(
        name="many clients to few: µs per delivery", limit=1.2, digits=2, ours=_steepest
    ),
)


def goals_table(figures: Figures, name: str = OURS) -> str:
    """Return the goals, and the figures of our server of this name beside them."""
    head = ("Goal", "Limit", "Ours", "To Faye", "To cometd-nodejs-server", "Met")
    return table(head, [_row(goal, figures, name) for goal in GOALS])


def _row(goal: Goal, figures: Figures, mine: str) -> tuple[str, ...]:
    value = goal.ours(figures, mine)
    shown = "–" if value is None else f"{value:.{goal.digits}f}"
    verdicts = [] if value is None else [goal.met(value, goal.limit)]
    shares = []
    for name, share in zip(PEERS, goal.shares, strict=True):
        theirs = goal.others(figures, name) if goal.others else None
        if value is not None and theirs and share:
            verdicts.append(goal.met(value / theirs, share))
        told = f" ({goal.sign} {share:g})" if share else ""
        shares.append(ratio(value, theirs) + told if goal.others else "")
    met = "–" if not verdicts else "yes" if all(verdicts) else "no"
    return (goal.name, f"{goal.sign} {goal.limit:g}", shown, *shares, met)
