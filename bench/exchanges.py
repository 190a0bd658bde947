"""A fixed log of exchanges, and who plays it: clients without sockets.

Bytes go straight into the protocol object that the server would give a connection, and
what it writes is read back, so that nothing but the server is measured.
"""

import asyncio
import json
import re
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Factory: TypeAlias = Callable[[], asyncio.Protocol]

ROOM = "/chat/1"
AGENT = "/service/agent"
ANSWER_TIMEOUT = 10.0
"""Seconds in which a request must be answered."""

HEADERS = (
    "Host: 127.0.0.1:8080\r\nConnection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n"
    "Origin: http://127.0.0.1:8080\r\nAccept-Encoding: identity\r\n"
)


class FakeTransport(asyncio.Transport):
    """A transport that keeps what is written. Its socket is there to be asked."""

    def __init__(self, protocol: asyncio.Protocol, sock: socket.socket) -> None:
        super().__init__({"socket": sock, "peername": ("127.0.0.1", 40_000)})
        self._protocol: asyncio.BaseProtocol = protocol
        self._closing = False
        self.written = bytearray()
        self.arrived = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.arrived.set()

    def feed(self, data: bytes) -> None:
        """Let the server receive something."""
        protocol = self._protocol
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101 - never buffered
        protocol.data_received(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._protocol.connection_lost(None)

    def abort(self) -> None:
        self.close()

    def is_reading(self) -> bool:
        return not self._closing

    def pause_reading(self) -> None:
        """Nothing comes unless it is fed."""

    def resume_reading(self) -> None:
        """Nothing comes unless it is fed."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """What is written is never kept waiting."""


class Connection:
    """One HTTP connection to the server, by its protocol object."""

    def __init__(self, factory: Factory, sock: socket.socket) -> None:
        protocol = factory()
        self._transport = FakeTransport(protocol, sock)
        protocol.connection_made(self._transport)

    def send(self, path: str, kind: str, body: bytes) -> None:
        """Post a body."""
        head = (
            f"POST {path} HTTP/1.1\r\n{HEADERS}Content-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.feed(head.encode() + body)

    async def answer(self) -> Any:
        """Return the JSON of the next response. Raises: TimeoutError, ValueError."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while (body := self._take()) is None:
                self._transport.arrived.clear()
                await self._transport.arrived.wait()
        return json.loads(body)

    def _take(self) -> bytes | None:
        written = self._transport.written
        begin = written.find(b"\r\n\r\n") + 4
        if begin < 4:
            return None
        head = bytes(written[:begin])
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"the server answers {head[:60]!r}")
        found = _LENGTH(head)
        end = begin + int(found[1]) if found else -1
        if not begin <= end <= len(written):
            return None
        body = bytes(written[begin:end])
        del written[:end]
        return body

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


class Session:
    """A Bayeux client: a connection for polls, and one for everything else."""

    def __init__(self, factory: Factory, sock: socket.socket) -> None:
        self._polls = Connection(factory, sock)
        self._others = Connection(factory, sock)
        self._client_id = ""
        self.exchanges = 0

    async def start(self, channel: str, ext: Json | None = None) -> None:
        """Shake hands, subscribe, and have the first connect answered."""
        reply = await self._request("/meta/handshake", **_HANDSHAKE, ext=ext or {})
        self._client_id = reply["clientId"]
        await self._request("/meta/subscribe", subscription=channel)
        self.poll(advice={"timeout": 0})
        await self.events()

    def poll(self, **more: object) -> None:
        """Hold a connect."""
        connect = self._message("/meta/connect", connectionType="long-polling", **more)
        self._polls.send(_COMETD, _JSON, json.dumps([connect]).encode())

    async def events(self) -> list[Json]:
        """Return what the answer to the connect brings."""
        events: list[Json] = await self._polls.answer()
        reply = events.pop()
        self.exchanges += 1
        _expect(reply["successful"], reply)
        return events

    async def publish(self, channel: str, data: Json) -> list[Json]:
        """Publish, and have it acknowledged; return the events that come along."""
        _, events = await self._exchange(channel, data=data)
        return events

    async def post(self, path: str, form: str) -> Json:
        """Post a form to the REST interface."""
        self._others.send(path, _FORM, form.encode())
        self.exchanges += 1
        answer: Json = await self._others.answer()
        return answer

    async def stop(self) -> None:
        """Say goodbye."""
        await self._request("/meta/disconnect")
        self._polls.close()
        self._others.close()

    async def _request(self, channel: str, **fields: object) -> Json:
        reply, _ = await self._exchange(channel, **fields)
        return reply

    async def _exchange(
        self, channel: str, **fields: object
    ) -> tuple[Json, list[Json]]:
        message = self._message(channel, **fields)
        self._others.send(_COMETD, _JSON, json.dumps([message]).encode())
        self.exchanges += 1
        answers = await self._others.answer()
        (reply,) = (a for a in answers if a["channel"] == channel and "data" not in a)
        _expect(reply["successful"], reply)
        return reply, [a for a in answers if "data" in a]

    def _message(self, channel: str, **fields: object) -> Json:
        known = {"clientId": self._client_id} if self._client_id else {}
        return {"channel": channel, "id": str(self.exchanges), **known, **fields}


