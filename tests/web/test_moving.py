"""A client that goes from transport to transport keeps its place in the transcript."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from typing import Any

import pytest
from aiohttp import ClientError

from tests.clients.agent import AgentClient
from tests.clients.raw import Json, UnexpectedStatusError, V1App

from .transports import Mover, Way

ENTRIES = 200
HTTP = [Way.LONG_POLLING, Way.FORM, Way.CALLBACK_POLLING]


class MovingApp(V1App):
    """A GMS v1 app whose channel moves.

    `shown` has the position of every entry that came, also of those that came twice.
    With `tells`, each connect says which position the app has.
    """

    bayeux: Mover

    def __init__(self, base: str, *, tells: bool = False) -> None:
        super().__init__(base)
        self.bayeux = Mover(self.bayeux.url)
        self.bayeux.on_event = self._received
        self.shown: list[int] = []
        self.tells = tells

    async def chat(self, agent: AgentClient) -> None:
        """Begin a chat that the agent accepts."""
        await self.create_service()
        await self.bayeux.handshake(ext={"serviceId": self.service_id})
        await self.bayeux.subscribe("/_genesys")
        await self.create_chat()
        await agent.operate("acceptChat", chatId=self.session_id)

    async def poll(self, hold: int = 100) -> Json:
        """Connect once."""
        fields: dict[str, Any] = {"advice": {"timeout": hold}}
        if self.tells:
            fields["ext"] = {"transcriptPosition": str(self.position)}
        return await self.bayeux.connect(**fields)

    def show(self, chat: Json) -> None:
        entries = chat.get("transcriptToShow") or []
        last = int(chat["transcriptPosition"])
        self.shown += range(last - len(entries) + 1, last + 1)
        super().show(chat)


async def say_much(agent: AgentClient, app: MovingApp) -> list[str]:
    """Let the agent write at uneven moments; return what was written."""
    texts = [f"text {number}" for number in range(ENTRIES)]
    for text in texts:
        await asyncio.sleep(random.choice((0, 0, 0.001, 0.01)))
        reply = await agent.publish(
            "/service/agent",
            {"operation": "sendMessage", "chatId": app.session_id, "message": text},
        )
        assert reply["successful"], reply
    return texts


async def move(app: MovingApp, ways: list[Way]) -> None:
    """Go on by any of these ways, and end what was under way in any manner."""
    app.bayeux.way = random.choice(ways)
    polling = asyncio.create_task(app.poll())
    match random.randrange(4):
        case 0 | 1:
            await asyncio.wait({polling})
        case 2:
            await asyncio.sleep(random.uniform(0, 0.03))
            app.bayeux.way = random.choice(ways)
            await ended(app.poll(0))  # takes the place of the other one
        case _:
            await asyncio.sleep(random.uniform(0, 0.03))
            await app.bayeux.vanish()
    polling.cancel()
    await ended(polling)


async def ended(polling: Awaitable[Json]) -> None:
    """Wait for the end of a poll that may be cut off or displaced."""
    with contextlib.suppress(
        asyncio.CancelledError, ClientError, OSError, UnexpectedStatusError
    ):
        await polling


async def chat_while_moving(
    app: MovingApp, agent: AgentClient, ways: list[Way]
) -> None:
    """Break what is under way all through a chat; every entry must be shown once."""
    await app.chat(agent)
    saying = asyncio.create_task(say_much(agent, app))
    while not saying.done():
        await move(app, ways)
    texts = await saying
    await read_everything(app, texts)
    assert app.texts == texts
    assert app.positions == list(range(1, ENTRIES + 3))


async def read_everything(app: MovingApp, texts: list[str]) -> None:
    app.bayeux.way = Way.LONG_POLLING
    async with asyncio.timeout(10):
        while app.texts[-1:] != texts[-1:]:
            await app.poll()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_breaks_every_entry_is_shown_once_and_in_order(
    base: str, agent: AgentClient, seed: int
) -> None:
    """The app says what it has: over HTTP nothing else proves that a response which
    the kernel of the phone took was read by the app."""
    random.seed(seed)
    async with MovingApp(base, tells=True) as app:
        await chat_while_moving(app, agent, list(Way))


@pytest.mark.parametrize("seed", range(3))
async def test_sockets_that_break_lose_nothing_though_the_app_says_nothing(
    base: str, agent: AgentClient, seed: int
) -> None:
    random.seed(seed)
    async with MovingApp(base) as app:
        await chat_while_moving(app, agent, [Way.WEBSOCKET])


@pytest.mark.parametrize("seed", range(2))
async def test_moves_between_responses_bring_nothing_twice(
    base: str, agent: AgentClient, seed: int
) -> None:
    """Over HTTP a response that was read is never doubted."""
    random.seed(seed)
    async with MovingApp(base) as app:
        await app.chat(agent)
        saying = asyncio.create_task(say_much(agent, app))
        while not saying.done():
            app.bayeux.way = random.choice(HTTP)
            assert (await app.poll())["successful"]
        await read_everything(app, await saying)
        assert app.shown == list(range(1, ENTRIES + 3))


@pytest.mark.parametrize("seed", range(2))
async def test_an_app_that_tells_its_position_gets_nothing_twice_over_any_way(
    base: str, agent: AgentClient, seed: int
) -> None:
    random.seed(seed)
    async with MovingApp(base, tells=True) as app:
        await app.chat(agent)
        saying = asyncio.create_task(say_much(agent, app))
        while not saying.done():
            app.bayeux.way = random.choice(list(Way))
            assert (await app.poll())["successful"]
            if random.random() < 0.2:
                await app.bayeux.close()
        await read_everything(app, await saying)
        assert app.shown == list(range(1, ENTRIES + 3))


@pytest.mark.parametrize("first", list(Way))
@pytest.mark.parametrize("second", list(Way))
async def test_a_connect_by_one_way_takes_the_place_of_one_held_by_another(
    base: str, agent: AgentClient, first: Way, second: Way
) -> None:
    async with MovingApp(base) as app:
        await app.chat(agent)
        while app.position < 2:
            await app.poll()
        app.bayeux.way = first
        displaced = asyncio.create_task(app.poll(5000))
        await asyncio.sleep(0.05)
        app.bayeux.way = second
        polling = asyncio.create_task(app.poll(5000))
        await asyncio.sleep(0.05)
        await agent.operate("sendMessage", chatId=app.session_id, message="once")
        assert (await polling)["successful"]
        displaced.cancel()
        await asyncio.gather(displaced, return_exceptions=True)
        await app.poll(0)
        assert app.shown == [1, 2, 3]
