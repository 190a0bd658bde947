"""Held connects: each waits until there is something for its client, or its time is up.

A held connect is registered before anything else is awaited for it, and looked for
in the outbox afterwards: whatever comes in between wakes it. So no event can fall
between the look and the hold.
"""

import asyncio
import logging
from typing import Final

from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.clock import Clock
from cometd_chat.recurring import Sparing

from .eager import Work
from .exchange import DISPLACED, Exchange
from .in_flight import InFlight
from .tasks import Tasks

often: Final = Sparing(logging.getLogger(__name__))

DEPARTURES: Final = 500
"""Held connects that are answered in a second when their clients go elsewhere."""


class Polls:
    """The connects of one endpoint; `held` has those that wait, by client, to be read.

    `in_flight` has their responses; `tasks` takes what has to wait.
    """

    def __init__(
        self,
        server: bayeux.BayeuxServer,
        application: bayeux.Application,
        outbox: bayeux.Outbox,
        clock: Clock,
        in_flight: InFlight,
        tasks: Tasks,
    ) -> None:
        self._server = server
        self._application = application
        self._outbox = outbox
        self._monotonic = clock.monotonic
        self._in_flight, self._last = in_flight, in_flight.last
        self._tasks = tasks
        self.held: dict[str, Exchange] = {}
        self._watched: set[Exchange] = set()
        self._failed: set[str] = set()

    def watch(self, exchange: Exchange) -> None:
        """Look now and then whether this exchange is dead, for nobody will tell."""
        self._watched.add(exchange)

    def wake(self, client_id: str) -> None:
        """Answer the client's held connect if something waits for it."""
        exchange = self.held.get(client_id)
        if exchange is not None and not exchange.reading:
            self._answer(client_id, exchange)

    def connect(self, exchange: Exchange, connect: bayeux.Connect) -> Work | None:
        """Hold a connect, or answer it at once, perhaps after the work returned."""
        client, client_id = connect.client, connect.client.id
        if client.poll is not connect:
            exchange.refuse(DISPLACED)  # while its neighbours were carried out
            return None
        if (former := self.held.pop(client_id, None)) is not None:
            former.refuse(DISPLACED)
        exchange.due = not connect.wait or self._in_flight.closing
        exchange.reading = True
        self.held[client_id] = exchange
        last = self._last.get(client_id)
        if last is None or last.connection is exchange.connection:
            self._hold(exchange, connect, arrived=True)
            return None
        return self._hold_when_sure(exchange, connect, last)

    def release(self, client: bayeux.Client) -> None:
        """Answer the client's held connect, whatever waits for it."""
        if exchange := self.held.get(client.id):
            exchange.due = True
            self.wake(client.id)

    def forget(self, client: bayeux.Client) -> None:
        """Know nothing of a client any more that goes on elsewhere."""
        if (exchange := self.held.pop(client.id, None)) is not None:
            exchange.refuse(DISPLACED)
        self._in_flight.drop(client.id)
        self._failed.discard(client.id)

    def told_by_reply(
        self, exchange: Exchange, client: bayeux.Client
    ) -> Exchange | None:
        """Return the held connect of a client who shall get what he publishes with
        the reply, and make it wait; None if he shall get it with the connect.

        Then all that was told before has arrived. Acknowledgements number answers to
        connects only, and without a connect nobody knows yet what arrived.
        """
        held = self.held.get(client.id)
        if held is None or held.reading or client.acks or not exchange.in_turn:
            return None
        last = self._last.get(client.id)
        if last is not None and not self._in_flight.confirmed(client.id, last):
            return None
        held.reading = True
        return held

    def take(self, exchange: Exchange, held: Exchange) -> list[Raw]:
        """Return the events that the reply to a publisher brings him."""
        if held.connect is None:
            return []
        client_id = held.connect.client.id
        events = self._outbox.take(client_id, ending=False) or []
        if events:
            self._in_flight.add(client_id, exchange)
        return events

    def ended(self, exchange: Exchange) -> None:
        """Note that the exchange is over; `exchange.written` tells how it went.

        Told twice, or before `serve()` has returned, it does no harm.
        """
        self._watched.discard(exchange)
        if exchange.connect is None:
            if exchange.carries and not exchange.written:
                self._not_told(exchange)
            return
        client, last = exchange.connect.client, self._last
        if self.held.get(client.id) is exchange:
            del self.held[client.id]
        if not exchange.written and last.get(client.id) is exchange:
            self._in_flight.drop(client.id)
            self._outbox.lost(client.id)
        if client.id in last and self._server.client(client.id) is not client:
            self._in_flight.drop(client.id)
        now = self._monotonic()
        self._server.answered(exchange.connect, now, events=exchange.carries)

    def disconnected(self, connection: object, client_id: str) -> None:
        """Note the end of a connection that carried many exchanges.

        What went out last on it, and was not followed by another poll there, may
        be lost with it.
        """
        last = self._last.get(client_id)
        if last is not None and last.connection is connection:
            self._in_flight.drop(client_id)
            self._outbox.lost(client_id)

    def sweep(self) -> None:
        """Look for what is dead, for what has arrived, and again for what failed."""
        for exchange in [e for e in self._watched if e.connect and e.dead]:
            self._let_go(exchange)
        for client_id, exchange in list(self._last.items()):
            self._confirm(client_id, exchange)
        failed, self._failed = self._failed, set()
        for client_id in failed:
            self.wake(client_id)

    async def close(self, within: float) -> None:
        """Answer all held connects, one after the other, within these seconds."""
        self._in_flight.closing = True
        held = list(self.held.items())
        pause = min(1 / DEPARTURES, within / max(1, len(held)))
        for client_id, exchange in held:
            exchange.due = True
            self.wake(client_id)
            if pause:
                await asyncio.sleep(pause)

    async def _hold_when_sure(
        self, exchange: Exchange, connect: bayeux.Connect, last: Exchange
    ) -> None:
        """Hold a connect once it is known whether the answer to the one before
        arrived, as far as connections tell."""
        arrived = not await last.lost(exchange)
        if self.held.get(connect.client.id) is exchange:
            self._hold(exchange, connect, arrived=arrived)
        # else it was displaced meanwhile: the newer connect decides

    def _hold(
        self, exchange: Exchange, connect: bayeux.Connect, *, arrived: bool
    ) -> None:
        """Hold a connect until something waits for its client."""
        client, client_id = connect.client, connect.client.id
        if client_id in self._last:
            self._in_flight.drop(client_id)
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
            self._tasks.begin(later)

    def _answer(self, client_id: str, exchange: Exchange) -> None:
        if exchange.dead:
            self._drop(client_id, exchange)
            return
        last = self._last.get(client_id)
        if last is not None and not self._in_flight.confirmed(client_id, last):
            exchange.reading = True
            self._tasks.begin(self._answer_when_sure(client_id, exchange, last))
            return
        events = self._outbox.take(client_id, ending=exchange.due)
        if events is None:
            exchange.reading = True
            self._tasks.begin(self._catch_up(client_id, exchange))
        elif events or exchange.due:
            self.held.pop(client_id, None)
            if events:
                self._in_flight.add(client_id, exchange)
            self._in_flight.finish(exchange, events)

    async def _answer_when_sure(
        self, client_id: str, exchange: Exchange, last: Exchange
    ) -> None:
        """Answer a connect once it is known whether the client got what he published
        himself: or what comes now would overtake it."""
        lost = await last.lost(exchange)
        exchange.reading = False
        if self.held.get(client_id) is not exchange:
            return
        if self._last.get(client_id) is last:
            self._in_flight.settle(client_id, arrived=not lost)
        self._answer(client_id, exchange)

    async def _catch_up(self, client_id: str, exchange: Exchange) -> None:
        try:
            await self._outbox.catch_up(client_id)
        except Exception as exc:  # noqa: BLE001 - a task boundary
            # The poll stays held, and looks again with each sweep, until it is due.
            often.warning("what waits cannot be read: %s", type(exc).__name__)
            failed = True
        else:
            failed = False
        exchange.reading = False
        if self.held.get(client_id) is not exchange:
            return
        if not failed:
            self._answer(client_id, exchange)
        elif exchange.due:
            del self.held[client_id]
            self._in_flight.finish(exchange, [])
        else:
            self._failed.add(client_id)

    def _confirm(self, client_id: str, last: Exchange) -> None:
        """Stop watching a response that arrived at the peer's host, or died."""
        if self._server.client(client_id) is None:
            self._in_flight.drop(client_id)
        elif last.unconfirmed:
            last.doubtful = True  # if the connection dies now, the response is lost
        elif last.dead and last.doubtful:
            self._in_flight.drop(client_id)
            self._outbox.lost(client_id)
            self.wake(client_id)
        elif last.connect is None:
            self._in_flight.settle(client_id, arrived=True)
            self.wake(client_id)
        else:
            self._in_flight.drop(client_id)

    def _not_told(self, exchange: Exchange) -> None:
        """Take back the events of a reply that could not be written."""
        client_id = self._in_flight.client_on.get(exchange.connection)
        if client_id is not None and self._last.get(client_id) is exchange:
            self._in_flight.settle(client_id, arrived=False)
            self.wake(client_id)

    def _let_go(self, exchange: Exchange) -> None:
        """End a held connect for which nobody waits any more."""
        if exchange.connect is not None:
            client_id = exchange.connect.client.id
            if self.held.get(client_id) is exchange:
                self._drop(client_id, exchange)

    def _drop(self, client_id: str, exchange: Exchange) -> None:
        self.held.pop(client_id, None)
        exchange.refuse(DISPLACED)
