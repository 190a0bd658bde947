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
its own signs of life (`Hub.in_touch`): where they were missing, each client is looked
up in the directory before anything is done for it. A node that is deaf, while the
others hear it, leaves its clients to them and serves none until it hears again.
"""

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from typing import Any

from cometd_chat import bayeux
from cometd_chat.bayeux import channels, extensions, moving
from cometd_chat.chat.application import ChatApplication, Published
from cometd_chat.clock import Clock
from cometd_chat.store import StoreError, StoreUnavailableError
from cometd_chat.web.cometd import CometdEndpoint
from cometd_chat.web.elsewhere import Item
from cometd_chat.web.exchange import Exchange

from . import parcel as forms
from .broadcasts import Broadcasts
from .directory import (
    BURIED,
    NOBODY,
    PARKED,
    Claimed,
    Directory,
    Handover,
    Place,
)
from .errands import ErrandExchange, answer_with, errand_of
from .hub import Asked, Hub, NoAnswerError, Reply
from .parcel import Parcel, Want, to_bytes

SEARCH = 5.0
"""Seconds for which a client is looked for while it changes hands."""

PAUSE = 0.02
"""Seconds between two looks."""

SOON = 0.2
"""Seconds for which another node, where it polls, goes first in taking a client."""

TRIES = 3
"""How often a client is looked for that came to another node meanwhile."""

BUSY = 1.0
"""Seconds for which a client that is wanted elsewhere may finish what it does."""

PARKING = 30.0
"""Seconds for which a client that Redis does not take is kept, and offered again."""

CLOSING = 8.0
"""Seconds within which a node that stops leaves its clients to the others: less than
it is given to stop."""

LARGEST_PARCEL = 65_536
"""Bytes of a client that a node tells another; a larger one is only left in Redis."""

AT_ONCE = 200
"""Entries of the directory that are written at a time."""

UNAVAILABLE = 503
"""Status of a request whose client cannot be looked up: another try may succeed."""

# The parcel follows what was given, if there is room for it.
_GIVEN, _NOT_HERE, _LATER = b"given", b"", b"later"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Here:
    """The parts of this node that know its clients."""

    server: bayeux.BayeuxServer
    endpoint: CometdEndpoint
    application: ChatApplication


@dataclass(slots=True)
class _Owned:
    """A client of this node. `at` is when that was last certain; `kept` and `confirmed`
    are what its record tells of."""

    number: int
    at: float
    kept: Hashable = None
    confirmed: Hashable = None


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
        self._clock = clock
        self._headers = headers
        self._owned: dict[str, _Owned] = {}
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._taking_up: set[asyncio.Task[None]] = set()
        self._working: Counter[str] = Counter()
        self._broadcasts = Broadcasts()
        hub.when_deaf = self._retreat
        hub.answer("serve", self._serve_errand)
        hub.answer("want", self._let_go)
        hub.answer("deliver", self._take_delivery)
        hub.hear("taken", self._taken)
        hub.hear("publish", self._published)

    async def serve(
        self, exchange: Exchange, items: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        """See `Elsewhere.serve`."""
        if self.deaf:
            exchange.refuse(UNAVAILABLE)  # the others could not ask for the client
            return
        client_id = _speaker(items)
        await self._settled(client_id)
        with self._at_work(client_id):  # or it might be wanted before it was served
            if client_id is None or self._certain(client_id):
                await self._endpoint.serve_here(exchange, items, peer)
            else:
                await self._serve_uncertain(client_id, exchange, items, peer)

    @property
    def deaf(self) -> bool:
        """See `Elsewhere.deaf`."""
        return self._hub.deaf

    async def keep(self, client: bayeux.Client) -> None:
        """See `Elsewhere.keep`."""
        if self._server.client(client.id) is not client:
            return
        owned = self._owned.setdefault(client.id, _Owned(1, self._clock.monotonic()))
        holdings = self._application.holdings(client)
        if owned.kept == holdings:
            return
        try:
            if await self._verify(client):
                owned.kept = holdings
        except (
            StoreError
        ) as exc:  # its next request, or the next renewal, says it again
            log.warning("other nodes could not be told of a client: %s", exc)

    async def silent(self, client: bayeux.Client) -> None:
        """See `Elsewhere.silent`."""
        if client.id in self._owned and await self._verify(client):
            with self._at_work(client.id):
                await self._application.silent(client)

    async def gone(self, client: bayeux.Client, *, meant: bool) -> bool:
        """See `Elsewhere.gone`."""
        self._broadcasts.left(client.id)
        owned = self._owned.get(client.id)
        if owned is None:
            return True
        remove = self._directory.remove
        try:
            return await remove(client.id, owned.number, meant=meant)
        except StoreError as exc:
            log.warning("other nodes could not be told of a goodbye: %s", exc)
            return True
        finally:
            self._owned.pop(client.id, None)

    async def renew(self) -> None:
        """Write the records of all clients again, well within their lifetime."""
        await self._for_all(list(self._owned), self._renew)

    async def note(self) -> None:
        """Write the records of agents who have confirmed more than theirs tell."""
        behind = [
            name
            for name, owned in self._owned.items()
            if (client := self._server.client(name)) is not None
            and owned.confirmed != self._application.confirmed(client)
        ]
        await self._for_all(behind, self._renew)

    async def close(self) -> None:
        """Let all clients go, and see off those who are leaving; other nodes take
        them."""
        try:
            async with asyncio.timeout(CLOSING):
                await _done(self._coming.values())
                await self._retreat()
                await _done(self._leaving.values())
        except TimeoutError:
            log.warning("clients could not be left to other nodes in time")

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

    def _certain(self, client_id: str) -> bool:
        """Tell whether the client is certainly here."""
        owned = self._owned.get(client_id)
        return owned is not None and self._hub.in_touch and owned.at >= self._hub.since

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
            log.warning("a client could not be looked for: %s", exc)
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
        if client is not None and await self._verify(client):
            return False
        if _polls(items):
            resumed = items[0].channel == channels.HANDSHAKE
            await self._bring(client_id, peer, resumed=resumed)
            return False
        errand = to_bytes(errand_of(client_id, items, peer, self._headers))
        for _ in range(TRIES):
            answer = await self._ask_owner(client_id, errand)
            if answer:
                answer_with(exchange, items, answer)
                self._endpoint.answered_elsewhere(exchange)
                return True
            if await self._bring(client_id, peer, gently=answer is not None):
                return False
        raise StoreUnavailableError("a client goes from node to node")

    async def _ask_owner(self, client_id: str, errand: bytes) -> bytes | None:
        """Return what the client's node answers: empty if no node has the client, None
        if that node does not answer.

        One that was let go is on its way to where it polls, in all likelihood.
        """
        now = self._clock.monotonic()
        end, soon = now + SEARCH, now + SOON
        while self._clock.monotonic() < end:
            place = await self._directory.find(client_id)
            if place is None or place.owner in {BURIED, self._hub.node}:
                break
            if place.owner != PARKED:
                try:
                    answer = await self._hub.call(place.owner, "serve", errand)
                except NoAnswerError:
                    return None
                if answer:
                    return answer
            elif self._clock.monotonic() > soon:
                break
            await asyncio.sleep(PAUSE)
        return b""

    async def _verify(self, client: bayeux.Client) -> bool:
        """Tell whether the client is this node's still; forget it if not.

        Raises: StoreUnavailableError.
        """
        owned = self._owned.get(client.id)
        if owned is None:
            return False
        confirmed = self._application.confirmed(client)
        keep = partial(self._directory.keep, record=self._pack(client, whole=False))
        if ours := await self._ours(client, owned, keep):
            owned.confirmed = confirmed
        return ours

    async def _ours(
        self,
        client: bayeux.Client,
        owned: _Owned,
        ask: Callable[[str, int], Awaitable[bool]],
    ) -> bool:
        """Tell whether the client is this node's still, by asking the directory; forget
        it if not."""
        now = self._clock.monotonic()
        if await ask(client.id, owned.number):
            owned.at = max(owned.at, now)
            return True
        if self._owned.get(client.id) is owned:
            self._drop(client)
        return False

    async def _renew(self, client: bayeux.Client) -> None:
        await self._verify(client)

    async def _for_all(
        self,
        names: Sequence[str],
        do: Callable[[bayeux.Client], Coroutine[Any, Any, object]],
    ) -> None:
        for start in range(0, len(names), AT_ONCE):
            some = map(self._server.client, names[start : start + AT_ONCE])
            work = [do(client) for client in some if client is not None]
            for problem in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(problem, Exception):
                    log.warning("a client's record could not be written: %s", problem)

    # -- coming ---------------------------------------------------------------------

    async def _bring(
        self,
        client_id: str,
        peer: bayeux.Peer,
        *,
        resumed: bool = False,
        gently: bool = False,
    ) -> bool:
        """Bring a client here, if there is one that this peer may speak for.

        `resumed`: another client will go on in its place. `gently`: unless it came to
        another node meanwhile, where it polls; returns False then.
        """
        place = await self._living(client_id)
        if place is None:
            return True
        if gently and place.owner not in {PARKED, self._hub.node}:
            return False
        if not self._application.allows(self._revived(client_id, place.record), peer):
            return True
        coming = self._coming.get(client_id)
        if coming is None:
            fetching = self._fetch(client_id, place, resumed=resumed, gently=gently)
            coming = self._coming[client_id] = asyncio.create_task(fetching)
            coming.add_done_callback(lambda _: self._coming.pop(client_id, None))
        await asyncio.shield(coming)
        if resumed or self._server.client(client_id) is not None:
            return True
        if await self._living(client_id) is None:  # it said goodbye meanwhile
            return True
        if gently:
            return False
        raise StoreUnavailableError("a client was taken by another node")

    async def _living(self, client_id: str) -> Place | None:
        """Return where a client is, None if it is unknown or has said goodbye."""
        place = await self._directory.find(client_id)
        if place is not None and place.owner == BURIED:
            self._server.bury(client_id, self._clock.monotonic())
            return None
        return place

    async def _fetch(
        self, client_id: str, place: Place | None, *, resumed: bool, gently: bool
    ) -> None:
        """Claim the client at this place, or where it is found then."""
        end = self._clock.monotonic() + SEARCH
        while self._clock.monotonic() < end:
            here = self._server.client(client_id) is not None
            if place is None or place.owner == BURIED or here:
                return
            if gently and place.owner not in {PARKED, self._hub.node}:
                return
            asked = self._clock.monotonic()
            if claimed := await self._claim(client_id, place, resumed=resumed):
                await self._install(client_id, claimed, asked)
                return
            await asyncio.sleep(PAUSE)
            place = await self._directory.find(client_id)
        # Perhaps this node slept meanwhile. Nobody has said that there is none.
        raise StoreUnavailableError("a client did not come in time")

    async def _claim(
        self, client_id: str, place: Place, *, resumed: bool
    ) -> Claimed | None:
        claim = self._directory.claim
        if client_id in self._leaving:
            return None
        if place.owner in {PARKED, self._hub.node}:
            return await claim(client_id, place.number)
        want = to_bytes(Want(client_id=client_id, number=place.number, resumed=resumed))
        try:
            answer = await self._hub.call(place.owner, "want", want)
        except NoAnswerError:
            answer = _NOT_HERE
        if answer.startswith(_GIVEN):
            parcel = answer.removeprefix(_GIVEN)
            if parcel:
                return Claimed(place.number + 1, b"", parcel)
            return await claim(client_id, place.number + 1)
        if answer == _LATER:
            return None
        claimed = await claim(client_id, place.number)
        if claimed is not None:
            self._hub.hint("taken", want)
        return claimed

    async def _install(self, client_id: str, claimed: Claimed, asked: float) -> None:
        """Go on with a client that was certainly this node's after `asked`."""
        came = forms.to_parcel(claimed.parcel or claimed.record)
        client = self._revived(client_id, claimed.parcel or claimed.record)
        missed: list[Published] = []
        if claimed.parcel:
            now = self._clock.monotonic()
            missed = self._broadcasts.missed(came.heard, now)
            self._broadcasts.arrived(client_id, came.heard, now)
        else:
            client.batch = extensions.first_batch(f"{client_id}{claimed.number}")
        try:
            await self._application.unpack(client, came.luggage, missed)
        except StoreError:
            self._broadcasts.left(client_id)  # its parcel, if any, can be claimed still
            raise
        owned = self._owned[client_id] = _Owned(claimed.number, asked)
        self._server.adopt(client)
        if claimed.parcel:
            owned.kept, owned.at = self._application.holdings(client), -math.inf
            taking_up = asyncio.create_task(self._take_up(client, owned))
            self._taking_up.add(taking_up)
            taking_up.add_done_callback(self._taking_up.discard)

    async def _take_up(self, client: bayeux.Client, owned: _Owned) -> None:
        """Drop the parcel of a client that goes on here, before it gets old.

        Nobody waits for that; until it is done, each request asks the directory.
        """
        try:
            await self._ours(client, owned, self._directory.take_up)
        except StoreError as exc:
            log.warning("the parcel of a client could not be dropped: %s", exc)

    def _revived(self, client_id: str, packed: bytes) -> bayeux.Client:
        came = forms.to_parcel(packed)
        options, now = self._server.options, self._clock.monotonic()
        identity = came.luggage.identity
        return moving.unpack(client_id, identity, came.state, options, now)

    # -- leaving --------------------------------------------------------------------

    async def _let_go(self, asked: Asked) -> bytes | Reply:
        """Answer a node that wants a client."""
        want = forms.to_want(asked.body)
        client_id = want.client_id
        if coming := self._coming.get(client_id):
            await asyncio.wait([coming])
        client, owned = self._server.client(client_id), self._owned.get(client_id)
        if owned is None and client_id not in self._leaving:
            return _NOT_HERE
        if client is None or owned is None:
            return _LATER  # it is leaving already
        if owned.number != want.number:
            # It came back; or the directory has lost the latest numbers.
            return _LATER if await self._verify(client) else _NOT_HERE
        parcel = await self._park(client, asked, resumed=want.resumed)
        return self._hub.reply(asked, _given(parcel)) if parcel else _LATER

    async def _retreat(self) -> None:
        await self._for_all(list(self._owned), self._leave)

    async def _leave(self, client: bayeux.Client) -> None:
        await self._park(client)

    async def _park(
        self,
        client: bayeux.Client,
        asked: Asked | None = None,
        *,
        resumed: bool = False,
    ) -> bytes:
        """Let a client go, when what it does at the moment is done: to the node that
        asked, or for whoever comes. Returns the parcel; it is empty if that failed.

        Whatever comes for it meanwhile waits, or those who never rest would stay.
        """
        if client.id in self._leaving:
            return b""
        gone = asyncio.get_running_loop().create_future()
        self._leaving[client.id] = gone
        try:
            return await self._put_down(client, asked, resumed=resumed)
        finally:
            del self._leaving[client.id]
            gone.set_result(None)

    async def _put_down(
        self, client: bayeux.Client, asked: Asked | None, *, resumed: bool
    ) -> bytes:
        await self._rest(client.id)
        await self._endpoint.part(client)
        await self._rest(client.id)
        owned = self._owned.get(client.id)
        if self._server.client(client.id) is not client or owned is None:
            return b""
        record, parcel = self._pack(client, whole=False), self._pack(client, whole=True)
        self._drop(client, resumed=resumed)
        to = NOBODY
        if asked is not None:
            to = Handover(asked.node, *self._hub.reply(asked, _given(parcel)))
        park = partial(self._directory.park, client.id, owned.number, record, parcel)
        return parcel if await self._persist(partial(park, to)) else b""

    async def _persist(self, park: Callable[[], Awaitable[bool]]) -> bool:
        """Park a client; False if another node has taken it over.

        What Redis does not take is offered again: nobody else has the parcel.

        Raises: StoreUnavailableError after `PARKING`.
        """
        end = self._clock.monotonic() + PARKING
        while True:
            try:
                return await park()
            except StoreUnavailableError:
                if self._clock.monotonic() > end:
                    raise
            await asyncio.sleep(PAUSE)

    async def _settled(self, client_id: str | None) -> None:
        """Wait until the client has gone, if it is leaving; but not for Redis."""
        if client_id is not None and (gone := self._leaving.get(client_id)):
            await asyncio.wait([gone], timeout=BUSY)

    def _pack(self, client: bayeux.Client, *, whole: bool) -> bytes:
        state = moving.pack(client, self._clock.monotonic())
        luggage = self._application.pack(client, whole=whole)
        heard = self._broadcasts.heard(client.id) if whole else {}
        return to_bytes(Parcel(state=state, luggage=luggage, heard=heard))

    def _drop(self, client: bayeux.Client, *, resumed: bool = False) -> None:
        """Forget a client that others have, without a word to anybody."""
        self._owned.pop(client.id, None)
        self._broadcasts.left(client.id)
        self._endpoint.parted(client, resumed=resumed)
        self._application.part(client)

    async def _rest(self, client_id: str) -> None:
        """Wait until nothing is done for the client."""
        end = self._clock.monotonic() + BUSY
        while self._working[client_id] and self._clock.monotonic() < end:  # noqa: ASYNC110 - rarely more than once
            await asyncio.sleep(PAUSE)

    @contextlib.contextmanager
    def _at_work(self, client_id: str | None) -> Iterator[None]:
        """Let a client not go while this lasts."""
        if client_id is None:
            yield
            return
        self._working[client_id] += 1
        try:
            yield
        finally:
            self._working[client_id] -= 1
            if not self._working[client_id]:
                del self._working[client_id]

    # -- what other nodes say -------------------------------------------------------

    async def _serve_errand(self, asked: Asked) -> bytes:
        errand = forms.to_errand(asked.body)
        await self._settled(errand.client_id)
        client = self._server.client(errand.client_id)
        if client is None:
            return _NOT_HERE
        if not self._certain(client.id) and not await self._verify(client):
            return _NOT_HERE
        exchange = ErrandExchange()
        with self._at_work(client.id):
            messages = forms.to_messages(errand.messages)
            await self._endpoint.serve_here(exchange, messages, errand.peer)
        return exchange.response

    async def _take_delivery(self, asked: Asked) -> bytes:
        delivery = forms.to_delivery(asked.body)
        if self._server.client(delivery.client_id) is None:
            return _NOT_HERE
        self._application.deliver(delivery.client_id, delivery.event)
        return _GIVEN

    def _taken(self, node: str, number: int, body: bytes) -> None:
        want = forms.to_want(body)
        owned = self._owned.get(want.client_id)
        client = self._server.client(want.client_id)
        if node == self._hub.node or owned is None or client is None:
            return
        if owned.number <= want.number:
            self._drop(client)
        else:  # it came back; or the directory had lost the latest numbers
            owned.at = -math.inf

    def _published(self, node: str, number: int, body: bytes) -> None:
        published = forms.to_published(body)
        now = self._clock.monotonic()
        had = self._broadcasts.note(node, number, published, now)
        self._application.broadcast(published, hearers=bayeux.Hearers(but=had))


async def _done(futures: Iterable[asyncio.Future[None]]) -> None:
    if waiting := list(futures):
        await asyncio.wait(waiting)


def _given(parcel: bytes) -> bytes:
    return _GIVEN + (parcel if len(parcel) <= LARGEST_PARCEL else b"")


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
