"""Customers and agents who talk through every fault, and note what they see."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.clients.raw import Json, UnexpectedStatusError
from tests.clients.watched import Watched
from tests.e2e.conftest import agent_token
from tests.faults.record import AGENT, CUSTOMER, Arrival, Push, Reader, Record, Sent
from tests.nodes.load import ABSENCE, FAILURES, Word, WordyAgent, WordyApp

SENDING = 5.0
"""Seconds that an app waits for the answer to a send before it sends again."""

AGAIN = 0.1
"""Seconds before the next try."""

TOLD = 120.0
"""Seconds for which a customer who is away waits for a push: two leases, and more."""

SHOWN = 30.0
"""Seconds for which he waits, back again, for what he has missed."""

CHATS_EACH = 5
"""Chats that one agent has."""

OPENING = 20
"""Chats that are opened at a time."""

WORDS = (Word.ACK, Word.POSITION)
"""How apps say what they have; of those that do not, less is promised."""


class Phone(WordyApp):
    """A customer's app with a device; `name` is that of the chat in the record."""

    def __init__(self, base: str, name: str, word: Word, record: Record) -> None:
        super().__init__(base, f"user-{name}", word)
        self.name = name
        self._notes = record

    def show(self, chat: Json) -> None:
        """Note what came, and take it in."""
        entries = chat.get("transcriptToShow") or []
        first = int(chat["transcriptPosition"]) - len(entries) + 1
        seen = self._notes.arrived[Reader(self.name, CUSTOMER)]
        for position, (event, _, text, *_) in enumerate(entries, first):
            said = text if event == "Message.Text" else ""
            seen.append(Arrival(position, said, time.monotonic()))
        super().show(chat)

    async def leave(self) -> None:
        """Go to the background; a goodbye that got no answer is said again."""
        await self.bayeux.stop_polling()
        await until_done(self.background)

    async def come_back(self) -> None:
        await until_done(self.foreground)


LISTS: Mapping[int, Json] = {0: {}, 1: {"state": "waiting"}}
"""Lists of chats that agents follow, by the number of the agent. Whatever changes is
read by each node for whoever has a list there, and told each of them."""


class Desk(WordyAgent):
    """An agent's console, which asks for its chats again after a handshake.

    The first sees every chat, as supervisors do, the second those that wait; the
    others look at their own.
    """

    def __init__(self, url: str, number: int, record: Record) -> None:
        super().__init__(url, agent_token(f"agent-{number}", f"Agent {number}"))
        self.word = Word.ACK
        self.names: dict[str, str] = {}
        self._notes = record
        self._last: dict[str, int] = {}
        self._list = LISTS.get(number)
        self.on_event = self._note

    async def start(self) -> None:
        await super().start()
        await self._follow()

    async def _follow(self) -> None:
        if self._list is not None:
            await self.tell(operation="listChats", **self._list)

    async def accept(self, phone: Phone) -> None:
        """Take the customer's chat."""
        chat = phone.session_id
        self.names[chat] = phone.name
        await self.tell(operation="acceptChat", chatId=chat)

    async def tell(self, **data: Any) -> None:
        """Publish an operation. Raises: AssertionError if it was refused."""
        reply = await self.publish("/service/agent", data)
        assert reply["successful"], reply

    async def _start_again(self) -> None:
        await super()._start_again()
        await self._follow()
        for chat in self.names:
            position = self._last.get(chat, 0) + 1
            await self.tell(
                operation="requestNotifications",
                chatId=chat,
                transcriptPosition=position,
            )

    def _note(self, message: Json) -> None:
        data = message["data"]
        name = self.names.get(data.get("chatId", ""))
        if name is None:
            return
        for line in data.get("messages", []):
            if "index" in line:
                self._arrived(name, data["chatId"], line)
            elif ABSENCE in line.get("text", "") and name not in self._notes.apart:
                self._notes.absences += 1

    def _arrived(self, name: str, chat: str, line: Json) -> None:
        text = line["text"] if line["type"] == "Message" else ""
        index = line["index"]
        seen = self._notes.arrived[Reader(name, AGENT)]
        seen.append(Arrival(index, text, time.monotonic()))
        self._last[chat] = max(index, self._last.get(chat, 0))


