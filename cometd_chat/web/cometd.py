"""The endpoint behind all transports: batches of messages to responses.

Knows Bayeux and exchanges, and nothing of chat: who may do what is asked of an
`Application`, what is to be sent comes from an `Outbox`. The transports
(`long_polling.py`, `websocket.py`) parse, call `serve()`, and tell with `ended()`
what became of the response.

A held connect is registered before anything else is awaited for it, and looked for
in the outbox afterwards: whatever comes in between wakes it. So no event can fall
between the look and the hold.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias

from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .exchange import DISPLACED, Exchange
from .throttle import Throttles

log = logging.getLogger(__name__)

Item: TypeAlias = bayeux.Message | bayeux.Reply
"""A message, or the reply that refuses what was none."""


class CometdEndpoint:
    """Serves the clients of one `BayeuxServer`, whichever transport they use."""

    def __init__(
        self,
        server: bayeux.BayeuxServer,
        application: bayeux.Application,
        outbox: bayeux.Outbox,
        clock: Clock,
        throttle: Throttles,
        *,
        timestamps: bool = False,
    ) -> None:
        self._server = server
        self._application = application
        self._outbox = outbox
        self._clock = clock
        self._throttle = throttle
        self._timestamps = timestamps
        self._held: dict[str, Exchange] = {}
        self._answered: dict[str, Exchange] = {}
        self._failed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def serve(
        self, exchange: Exchange, batch: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        """Serve the messages of one request.

        Returns when the response is on its way, or held. Whoever calls must call
        `ended()` once the response was written, or could not be.
        """
        exchange.received_at = self._clock.time()
        items = bayeux.screen(batch)
        for item in items:
            decision = self._decide(item, peer, alone=len(items) == 1)
            if isinstance(decision, bayeux.Connect):
                exchange.connect = decision
            else:
                exchange.add(item, await self._settle(decision, peer))
        if exchange.connect is None:
            self._finish(exchange, [])
        else:
            await self._connect(exchange, exchange.connect)

    def ended(self, exchange: Exchange) -> None:
        """Note that the exchange is over; `exchange.written` tells how it went."""
        if exchange.connect is None:
            return
        client, poll = exchange.connect.client, exchange.connect.poll
        if self._held.get(client.id) is exchange:
            del self._held[client.id]
        if self._answered.get(client.id) is exchange and not exchange.written:
            del self._answered[client.id]
            self._outbox.lost(client.id)
        if self._server.client(client.id) is not client:
            self._answered.pop(client.id, None)
        now = self._clock.monotonic()
        self._server.answered(client, poll, now, events=exchange.carries)

    def disconnected(self, connection: object, client_id: str) -> None:
        """Note the end of a connection that carried many exchanges.

        What went out last on it, and was not followed by another poll there, may
        be lost with it.
        """
        last = self._answered.get(client_id)
        if last is not None and last.connection is connection:
            del self._answered[client_id]
            self._outbox.lost(client_id)

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
        failed, self._failed = self._failed, set()
        for client_id in failed:
            self.wake(client_id)
        for happened in self._server.sweep(self._clock.monotonic()):
            self._happened(happened)

    async def expel(self, client_id: str) -> None:
        """Make a client begin anew, for it has lost something for good."""
        if client := self._server.client(client_id):
            self._server.expel(client)
            try:
                await self._application.left(client, None)
            finally:
                self._release(client)

    async def close(self) -> None:
        """Answer all held connects; their clients come back to the next server."""
        self._closing = True
        for client_id, exchange in list(self._held.items()):
            exchange.due = True
            self.wake(client_id)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _decide(self, item: Item, peer: bayeux.Peer, *, alone: bool) -> bayeux.Decision:
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
                if request.advice and request.advice.reconnect == "handshake":
                    await self._throttle.wait(peer.address, self._clock.monotonic())
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
                try:
                    await self._application.left(client, message)
                finally:
                    self._release(client)
                return reply

    async def _handshake(
        self, message: bayeux.Message, peer: bayeux.Peer
    ) -> bayeux.Reply:
        await self._throttle.wait(peer.address, self._clock.monotonic())
        try:
            identity = await self._application.handshake(message, peer)
        except bayeux.RefusedError as exc:
            return self._server.refuse(message, str(exc), exc.reconnect)
        now = self._clock.monotonic()
        reply = self._server.admit(message, identity, now, peer.browser)
        asked = bayeux.extensions.resume(message)
        new = self._server.client(reply.client_id or "")
        if new is not None and asked is not None:
            resumed = await self._resume(asked, new)
            told = {"clientId": asked.client_id, "resumed": resumed}
            reply.ext = {**(reply.ext or {}), "resume": told}
        return reply

    async def _resume(
        self, asked: bayeux.extensions.Resume, new: bayeux.Client
    ) -> bool:
        """Let the new client go on where a former one was, if that is still known."""
        old = self._server.client(asked.client_id)
        if old is None or not self._application.continues(old, new):
            return False
        # Before anything is awaited, so that no other handshake finds it as well.
        self._server.resume(old, new)
        try:
            await self._application.resume(old, new, asked.position)
        finally:
            self._release(old)
        return True

    async def _subscribe(self, asked: bayeux.Subscribe) -> bayeux.Reply:
        client, names, message = asked.client, asked.channels, asked.message
        try:
            ext = await self._application.subscribe(client, names, message)
        except bayeux.RefusedError as exc:
            return bayeux.refusal(message, str(exc))
        reply = self._server.subscribe(client, message)
        if reply.successful:
            reply.ext = ext or bayeux.UNSET
        else:  # it left while the application was asked
            await self._application.unsubscribe(client, names)
        return reply

    async def _publish(self, publish: bayeux.Publish) -> bayeux.Reply:
        try:
            await self._application.publish(publish.client, publish.message)
        except bayeux.RefusedError as exc:
            return bayeux.refusal(publish.message, str(exc))
        return bayeux.reply(publish.message)

    async def _connect(self, exchange: Exchange, connect: bayeux.Connect) -> None:
        client, client_id = connect.client, connect.client.id
        if client.poll is not connect.poll:
            exchange.refuse(DISPLACED)  # while its neighbours were carried out
            return
        if (former := self._held.pop(client_id, None)) is not None:
            former.refuse(DISPLACED)
        exchange.due = not connect.poll.wait or self._closing
        exchange.reading = True
        self._held[client_id] = exchange
        arrived = await self._arrived(exchange, client_id)
        if self._held.get(client_id) is not exchange:
            return  # displaced meanwhile: the newer connect decides
        self._answered.pop(client_id, None)
        if connect.count is not None and connect.count.rewind is not None:
            connect.count.rewind()
        elif connect.count is not None or not arrived:
            self._outbox.lost(client_id)
        later = self._application.connect(client, connect.message)
        exchange.reading = False
        self.wake(client_id)
        if later is not None:
            self._spawn(later)

    async def _arrived(self, exchange: Exchange, client_id: str) -> bool:
        """Tell whether the client has the answer to its connect before this one, as
        far as connections tell."""
        last = self._answered.get(client_id)
        return last is None or not await last.lost(exchange)

    def _confirm(self, client_id: str, last: Exchange) -> None:
        """Stop watching a response that arrived at the peer's host, or died."""
        if self._server.client(client_id) is None:
            del self._answered[client_id]
        elif last.unconfirmed:
            last.doubtful = True  # if the connection dies now, the response is lost
        elif not last.dead:
            del self._answered[client_id]
        elif self._answered.pop(client_id).doubtful:
            self._outbox.lost(client_id)

    def _answer(self, client_id: str, exchange: Exchange) -> None:
        if exchange.dead:
            self._drop(client_id, exchange)
            return
        events = self._outbox.take(client_id, ending=exchange.due)
        if events is None:
            exchange.reading = True
            self._spawn(self._catch_up(client_id, exchange))
        elif events or exchange.due:
            self._held.pop(client_id, None)
            if events:
                self._watch(client_id, exchange)
            self._finish(exchange, events)

    def _watch(self, client_id: str, exchange: Exchange) -> None:
        """Keep what will tell whether these events arrived."""
        count = None if exchange.connect is None else exchange.connect.count
        if exchange.connect is None or count is None:
            self._answered[client_id] = exchange
        else:
            exchange.connect.client.carries(count.batch, self._outbox.mark(client_id))

    def _finish(self, exchange: Exchange, events: list[Raw]) -> None:
        now = self._clock.time()
        exchange.parting = self._closing
        exchange.sync(now)
        if self._timestamps:
            exchange.stamp(bayeux.extensions.timestamp(now))
        exchange.finish(events)

    async def _catch_up(self, client_id: str, exchange: Exchange) -> None:
        try:
            await self._outbox.catch_up(client_id)
        except Exception as exc:  # noqa: BLE001 - a task boundary
            # The poll stays held, and looks again with each sweep, until it is due.
            log.warning("what waits cannot be read: %s", type(exc).__name__)
            failed = True
        else:
            failed = False
        exchange.reading = False
        if self._held.get(client_id) is not exchange:
            return
        if not failed:
            self._answer(client_id, exchange)
        elif exchange.due:
            del self._held[client_id]
            self._finish(exchange, [])
        else:
            self._failed.add(client_id)

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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("background work of the Bayeux endpoint failed")
