"""Work in the background goes on, and says what matters."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from cometd_chat.background import repeated

DONE = "done"
SPOKEN = "my card number is 4711"


class Job:
    """Ends each of its runs as it was told, the last way for ever."""

    def __init__(self, *ways: type[Exception] | str) -> None:
        self._ways = ways
        self._run = asyncio.Event()
        self.runs = 0

    async def run(self) -> None:
        way = self._ways[min(self.runs, len(self._ways) - 1)]
        self.runs += 1
        self._run.set()
        if not isinstance(way, str):
            raise way(SPOKEN)

    async def runs_at_least(self, times: int, reminder: float = 60.0) -> None:
        repeating = repeated(0.001, self.run, reminder=reminder)
        async with asyncio.timeout(5), repeating:
            while self.runs < times:
                self._run.clear()
                await self._run.wait()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


async def test_a_job_that_fails_is_done_again() -> None:
    await Job(OSError, DONE).runs_at_least(3)


async def test_it_ends_with_the_block() -> None:
    job = Job(DONE)
    await job.runs_at_least(1)
    before = job.runs
    await asyncio.sleep(0.01)
    assert job.runs == before


async def test_failures_in_a_row_are_logged_once(
    said: pytest.LogCaptureFixture,
) -> None:
    await Job(OSError).runs_at_least(20)
    assert said.messages == ["background job Job.run failed"]
    assert said.records[0].exc_info is not None


async def test_a_failure_of_another_kind_is_news(
    said: pytest.LogCaptureFixture,
) -> None:
    await Job(OSError, OSError, KeyError).runs_at_least(5)
    assert said.messages == ["background job Job.run failed"] * 2


async def test_the_end_of_the_failures_is_logged(
    said: pytest.LogCaptureFixture,
) -> None:
    await Job(OSError, OSError, DONE, DONE, OSError).runs_at_least(6)
    assert said.messages == [
        "background job Job.run failed",
        "background job Job.run works again: it failed 2 times",
        "background job Job.run failed",
    ]


async def test_failures_that_go_on_are_remembered(
    said: pytest.LogCaptureFixture,
) -> None:
    await Job(OSError).runs_at_least(3, reminder=0.0)
    assert said.messages[:3] == [
        "background job Job.run failed",
        "background job Job.run still fails: 2 times",
        "background job Job.run still fails: 3 times",
    ]
