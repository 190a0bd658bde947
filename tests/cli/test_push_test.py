"""`cometd-chat push test`: one real push, and what became of it."""

from pathlib import Path

import pytest

from tests.cli.program import run, says_it_in_one_sentence
from tests.push.fake_webhook import answers, hook

CONFIG = """\
[push]
pushEnabled = comet, customhttp
[push.provider.company]
customhttp.url = {url}
"""


async def tried(folder: Path, url: str, *more: str) -> tuple[int, list[str], list[str]]:
    path = folder / "chat.ini"
    path.write_text(CONFIG.format(url=url))
    status, program = await run(
        folder, "push", "test", "--config", "chat.ini", "--device", "d-1", *more
    )
    if status:
        assert says_it_in_one_sentence(program)
    return status, program.out, program.err


COMPANY = ("--type", "customhttp", "--provider", "company")


async def test_a_push_that_was_taken_is_success(tmp_path: Path) -> None:
    async with hook() as fake:
        status, out, err = await tried(tmp_path, fake.url(), *COMPANY)
    assert (status, err) == (0, [])
    assert out == ["customhttp:company has taken the push"]
    assert b"d-1" in fake.arrived[0].body
    assert b"This is a test." in fake.arrived[0].body


@pytest.mark.parametrize(
    ("status", "word"), [(500, "Retry"), (401, "Misconfigured"), (410, "DeadDevice")]
)
async def test_any_other_outcome_is_a_failure(
    tmp_path: Path, status: int, word: str
) -> None:
    async with hook() as fake:
        fake.handler = answers(status)
        code, out, err = await tried(tmp_path, fake.url(), *COMPANY)
    assert (code, out) == (1, [])
    assert word in err[-1]


async def test_a_device_that_nobody_serves_is_a_failure(tmp_path: Path) -> None:
    code, _, err = await tried(
        tmp_path, "http://127.0.0.1:9/", "--type", "customhttp", "--provider", "other"
    )
    assert code == 1
    assert "nobody serves this device" in err[-1]
