"""`cometd-chat demo`: the whole story, and an end in one sentence where it breaks."""

import re
import resource
from pathlib import Path

from tests.cli.program import run, says_it_in_one_sentence

STORY = [
    ("server", "is ready on http://127"),
    ("app", "asks for a chat"),
    ("agent", "waiting"),
    ("app", "Ann has joined"),
    ("agent", "reads from Carla"),
    ("app", "(position 4)"),
    ("app", '/meta/disconnect, ext {"transcriptPosition": "4"}'),
    ("agent", "customer is not online"),
    ("agent", "(position 5)"),
    ("agent", "(position 6)"),
    ("server", "_client_timeout_notification"),
    ("company", "gets the push after"),
    ("phone", "New message from Agent: I have found your bike. When can you"),
    ("app", "new handshake, subscribe, connect"),
    ("app", "I have found your bike."),
    ("app", "When can you fetch it?"),
    ("app", "in one /_genesys message (position 6)"),
    ("agent", "online again"),
    ("app", "background once more"),
    ("agent", "writes: It is at the station."),
    ("app", "in time, and reads it (position 7)"),
    ("company", "no push"),
    ("app", "the chat has ended (position 8)"),
    ("agent", "ended"),
    ("server", "has stopped"),
]


async def test_the_story_happens_in_its_order_and_in_time(tmp_path: Path) -> None:
    status, program = await run(tmp_path, "demo")
    assert status == 0, program.err
    assert program.err == []
    lines = [re.fullmatch(r" *(\d+\.\d\d) s  (\w+) +(.*)", x) for x in program.out]
    told = [line.groups() for line in lines if line]
    assert [who for _, who, _ in told] == [who for who, _ in STORY]
    for (_, _, what), (_, expected) in zip(told, STORY, strict=True):
        assert expected in what
    times = [float(at) for at, _, _ in told]
    assert times == sorted(times)
    assert times[11] - times[10] >= 1.9
    assert times[-1] < 30


async def test_a_step_that_does_not_happen_is_a_failure(tmp_path: Path) -> None:
    """No file may grow here, so that the database cannot be made."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, kept[1]))
    try:
        # What coverage measures could not be written either.
        env = {"PYTHONDONTWRITEBYTECODE": "1", "COVERAGE_PROCESS_CONFIG": ""}
        status, program = await run(tmp_path, "demo", env=env)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert status == 1
    assert says_it_in_one_sentence(program)
    assert "broke off" in program.err[-1]
