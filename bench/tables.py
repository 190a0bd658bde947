"""The tables of the page, from what was measured."""

from collections.abc import Sequence
from statistics import median

from bench.figures import Figures, ratio, spread, table
from bench.generator import Line
from bench.targets import OURS

COUNTED = (
    "expected",
    "delivered",
    "lost",
    "duplicates",
    "reordered",
    "foreign",
    "corrupt",
    "misplaced",
)


def talk_table(figures: Figures, tag: str) -> str:
    """Return what a delivery costs each server."""
    ours = figures.median(tag, "steady", "us_per_delivery", label=OURS)
    rows = []
    for name in figures.servers(tag):
        costs = figures.values(tag, "steady", "us_per_delivery", label=name)
        exchange = figures.values(tag, "steady", "us_per_exchange", label=name)
        p99 = figures.values(tag, "steady", "latency_p99_ms", label=name)
        cpu = figures.values(tag, "steady", "cpu_pct", label=name)
        cells = spread(costs), ratio(ours, median(costs)), spread(exchange)
        rows.append((name, *cells, spread(p99), spread(cpu, 0)))
    head = ("Server", "µs per delivery", "Ours to it", "µs per exchange", "p99 ms")
    return table((*head, "CPU %"), rows)


def storm_table(figures: Figures) -> str:
    """Return what it costs each server when everybody comes."""
    ours = figures.median("storm", "setup", "us_per_session", label=OURS)
    rows = []
    for name in figures.servers("storm"):
        costs = figures.values("storm", "setup", "us_per_session", label=name)
        speed = figures.values("storm", "setup", "sessions_per_s", label=name)
        told = ratio(ours, median(costs))
        rows.append((name, spread(costs, 0), told, spread(speed, 0)))
    return table(("Server", "µs per client", "Ours to it", "Clients per s"), rows)


def idle_table(figures: Figures) -> str:
    """Return what held polls cost each server."""
    rows = []
    for name in figures.servers("idle"):
        memory = figures.values("idle", "memory", "kib_per_session", label=name)
        held = figures.values("idle", "memory", "up", label=name)
        cpu = figures.values("idle", "steady", "cpu_pct", label=name)
        rows.append((name, f"{median(held):.0f}", spread(memory), spread(cpu)))
    return table(("Server", "Held polls", "KiB each", "CPU %"), rows)


def real_table(figures: Figures) -> str:
    """Return what a delivery costs in chats that are stored."""
    rows = [
        _real_row(figures, name, rate)
        for name in figures.servers("gmschat")
        for rate in figures.each("gmschat", "steady", "rate")
    ]
    head = ("Server", "Messages per s", "µs per delivery", "µs per exchange", "p99 ms")
    return table((*head, "In time %", "CPU %"), rows)


def _real_row(figures: Figures, name: str, rate: float) -> tuple[str, ...]:
    def of(field: str) -> list[float]:
        return figures.values("gmschat", "steady", field, rate=rate, label=name)

    costs = spread(of("us_per_delivery")), spread(of("us_per_exchange"))
    late = spread(of("latency_p99_ms")), spread(of("arrived_pct"), 0)
    return (name, f"{rate:.0f}", *costs, *late, spread(of("cpu_pct"), 0))


def nodes_table(figures: Figures) -> str:
    """Return what a delivery costs when several nodes share the chats."""
    names = sorted(figures.servers("nodes"), key=_nodes_of)
    rows = [
        _nodes_row(figures, name, rate)
        for rate in figures.each("nodes", "steady", "rate")
        for name in names
    ]
    head = ("Messages per s", "Store", "Nodes", "µs per delivery", "To SQLite")
    more = ("CPU % of a node", "Redis: µs per delivery", "Redis: CPU %")
    return table((*head, *more, "p99 ms", "In time %"), rows)


def _nodes_of(name: str) -> tuple[bool, int]:
    store, _, count = name.partition("-")
    return store != "sqlite", int(count)


def _nodes_row(figures: Figures, name: str, rate: float) -> tuple[str, ...]:
    def of(field: str, label: str = name) -> list[float]:
        return figures.values("nodes", "steady", field, rate=rate, label=label)

    costs, base = of("us_per_delivery"), of("us_per_delivery", "sqlite-1")
    store, count = _nodes_of(name)
    told = ratio(median(costs) if costs else None, median(base) if base else None)
    each = [
        cpu
        for processes in figures.lists("nodes", "each_cpu_pct", rate=rate, label=name)
        for cpu in processes[-count:]  # the parent of several comes before them
    ]
    return (
        *(f"{rate:.0f}", "Redis" if store else "SQLite", str(count)),
        *(spread(costs), told, spread(each, 0)),
        *(spread(of("store_us_per_delivery")), spread(of("store_cpu_pct"), 0)),
        *(spread(of("latency_p99_ms")), spread(of("arrived_pct"), 0)),
    )


