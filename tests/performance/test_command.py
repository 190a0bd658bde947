"""`scripts/bench`, from the command line to the page, with little load."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.generator import raise_file_limit, too_large
from bench.page import PAGE, begin
from bench.scenarios import FULL, QUICK, SCENARIOS
from bench.series import Series
from bench.targets import ROOT, Contender, TargetError, nodes, running
from tests.performance.script import bench

NAMES = ("chat", "ladder", "gmschat", "gmsladder", "replay", "scale")
EVERYBODY = ["cometd-chat", "faye", "cometd-nodejs-server"]


async def test_all_servers_are_measured_and_the_page_is_written(
    tmp_path: Path,
) -> None:
    page, out = tmp_path / "performance.md", tmp_path / "out.jsonl"
    shutil.copy(PAGE, page)
    scenarios = ("--scenarios", ",".join(NAMES), "--scale", "10")
    arguments = ("--quick", *scenarios, "--page", str(page), "--out", str(out))
    status, told = await bench(*arguments)
    assert status == 0, told
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    chat = [x["label"] for x in lines if (x["tag"], x["phase"]) == ("chat", "check")]
    assert sorted(chat) == sorted(EVERYBODY)
    assert {x["label"] for x in lines if x["tag"] == "gmschat"} == {"cometd-chat"}
    assert {x["rate"] for x in lines if "kept_up" in x} >= {100, 20}
    text = page.read_text()
    for name in NAMES:
        written = text.partition(begin(name))[2].lstrip()
        assert written.startswith("| "), name


def test_nodes_are_measured_together_and_apart_from_their_store(
    load_generator: Path, tmp_path: Path
) -> None:
    (scenario,) = (s for s in SCENARIOS.values() if s.servers == nodes)
    series = Series(
        size=QUICK,
        servers=[],
        given=None,
        out=tmp_path / "out.jsonl",
        files=raise_file_limit(),
        tell=lambda text: None,
    )
    two = [node for node in nodes() if node.name == "redis-2"]
    series.run([replace(scenario, servers=lambda: two)], 1)
    assert series.faults == []
    for line in (x for x in series.lines if x["phase"] == "steady"):
        parent, *workers = line["each_cpu_pct"]
        assert parent < min(workers)
        assert sum(workers) + parent == pytest.approx(line["cpu_pct"], abs=0.1)
        assert line["store_us_per_delivery"] > 0


async def test_a_server_that_runs_already_takes_part(tmp_path: Path) -> None:
    script = str(ROOT / "tests" / "conformance" / "peers" / "faye.js")
    node = shutil.which("node")
    assert node is not None
    out = tmp_path / "out.jsonl"
    with running(Contender(name="faye", command=(node, script))) as target:
        status, told = await bench(
            *("--quick", "--only-ours", "--scenarios", "chat", "--out", str(out)),
            *("--url", target.url, "--pid", str(target.pid), "--name", "theirs"),
        )
    assert status == 0, told
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    used = {x["label"]: x["cpu_s"] for x in lines if x["phase"] == "steady"}
    assert used.keys() == {"cometd-chat", "theirs"}


async def test_a_profile_shows_areas_that_add_up() -> None:
    arguments = ("profile", "--quick", "--scenarios", "chat", "--profiler", "cprofile")
    status, told = await bench(*arguments)
    assert status == 0, told
    rows = [line.split("|")[1:-1] for line in told.splitlines() if line[:2] == "| "]
    shares = {name.strip(): int(share) for name, _, share in rows[2:]}
    assert shares.keys() == {"store", "Bayeux", "chat", "HTTP", "loop", "other", "all"}
    assert shares.pop("all") == 100
    assert sum(shares.values()) == pytest.approx(100, abs=3)
    assert shares["HTTP"] > 0 < shares["Bayeux"]


def test_raw_results_make_the_tables_again(tmp_path: Path) -> None:
    line = {"tag": "storm", "label": "faye", "phase": "setup"}
    line |= {"us_per_session": 400.0, "sessions_per_s": 1000.0}
    raw = tmp_path / "raw.jsonl"
    raw.write_text(json.dumps(line) + "\n")
    done = CliRunner().invoke(main, ["--read", str(raw)])
    assert done.exit_code == 0
    assert "| faye | 400 | – | 1000 |" in done.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scenarios", "chat,party"], "there is no scenario party"),
        (["--scale", "few"], "numbers such as 100,1000 are needed"),
        (["--clients", "1"], "1 is not in the range"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(main, ["--quick", *arguments])
    assert done.exit_code == 2
    assert told in done.output


def test_too_few_open_files_are_told_with_what_to_do() -> None:
    (run,) = SCENARIOS["idle"].runs(FULL)
    assert "ulimit -n 10100" in too_large(run, 4_096)
    assert too_large(run, 20_000) == ""


def test_a_server_that_does_not_start_is_told_with_its_own_words() -> None:
    failing = Contender(name="it", command=("sh", "-c", "echo no disk >&2"))
    with (
        pytest.raises(TargetError, match="it does not start: no disk"),
        running(failing),
    ):
        raise AssertionError
