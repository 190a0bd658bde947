"""Reading from the store what a cursor is behind."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeAlias

from cometd_chat.store import Store

from .cursor import PAGE, Cursor

Reads: TypeAlias = Iterable[Callable[[], Awaitable[None]]]

Each: TypeAlias = Callable[[Reads], Awaitable[None]]
"""Carries out several reads of the store."""


async def in_turn(reads: Reads) -> None:
    """Do one after the other."""
    for read in reads:
        await read()


async def at_once(reads: Reads) -> None:
    """Do all at the same time, for a store may be far away."""
    await asyncio.gather(*(read() for read in reads))


async def catch_up(cursor: Cursor, store: Store, each: Each) -> None:
    """Read what this cursor is behind.

    Raises: SessionNotFoundError, StoreUnavailableError.
    """
    if cursor.stale:
        reads = [partial(_read_session, cursor, store)]
        if cursor.lacking:
            reads.append(partial(_read_entries, cursor, store))
        await each(reads)
    if cursor.lacking:  # entries that the session told of, too
        await _read_entries(cursor, store)


async def _read_session(cursor: Cursor, store: Store) -> None:
    heard = cursor.alterations
    session = await store.get(cursor.session.id)
    cursor.newest = max(cursor.newest, session.last)
    # Two polls of one client may read at the same time: the later word counts.
    if heard >= cursor.known:
        cursor.session, cursor.known = session, heard


async def _read_entries(cursor: Cursor, store: Store) -> None:
    heard, after = cursor.newest, cursor.sent
    entries = await store.read(cursor.session.id, after, PAGE)
    if cursor.sent != after:
        return  # something else moved the cursor meanwhile; it knows better
    if entries and entries[-1].position > cursor.top:
        cursor.tail = entries
        cursor.newest = max(cursor.newest, cursor.top)
    # Positions heard of before the read are committed, so that nothing read
    # means nothing there: a transcript that was purged or rolled back.
    elif not entries and cursor.newest == heard:
        cursor.newest = cursor.top
