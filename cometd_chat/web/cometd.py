"""The long-polling endpoint: requests to messages, decisions to responses.

Knows Bayeux and HTTP, and nothing of chat: who may do what is asked of an
`Application`, what is to be sent comes from an `Outbox`.

A held connect is registered before anything else is awaited for it, and looked for
in the outbox afterwards: whatever comes in between wakes it. So no event can fall
between the look and the hold.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .exchange import DISPLACED, Exchange
from .limits import read_body

log = logging.getLogger(__name__)

CONFIRMATION_TRIES = 15
CONFIRMATION_PAUSE = 0.02
"""Seconds, times the tries: longer than hosts delay the acknowledgement of TCP."""


class CometdEndpoint:
    """Serves long-polling for one `BayeuxServer`.

    `body_timeout` is in seconds, from the head of a request to its last byte.
    """

    def __init__(
        self,
        server: bayeux.BayeuxServer,
        application: bayeux.Application,
        outbox: bayeux.Outbox,
        clock: Clock,
        limits: bayeux.Limits,
        body_timeout: float = 10.0,
    ) -> None:
        self._server = server
        self._application = application
        self._outbox = outbox
        self._clock = clock
        self._limits = limits
        self._body_timeout = body_timeout
        self._held: dict[str, Exchange] = {}
        self._answered: dict[str, Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Serve one request; any path suffix and any content type are welcome."""
        body = await read_body(request, self._body_timeout)
        try:
            batch = bayeux.screen(bayeux.parse(body, self._limits))
        except bayeux.BodyError as exc:
            return web.Response(status=exc.status, text=f"{exc}\n")
        exchange = Exchange(request)
        try:
            await self._serve(exchange, batch)
            return await exchange.respond()
        except ConnectionError:
            return self._unwritten(exchange)
        finally:
            self._ended(exchange)

    def wake(self, client_id: str) -> None:
        """Answer the client's held connect if something waits for it."""
        exchange = self._held.get(client_id)
        if exchange is not None and not exchange.reading:
            self._answer(client_id, exchange)

    def sweep(self) -> None:
        """Do what is due by the passing of time; call it about once a second."""
        for client_id, exchange in list(self._held.items()):
            if exchange.dead:
                self._drop(client_id, exchange)
        for client_id, exchange in list(self._answered.items()):
            self._confirm(client_id, exchange)
        for happened in self._server.sweep(self._clock.monotonic()):
            self._happened(happened)

    async def close(self) -> None:
        """Answer all held connects; their clients come back to the next server."""
        self._closing = True
        for client_id, exchange in list(self._held.items()):
            exchange.due = True
            self.wake(client_id)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, exchange: Exchange, batch: list[bayeux.Message | bayeux.Reply]
    ) -> None:
        peer = bayeux.Peer(
            headers=exchange.request.headers, address=exchange.request.remote or ""
        )
        connect: bayeux.Connect | None = None
        for item in batch:
            decision = self._decide(item, peer, alone=len(batch) == 1)
            if isinstance(decision, bayeux.Connect):
                connect = decision
            else:
                exchange.replies.append(await self._settle(decision, peer))
        if connect is None:
            exchange.finish([])
        else:
            await self._connect(exchange, connect)

    def _decide(
        self, item: bayeux.Message | bayeux.Reply, peer: bayeux.Peer, *, alone: bool
    ) -> bayeux.Decision:
        if isinstance(item, bayeux.Reply):
            return item
        client = self._server.client(item.client_id or "")
        if client is not None and not self._application.allows(client, peer):
            item.client_id = None  # a stranger gets the answer of an unknown client
        return self._server.receive(item, self._clock.monotonic(), alone=alone)

    async def _settle(self, request: bayeux.Request, peer: bayeux.Peer) -> bayeux.Reply:
        """Carry a decision out and return the reply to its message."""
        match request:
            case bayeux.Reply():
                return request
            case bayeux.Handshake(message):
                return await self._handshake(message, peer)
            case bayeux.Farewell(message, refusal):
                known = await self._application.farewell(message, peer)
                return bayeux.reply(message) if known else refusal
            case _:
                return await self._settle_known(request)

    async def _settle_known(self, request: bayeux.ClientRequest) -> bayeux.Reply:
        match request:
            case bayeux.Subscribe():
                return await self._subscribe(request)
            case bayeux.Unsubscribe(client, names, reply):
                await self._application.unsubscribe(client, names)
                return reply
            case bayeux.Publish():
                return await self._publish(request)
            case bayeux.Disconnect(client, message, reply):
                await self._application.left(client, message)
                self._release(client)
                return reply

    async def _handshake(
        self, message: bayeux.Message, peer: bayeux.Peer
    ) -> bayeux.Reply:
        try:
            identity = await self._application.handshake(message, peer)
        except bayeux.RefusedError as exc:
            return self._server.refuse(message, str(exc), exc.reconnect)
        return self._server.admit(message, identity, self._clock.monotonic())

    async def _subscribe(self, asked: bayeux.Subscribe) -> bayeux.Reply:
        reply = self._server.subscribe(asked.client, asked.message)
        if not reply.successful:
            return reply
        try:
            await self._application.subscribe(
                asked.client, asked.channels, asked.message
            )
        except bayeux.RefusedError as exc:
            asked.client.subscriptions.difference_update(asked.channels)
            reply.successful, reply.error = False, str(exc)
        return reply

    async def _publish(self, publish: bayeux.Publish) -> bayeux.Reply:
        try:
            await self._application.publish(publish.client, publish.message)
        except bayeux.RefusedError as exc:
            return bayeux.refusal(publish.message, str(exc))
        return bayeux.reply(publish.message)

    async def _connect(self, exchange: Exchange, connect: bayeux.Connect) -> None:
        client, client_id = connect.client, connect.client.id
        if (former := self._held.pop(client_id, None)) is not None:
            former.refuse(DISPLACED)
        exchange.client, exchange.poll = client, connect.poll
        exchange.due = not connect.poll.wait or self._closing
        exchange.reading = True
        self._held[client_id] = exchange
        if (last := self._answered.get(client_id)) is not None:
            lost = await _lost(last, exchange)
            if self._held.get(client_id) is not exchange:
                return  # displaced meanwhile: the newer connect decides
            self._answered.pop(client_id, None)
            if lost:
                self._outbox.lost(client_id)
        await self._application.connect(client, connect.message)
        exchange.reading = False
        self.wake(client_id)

    def _confirm(self, client_id: str, last: Exchange) -> None:
        """Stop watching a response that arrived at the peer's host, or died."""
        if last.unconfirmed:
            last.doubtful = True  # if the connection dies now, the response is lost
        elif not last.dead:
            del self._answered[client_id]
        elif self._answered.pop(client_id).doubtful:
            self._outbox.lost(client_id)

    def _answer(self, client_id: str, exchange: Exchange) -> None:
        if exchange.dead:
            self._drop(client_id, exchange)
            return
        events = self._outbox.take(client_id)
        if events is None:
            exchange.reading = True
            self._spawn(self._catch_up(client_id, exchange))
        elif events or exchange.due:
            self._held.pop(client_id, None)
            if events:
                self._answered[client_id] = exchange
            exchange.finish(events)

    async def _catch_up(self, client_id: str, exchange: Exchange) -> None:
        try:
            await self._outbox.catch_up(client_id)
        except Exception:
            # A task boundary: the poll must be answered whatever went wrong, and
            # the entries stay where they are until the next one.
            log.exception("cannot read what waits for a client")
            self._held.pop(client_id, None)
            exchange.finish([])
        finally:
            exchange.reading = False
        if self._held.get(client_id) is exchange:
            self._answer(client_id, exchange)

    def _release(self, client: bayeux.Client) -> None:
        if exchange := self._held.get(client.id):
            exchange.due = True
            self.wake(client.id)

    def _drop(self, client_id: str, exchange: Exchange) -> None:
        self._held.pop(client_id, None)
        exchange.refuse(DISPLACED)

    def _happened(self, happened: bayeux.Occurrence) -> None:
        match happened:
            case bayeux.Release(client):
                self._release(client)
            case bayeux.Silent(client):
                self._spawn(self._application.silent(client))
            case bayeux.Expired(client):
                self._spawn(self._application.left(client, None))

    def _unwritten(self, exchange: Exchange) -> web.StreamResponse:
        client = exchange.client
        if client is not None and self._answered.get(client.id) is exchange:
            del self._answered[client.id]
            self._outbox.lost(client.id)
        return web.Response(status=DISPLACED)

    def _ended(self, exchange: Exchange) -> None:
        client, poll = exchange.client, exchange.poll
        if client is None or poll is None:
            return
        if self._held.get(client.id) is exchange:
            del self._held[client.id]
        if self._server.client(client.id) is not client:
            self._answered.pop(client.id, None)
        self._server.answered(client, poll, self._clock.monotonic())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _lost(last: Exchange, now: Exchange) -> bool:
    """Tell whether there is proof that the last response did not arrive.

    On the same connection HTTP/1.1 proves the contrary: responses come in order. On
    another one, the bytes may only wait for a delayed acknowledgement of TCP.
    """
    if last.request.transport is now.request.transport:
        return False
    for _ in range(CONFIRMATION_TRIES):
        if not last.unconfirmed:
            return last.doubtful and last.dead
        await asyncio.sleep(CONFIRMATION_PAUSE)
    return True


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("background work of the Bayeux endpoint failed")
