"""Who gets room for the bytes of files, who waits for it, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from cometd_chat.web.file_requests import RefusedError
from cometd_chat.web.file_room import (
    AT_ONCE,
    AT_ONCE_OF_CUSTOMER,
    MOST_WAITING,
    Room,
)

LONG = 60.0


@asynccontextmanager
async def full_of(room: Room, customer: str) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        for _ in range(AT_ONCE_OF_CUSTOMER):
            await stack.enter_async_context(room.taken(customer))
        yield stack


async def waiting(
    room: Room, customer: str, wait: float, got: list[str]
) -> asyncio.Task[None]:
    async def take() -> None:
        async with room.taken(customer, wait):
            got.append(customer)

    task = asyncio.create_task(take())
    await asyncio.sleep(0)
    return task


async def test_a_customer_and_all_together_have_so_much_room() -> None:
    room = Room()
    async with AsyncExitStack() as stack:
        for number in range(AT_ONCE // AT_ONCE_OF_CUSTOMER):
            await stack.enter_async_context(full_of(room, str(number)))
            with pytest.raises(RefusedError):
                await stack.enter_async_context(room.taken(str(number)))
        with pytest.raises(RefusedError):
            await stack.enter_async_context(room.taken("another"))
    async with full_of(room, "another"):
        pass


async def test_who_may_wait_gets_the_room_that_is_left() -> None:
    room, got = Room(), list[str]()
    async with full_of(room, "cleo"):
        tasks = [await waiting(room, "cleo", LONG, got) for _ in range(20)]
        async with room.taken("dan"):
            pass  # he left room, but not hers
        await asyncio.sleep(0)
        assert not got
    await asyncio.gather(*tasks)
    assert got == ["cleo"] * 20


async def test_nobody_waits_for_longer_than_he_may() -> None:
    room, got = Room(), list[str]()
    async with full_of(room, "cleo"):
        with pytest.raises(RefusedError):
            await (await waiting(room, "cleo", 0.01, got))
        one = await waiting(room, "cleo", LONG, got)
        one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    async with full_of(room, "cleo"):
        assert not got


async def test_not_all_may_wait() -> None:
    room, got = Room(), list[str]()
    async with full_of(room, "cleo"):
        tasks = [await waiting(room, "cleo", LONG, got) for _ in range(MOST_WAITING)]
        with pytest.raises(RefusedError):
            await (await waiting(room, "cleo", LONG, got))
    await asyncio.gather(*tasks)
    assert len(got) == MOST_WAITING
