"""The load generator sees what it must: all that came, and every fault."""

import asyncio
import json
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from cometd_chat.app import Node
from tests.e2e.conftest import agent_token
from tests.performance.liar import Liar, Lie, changes, doubles, loses, misdirects, swaps

Lines: TypeAlias = dict[str, dict[str, Any]]

SHORT = ("--duration", "0.5", "--warmup", "0.1", "--drain", "1")
CHAT = ("chat", "--clients", "10", "--rate", "200")
GMS = ("gmschat", "--clients", "10", "--rate", "100")

FAULTS = ("lost", "duplicates", "reordered", "foreign", "corrupt", "misplaced")


async def load(program: Path, url: str, folder: Path, *arguments: str) -> Any:
    """Run the program; return its status and the last line of each phase."""
    tokens, out = folder / "tokens", folder / "out.jsonl"
    tokens.write_text("\n".join(agent_token(f"a{n}", f"A {n}") for n in range(5)))
    process = await asyncio.create_subprocess_exec(
        str(program),
        *("--url", f"{url}/genesys/cometd", "--scenario", *arguments, *SHORT),
        *("--agent-tokens", str(tokens), "--out", str(out)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    lines = [json.loads(x) for x in out.read_text().splitlines()]
    return process.returncode, {x["phase"]: x for x in lines}, told.decode()


@pytest.mark.parametrize(
    "arguments", [CHAT, GMS, ("fanout", "--clients", "5", "--rate", "50")]
)
async def test_all_that_was_said_is_counted(
    node: Node, load_generator: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    status, lines, told = await load(load_generator, node.url, tmp_path, *arguments)
    assert status == 0, told
    check, steady = lines["check"], lines["steady"]
    assert check["delivered"] == check["expected"] > 20
    assert check["published"] == check["acked"]
    assert [check[fault] for fault in FAULTS] == [0] * len(FAULTS)
    assert 0 < steady["latency_p50_ms"] <= steady["latency_p99_ms"]


@pytest.mark.parametrize(
    ("limit", "steps"), [("0.001", [(100, 0)]), ("9000", [(100, 1), (200, 1)])]
)
async def test_a_ladder_ends_where_it_is_too_much(
    node: Node,
    load_generator: Path,
    tmp_path: Path,
    limit: str,
    steps: list[tuple[int, int]],
) -> None:
    ladder = (*CHAT[:-1], "100,200", "--p99-limit", limit)
    status, _, told = await load(load_generator, node.url, tmp_path, *ladder)
    assert status == 0, told
    out = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert [(x["rate"], x["kept_up"]) for x in out if "kept_up" in x] == steps


async def test_silent_clients_hold_a_poll(
    node: Node, load_generator: Path, tmp_path: Path
) -> None:
    more = ("--talkers", "2")
    status, lines, told = await load(load_generator, node.url, tmp_path, *CHAT, *more)
    assert status == 0, told
    assert lines["check"]["up"] == 10
    assert lines["check"]["delivered"] == lines["check"]["expected"] > 20


@pytest.mark.parametrize(
    ("arguments", "lie", "faults"),
    [
        (CHAT, loses, ("lost",)),
        (CHAT, doubles, ("duplicates",)),
        (CHAT, swaps, ("reordered",)),
        (CHAT, changes, ("corrupt",)),
        (CHAT, misdirects, ("foreign",)),
        (GMS, loses, ("lost", "misplaced")),
        (GMS, doubles, ("duplicates",)),
        (GMS, changes, ("corrupt",)),
        (GMS, misdirects, ("foreign",)),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:12],
)
async def test_each_fault_is_seen(
    node: Node,
    load_generator: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    lie: Lie,
    faults: tuple[str, ...],
) -> None:
    liar = Liar(node.url, lie)
    async with liar.open() as url:
        status, lines, told = await load(load_generator, url, tmp_path, *arguments)
    assert liar.lied
    assert status == 1, told
    found = {fault for fault in FAULTS if lines["check"][fault]}
    assert found == set(faults), told


async def test_customers_come_back_to_what_they_missed(
    node: Node, load_generator: Path, tmp_path: Path
) -> None:
    replay = ("replay", "--clients", "3", "--missed", "40", "--returns", "6")
    status, lines, told = await load(load_generator, node.url, tmp_path, *replay)
    assert status == 0, told
    returns = [
        json.loads(line)
        for line in (tmp_path / "out.jsonl").read_text().splitlines()
        if '"returns"' in line
    ]
    assert [(x["missed"], x["delivered"]) for x in returns] == [(40, 240), (0, 0)]
    assert lines["written"]["up"] == 4


async def test_those_who_only_come_are_counted(
    node: Node, load_generator: Path, tmp_path: Path
) -> None:
    storm = ("storm", "--clients", "30")
    status, lines, told = await load(load_generator, node.url, tmp_path, *storm)
    assert status == 0, told
    assert (lines["setup"]["up"], lines["setup"]["failed"]) == (30, 0)


async def test_a_server_that_is_not_there_is_no_result(
    load_generator: Path, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        str(load_generator),
        *("--url", "http://127.0.0.1:1/cometd", "--scenario", "storm"),
        *("--clients", "3"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert process.returncode == 1
    assert json.loads(out)["failed"] == 3, told


async def test_too_few_open_files_are_told(load_generator: Path) -> None:
    limited = 'ulimit -n 50; exec "$0" --url http://127.0.0.1:1/cometd --clients 100'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", limited, str(load_generator)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "220 open files are needed and 50 allowed" in errors.decode()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scenario", "party"), "there is no such scenario"),
        (("--scenario", "gmschat"), "needs --agent-tokens"),
        (("--scenario", "chat", "--connections", "1"), "needs --connections 2"),
        (("--clients", "many"), "a whole number"),
        (("--rate", "0"), "more than 0"),
        (("--channel", "/chat/%s"), "one %d is needed"),
        (("--text", 'say "a"'), "no quotes"),
    ],
)
async def test_what_cannot_be_done_is_told(
    load_generator: Path, arguments: tuple[str, ...], told: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        str(load_generator),
        *("--url", "http://127.0.0.1:1/cometd", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert told in errors.decode()