class People(Watched):
    """All who talk through `url`. `rate` is how many messages are sent in a second.

    Of so many chats, `apart` are those whose customers go away, are written to, told
    by push, and come back.
    """

    def __init__(
        self, url: str, record: Record, *, chats: int, apart: int, rate: float
    ) -> None:
        super().__init__()
        base, words = f"{url}/genesys", itertools.cycle(WORDS)
        names = [f"c{number}" for number in range(chats)]
        self.record = record
        self.phones = [Phone(base, name, next(words), record) for name in names]
        count = max(2, -(-chats // CHATS_EACH))
        self.desks = [Desk(f"{url}/cometd", n, record) for n in range(count)]
        self._apart = self.phones[:apart]
        self._every = 2 * (chats - apart) / rate
        self._talking: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()
        self._told: set[str] = set()
        record.apart.update(names[:apart])

    # -- the run --------------------------------------------------------------------

    async def come(self) -> None:
        """Open all chats."""
        await asyncio.gather(*(desk.start() for desk in self.desks))
        room = asyncio.Semaphore(OPENING)
        await asyncio.gather(*(self._open(phone, room) for phone in self.phones))
        self._handshakes = self.handshakes

    def begin(self) -> None:
        """Let everybody talk from now on."""
        self.record.begun = time.monotonic()
        for phone in self.phones[len(self._apart) :]:
            self._start(self._talk(CUSTOMER, phone))
            self._start(self._talk(AGENT, phone))
        for phone in self._apart:
            self._start(self._come_and_go(phone))

    async def finish(self, within: float) -> None:
        """Let everybody end what he does; who cannot within so many seconds stops."""
        self.record.ended = time.monotonic()
        self._over.set()
        await asyncio.wait(self._talking, timeout=within)
        for task in self._talking:
            task.cancel()
        results = await asyncio.gather(*self._talking, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        self.record.handshakes = self.handshakes - self._handshakes

    async def vanish(self) -> None:
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)
        for client in [*self.phones, *self.desks]:
            await client.vanish()

    @property
    def handshakes(self) -> int:
        """Handshakes of those who do not go away."""
        staying = [phone.bayeux for phone in self.phones[len(self._apart) :]]
        return sum(
            reply["channel"] == "/meta/handshake"
            for client in [*staying, *self.desks]
            for reply in client.replies
        )

    def pushed(self, push: Push) -> None:
        """Take in what the company's server got."""
        self.record.pushes.append(push)
        self._told.update(push.texts)
        self.changed()

    def desk_of(self, phone: Phone) -> Desk:
        return self.desks[self.phones.index(phone) % len(self.desks)]

    # -- what they do ---------------------------------------------------------------

    def _start(self, doing: Any) -> None:
        self._talking.append(asyncio.create_task(doing))

    async def _open(self, phone: Phone, room: asyncio.Semaphore) -> None:
        async with room:
            await phone.start(
                userDisplayName="Cleo",
                push_notification_deviceid=phone.name,
                push_notification_type="customhttp",
            )
            await self.desk_of(phone).accept(phone)

    async def _talk(self, who: str, phone: Phone) -> None:
        """Send a message each `_every` seconds, beginning anywhere within them."""
        due = time.monotonic() + random.uniform(0, self._every)
        for number in itertools.count():
            if await self._pause(due - time.monotonic()):
                return
            await self._send(who, phone, f"{phone.name} {who} {number}")
            due = max(due + self._every, time.monotonic())

    async def _come_and_go(self, phone: Phone) -> None:
        numbers = itertools.count()
        while not await self._pause(random.uniform(1, 4)):
            await phone.leave()
            texts = [f"{phone.name} away {next(numbers)}" for _ in range(2)]
            for text in texts:
                self.record.due.add(text)
                await self._send(AGENT, phone, text)
                await asyncio.sleep(1)
            with suppress(TimeoutError):  # the judge sees what was not pushed
                await self.wait_for(lambda t=texts: self._told.issuperset(t), TOLD)
            await phone.come_back()
            with suppress(TimeoutError):  # the judge sees what is not shown
                await phone.wait_for(lambda t=texts: t[-1] in phone.texts, SHOWN)

    async def _pause(self, seconds: float) -> bool:
        """Wait for so long; tell whether everything is over."""
        try:
            await asyncio.wait_for(self._over.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        return True

    async def _send(self, who: str, phone: Phone, text: str) -> None:
        """Send it until it is acknowledged, as the same message each time."""
        sent = Sent(phone.name, who, text, time.monotonic())
        self.record.sent[text] = sent
        if who == CUSTOMER:
            await until_done(lambda: phone.send(text, localId=text))
        else:
            fields = {"chatId": phone.session_id, "message": text, "localId": text}
            desk = self.desk_of(phone)
            await until_done(lambda: desk.tell(operation="sendMessage", **fields))
        sent.stored_at = time.monotonic()


async def until_done(do: Callable[[], Awaitable[object]]) -> None:
    """Try until it succeeds; whoever waits for this sets the limit."""
    while True:
        try:
            await asyncio.wait_for(do(), SENDING)
        except FAILURES as failure:
            if isinstance(failure, UnexpectedStatusError) and failure.status == 400:
                raise
            await asyncio.sleep(AGAIN)
        else:
            return


def all_shown(record: Record) -> Sequence[Reader]:
    """Return the readers who lack something that was stored."""
    return [
        reader
        for chat, entries in record.stored.items()
        for reader in (Reader(chat, CUSTOMER), Reader(chat, AGENT))
        if {e.text for e in entries if e.text}
        - {arrival.text for arrival in record.arrived.get(reader, ())}
    ]
