"""Medians, goals and tables, and the places where they go."""

from pathlib import Path
from typing import Any

import pytest

from bench import tables
from bench.__main__ import TABLES
from bench.figures import Figures, ratio, spread
from bench.goals import goals_table
from bench.page import END, PAGE, MarkerError, begin, write

OURS = "cometd-chat"


def steady(label: str, cost: float, **more: Any) -> dict[str, Any]:
    line = {
        "tag": "chat",
        "label": label,
        "phase": "steady",
        "us_per_delivery": cost,
        "us_per_exchange": cost / 2,
        "latency_p99_ms": 1.0,
        "cpu_pct": 50.0,
    }
    return line | more


CHAT = Figures(
    [
        steady("faye", 130.0),
        *(steady(OURS, cost) for cost in (30.0, 41.0, 33.0)),
        steady(OURS, 999.0, tag="before"),
    ]
)


def test_tables_have_medians_ratios_and_extremes() -> None:
    assert tables.talk_table(CHAT, "chat").splitlines()[2:] == [
        (
            "| cometd-chat | 33.0 (30.0–41.0) | 1.00 | 16.5 (15.0–20.5) "
            "| 1.0 (1.0–1.0) | 50 (50–50) |"
        ),
        "| faye | 130.0 | 0.25 | 65.0 | 1.0 | 50 |",
    ]


def test_goals_are_met_if_figure_and_ratios_are() -> None:
    rows = [row.split(" | ") for row in goals_table(CHAT).splitlines()]
    rooms = next(row for row in rows if row[0] == "| rooms: µs per delivery")
    assert rooms[1:] == ["≤ 36", "33.0", "0.25 (≤ 0.3)", "– (≤ 0.45)", "yes |"]
    stored = next(row for row in rows if row[0].startswith("| chats, stored: µs"))
    assert stored[-1] == "– |"
    worse = Figures([steady("faye", 100.0), steady(OURS, 33.0)])
    missed = next(r for r in goals_table(worse).splitlines() if "| rooms: µs" in r)
    assert missed.endswith("| 0.33 (≤ 0.3) | – (≤ 0.45) | no |")


def test_the_compiled_server_has_its_own_figures() -> None:
    both = Figures([*CHAT.lines, steady("cometd-chat, compiled", 26.0)])
    (rooms,) = (
        row
        for row in goals_table(both, "cometd-chat, compiled").splitlines()
        if "| rooms: µs" in row
    )
    assert "| 26.0 | 0.20 (≤ 0.3) |" in rooms


def returns(missed: int, cost: float) -> dict[str, Any]:
    line = {"tag": "replay", "label": OURS, "phase": "returns"}
    return line | {"missed": missed, "us_per_return": cost}


def test_a_replay_is_what_coming_back_costs_more() -> None:
    figures = Figures([returns(0, 1_000.0), returns(500, 3_500.0)])
    assert tables.replay_ms(figures, OURS) == 2.5
    assert tables.replay_table(figures).splitlines()[-1].endswith("| 2.50 |")
    assert tables.replay_ms(Figures([returns(500, 1.0)]), OURS) is None


def climbed(label: str, *kept_up: bool) -> list[dict[str, Any]]:
    """A ladder of 1,000, 2,000 … messages a second."""
    return [
        steady(label, 30.0, tag="ladder", rate=1_000.0 * step, kept_up=int(kept))
        for step, kept in enumerate(kept_up, start=1)
    ]


def test_the_highest_rate_of_a_ladder_counts() -> None:
    figures = Figures(
        [
            *climbed(OURS, True, True, False),
            *climbed("faye", False),
            *climbed("faye", False),
            *climbed(OURS, True, False),
            *climbed(OURS, True, True),
        ]
    )
    assert tables.ladder_table(figures, "ladder").splitlines()[2:] == [
        (
            "| cometd-chat | 2000 (1000–2000) | 50 (50–50) | 30.0 (30.0–30.0) "
            "| 1.0 (1.0–1.0) | 2500 (2000–3000) |"
        ),
        "| faye | – | – | – | – | 1000 (1000–1000) |",
    ]
    assert tables.most_per_second(figures, "ladder", OURS) == 2_000
    assert tables.most_per_second(figures, "ladder", "faye") == 0
    assert tables.most_per_second(figures, "ladder", "other") is None


@pytest.mark.parametrize(("steps", "met"), [(14, "yes"), (13, "no")])
def test_a_goal_can_be_a_least_figure(steps: int, met: str) -> None:
    theirs = climbed("faye", *[True] * 5)
    figures = Figures([*climbed(OURS, *[True] * steps), *theirs])
    (row,) = (x for x in goals_table(figures).splitlines() if "messages per s" in x)
    assert row.startswith(f"| rooms: messages per s | ≥ 14000 | {steps}000 ")
    assert row.endswith(f"{steps / 5:.2f} (≥ 2.8) | – | {met} |")


def test_many_clients_are_compared_to_few() -> None:
    lines = [
        steady(OURS, cost, tag=tag, clients=clients)
        for tag, plus in (("rooms", 0), ("chats", 5))
        for clients, cost in ((100 + plus, 40.0), (1_000 + plus, 50.0))
    ]
    checks = [
        {"tag": "rooms", "label": OURS, "phase": "check", "clients": clients}
        for clients in (100, 1_000)
    ]
    last = tables.scale_table(Figures([*lines, *checks])).splitlines()[-1]
    assert last == "| 1000 | 50.0 | 1.25 | 25.0 | 50.0 | 1.25 | 25.0 |"


def test_several_nodes_are_compared_to_one_on_a_file() -> None:
    lines = [
        steady(
            "redis-2",
            60.0,
            tag="nodes",
            each_cpu_pct=[0.0, 30.0, 34.0],
            store_cpu_pct=12.0,
        ),
        steady("redis-10", 90.0, tag="nodes", each_cpu_pct=[0.0, *[9.0] * 10]),
        steady(OURS, 1.0, tag="gmschat"),
        steady("sqlite-1", 40.0, tag="nodes", each_cpu_pct=[50.0]),
    ]
    more = {"rate": 500.0, "store_us_per_delivery": 20.0, "arrived_pct": 100.0}
    figures = Figures([more | line for line in lines])
    assert tables.nodes_table(figures).splitlines()[2:] == [
        "| 500 | SQLite | 1 | 40.0 | 1.00 | 50 | 20.0 | – | 1.0 | 100 |",
        "| 500 | Redis | 2 | 60.0 | 1.50 | 32 (30–34) | 20.0 | 12 | 1.0 | 100 |",
        "| 500 | Redis | 10 | 90.0 | 2.25 | 9 (9–9) | 20.0 | – | 1.0 | 100 |",
    ]


def test_what_was_not_measured_is_a_dash() -> None:
    assert spread([]) == ratio(None, 1.0) == ratio(1.0, None) == "–"


def test_tables_replace_tables_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    old = (
        f"before\n{begin('chat')}old\n{END}between\n{begin('storm')}kept\n{END}after\n"
    )
    page.write_text(old)
    write(page, {"chat": "| new |\n"})
    assert page.read_text() == old.replace("old\n", "\n| new |\n\n")
    with pytest.raises(MarkerError, match="no place for the table of idle"):
        write(page, {"chat": "| lost |\n", "idle": "| x |\n"})
    assert "lost" not in page.read_text()


def test_the_page_has_a_place_for_every_table() -> None:
    text = PAGE.read_text()
    for name in (*TABLES, "goals", "goals, compiled", "check", "machine", "profile"):
        assert begin(name) in text, name
    assert text.count(END) == len(TABLES) + 5
