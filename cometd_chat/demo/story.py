"""What happens in the story, chapter by chapter."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

from aiohttp import ClientSession

from cometd_chat.app import Node
from cometd_chat.chat import make_agent_token
from cometd_chat.client import AgentClient

from .people import CUSTOMER, DEVICE, Company, Desk, Phone, StepError, check

AGENT = "Ann"

TIMER = 2
"""Seconds of `_client_timeout_notification`: nobody wants to watch its 90."""

IN_TIME = 10.0
"""Seconds within which each chapter must come to its end."""

LATE = 1.5
"""Seconds that a push may come after its time."""

Tell: TypeAlias = Callable[[str, str], None]


class Story:
    """The chapters; each goes on where the one before ended."""

    def __init__(
        self, node: Node, http: ClientSession, company: Company, tell: Tell
    ) -> None:
        self._tell = tell
        self._pushes = company.pushes
        self._phone = Phone(http, node.url)
        token = make_agent_token(
            node.live.current.agents.secret, {"sub": "ann", "name": AGENT}
        )
        self._desk = Desk(AgentClient(http, node.url, token))
        self._chat_id = ""
        self._missed = ("I have found your bike.", "When can you fetch it?")
        self._missed_since = 0.0

    async def play(self) -> None:
        """Play all chapters. Raises: StepError for the first step that fails."""
        for chapter in (
            self._meeting,
            self._talk,
            self._background,
            self._missing,
            self._push,
            self._foreground,
            self._short_absence,
            self._end,
        ):
            try:
                async with asyncio.timeout(IN_TIME):
                    await chapter()
            except TimeoutError:
                what = chapter.__name__.strip("_").replace("_", " ")
                raise StepError(f"nothing came for {IN_TIME:.0f} s: {what}") from None

    async def _meeting(self) -> None:
        self._chat_id = await self._phone.ask_for_chat()
        self._tell("app", "opens CometD, then asks for a chat (v1, notify_by=comet)")
        await self._desk.start()
        await self._desk.sees_waiting(self._chat_id)
        self._tell("agent", f"sees chat {self._chat_id} waiting (listChats)")
        await self._desk.operate("acceptChat")
        await self._phone.read_until(AGENT, "has joined the session")
        self._tell("app", f"reads: {AGENT} has joined the session{self._at()}")

    async def _talk(self) -> None:
        await self._phone.send("My bike is gone!")
        await self._desk.reads("My bike is gone!")
        self._tell("agent", f"reads from {CUSTOMER}: My bike is gone!")
        await self._desk.send("I will look for it.")
        await self._phone.read_until(AGENT, "I will look for it.")
        self._tell("app", f"reads from {AGENT}: I will look for it.{self._at()}")

    async def _background(self) -> None:
        await self._phone.go()
        position = f'ext {{"transcriptPosition": "{self._phone.position}"}}'
        self._tell("app", f"goes to the background: /meta/disconnect, {position}")
        await self._desk.reads("customer is not online")
        self._tell("agent", "reads the notice: customer is not online")

    async def _missing(self) -> None:
        self._missed_since = time.monotonic()
        for number, text in enumerate(self._missed, 1):
            position = await self._desk.send(text)
            check(
                position == self._phone.position + number,
                f"message {number} got position {position}",
            )
            self._tell("agent", f"writes: {text} (position {position})")
        self._tell("server", f"runs the timer, _client_timeout_notification = {TIMER}")

    async def _push(self) -> None:
        push = await self._pushes.get()
        waited = time.monotonic() - self._missed_since
        check(TIMER <= waited < TIMER + LATE, f"the push came after {waited:.2f} s")
        check(push["deviceId"] == DEVICE, "the push is for another device")
        message = push["message"]
        lines = [line["Message.Text"] for line in message["lastTranscript"]]
        check(lines == [*self._missed], f"the push tells {lines}")
        self._tell("company", f"gets the push after {waited:.1f} s, for {DEVICE}:")
        self._tell("phone", f"shows: {message['message']}: {' '.join(lines)}")

    async def _foreground(self) -> None:
        self._phone.come_as_new_client()
        await self._phone.come()
        self._tell("app", "comes back: new handshake, subscribe, connect")
        chats = await self._phone.read()
        texts = [[e[2] for e in chat["transcriptToShow"]] for chat in chats]
        check(texts == [list(self._missed)], f"the app gets {texts}")
        for text in self._missed:
            self._tell("app", f"reads: {text}")
        self._tell("app", f"has all it missed, in one /_genesys message{self._at()}")
        await self._desk.sees_online()
        self._tell("agent", "sees the customer online again")

    async def _short_absence(self) -> None:
        text = "It is at the station."
        await self._phone.go()
        self._tell("app", "goes to the background once more")
        await self._desk.reads("customer is not online")
        await self._desk.send(text)
        self._tell("agent", f"writes: {text}")
        self._phone.come_as_new_client()
        await self._phone.come()
        await self._phone.read_until(AGENT, text)
        self._tell("app", f"comes back in time, and reads it{self._at()}")
        try:
            async with asyncio.timeout(TIMER + LATE):
                push = await self._pushes.get()
        except TimeoutError:
            self._tell("company", f"gets no push for it within {TIMER + LATE:.1f} s")
        else:
            raise StepError(f"there was a push for {push['deviceId']}")

    async def _end(self) -> None:
        await self._desk.operate("endChat")
        (chat,) = await self._phone.read()
        check(chat["chatIxnState"] == "DISCONNECTED", "the app sees no end")
        check(len(chat["transcriptToShow"]) == 1, "the app gets entries twice")
        self._tell("app", f"reads that the chat has ended{self._at()}")
        await self._desk.sees_end()
        self._tell("agent", "sees the chat ended")

    def _at(self) -> str:
        return f" (position {self._phone.position})"
