"""One fault under load, from the first chat to the verdict."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.faults.faults import FAULTS, Fault
from tests.faults.judge import Verdict, judge
from tests.faults.people import People, all_shown
from tests.faults.record import Record
from tests.faults.stand import Stand, read_back, standing

QUIET = 30.0
"""Seconds within which everything that is stored has to be on the screens."""

PUSHED = 90.0
"""Seconds within which pushes have to be sent after the run: two of their leases."""

SURPLUS = 3.0
"""Seconds in which a push that nobody expects may still come."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a run is; durations are in seconds, `rate` is messages per second.

    `before` is how long everything is well, `fault` how long the fault lasts at most,
    `seconds` is all of it.
    """

    nodes: int
    chats: int
    apart: int
    rate: float
    before: float
    fault: float
    seconds: float


FULL = Size(
    nodes=2, chats=1000, apart=50, rate=200.0, before=10.0, fault=20.0, seconds=60.0
)
QUICK = Size(nodes=2, chats=40, apart=6, rate=40.0, before=2.0, fault=4.0, seconds=10.0)


async def run(
    fault: Fault, size: Size, folder: Path, tell: Callable[[str], None]
) -> Record:
    """Let people talk, break what the fault breaks, and return what they saw."""
    record = Record()
    numbers = {"chats": size.chats, "apart": size.apart, "rate": size.rate}
    stand = Stand(fault.layout, struck=FAULTS.index(fault) % size.nodes)
    async with standing(stand, folder, size.nodes, record, numbers) as people:
        try:
            tell(f"{fault.name}: {size.chats} chats are opened")
            await people.come()
            await _strike(fault, size, stand, people, tell)
            await _settle(stand, people)
        finally:
            await people.vanish()
    return record


async def _strike(
    fault: Fault, size: Size, stand: Stand, people: People, tell: Callable[[str], None]
) -> None:
    record = people.record
    people.begin()
    await asyncio.sleep(size.before)
    record.struck = time.monotonic()
    tell(f"{fault.name}: {fault.what}, after {len(record.acknowledged)} messages")
    await fault.strike(stand, size.fault)
    record.mended = time.monotonic()
    await asyncio.sleep(max(0.0, record.begun + size.seconds - record.mended))
    tell(f"{fault.name}: the end, after {len(record.acknowledged)} messages")
    await people.finish(PUSHED)


async def _settle(stand: Stand, people: People) -> None:
    """Wait until everything is on its screen, but no longer than it has to be."""
    await asyncio.sleep(SURPLUS)
    await read_back(stand, people)
    end = time.monotonic() + QUIET
    while all_shown(people.record) and time.monotonic() < end:  # noqa: ASYNC110 - screens do not tell
        await asyncio.sleep(0.1)


def measure(
    fault: Fault, size: Size, tell: Callable[[str], None], keep: Path | None = None
) -> Verdict:
    """Run one fault and judge it; logs stay in `keep`."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = (keep or Path(folder)) / fault.name
        shutil.rmtree(where, ignore_errors=True)  # Redis would go on with its file
        where.mkdir(parents=True)
        record = uvloop.run(run(fault, size, where, tell))
    return judge(record)
