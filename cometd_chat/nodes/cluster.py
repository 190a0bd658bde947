"""A node among others: each client belongs to one of them, and may come to any.

A request is served where it arrives if its client is there. If not, the directory
tells who has the client, and it depends on the request what happens:

* with a poll, the client comes here: its node lets it go, and it goes on here with
  all that it had. So whoever polls in turn at several nodes takes its state along.
* without one (a publish, a subscription), the node that has the client is asked to
  serve it, and its poll stays held there.
* a node that does not answer is gone: the client is taken over as its record tells,
  and reads on after what the store knows it to have.

A node that was away (stopped, cut off) may have lost clients without knowing. It hears
its own signs of life (`Pulse.in_touch`): where they were missing, each client is looked
up in the directory before anything is done for it. A node that is deaf, while the
others hear it, leaves its clients to them and serves none until it hears again.
"""

import asyncio
import logging
from collections.abc import Sequence

from cometd_chat import bayeux
from cometd_chat.bayeux import channels, extensions
from cometd_chat.chat.luggage import Published
from cometd_chat.clock import Clock
from cometd_chat.recurring import Sparing
from cometd_chat.store import StoreError, StoreUnavailableError
from cometd_chat.web.elsewhere import Item
from cometd_chat.web.exchange import Exchange

from . import parcel as forms
from .calls import WORK, LateError, NoAnswerError
from .custody import PAUSE, Custody, Here
from .directory import BURIED, PARKED, Directory
from .errands import ErrandExchange, answer_with, errand_of
from .hub import Asked, Hub
from .moves import SEARCH, Moves
from .parcel import to_bytes

SOON = 0.2
"""Seconds for which another node, where it polls, goes first in taking a client."""

TRIES = 3
"""How often a client is looked for that came to another node meanwhile."""

UNAVAILABLE = 503
"""Status of a request whose client cannot be looked up: another try may succeed."""

_TAKEN, _NOT_HERE, _REFUSED = b"taken", b"", b"refused"

often = Sparing(logging.getLogger(__name__))


