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
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .elsewhere import ABROAD, Elsewhere, Item
from .exchange import DISPLACED, Exchange
from .throttle import Throttles

log = logging.getLogger(__name__)

Work: TypeAlias = Coroutine[Any, Any, None]
"""What has to be waited for. Most requests have none, and are served without it."""

DEPARTURES: Final = 500
"""Held connects that are answered in a second when their clients go elsewhere."""


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
        self._time, self._monotonic = clock.time, clock.monotonic
        self._throttle = throttle
        self._timestamps = timestamps
        self._held: dict[str, Exchange] = {}
        self._answered: dict[str, Exchange] = {}
        self._last_on: dict[object, str] = {}
        self._watched: set[Exchange] = set()
        self._failed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.elsewhere: Elsewhere | None = None

    @property
    def closing(self) -> bool:
        """Tell whether this server stops."""
        return self._closing

    def watch(self, exchange: Exchange) -> None:
        """Look now and then whether this exchange is dead, for nobody will tell."""
        self._watched.add(exchange)

    def serve(
        self, exchange: Exchange, batch: Sequence[Item], peer: bayeux.Peer
    ) -> Work | None:
        """Serve the messages of one request.

        Afterwards, and after the work that is returned, the response is on its way,
        or held. Whoever calls must call `ended()` once it was written, or could not
        be.
        """
        exchange.received_at = self._time()
        if exchange.connection in self._last_on and exchange.in_turn:
            self._proved(exchange.connection)
        if self.elsewhere is not None:
            return self.elsewhere.serve(exchange, bayeux.screen(batch), peer)
        if len(batch) == 1:
            return self._serve_one(exchange, batch[0], peer)
        return self.serve_here(exchange, bayeux.screen(batch), peer)

    async def serve_here(
        self, exchange: Exchange, items: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        """Serve messages of clients that are on this node, if anywhere."""
        alone = len(items) == 1 and not exchange.replies
        here = "" if alone else self._local(items)
        for at, item in enumerate(items):
            if here and self._server.client(here) is None:
                # It polled at another node while its messages before were carried out.
                await self._serve_rest(exchange, items[at:], peer)
                return
            decision = self._decide(item, peer, alone=alone)
            if isinstance(decision, bayeux.Connect):
                exchange.hold(decision)
            else:
                settled = self._settle(decision, peer)
                if not isinstance(settled, bayeux.Reply):
                    settled = await settled
                exchange.add(item, settled)
        if exchange.connect is None:
            self._finish(exchange, [])
        elif (work := self._connect(exchange, exchange.connect)) is not None:
            await work

    def _local(self, items: Sequence[Item]) -> str:
        """Return the client that speaks in a batch, if it may go to another node."""
        if self.elsewhere is None:
            return ""
        names = (i.client_id for i in items if isinstance(i, bayeux.Message))
        client_id = next(filter(None, names), "")
        return "" if self._server.client(client_id) is None else client_id

    async def _serve_rest(
        self, exchange: Exchange, items: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        if self.elsewhere is not None:
            await self.elsewhere.serve(exchange, items, peer)

    def _serve_one(
        self, exchange: Exchange, item: Item, peer: bayeux.Peer
    ) -> Work | None:
        """Serve a message that is alone in its request, as nearly all are."""
        decision = self._decide(item, peer, alone=True)
        if isinstance(decision, bayeux.Connect):
            exchange.hold(decision)
            return self._connect(exchange, decision)
        if isinstance(decision, bayeux.Publish):
            return self._serve_publish(exchange, decision)
        settled = self._settle(decision, peer)
        return self._reply(exchange, item, settled)

    def _serve_publish(
        self, exchange: Exchange, publish: bayeux.Publish
    ) -> Work | None:
        held = self._told_by_reply(exchange, publish.client)
        try:
            settled = self._publish(publish)
        finally:
            if held is not None:
                held.reading = False
        if held is None or not isinstance(settled, bayeux.Reply):
            return self._reply(exchange, publish.message, settled)
        exchange.add(publish.message, settled)
        self._finish(exchange, self._take(exchange, held))
        return None

    def _told_by_reply(
        self, exchange: Exchange, client: bayeux.Client
    ) -> Exchange | None:
        """Return the held connect of a client who shall get what he publishes with
        the reply, and make it wait; None if he shall get it with the connect.

        Then all that was told before has arrived. Acknowledgements number answers to
        connects only, and without a connect nobody knows yet what arrived.
        """
        held = self._held.get(client.id)
        if held is None or held.reading or client.acks or not exchange.in_turn:
            return None
        last = self._answered.get(client.id)
        if last is not None and not self._confirmed(client.id, last):
            return None
        held.reading = True
        return held

    def _take(self, exchange: Exchange, held: Exchange) -> list[Raw]:
        """Return the events that the reply to a publisher brings him."""
        if held.connect is None:
            return []
        client_id = held.connect.client.id
        events = self._outbox.take(client_id, ending=False) or []
        if events:
            self._watch(client_id, exchange)
        return events

    def _reply(
        self,
        exchange: Exchange,
        item: Item,
        settled: bayeux.Reply | Awaitable[bayeux.Reply],
    ) -> Work | None:
        """Answer a message that is alone in its request, once its reply is known."""
        if not isinstance(settled, bayeux.Reply):
            return self._reply_later(exchange, item, settled)
        exchange.add(item, settled)
        self._finish(exchange, [])
        return None

    async def _reply_later(
        self, exchange: Exchange, item: Item, settling: Awaitable[bayeux.Reply]
    ) -> None:
        exchange.add(item, await settling)
        self._finish(exchange, [])

    def ended(self, exchange: Exchange) -> None:
        """Note that the exchange is over; `exchange.written` tells how it went.

        Told twice, or before `serve()` has returned, it does no harm.
        """
        self._watched.discard(exchange)
        if exchange.connect is None:
            if exchange.carries and not exchange.written:
                self._not_told(exchange)
            return
        client = exchange.connect.client
        if self._held.get(client.id) is exchange:
            del self._held[client.id]
        if not exchange.written and self._answered.get(client.id) is exchange:
            self._unwatch(client.id)
            self._outbox.lost(client.id)
        if client.id in self._answered and self._server.client(client.id) is not client:
            self._unwatch(client.id)
        now = self._monotonic()
        self._server.answered(exchange.connect, now, events=exchange.carries)

    def disconnected(self, connection: object, client_id: str) -> None:
        """Note the end of a connection that carried many exchanges.

        What went out last on it, and was not followed by another poll there, may
        be lost with it.
        """
        last = self._answered.get(client_id)
        if last is not None and last.connection is connection:
            self._unwatch(client_id)
            self._outbox.lost(client_id)

    def wake(self, client_id: str) -> None:
        """Answer the client's held connect if something waits for it."""
        exchange = self._held.get(client_id)
        if exchange is not None and not exchange.reading:
            self._answer(client_id, exchange)

    def sweep(self) -> None:
        """Do what is due by the passing of time; call it about once a second."""
        for exchange in [e for e in self._watched if e.connect and e.dead]:
            self._let_go(exchange)
        for client_id, exchange in list(self._answered.items()):
            self._confirm(client_id, exchange)
        failed, self._failed = self._failed, set()
        for client_id in failed:
            self.wake(client_id)
        for happened in self._server.sweep(self._monotonic()):
            self._happened(happened)

    def answered_elsewhere(self, exchange: Exchange) -> None:
        """Let the replies of another node go out."""
        self._finish(exchange, [])

    async def part(self, client: bayeux.Client) -> None:
        """Take back what did not reach a client that is about to leave this node."""
        last = self._answered.get(client.id)
        if last is not None and await last.lost(ABROAD):
            self._outbox.lost(client.id)

    def parted(self, client: bayeux.Client, *, resumed: bool = False) -> None:
        """Forget a client that goes on at another node, or (`resumed`) another that
        goes on in its place; then its held connect is told to stop."""
        if resumed and client.poll is not None:
            client.poll.reply.advice = self._server.advice("none")
            self._release(client)
        if (exchange := self._held.pop(client.id, None)) is not None:
            exchange.refuse(DISPLACED)
        self._unwatch(client.id)
        self._failed.discard(client.id)
        self._server.part(client)

    async def expel(self, client_id: str) -> None:
        """Make a client begin anew, for it has lost something for good."""
        if client := self._server.client(client_id):
            self._server.expel(client)
            try:
                await self._left(client, None)
            finally:
                self._release(client)

    async def close(self, within: float = 0.0) -> None:
        """Answer all held connects; their clients come back to the next server.

        So that other servers are not run over, they are answered one after the other,
        but all `within` these seconds.
        """
        self._closing = True
        held = list(self._held.items())
        pause = min(1 / DEPARTURES, within / max(1, len(held)))
        for client_id, exchange in held:
            exchange.due = True
            self.wake(client_id)
            if pause:
                await asyncio.sleep(pause)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _decide(self, item: Item, peer: bayeux.Peer, *, alone: bool) -> bayeux.Decision:
        if not isinstance(item, bayeux.Message):
            return item
        client = self._server.client(item.client_id or "")
        if client is not None and not self._application.allows(client, peer):
            # A stranger gets the answer of an unknown client.
            client = item.client_id = None
        now = self._monotonic()
        return self._server.receive(item, client, now, alone=alone)

    def _settle(
        self, request: bayeux.Request, peer: bayeux.Peer
    ) -> bayeux.Reply | Coroutine[Any, Any, bayeux.Reply]:
        """Carry a decision out and return the reply to its message."""
        if isinstance(request, bayeux.Publish):
            return self._publish(request)
        if isinstance(request, bayeux.Reply):
            if request.advice and request.advice.reconnect == "handshake":
                return self._advised(request, peer)
            return request
        return self._settle_slowly(request, peer)

    async def _settle_slowly(
        self, request: bayeux.SlowRequest, peer: bayeux.Peer
    ) -> bayeux.Reply:
        match request:
            case bayeux.Handshake(message):
                return await self._handshake(message, peer)
            case bayeux.Farewell(message, refusal):
                known = await self._application.farewell(message, peer)
                return bayeux.reply(message) if known else refusal
            case bayeux.Subscribe():
                return await self._subscribe(request)
            case bayeux.Unsubscribe(client, names, reply):
                await self._application.unsubscribe(client, names)
                await self._keep(client)
                return reply
            case bayeux.Disconnect(client, message, reply):
                try:
                    await self._left(client, message)
                finally:
                    self._release(client)
                return reply

    async def _advised(self, reply: bayeux.Reply, peer: bayeux.Peer) -> bayeux.Reply:
        """Return a reply that makes its reader come back at once, when it may."""
        await self._throttle.wait(peer, self._monotonic())
        return reply

    async def _handshake(
        self, message: bayeux.Message, peer: bayeux.Peer
    ) -> bayeux.Reply:
        await self._throttle.wait(peer, self._monotonic())
        try:
            identity = await self._application.handshake(message, peer)
        except bayeux.RefusedError as exc:
            return self._server.refuse(message, str(exc), exc.reconnect)
        now = self._monotonic()
        reply = self._server.admit(message, identity, now, peer.browser)
        new = self._server.client(reply.client_id or "")
        if new is None:
            return reply
        if not await self._welcome(new):
            self._server.part(new)
            return self._server.refuse(message, bayeux.UNAVAILABLE, "handshake")
        # After that: who is refused shall find his former client as it was.
        if (asked := bayeux.extensions.resume(message)) is not None:
            resumed = await self._resume(asked, new)
            told = {"clientId": asked.client_id, "resumed": resumed}
            reply.ext = {**(reply.ext or {}), "resume": told}
            await self._keep(new)
        return reply

    async def _welcome(self, client: bayeux.Client) -> bool:
        """Let other nodes know a new client; False if that is not possible."""
        return self.elsewhere is None or await self.elsewhere.welcome(client)

    async def _resume(
        self, asked: bayeux.extensions.Resume, new: bayeux.Client
    ) -> bool:
        """Let the new client go on where a former one was, if that is still known."""
        old = self._server.client(asked.client_id)
        if old is None or not self._application.continues(old, new):
            return False
        # Before anything is awaited, so that no other handshake finds it as well.
        self._server.resume(old, new)
        if not await self._gone(old, meant=False):
            self._application.part(old)
            return False
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
            await self._keep(client)
        else:  # it left while the application was asked
            await self._application.unsubscribe(client, names)
        return reply

    def _publish(
        self, publish: bayeux.Publish
    ) -> bayeux.Reply | Coroutine[Any, Any, bayeux.Reply]:
        client, message = publish.client, publish.message
        try:
            storing = self._application.publish(client, message)
        except bayeux.RefusedError as exc:
            return bayeux.refusal(message, str(exc))
        if storing is None:
            return bayeux.reply(message)
        return self._stored(client, message, storing)

    async def _stored(
        self, client: bayeux.Client, message: bayeux.Message, storing: Awaitable[None]
    ) -> bayeux.Reply:
        try:
            await storing
        except bayeux.RefusedError as exc:
            return bayeux.refusal(message, str(exc))
        await self._keep(client)
        return bayeux.reply(message)

    def _connect(self, exchange: Exchange, connect: bayeux.Connect) -> Work | None:
        client, client_id = connect.client, connect.client.id
        if client.poll is not connect:
            exchange.refuse(DISPLACED)  # while its neighbours were carried out
            return None
        if (former := self._held.pop(client_id, None)) is not None:
            former.refuse(DISPLACED)
        exchange.due = not connect.wait or self._closing
        exchange.reading = True
        self._held[client_id] = exchange
        last = self._answered.get(client_id)
        if last is None or last.connection is exchange.connection:
            self._hold(exchange, connect, arrived=True)
            return None
        return self._hold_when_sure(exchange, connect, last)

    async def _hold_when_sure(
        self, exchange: Exchange, connect: bayeux.Connect, last: Exchange
    ) -> None:
        """Hold a connect once it is known whether the answer to the one before
        arrived, as far as connections tell."""
        arrived = not await last.lost(exchange)
        if self._held.get(connect.client.id) is exchange:
            self._hold(exchange, connect, arrived=arrived)
        # else it was displaced meanwhile: the newer connect decides

    def _hold(
        self, exchange: Exchange, connect: bayeux.Connect, *, arrived: bool
    ) -> None:
        """Hold a connect until something waits for its client."""
        client, client_id = connect.client, connect.client.id
        if client_id in self._answered:
            self._unwatch(client_id)
        if connect.count is None:
            if not arrived:
                self._outbox.lost(client_id)
        elif connect.count.rewind is not None:
            connect.count.rewind()
        else:
            self._outbox.lost(client_id)
        later = self._application.connect(client, connect.message)
        exchange.reading = False
        self._answer(client_id, exchange)
        if later is not None:
            self._spawn(later)

    def _confirm(self, client_id: str, last: Exchange) -> None:
        """Stop watching a response that arrived at the peer's host, or died."""
        if self._server.client(client_id) is None:
            self._unwatch(client_id)
        elif last.unconfirmed:
            last.doubtful = True  # if the connection dies now, the response is lost
        elif last.dead and last.doubtful:
            self._unwatch(client_id)
            self._outbox.lost(client_id)
            self.wake(client_id)
        elif last.connect is None:
            self._settled(client_id, arrived=True)
            self.wake(client_id)
        else:
            self._unwatch(client_id)

    def _confirmed(self, client_id: str, last: Exchange) -> bool:
        """Tell whether a reply to a publisher arrived at the peer's host."""
        if last.unconfirmed or (last.doubtful and last.dead):
            return False
        self._settled(client_id, arrived=True)
        return True

    def _answer(self, client_id: str, exchange: Exchange) -> None:
        if exchange.dead:
            self._drop(client_id, exchange)
            return
        last = self._answered.get(client_id)
        if last is not None and not self._confirmed(client_id, last):
            exchange.reading = True
            self._spawn(self._answer_when_sure(client_id, exchange, last))
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

    async def _answer_when_sure(
        self, client_id: str, exchange: Exchange, last: Exchange
    ) -> None:
        """Answer a connect once it is known whether the client got what he published
        himself: or what comes now would overtake it."""
        lost = await last.lost(exchange)
        exchange.reading = False
        if self._held.get(client_id) is not exchange:
            return
        if self._answered.get(client_id) is last:
            self._settled(client_id, arrived=not lost)
        self._answer(client_id, exchange)

    def _settled(self, client_id: str, *, arrived: bool) -> None:
        """Note what became of the events that a publisher got with his reply."""
        self._unwatch(client_id)
        if arrived:
            self._outbox.arrived(client_id)
        else:
            self._outbox.lost(client_id)

    def _not_told(self, exchange: Exchange) -> None:
        """Take back the events of a reply that could not be written."""
        client_id = self._last_on.get(exchange.connection)
        if client_id is not None and self._answered.get(client_id) is exchange:
            self._settled(client_id, arrived=False)
            self.wake(client_id)

    def _watch(self, client_id: str, exchange: Exchange) -> None:
        """Keep what will tell whether these events arrived."""
        count = None if exchange.connect is None else exchange.connect.count
        if exchange.connect is None or count is None:
            if client_id in self._answered:
                self._unwatch(client_id)
            self._answered[client_id] = exchange
            self._last_on[exchange.connection] = client_id
        else:
            exchange.connect.client.carries(count.batch, self._outbox.mark(client_id))

    def _unwatch(self, client_id: str) -> None:
        """Watch no response to this client any more."""
        last = self._answered.pop(client_id, None)
        if last is not None and self._last_on.get(last.connection) == client_id:
            del self._last_on[last.connection]

    def _proved(self, connection: object) -> None:
        """Note that the response before arrived: another request came behind it.

        Proxies serve many clients on one connection, whose unconfirmed bytes say
        nothing of a response before the last.
        """
        client_id = self._last_on[connection]
        last = self._answered[client_id]
        if not last.written:
            return
        if last.connect is None:
            self._settled(client_id, arrived=True)
        else:
            self._unwatch(client_id)

    def _finish(self, exchange: Exchange, events: list[Raw]) -> None:
        if self._closing:
            exchange.parting = True
        if exchange.asking:
            exchange.sync(self._time())
        if self._timestamps:
            exchange.stamp(bayeux.extensions.timestamp(self._time()))
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

    def _let_go(self, exchange: Exchange) -> None:
        """End a held connect for which nobody waits any more."""
        if exchange.connect is not None:
            client_id = exchange.connect.client.id
            if self._held.get(client_id) is exchange:
                self._drop(client_id, exchange)

    def _drop(self, client_id: str, exchange: Exchange) -> None:
        self._held.pop(client_id, None)
        exchange.refuse(DISPLACED)

    def _happened(self, happened: bayeux.Occurrence) -> None:
        match happened:
            case bayeux.Release(client):
                self._release(client)
            case bayeux.Silent(client):
                self._spawn(self._silent(client))
            case bayeux.Expired(client):
                self._spawn(self._left(client, None))

    async def _keep(self, client: bayeux.Client) -> None:
        """Let other nodes know what the client has now."""
        if self.elsewhere is not None:
            await self.elsewhere.keep(client)

    async def _silent(self, client: bayeux.Client) -> None:
        if self.elsewhere is None:
            await self._application.silent(client)
        else:
            await self.elsewhere.silent(client)

    async def _left(
        self, client: bayeux.Client, message: bayeux.Message | None
    ) -> None:
        """Note that the client is gone, unless it went to another node."""
        if await self._gone(client, meant=message is not None):
            await self._application.left(client, message)
        else:
            self._application.part(client)

    async def _gone(self, client: bayeux.Client, *, meant: bool) -> bool:
        """Tell other nodes that the client is gone; False if it is with them."""
        elsewhere = self.elsewhere
        return elsewhere is None or await elsewhere.gone(client, meant=meant)

    def _spawn(self, work: Work) -> None:
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(work: Work) -> None:
    try:
        await work
    except Exception:
        log.exception("background work of the Bayeux endpoint failed")
