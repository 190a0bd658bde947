"""An agent's console: operations out, chats and transcripts in, over one channel."""

import itertools
import secrets
from typing import Any

from tests.clients.raw import BayeuxClient, Json, is_event

CHANNEL = "/service/agent"


class AgentClient(BayeuxClient):
    """An agent who posts and receives on `/service/agent`.

    `chats` maps chat ids to their newest summary. `screen` gives a transcript in the
    order of positions. Each operation carries a `localId`, which its answer repeats and
    which no other agent uses: what they send is not taken for a repeat. The answer has
    to come within `patience` seconds.
    """

    patience = 5.0

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url)
        self.handshake_fields = {"ext": {"auth": {"token": token}}}
        self.chats: dict[str, Json] = {}
        self.on_event = self._received
        name = secrets.token_hex(4)
        self._local_ids = (f"{name}-{number}" for number in itertools.count(1))
        self._screens: dict[str, dict[int, Json]] = {}

    async def start(self) -> None:
        """Handshake, subscribe and poll."""
        reply = await self.handshake()
        assert reply["successful"], reply
        reply = await self.subscribe(CHANNEL)
        assert reply["successful"], reply
        self.start_polling()

    async def operate(self, operation: str, **fields: Any) -> Json:
        """Publish an operation and return the `data` of the event that answers it.

        Raises: TimeoutError if no answer comes.
        """
        fields = {"localId": next(self._local_ids), **fields}
        reply = await self.publish(CHANNEL, {"operation": operation, **fields})
        assert reply["successful"], reply
        local_id = fields["localId"]
        return await self.wait_for(lambda: self._answer(local_id), self.patience)

    def screen(self, chat_id: str) -> list[Json]:
        """Return the messages of a chat that have a position, in its order."""
        messages = self._screens.get(chat_id, {})
        return [messages[index] for index in sorted(messages)]

    def texts(self, chat_id: str) -> list[str]:
        """Return what was said in a chat, without the notices."""
        return [m["text"] for m in self.screen(chat_id) if m["type"] == "Message"]

    async def wait_for_text(self, chat_id: str, text: str, within: float = 5.0) -> None:
        """Wait until this text is on the screen. Raises: TimeoutError."""
        await self.wait_for(lambda: text in self.texts(chat_id), within)

    def notices(self, chat_id: str) -> list[Json]:
        """Return the messages of a chat that have no position, as they came."""
        return [
            message
            for event in self.events
            if event["data"].get("chatId") == chat_id
            for message in event["data"].get("messages", [])
            if "index" not in message
        ]

    def _answer(self, local_id: str) -> Json | None:
        for event in reversed(self.events):
            if event["data"].get("localId") == local_id:
                data: Json = event["data"]
                return data
        return None

    def _received(self, message: Json) -> None:
        if message["channel"] != CHANNEL or not is_event(message):
            return
        data = message["data"]
        for summary in data.get("chats", []):
            self.chats[summary["chatId"]] = summary
        screen = self._screens.setdefault(data.get("chatId", ""), {})
        for line in data.get("messages", []):
            if "index" in line:
                screen.setdefault(line["index"], line)
