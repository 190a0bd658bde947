"""The protocol core as a target: no transport, an application that grants all."""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from cometd_chat.bayeux import (
    BayeuxServer,
    BodyError,
    Bounds,
    Broadcast,
    Client,
    Connect,
    Decision,
    Disconnect,
    Farewell,
    Handshake,
    Limits,
    Mailboxes,
    Message,
    Options,
    Patterns,
    Publish,
    RefusedError,
    Reply,
    Request,
    Rewind,
    Rules,
    Subscribe,
    Unsubscribe,
    encode,
    parse,
    refusal,
    reply,
    screen,
)
from tests.conformance.case import Json, Way
from tests.conformance.run import Answer


class CoreTarget:
    """The core, and behind it channels for everybody and a service that echoes."""

    words: Mapping[str, Json] = {
        "ext": {},
        "channel": "/conformance",
        "service": "/service/echo",
    }

    def __init__(self) -> None:
        options = Options(timeout=20, max_interval=60)
        self._server = BayeuxServer(options, lambda: secrets.token_hex(16))
        self._mailboxes = Mailboxes(Bounds())
        rules = Rules(allowed=Patterns(["/conformance/**"]))
        self._broadcast = Broadcast(rules, self._mailboxes)
        self._mailboxes.on_wake(self._wake)
        self._held: dict[str, asyncio.Future[bool]] = {}
        self._holding = asyncio.Event()

    async def exchange(self, body: Json, way: Way, client_id: str) -> Answer:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            batch = screen(parse(body, Limits()))
        except BodyError as exc:
            return Answer(status=exc.status)
        replies: list[Reply | Raw] = []
        connect = None
        for item in batch:
            decision = self._decide(item, alone=len(batch) == 1)
            if isinstance(decision, Connect):
                connect = decision
            else:
                replies.append(self._settle(decision))
        if connect is not None and not await self._hold(connect, replies):
            return Answer(status=500)
        return Answer(messages=json.loads(encode(replies)))

    async def held(self, client_id: str) -> None:
        await self._holding.wait()

    def _decide(self, item: Message | Reply, *, alone: bool) -> Decision:
        if isinstance(item, Reply):
            return item
        client = self._server.client(item.client_id or "")
        return self._server.receive(item, client, time.monotonic(), alone=alone)

    def _settle(self, request: Request) -> Reply:
        match request:
            case Reply():
                return request
            case Handshake(message):
                return self._server.admit(message, None, time.monotonic())
            case Subscribe():
                return self._subscribe(request)
            case Publish():
                return self._publish(request)
            case Unsubscribe() | Disconnect():
                self._give_up(request)
                return request.reply
            case Farewell():
                return request.reply

    def _give_up(self, request: Unsubscribe | Disconnect) -> None:
        if isinstance(request, Unsubscribe):
            self._broadcast.unsubscribe(request.client.id, request.channels)
        else:
            self._broadcast.forget(request.client.id)
            self._release(request.client)

    def _subscribe(self, asked: Subscribe) -> Reply:
        names = [n for n in asked.channels if not n.startswith("/service/")]
        try:
            self._broadcast.subscribe(asked.client.id, names)
        except RefusedError as exc:
            return refusal(asked.message, str(exc))
        return self._server.subscribe(asked.client, asked.message)

    def _publish(self, publish: Publish) -> Reply:
        client, message = publish.client, publish.message
        if message.channel == self.words["service"]:
            event = {
                "channel": message.channel,
                "data": json.loads(bytes(message.data)),
            }
            self._mailboxes.post(client.id, Raw(json.dumps(event).encode()))
        elif not message.channel.startswith("/service/"):
            try:
                self._broadcast.publish(
                    message.channel, message.data, sender=client.id, now=0
                )
            except RefusedError as exc:
                return refusal(message, str(exc))
        return reply(message)

    async def _hold(self, connect: Connect, response: list[Any]) -> bool:
        """Wait as a transport would, and complete the response.

        Returns False for a connect whose place was taken.
        """
        client = connect.client
        if former := self._held.pop(client.id, None):
            former.set_result(False)
        if connect.count is not None:
            rewind = connect.count.rewind or self._back_to(client, 0)
            rewind()
        self._mailboxes.acknowledge(client.id)
        served = True
        if connect.wait and not self._mailboxes.waiting(client.id):
            self._held[client.id] = asyncio.get_running_loop().create_future()
            self._holding.set()
            served = await self._until(client.id, connect.deadline)
        if served:
            events = self._mailboxes.take(client.id)
            response += [*events, connect.reply]
            if events and connect.count is not None:
                mark = self._mailboxes.mark(client.id)
                client.carries(connect.count.batch, self._back_to(client, mark))
        self._server.answered(connect, time.monotonic())
        return served

    def _back_to(self, client: Client, mark: int) -> Rewind:
        return lambda: self._mailboxes.lost(client.id, mark)

    async def _until(self, client_id: str, deadline: float) -> bool:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._held[client_id]
        except TimeoutError:
            del self._held[client_id]
            return True

    def _wake(self, client_id: str) -> None:
        if client := self._server.client(client_id):
            self._release(client)

    def _release(self, client: Client) -> None:
        if client.id in self._held:
            self._held.pop(client.id).set_result(True)
