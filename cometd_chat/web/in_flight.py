"""Responses on their way: they go out, and what is known of their arrival.

A response that was written may still be lost with its connection. So one with events is
*in flight* until something tells: the client's next request behind it on the same
connection, or the system, which knows what the peer's host has confirmed. What was lost
is sent again. Clients that acknowledge (`bayeux.Count`) tell it themselves.
"""

from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .exchange import Exchange


class InFlight:
    """The responses of one endpoint. To be read: `last` has the response with events
    that each client got last, if it is in flight, `client_on` who got it on each
    connection. While `closing`, responses end their connections."""

    def __init__(
        self, outbox: bayeux.Outbox, clock: Clock, *, timestamps: bool
    ) -> None:
        self._outbox = outbox
        self._time = clock.time
        self._timestamps = timestamps
        self.last: dict[str, Exchange] = {}
        self.client_on: dict[object, str] = {}
        self.closing = False

    def finish(self, exchange: Exchange, events: list[Raw]) -> None:
        """Let a response go out."""
        if self.closing:
            exchange.parting = True
        if exchange.asking:
            exchange.sync(self._time())
        if self._timestamps:
            exchange.stamp(bayeux.extensions.timestamp(self._time()))
        exchange.finish(events)

    def add(self, client_id: str, exchange: Exchange) -> None:
        """Keep what will tell whether the events of this response arrived."""
        count = None if exchange.connect is None else exchange.connect.count
        if exchange.connect is None or count is None:
            if client_id in self.last:
                self.drop(client_id)
            self.last[client_id] = exchange
            self.client_on[exchange.connection] = client_id
        else:
            exchange.connect.client.carries(count.batch, self._outbox.mark(client_id))

    def drop(self, client_id: str) -> None:
        """Keep no response to this client any more."""
        last = self.last.pop(client_id, None)
        if last is not None and self.client_on.get(last.connection) == client_id:
            del self.client_on[last.connection]

    def settle(self, client_id: str, *, arrived: bool) -> None:
        """Note what became of the events that a publisher got with his reply."""
        self.drop(client_id)
        if arrived:
            self._outbox.arrived(client_id)
        else:
            self._outbox.lost(client_id)

    def confirmed(self, client_id: str, last: Exchange) -> bool:
        """Tell whether a reply to a publisher arrived at the peer's host."""
        if last.unconfirmed or (last.doubtful and last.dead):
            return False
        self.settle(client_id, arrived=True)
        return True

    def proved(self, connection: object) -> None:
        """Note that the response before arrived: another request came behind it.

        Proxies serve many clients on one connection, whose unconfirmed bytes say
        nothing of a response before the last.
        """
        client_id = self.client_on[connection]
        last = self.last[client_id]
        if not last.written:
            return
        if last.connect is None:
            self.settle(client_id, arrived=True)
        else:
            self.drop(client_id)