_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n").search
_COMETD = "/genesys/cometd"
_JSON = "application/json;charset=UTF-8"
_FORM = "application/x-www-form-urlencoded"
_HANDSHAKE = {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}


def _expect(happened: object, otherwise: object) -> None:
    if not happened:
        raise ValueError(f"the log cannot be played: {otherwise}")


async def talk(readers: list[Session], messages: int) -> None:
    """Let the first publish in a room and receive it with the reply, and the others
    with a poll; all of them hold one."""
    publisher, *others = readers
    publisher.poll()
    for number in range(messages):
        for reader in others:
            reader.poll()
        line = f"{number} How can I help?"
        (event,) = await publisher.publish(ROOM, {"line": line})
        _expect(event["data"]["line"] == line, event)
        for reader in others:
            (event,) = await reader.events()
            _expect(event["data"]["line"] == line, event)


class Chat:
    """A chat that is stored: a customer by GMS v1, and the agent."""

    def __init__(self, customer: Session, agent: Session) -> None:
        self._customer, self._agent = customer, agent
        self._path = self._chat = ""
        self._position = 0

    async def start(self, token: str) -> None:
        """Let the customer ask for the chat, and the agent accept it."""
        service = await self._customer.post("/genesys/1/service/bench", "a=b")
        key = service["_id"]
        self._path = f"/genesys/1/service/{key}/ixn/chat"
        await self._customer.start("/_genesys", {"serviceId": key})
        form = "notify_by=comet&userDisplayName=Cleo"
        self._chat = (await self._customer.post(self._path, form))["chatSessionId"]
        await self._agent.start(AGENT, {"auth": {"token": token}})
        await self._operate("acceptChat", "a")
        await self._read(position=2)

    async def talk(self, messages: int) -> None:
        """Let both write, and both receive each message with a poll."""
        for number in range(messages):
            if number % 2:
                form = f"message=My+invoice+is+wrong&localId=m{self._position}"
                await self._customer.post(f"{self._path}/send", form)
            else:
                more = {"message": "How can I help?"}
                await self._operate("sendMessage", f"s{self._position}", **more)
            await self._read(self._position + 1)

    async def _operate(self, operation: str, local_id: str, **more: str) -> None:
        data = {"operation": operation, "chatId": self._chat, "localId": local_id}
        await self._agent.publish(AGENT, {**data, **more})

    async def _read(self, position: int) -> None:
        """Let both poll until they have this position."""
        confirmed = {"transcriptPosition": str(self._position)}
        while self._position < position:
            self._customer.poll(ext=confirmed)
            for event in await self._customer.events():
                chat = event["data"]["message"]
                self._position = int(chat["transcriptPosition"])
        seen = 0
        while seen < position:
            self._agent.poll()
            for event in await self._agent.events():
                for line in event["data"]["messages"]:
                    seen = line["index"]