class Cluster:
    """This node's part in it; see `Elsewhere`."""

    def __init__(
        self,
        hub: Hub,
        directory: Directory,
        here: Here,
        clock: Clock,
        headers: Sequence[str],
    ) -> None:
        self._hub = hub
        self._directory = directory
        self._server = here.server
        self._endpoint = here.endpoint
        self._application = here.application
        self._now = clock.monotonic
        self._headers = headers
        self.custody = Custody(hub, directory, here, clock)
        self.moves = Moves(hub, directory, here, self.custody, clock)
        hub.answer("serve", self._serve_errand)
        hub.answer("deliver", self._take_delivery)
        hub.hear("publish", self._published)

    async def serve(
        self, exchange: Exchange, items: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        """See `Elsewhere.serve`."""
        if self.deaf:
            exchange.refuse(UNAVAILABLE)  # the others could not ask for the client
            return
        client_id = _speaker(items)
        await self.moves.settled(client_id)
        # Or it might be wanted before it was served.
        with self.custody.at_work(client_id):
            if client_id is None or self.custody.certain(client_id):
                await self._endpoint.serve_here(exchange, items, peer)
            else:
                await self._serve_uncertain(client_id, exchange, items, peer)

    @property
    def deaf(self) -> bool:
        """See `Elsewhere.deaf`."""
        return self._hub.pulse.deaf

    async def silent(self, client: bayeux.Client) -> None:
        """See `Elsewhere.silent`."""
        if await self.custody.verify(client):
            with self.custody.at_work(client.id):
                await self._application.silent(client)

    async def welcome(self, client: bayeux.Client) -> bool:
        """See `Elsewhere.welcome`."""
        return await self.custody.welcome(client)

    async def keep(self, client: bayeux.Client) -> None:
        """See `Elsewhere.keep`."""
        await self.custody.keep(client)

    async def gone(self, client: bayeux.Client, *, meant: bool) -> bool:
        """See `Elsewhere.gone`."""
        return await self.custody.gone(client, meant=meant)

    async def close(self) -> None:
        """Leave all clients to the other nodes."""
        await self.moves.close()

    async def relay(self, published: Published) -> None:
        """Tell all nodes what was published, this one included. See `Relay`."""
        try:
            await self._hub.tell("publish", to_bytes(published))
        except (StoreError, NoAnswerError):
            raise bayeux.RefusedError(503, "Try again", published.channel) from None

    async def deliver(self, client_id: str, event: bytes) -> bool | None:
        """Put the event into the mailbox of a client of another node.

        Returns whether there is such a client, None when that cannot be told now.
        """
        try:
            place = await self._directory.find(client_id)
            if place is None or place.owner == BURIED:
                return False
            body = to_bytes(forms.Delivery(client_id=client_id, event=event))
            return bool(await self._hub.call(place.owner, "deliver", body)) or None
        except (StoreError, NoAnswerError):
            return None

    # -- where a client is ----------------------------------------------------------

    async def _serve_uncertain(
        self,
        client_id: str,
        exchange: Exchange,
        items: Sequence[Item],
        peer: bayeux.Peer,
    ) -> None:
        try:
            if await self._served_elsewhere(client_id, exchange, items, peer):
                return
        except StoreError as exc:
            often.warning("a client could not be looked for: %s", exc)
            exchange.refuse(UNAVAILABLE)
            return
        await self._endpoint.serve_here(exchange, items, peer)

    async def _served_elsewhere(
        self,
        client_id: str,
        exchange: Exchange,
        items: Sequence[Item],
        peer: bayeux.Peer,
    ) -> bool:
        """Have the request served by the node that has the client, or bring it here."""
        client = self._server.client(client_id)
        if client is not None and await self.custody.verify(client):
            return False
        if _polls(items):
            resumed = items[0].channel == channels.HANDSHAKE
            await self.moves.bring(client_id, peer, resumed=resumed)
            return False
        errand = to_bytes(errand_of(client_id, items, peer, self._headers))
        for _ in range(TRIES):
            answer = await self._ask_owner(client_id, errand)
            if answer:
                answer_with(exchange, items, answer)
                self._endpoint.answered_elsewhere(exchange)
                return True
            if await self.moves.bring(client_id, peer, gently=answer is not None):
                return False
        raise StoreUnavailableError("a client goes from node to node")

    async def _ask_owner(self, client_id: str, errand: bytes) -> bytes | None:
        """Return what the client's node answers: empty if no node has the client, None
        if that node does not answer.

        One that was let go is on its way to where it polls, in all likelihood.

        Raises: StoreUnavailableError where that node is there and may have done it.
        """
        now = self._now()
        end, soon = now + SEARCH, now + SOON
        while self._now() < end:
            place = await self._directory.find(client_id)
            if place is None or place.owner in {BURIED, self._hub.node}:
                break
            if place.owner != PARKED:
                try:
                    answer = await self._serve_there(place.owner, errand)
                except NoAnswerError:
                    return None
                if answer:
                    return answer
            elif self._now() > soon:
                break
            await asyncio.sleep(PAUSE)
        return b""

    async def _serve_there(self, node: str, errand: bytes) -> bytes:
        try:
            answer = await self._hub.call(node, "serve", errand, WORK)
        except LateError:
            answer = _REFUSED
        if answer == _REFUSED:  # to try again here might do it twice
            raise StoreUnavailableError("a node did not serve a client of its own")
        return answer

    # -- what other nodes say -------------------------------------------------------

    async def _serve_errand(self, asked: Asked) -> bytes:
        errand = forms.to_errand(asked.body)
        await self.moves.settled(errand.client_id)
        client = self._server.client(errand.client_id)
        if client is None:
            return _NOT_HERE
        custody = self.custody
        if not custody.certain(client.id) and not await custody.verify(client):
            return _NOT_HERE
        exchange = ErrandExchange()
        with custody.at_work(client.id):
            messages = forms.to_messages(errand.messages)
            await self._endpoint.serve_here(exchange, messages, errand.peer)
        return exchange.response or _REFUSED

    async def _take_delivery(self, asked: Asked) -> bytes:
        delivery = forms.to_delivery(asked.body)
        if self._server.client(delivery.client_id) is None:
            return _NOT_HERE
        self._application.deliver(delivery.client_id, delivery.event)
        return _TAKEN

    def _published(self, node: str, number: int, body: bytes) -> None:
        published = forms.to_published(body)
        now = self._now()
        had = self.custody.broadcasts.note(node, number, published, now)
        self._application.broadcast(published, hearers=bayeux.Hearers(but=had))


def _speaker(items: Sequence[Item]) -> str | None:
    """Return the client for which a request speaks, or that it wants to continue.

    Only the first: a request that names many must not cost many look-ups.
    """
    for item in items:
        if not isinstance(item, bayeux.Message):
            continue
        if item.channel == channels.HANDSHAKE:
            resumed = extensions.resume(item)
            return resumed.client_id if resumed else None
        if item.client_id:
            return item.client_id
    return None


def _polls(items: Sequence[Item]) -> bool:
    """Tell whether the client has to come to where the request is."""
    ours = {channels.HANDSHAKE, channels.CONNECT}
    return any(isinstance(i, bayeux.Message) and i.channel in ours for i in items)
