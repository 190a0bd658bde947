"""What an agent does from a shell: send a message, follow a chat or all of them.

A lost connection ends nothing. Messages are repeated under the same `localId`, so
that they are stored once; transcripts go on behind the last entry that was seen.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import ClientSession

from .bayeux import BayeuxClient, Json, LostError, RefusedError

CHANNEL = "/service/agent"

DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to come back; the last one again and again."""

_WHOLE = "whole"
"""Name of the question for all open chats; changes come without it."""

_MOST_CHATS = 500
"""As many as a server lists."""

GOODBYE = 2.0
"""Seconds that a goodbye may take."""


class AgentClient:
    """An agent's line to the server: operations out, data objects in.

    `url` is the server's address. `lost` hears why a connection was lost.
    """

    def __init__(
        self,
        http: ClientSession,
        url: str,
        token: str,
        lost: Callable[[str], None] = lambda reason: None,
    ) -> None:
        address = f"{url.rstrip('/')}/cometd"
        ext = {"auth": {"token": token}}
        self._bayeux = BayeuxClient(http, address, ext=ext)
        self._lost = lost

    async def start(self) -> None:
        """Come in. Raises: LostError, RefusedError."""
        await self._bayeux.start(CHANNEL)

    async def restart(self, reason: LostError) -> None:
        """Come in again, however often it must be tried. Raises: RefusedError."""
        self._lost(str(reason))
        for delay in itertools.chain(DELAYS, itertools.repeat(DELAYS[-1])):
            await asyncio.sleep(delay)
            try:
                await self.start()
            except LostError:
                continue
            return

    async def operate(self, operation: str, **fields: Any) -> None:
        """Carry out an operation; what it brings comes by `poll`.

        Raises: LostError, RefusedError.
        """
        await self._bayeux.publish(CHANNEL, {"operation": operation, **fields})

    async def poll(self) -> list[Json]:
        """Wait for data, at most for the server's hold. Raises: LostError."""
        return [event["data"] for event in await self._bayeux.poll()]

    async def stop(self) -> None:
        """Say goodbye, if there is still somebody to hear it."""
        with suppress(LostError, RefusedError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._bayeux.stop()


async def send(
    agent: AgentClient, chat_id: str, text: str, local_id: str, *, accept: bool = False
) -> int:
    """Send a message and return its position; `agent` has been started.

    Repeats after a lost connection, without end: the caller sets the time. `accept`
    takes the chat first.

    Raises: RefusedError.
    """
    while True:
        try:
            if accept:
                await agent.operate("acceptChat", chatId=chat_id)
            message = {"chatId": chat_id, "message": text, "localId": local_id}
            await agent.operate("sendMessage", **message)
            return await _receipt(agent, local_id)
        except LostError as reason:
            await agent.restart(reason)


async def _receipt(agent: AgentClient, local_id: str) -> int:
    while True:
        for data in await agent.poll():
            if data.get("localId") == local_id and "position" in data:
                return int(data["position"])


async def follow_chat(agent: AgentClient, chat_id: str) -> AsyncIterator[Json]:
    """Yield what happens in a chat until it ends; `agent` has been started.

    Each entry comes once, as on the wire. Changes of the customer come as
    `{"customer": …}`, the end as `{"chatEnded": true}`.

    Raises: RefusedError.
    """
    seen, customer = 0, None

    async def ask() -> None:
        position = {"chatId": chat_id, "transcriptPosition": seen + 1}
        await agent.operate("requestNotifications", **position)

    async for data in _told(agent, ask):
        if data.get("chatId") != chat_id:
            continue
        for entry in data.get("messages", ()):
            if entry.get("index", 0) > seen:
                seen = entry["index"]
                yield entry
        if data.get("customer", customer) != customer:
            customer = data["customer"]
            yield {"customer": customer}
        if data.get("chatEnded"):
            yield {"chatEnded": True}
            return


async def follow_chats(agent: AgentClient) -> AsyncIterator[Json]:
    """Yield the summary of each open chat, and again whenever it has changed.

    The last one of a chat that ended while the connection was lost is the one before,
    with another state.

    Raises: RefusedError.
    """
    shown: dict[str, Json] = {}

    async def ask() -> None:
        await agent.operate("listChats", localId=_WHOLE, limit=_MOST_CHATS)

    async for data in _told(agent, ask):
        for chat in [*_gone(shown, data), *data.get("chats", ())]:
            chat_id, ended = chat["chatId"], chat["state"] == "ended"
            if shown.get(chat_id) == chat or (ended and chat_id not in shown):
                continue
            shown[chat_id] = chat
            if ended:
                del shown[chat_id]
            yield chat


def _gone(shown: dict[str, Json], data: Json) -> list[Json]:
    """Return those that a list of all open chats has no more, as they ended.

    One with as many as a list can have may have left others out.
    """
    chats = data.get("chats")
    if data.get("localId") != _WHOLE or chats is None or len(chats) >= _MOST_CHATS:
        return []
    names = {chat["chatId"] for chat in chats}
    return [c | {"state": "ended"} for name, c in shown.items() if name not in names]


async def _told(
    agent: AgentClient, ask: Callable[[], Awaitable[None]]
) -> AsyncIterator[Json]:
    """Yield all data after a question, which is asked again after each loss."""
    while True:
        try:
            await ask()
            while True:
                for data in await agent.poll():
                    yield data
        except LostError as reason:
            await agent.restart(reason)
