"""Customers and agents who never stop talking, and what they must have heard."""

import asyncio
import collections
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

from aiohttp import ClientError

from cometd_chat.model import EntryKind
from cometd_chat.store import Store
from tests.clients.agent import AgentClient
from tests.clients.raw import (
    BayeuxClient,
    NotAnsweredError,
    UnexpectedStatusError,
    V1App,
)
from tests.clients.watched import Watched
from tests.e2e.conftest import agent_token

FAILURES = (
    ClientError,
    OSError,
    NotAnsweredError,
    UnexpectedStatusError,
    TimeoutError,
    AssertionError,
)
"""What a client meets while a node goes down; it tries again."""

STALLED = 60.0
"""Seconds without any progress after which a test gives up: a machine that is busy is
slow, but nothing stands still there."""

RECEIPT = 5.0
"""Seconds after which agents send again what they got no receipt for: with a node that
dies, these are lost."""

RETRY = 0.05
ABSENCE = "is not online"


class Word(Enum):
    """How a client says what it has: not at all, by CometD's extension, or with the
    position of the transcript."""

    NONE = "none"
    ACK = "ack"
    POSITION = "position"


class Wordy(BayeuxClient):
    """A client that says what it has; `position` is what its app shows."""

    word = Word.NONE
    batch: int | None = None
    position = 0

    async def handshake(self, **fields: Any) -> Any:
        if self.word is Word.ACK:
            ext = {**self.handshake_fields.get("ext", {}), "ack": True}
            self.handshake_fields = {**self.handshake_fields, "ext": ext}
        self.batch = None
        return await super().handshake(**fields)

    async def connect(self, **fields: Any) -> Any:
        ext: dict[str, Any] = {}
        if self.word is Word.ACK:
            ext = {"ack": self.batch if self.batch is not None else -1}
        elif self.word is Word.POSITION:
            ext = {"transcriptPosition": str(self.position)}
        reply = await super().connect(**{"ext": ext or None, **fields})
        if self.word is Word.ACK:
            self.batch = reply.get("ext", {}).get("ack", self.batch)
        return reply


class WordyApp(V1App):
    def __init__(self, base: str, user: str, word: Word) -> None:
        super().__init__(base, user=user)
        wordy = Wordy(f"{base}/cometd", self.headers)
        wordy.word, wordy.on_event = word, self._received
        self.bayeux = wordy

    def show(self, chat: Any) -> None:
        super().show(chat)
        assert isinstance(self.bayeux, Wordy)
        self.bayeux.position = self.position


class WordyAgent(Wordy, AgentClient):
    """An agent with CometD's acknowledgements."""


