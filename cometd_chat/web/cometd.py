"""The endpoint behind all transports: batches of messages to responses.

Knows Bayeux and exchanges, and nothing of chat: who may do what is asked of an
`Application`, what is to be sent comes from an `Outbox`. The transports
(`long_polling.py`, `websocket.py`) parse, call `serve()`, and tell `polls` what became
of the response.

It has four parts. `handlers.py` carries out what messages ask for; `polls.py` holds
connects; `in_flight.py` lets responses go out, and knows which may not have arrived;
`tasks.py` has what no request waits for. Here it is decided who serves a request.
"""

from collections.abc import Awaitable, Sequence
from typing import Final

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .eager import Work
from .elsewhere import ABROAD, Elsewhere, Item
from .exchange import Exchange
from .handlers import Handlers, MovedError
from .in_flight import InFlight
from .polls import Polls
from .tasks import Tasks
from .throttle import Throttles

MOST_MOVES: Final = 3
"""How often a request follows its client to another node before it is refused."""

UNAVAILABLE: Final = 503
"""Status of a request that had better be sent again."""


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
        self._tasks = Tasks()
        self._in_flight = InFlight(outbox, clock, timestamps=timestamps)
        self._client_on = self._in_flight.client_on
        self.polls = Polls(
            server, application, outbox, clock, self._in_flight, self._tasks
        )
        self._handlers = Handlers(server, application, clock, throttle, self.polls)

    @property
    def closing(self) -> bool:
        """Tell whether this server stops."""
        return self._in_flight.closing

    @property
    def elsewhere(self) -> Elsewhere | None:
        """The other nodes, None if there are none."""
        return self._handlers.elsewhere

    def share(self, elsewhere: Elsewhere) -> None:
        """Share the clients with other nodes from now on."""
        self._handlers.elsewhere = elsewhere

    def serve(
        self, exchange: Exchange, batch: Sequence[Item], peer: bayeux.Peer
    ) -> Work | None:
        """Serve the messages of one request.

        Afterwards, and after the work that is returned, the response is on its way,
        or held. Whoever calls must call `polls.ended()` once it was written, or could
        not be.
        """
        exchange.received_at = self._time()
        if exchange.connection in self._client_on and exchange.in_turn:
            self._in_flight.proved(exchange.connection)
        if (elsewhere := self._handlers.elsewhere) is not None:
            return elsewhere.serve(exchange, bayeux.screen(batch), peer)
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
                settled = self._handlers.handle(decision, peer)
                try:
                    if not isinstance(settled, bayeux.Reply):
                        settled = await settled
                except MovedError:
                    await self._serve_rest(exchange, items[at:], peer)
                    return
                exchange.add(item, settled)
        if exchange.connect is None:
            self._in_flight.finish(exchange, [])
        elif (work := self.polls.connect(exchange, exchange.connect)) is not None:
            await work

    def _local(self, items: Sequence[Item]) -> str:
        """Return the client that speaks in a batch, if it may go to another node."""
        if self._handlers.elsewhere is None:
            return ""
        names = (i.client_id for i in items if isinstance(i, bayeux.Message))
        client_id = next(filter(None, names), "")
        return "" if self._server.client(client_id) is None else client_id

    async def _serve_rest(
        self, exchange: Exchange, items: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        exchange.moves += 1
        elsewhere = self._handlers.elsewhere
        if elsewhere is None or exchange.moves > MOST_MOVES:
            exchange.refuse(UNAVAILABLE)
        else:
            await elsewhere.serve(exchange, items, peer)

    def _serve_one(
        self, exchange: Exchange, item: Item, peer: bayeux.Peer
    ) -> Work | None:
        """Serve a message that is alone in its request, as nearly all are."""
        decision = self._decide(item, peer, alone=True)
        if isinstance(decision, bayeux.Connect):
            exchange.hold(decision)
            return self.polls.connect(exchange, decision)
        if isinstance(decision, bayeux.Publish):
            return self._serve_publish(exchange, decision)
        settled = self._handlers.handle(decision, peer)
        return self._reply(exchange, item, settled)

    def _serve_publish(
        self, exchange: Exchange, publish: bayeux.Publish
    ) -> Work | None:
        held = self.polls.told_by_reply(exchange, publish.client)
        try:
            settled = self._handlers.publish(publish)
        finally:
            if held is not None:
                held.reading = False
        if held is None or not isinstance(settled, bayeux.Reply):
            return self._reply(exchange, publish.message, settled)
        exchange.add(publish.message, settled)
        self._in_flight.finish(exchange, self.polls.take(exchange, held))
        return None

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
        self._in_flight.finish(exchange, [])
        return None

    async def _reply_later(
        self, exchange: Exchange, item: Item, settling: Awaitable[bayeux.Reply]
    ) -> None:
        exchange.add(item, await settling)
        self._in_flight.finish(exchange, [])

    def _decide(self, item: Item, peer: bayeux.Peer, *, alone: bool) -> bayeux.Decision:
        if not isinstance(item, bayeux.Message):
            return item
        client = self._server.client(item.client_id or "")
        if client is not None and not self._application.allows(client, peer):
            # A stranger gets the answer of an unknown client.
            client = item.client_id = None
        now = self._monotonic()
        return self._server.receive(item, client, now, alone=alone)

    def sweep(self) -> None:
        """Do what is due by the passing of time; call it about once a second."""
        self.polls.sweep()
        for happened in self._server.sweep(self._monotonic()):
            self._happened(happened)

    def _happened(self, happened: bayeux.Occurrence) -> None:
        match happened:
            case bayeux.Release(client):
                self.polls.release(client)
            case bayeux.Silent(client):
                self._tasks.begin(self._handlers.silent(client))
            case bayeux.Expired(client):
                self._tasks.begin(self._handlers.left(client, None))

    def answered_elsewhere(self, exchange: Exchange) -> None:
        """Let the replies of another node go out."""
        self._in_flight.finish(exchange, [])

    async def part(self, client: bayeux.Client) -> None:
        """Take back what did not reach a client that is about to leave this node."""
        last = self._in_flight.last.get(client.id)
        if last is not None and await last.lost(ABROAD):
            self._outbox.lost(client.id)

    def parted(self, client: bayeux.Client, *, resumed: bool = False) -> None:
        """Forget a client that goes on at another node, or (`resumed`) another that
        goes on in its place; then its held connect is told to stop."""
        if resumed and client.poll is not None:
            client.poll.reply.advice = self._server.advice("none")
            self.polls.release(client)
        self.polls.forget(client)
        self._server.part(client)

    async def expel(self, client_id: str) -> None:
        """Make a client begin anew, for it has lost something for good."""
        if client := self._server.client(client_id):
            self._server.expel(client)
            try:
                await self._handlers.left(client, None)
            finally:
                self.polls.release(client)

    async def close(self, within: float = 0.0) -> None:
        """Answer all held connects; their clients come back to the next server.

        So that other servers are not run over, they are answered one after the other,
        but all `within` these seconds.
        """
        await self.polls.close(within)
        await self._tasks.ended()
