"""What is measured: the scenarios, and how large they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.targets import Contender, nodes, ours

CHATS_PER_AGENT = 4
CHATS_OF_THE_SILENT = 20
"""Chats per agent where most are silent: agents need two connections each."""

SCALE = (100, 1_000, 10_000, 20_000)
"""Numbers of clients among which the cost of a message should be the same."""

LADDER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20)
"""Thousands of messages a second, from which each server takes what it can."""

P99_LIMIT = 250
"""Milliseconds in which 99 of 100 messages must come, or the rate was too high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much load, for how long. Rates are messages per second, times seconds.

    `before` is how long a server is warmed up; 0 leaves that out. `step` is how long
    each rate of the ladders is measured.
    """

    clients: int = 1_000
    rate: int = 2_000
    chat_rate: int = 500
    talkers: int = 50
    fanout_rate: int = 10
    storm: int = 5_000
    idle: int = 10_000
    idle_duration: float = 30.0
    customers: int = 20
    missed: int = 500
    returns: int = 300
    duration: float = 8.0
    warmup: float = 3.0
    before: float = 6.0
    scale: tuple[int, ...] = SCALE
    ladder: tuple[int, ...] = tuple(1_000 * step for step in LADDER)
    chat_ladder: tuple[int, ...] = tuple(500 * step for step in LADDER)
    step: float = 5.0
    step_warmup: float = 2.0

    def with_clients(self, clients: int) -> "Size":
        """Return the same load from another number of clients."""
        return replace(self, clients=clients, storm=clients, idle=clients)

    def with_scale(self, scale: tuple[int, ...]) -> "Size":
        """Return the same load with other steps of `scale`."""
        return replace(self, scale=scale)


FULL = Size()
QUICK = Size(
    clients=20,
    rate=200,
    chat_rate=50,
    talkers=5,
    storm=40,
    idle=40,
    idle_duration=0.5,
    customers=4,
    missed=20,
    returns=8,
    duration=0.6,
    warmup=0.2,
    before=0.0,
    scale=(10, 40),
    ladder=(100, 200),
    chat_ladder=(20, 40),
    step=0.3,
    step_warmup=0.1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the load generator: its arguments, and what it needs.

    `sockets` is how many connections the server must take, `agents` how many tokens
    the load needs. `tag` names the run in the results.
    """

    tag: str
    arguments: tuple[str, ...]
    sockets: int
    agents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Runs that belong together. `everywhere` tells whether all servers can do it, or
    ours alone; `servers`, if any, are measured instead of the usual ones."""

    name: str
    everywhere: bool
    runs: Callable[[Size], list[Run]]
    servers: Callable[[], list[Contender]] | None = None


def warm_up(size: Size) -> Run:
    """Return a run that is not measured: just-in-time compilers need it."""
    clients = min(500, size.clients)
    arguments = _steady("chat", clients, min(1_000, size.rate), size)
    timed = (*arguments, "--duration", str(size.before), "--warmup", "0")
    return Run(tag="before", arguments=timed, sockets=2 * clients)


def _steady(name: str, clients: int, rates: object, size: Size) -> tuple[str, ...]:
    return (
        *("--scenario", name, "--clients", str(clients), "--rate", str(rates)),
        *("--duration", str(size.duration), "--warmup", str(size.warmup)),
        *("--drain", "30"),
    )


def _chat(size: Size) -> list[Run]:
    arguments = _steady("chat", size.clients, size.rate, size)
    return [Run(tag="chat", arguments=arguments, sockets=2 * size.clients)]


def _fanout(size: Size) -> list[Run]:
    arguments = _steady("fanout", size.clients, size.fanout_rate, size)
    return [Run(tag="fanout", arguments=arguments, sockets=2 * size.clients + 2)]


def _storm(size: Size) -> list[Run]:
    clients = str(size.storm)
    arguments = ("--scenario", "storm", "--clients", clients, "--inflight", "200")
    return [Run(tag="storm", arguments=arguments, sockets=2 * size.storm)]


def _idle(size: Size) -> list[Run]:
    arguments = (
        *("--scenario", "idle", "--clients", str(size.idle), "--connections", "1"),
        *("--duration", str(size.idle_duration), "--warmup", str(size.warmup)),
        "--keep",
    )
    return [Run(tag="idle", arguments=arguments, sockets=size.idle)]


def _gmschat(size: Size) -> list[Run]:
    arguments = _steady("gmschat", size.clients, f"{size.chat_rate},{size.rate}", size)
    return [_chats("gmschat", arguments, size)]


def _chats(tag: str, arguments: tuple[str, ...], size: Size) -> Run:
    return Run(
        tag=tag,
        arguments=(*arguments, "--chats-per-agent", str(CHATS_PER_AGENT)),
        sockets=2 * size.clients + 10,
        agents=size.clients // CHATS_PER_AGENT + 1,
    )


def _ladder(size: Size) -> list[Run]:
    arguments = _climb("chat", size.ladder, size)
    return [Run(tag="ladder", arguments=arguments, sockets=2 * size.clients)]


def _gmsladder(size: Size) -> list[Run]:
    arguments = _climb("gmschat", size.chat_ladder, size)
    return [_chats("gmsladder", arguments, size)]


def _climb(name: str, rates: tuple[int, ...], size: Size) -> tuple[str, ...]:
    """Rates one after the other, up to the first that is too high."""
    stepwise = replace(size, duration=size.step, warmup=size.step_warmup)
    arguments = _steady(name, size.clients, ",".join(map(str, rates)), stepwise)
    return (*arguments, "--p99-limit", str(P99_LIMIT))


def _nodes(size: Size) -> list[Run]:
    """The same chats, for each number of nodes."""
    return [replace(run, tag="nodes") for run in _gmschat(size)]


def _replay(size: Size) -> list[Run]:
    arguments = (
        *("--scenario", "replay", "--clients", str(size.customers)),
        *("--missed", str(size.missed), "--returns", str(size.returns)),
        *("--chats-per-agent", str(CHATS_PER_AGENT), "--inflight", "4"),
    )
    agents = size.customers // CHATS_PER_AGENT + 1
    sockets = 2 * (size.customers + agents)
    return [Run(tag="replay", arguments=arguments, sockets=sockets, agents=agents)]


def _scale(size: Size) -> list[Run]:
    """The same rooms talk, among more and more clients who only hold a poll."""
    talkers = ("--talkers", str(size.talkers))
    runs = []
    for clients in size.scale:
        rooms = _steady("chat", clients, size.chat_rate, size)
        sockets = clients + 2 * size.talkers
        runs.append(Run(tag="rooms", arguments=(*rooms, *talkers), sockets=sockets))
        chats = _steady("gmschat", clients, size.chat_rate, size)
        per_agent = ("--chats-per-agent", str(CHATS_OF_THE_SILENT))
        agents = clients // CHATS_OF_THE_SILENT + 1
        runs.append(
            Run(
                tag="chats",
                arguments=(*chats, *talkers, *per_agent),
                sockets=clients + agents + size.talkers,
                agents=agents,
            )
        )
    return runs


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="chat", everywhere=True, runs=_chat),
        Scenario(name="fanout", everywhere=True, runs=_fanout),
        Scenario(name="storm", everywhere=True, runs=_storm),
        Scenario(name="idle", everywhere=True, runs=_idle),
        Scenario(name="gmschat", everywhere=False, runs=_gmschat),
        Scenario(name="ladder", everywhere=True, runs=_ladder),
        Scenario(name="gmsladder", everywhere=False, runs=_gmsladder),
        Scenario(name="replay", everywhere=False, runs=_replay),
        Scenario(name="scale", everywhere=False, runs=_scale, servers=lambda: [ours()]),
        Scenario(name="nodes", everywhere=False, runs=_nodes, servers=nodes),
    )
}
USUAL = (
    *("chat", "fanout", "storm", "idle", "ladder"),
    *("gmschat", "gmsladder", "replay"),
)
"""The scenarios of a run that names none."""