class Load:
    """Chats at `url`, each with one customer; agents share them evenly, and wait
    `receipt` seconds for what answers them.

    `failures` counts requests that failed, or had no receipt in time, and were sent
    again.
    """

    def __init__(
        self, url: str, apps: int, tokens: Iterable[str], receipt: float = RECEIPT
    ) -> None:
        base, words = f"{url}/genesys", itertools.cycle(Word)
        self.apps = [WordyApp(base, f"user-{n}", next(words)) for n in range(apps)]
        self.agents: list[AgentClient] = []
        for number, token in enumerate(tokens):
            agent = (WordyAgent if number % 2 else AgentClient)(f"{url}/cometd", token)
            if isinstance(agent, WordyAgent):
                agent.word = Word.ACK
            agent.patience = STALLED
            self.agents.append(agent)
        self._receipt = receipt
        self.acknowledged: dict[str, list[str]] = collections.defaultdict(list)
        self.failures = 0
        self._talking: list[asyncio.Task[None]] = []
        self._silent = False

    def agent_of(self, app: V1App) -> AgentClient:
        return self.agents[self.apps.index(app) % len(self.agents)]

    async def begin(self) -> None:
        await asyncio.gather(*(agent.start() for agent in self.agents))
        await asyncio.gather(*map(self._open, self.apps))
        for agent in self.agents:
            agent.patience = self._receipt
        for app in self.apps:
            self._talking.append(asyncio.create_task(self._customer(app)))
            self._talking.append(asyncio.create_task(self._agent(app)))

    async def more(self, count: int) -> None:
        """Wait until so many more messages were acknowledged."""
        goal = self.total + count
        while (before := self.total) < goal:
            async with asyncio.timeout(STALLED):
                while self.total == before:
                    for task in self._talking:
                        assert not task.done(), task.exception()
                    await asyncio.sleep(0.02)

    @property
    def total(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def stop(self) -> None:
        """Let everybody finish: what is cut off may be stored later, beside a look."""
        self._silent = True
        async with asyncio.timeout(2 * STALLED):
            await asyncio.gather(*self._talking)
        self._talking = []

    async def vanish(self) -> None:
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)
        for client in [*self.apps, *self.agents]:
            await client.vanish()

    async def check(self, store: Store) -> None:
        """Compare what everybody shows with what is stored, and with what was
        acknowledged."""
        for app in self.apps:
            entries = await store.read(app.session_id, 0, 100_000)
            stored = [e.text for e in entries if e.kind is EntryKind.MESSAGE]
            assert set(collections.Counter(stored).values()) == {1}, "stored twice"
            assert set(self.acknowledged[app.session_id]) <= set(stored), "lost"
            goal = len(entries)
            await _shown(app, lambda app=app: len(app.screen), goal)
            assert app.texts == stored
            assert app.positions == [e.position for e in entries]
            agent = self.agent_of(app)
            name = app.session_id
            try:
                await _shown(
                    agent, lambda a=agent, n=name: len(a.texts(n)), len(stored)
                )
            except TimeoutError:
                shown = {line["index"] for line in agent.screen(name)}
                missing = {e.position for e in entries} - shown
                who = type(agent).__name__
                raise AssertionError(
                    f"{who} {agent.client_id} lacks {sorted(missing)} of {len(entries)}"
                ) from None
            assert agent.texts(name) == stored

    def absences(self) -> dict[str, int]:
        """Return how often agents were told that a customer is away, by chat."""
        counts = {
            app.session_id: sum(
                ABSENCE in message.get("text", "")
                for message in self.agent_of(app).notices(app.session_id)
            )
            for app in self.apps
        }
        return {name: count for name, count in counts.items() if count}

    def repeated(self) -> int:
        """Return how many entries came to customers more than once."""
        return sum(
            len(shown) - len(set(shown)) for shown in map(positions_of, self.apps)
        )

    async def _open(self, app: V1App) -> None:
        await app.start(userDisplayName="Cleo")
        await self.agent_of(app).operate("acceptChat", chatId=app.session_id)

    def _numbers(self) -> Iterator[int]:
        """Count for as long as there is something to say."""
        return itertools.takewhile(lambda _: not self._silent, itertools.count())

    async def _customer(self, app: V1App) -> None:
        for number in self._numbers():
            text = f"customer {number}"
            await self._until_taken(app.send, text, localId=text)
            self.acknowledged[app.session_id].append(text)
            await asyncio.sleep(0.02)

    async def _agent(self, app: V1App) -> None:
        agent, chat = self.agent_of(app), app.session_id
        for number in self._numbers():
            text = f"agent {number}"
            await self._until_taken(
                agent.operate,
                "sendMessage",
                chatId=chat,
                message=text,
                localId=f"{chat[:8]} {text}",
            )
            self.acknowledged[chat].append(text)
            await asyncio.sleep(0.02)

    async def _until_taken(self, do: Any, *args: Any, **fields: Any) -> None:
        while True:
            try:
                await do(*args, **fields)
            except FAILURES:
                self.failures += 1
                await asyncio.sleep(RETRY)
            else:
                return


async def _shown(client: Watched, count: Callable[[], int], goal: int) -> None:
    """Wait until a client shows so much. Raises: TimeoutError when nothing comes."""
    while (before := count()) < goal:
        await client.wait_for(lambda before=before: count() > before, STALLED)


@asynccontextmanager
async def talking(
    url: str, apps: int = 12, receipt: float = RECEIPT
) -> AsyncIterator[Load]:
    """Let so many customers and four agents talk, until they are told to `stop`."""
    tokens = [agent_token(f"agent-{n}", f"Agent {n}") for n in range(4)]
    talk = Load(url, apps, tokens, receipt)
    try:
        await talk.begin()
        yield talk
    finally:
        await talk.vanish()


def positions_of(app: V1App) -> list[int]:
    """Return the positions of all entries that reached the app, in this order."""
    found: list[int] = []
    for event in app.bayeux.events:
        if event["channel"] == "/_genesys":
            chat = event["data"]["message"]
            count = len(chat["transcriptToShow"])
            last = int(chat["transcriptPosition"])
            found += range(last - count + 1, last + 1)
    return found


def handshakes(client: BayeuxClient) -> int:
    return sum(r["channel"] == "/meta/handshake" for r in client.replies)