def ladder_table(figures: Figures, tag: str) -> str:
    """Return the highest rates that servers kept up with, and what these cost."""
    rows = []
    for name in figures.servers(tag):
        ladders = figures.ladders(tag, name)
        kept = [top for top in map(_top, ladders) if top is not None]
        missed = [x["rate"] for steps in ladders for x in steps if not x["kept_up"]]
        cells = (
            spread([line[field] for line in kept], digits)
            for field, digits in (
                *(("rate", 0), ("cpu_pct", 0)),
                *(("us_per_delivery", 1), ("latency_p99_ms", 1)),
            )
        )
        rows.append((name, *cells, spread(missed, 0)))
    head = ("Server", "Messages per s", "CPU %", "µs per delivery", "p99 ms")
    return table((*head, "Too many per s"), rows)


def most_per_second(figures: Figures, tag: str, name: str) -> float | None:
    """Return the rate that a server keeps up with; 0 if it was none of the ladder."""
    tops = [_top(ladder) for ladder in figures.ladders(tag, name)]
    rates = [0.0 if top is None else top["rate"] for top in tops]
    return median(rates) if rates else None


def _top(ladder: Sequence[Line]) -> Line | None:
    """Return the last step that a server kept up with."""
    return next((step for step in reversed(ladder) if step["kept_up"]), None)


def replay_table(figures: Figures) -> str:
    """Return what it costs when a customer comes back."""
    rows = []
    for name in figures.servers("replay"):
        for missed in figures.each("replay", "returns", "missed"):
            costs = figures.values(
                "replay", "returns", "us_per_return", missed=missed, label=name
            )
            told = spread([cost / 1000 for cost in costs], 2)
            rows.append((name, f"{missed:.0f}", told))
        difference = replay_ms(figures, name)
        told = "–" if difference is None else f"{difference:.2f}"
        rows.append((name, "the difference: the replay alone", told))
    return table(("Server", "Missed entries", "ms CPU per return"), rows)


def replay_ms(figures: Figures, name: str) -> float | None:
    """Return the CPU of the replay alone, without that of coming back."""
    nothing, *some = figures.each("replay", "returns", "missed") or [0.0]
    if not some:
        return None
    least, most = (
        figures.median("replay", "returns", "us_per_return", missed=missed, label=name)
        for missed in (nothing, some[-1])
    )
    return None if least is None or most is None else (most - least) / 1000


def scale_table(figures: Figures) -> str:
    """Return what a delivery costs among so many clients."""
    rows: list[tuple[str, ...]] = []
    bases: dict[str, float] = {}
    for clients in figures.each("rooms", "check", "clients"):
        cells: list[str] = []
        for tag in ("rooms", "chats"):
            near = _near(figures.each(tag, "steady", "clients"), clients)
            costs = figures.values(tag, "steady", "us_per_delivery", clients=near)
            base = bases.setdefault(tag, median(costs) if costs else 0.0)
            told = ratio(median(costs) if costs else None, base)
            exchange = figures.values(tag, "steady", "us_per_exchange", clients=near)
            cells += [spread(costs), told, spread(exchange)]
        rows.append((f"{clients:.0f}", *cells))
    head = ("Rooms: µs per delivery", "To the first", "µs per exchange")
    real = ("Chats: µs per delivery", "To the first", "µs per exchange")
    return table(("Clients", *head, *real), rows)


def _near(values: Sequence[float], wanted: float) -> float:
    """Agents come in whole numbers, so that chats have a few clients more."""
    near = (value for value in values if abs(value - wanted) <= max(9, wanted / 50))
    return next(near, 0.0)


def check_table(figures: Figures) -> str:
    """Return whether every message of all runs came once, in order, unchanged."""
    names = dict.fromkeys(x["label"] for x in figures.lines if x["phase"] == "check")
    rows = []
    for name in names:
        mine = [
            x for x in figures.lines if x["phase"] == "check" and x["label"] == name
        ]
        rows.append((name, *(sum(line[column] for line in mine) for column in COUNTED)))
    return table(("Server", *(column.capitalize() for column in COUNTED)), rows)
