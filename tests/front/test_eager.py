"""Work that is begun at once, and goes on as a task only if it has to wait."""

import asyncio

import pytest

from cometd_chat.web.eager import begin


async def test_work_that_need_not_wait_is_done_without_a_task() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("all")

    assert begin(work()) is None
    assert done == ["all"]


async def test_work_goes_on_when_what_it_waits_for_has_come() -> None:
    done: list[str] = []
    first = asyncio.get_running_loop().create_future()

    async def work() -> None:
        done.append(await first)
        await asyncio.sleep(0)
        done.append("more")

    task = begin(work())
    assert task is not None
    assert done == []
    first.set_result("one")
    await task
    assert done == ["one", "more"]


async def test_what_came_before_the_task_ran_is_not_missed() -> None:
    first = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await first

    task = begin(work())
    assert task is not None
    first.set_result(None)
    async with asyncio.timeout(5):
        await task


async def test_errors_reach_the_work_and_those_of_the_work_its_task() -> None:
    first = asyncio.get_running_loop().create_future()

    async def work() -> None:
        with pytest.raises(OSError, match="away"):
            await first
        raise ValueError("mine")

    task = begin(work())
    assert task is not None
    first.set_exception(OSError("away"))
    with pytest.raises(ValueError, match="mine"):
        await task


async def test_an_error_before_the_first_wait_is_raised_at_once() -> None:
    async def work() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        begin(work())


async def test_a_task_that_is_cancelled_ends_the_work() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    task = begin(work())
    assert task is not None
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cleaned up"]
