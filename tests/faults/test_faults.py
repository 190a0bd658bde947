"""Three of the faults, with few chats; `scripts/faults` tries all of them with many."""

from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.judge import judge
from tests.faults.run import QUICK, run

pytestmark = pytest.mark.slow

BUSY = 15.0
"""Seconds of silence that are forgiven here, where other tests run beside this one."""


@pytest.mark.parametrize("name", ["node-killed", "redis-killed", "replica-promoted"])
async def test_nothing_that_was_promised_is_broken(name: str, tmp_path: Path) -> None:
    (fault,) = [fault for fault in FAULTS if fault.name == name]
    record = await run(fault, QUICK, tmp_path, print)
    verdict = judge(record)
    assert verdict.broken(BUSY) == []
    assert verdict.acknowledged > 100
    assert verdict.due >= QUICK.apart
    assert record.struck > record.begun
