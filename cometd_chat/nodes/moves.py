"""Clients on their way: to this node, where they poll, and from it to others.

A client that another node wants is *let go* as soon as nothing is done for it: packed,
dropped here, and left in the directory, from where its new node goes on with all that
it had. A client whose node does not answer is taken over by what its record tells.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from cometd_chat import bayeux
from cometd_chat.bayeux import extensions, moving
from cometd_chat.chat.luggage import Published
from cometd_chat.clock import Clock
from cometd_chat.recurring import Sparing
from cometd_chat.store import StoreError, StoreUnavailableError

from . import parcel as forms
from .calls import LateError, NoAnswerError
from .custody import BUSY, PAUSE, Custody, Here, Owned
from .directory import (
    BURIED,
    NOBODY,
    PARKED,
    Claimed,
    Directory,
    Handover,
    Place,
)
from .hub import Asked, Hub, Reply
from .parcel import Want, to_bytes

SEARCH = 7.0
"""Seconds for which a client is looked for while it changes hands: less than clients
wait, and more than `OVERDUE`, also for a node that stops for a while."""

OVERDUE = 4.0
"""Seconds after which a client is taken from a node that is there, and does not let it
go: what waits for it there is lost."""

PARKING = 30.0
"""Seconds for which a client that Redis does not take is kept, and offered again."""

CLOSING = 8.0
"""Seconds within which a node that stops leaves its clients to the others: less than
it is given to stop."""

LARGEST_PARCEL = 65_536
"""Bytes of a client that a node tells another; a larger one is only left in Redis."""

# The parcel follows what was given, if there is room for it.
_GIVEN, _NOT_HERE, _LATER = b"given", b"", b"later"

log = logging.getLogger(__name__)
often = Sparing(log)


class Moves:
    """How clients come to this node, and leave it."""

    def __init__(
        self, hub: Hub, directory: Directory, here: Here, custody: Custody, clock: Clock
    ) -> None:
        self._hub = hub
        self._directory = directory
        self._server = here.server
        self._endpoint = here.endpoint
        self._application = here.application
        self._custody = custody
        self._broadcasts = custody.broadcasts
        self._now = clock.monotonic
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._taking_up: set[asyncio.Task[None]] = set()
        hub.when_deaf = self.retreat
        hub.answer("want", self._let_go)
        hub.hear("taken", self._taken)

    async def close(self) -> None:
        """Let all clients go, and see off those who are leaving; other nodes take
        them."""
        try:
            async with asyncio.timeout(CLOSING):
                # Before others have come: a slow node would take all the time for one.
                await self.retreat()
                await _done(self._coming.values())
                await self.retreat()
                await _done(self._leaving.values())
        except TimeoutError:
            log.warning("clients could not be left to other nodes in time")

    # -- coming ---------------------------------------------------------------------

    async def bring(
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

        Raises: StoreUnavailableError.
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
            self._server.bury(client_id, self._now())
            return None
        return place

    async def _fetch(
        self, client_id: str, place: Place | None, *, resumed: bool, gently: bool
    ) -> None:
        """Claim the client at this place, or where it is found then."""
        begun = self._now()
        end, overdue = begun + SEARCH, begun + OVERDUE
        while self._now() < end:
            here = self._server.client(client_id) is not None
            if place is None or place.owner == BURIED or here:
                return
            if gently and place.owner not in {PARKED, self._hub.node}:
                return
            asked = self._now()
            if claimed := await self._claim(client_id, place, overdue, resumed=resumed):
                await self._install(client_id, claimed, asked)
                return
            await asyncio.sleep(PAUSE)
            place = await self._directory.find(client_id)
        # Perhaps this node slept meanwhile. Nobody has said that there is none.
        raise StoreUnavailableError("a client did not come in time")

    async def _claim(
        self, client_id: str, place: Place, overdue: float, *, resumed: bool
    ) -> Claimed | None:
        """Get the client from where it is; None if it is not to be had yet.

        A node that is there has until `overdue`, for its client takes along what waits.
        """
        claim = self._directory.claim
        if client_id in self._leaving:
            return None
        if place.owner in {PARKED, self._hub.node}:
            return await claim(client_id, place.number)
        want = to_bytes(Want(client_id=client_id, number=place.number, resumed=resumed))
        answer = await self._ask_for(place.owner, want)
        if answer.startswith(_GIVEN):
            parcel = answer.removeprefix(_GIVEN)
            if parcel:
                return Claimed(place.number + 1, b"", parcel)
            return await claim(client_id, place.number + 1)
        if answer == _LATER and self._now() < overdue:
            return None
        claimed = await claim(client_id, place.number)
        if claimed is not None:
            self._hub.hint("taken", want)
        return claimed

    async def _ask_for(self, node: str, want: bytes) -> bytes:
        try:
            return await self._hub.call(node, "want", want)
        except LateError:
            return _LATER
        except NoAnswerError:
            return _NOT_HERE

    async def _install(self, client_id: str, claimed: Claimed, asked: float) -> None:
        """Go on with a client that was certainly this node's after `asked`."""
        came = forms.to_parcel(claimed.parcel or claimed.record)
        client = self._revived(client_id, claimed.parcel or claimed.record)
        missed: list[Published] = []
        if claimed.parcel:
            now = self._now()
            missed = self._broadcasts.missed(came.heard, now)
            self._broadcasts.arrived(client_id, came.heard, now)
        else:
            client.batch = extensions.first_batch(f"{client_id}{claimed.number}")
        try:
            await self._application.unpack(client, came.luggage, missed)
        except StoreError:
            self._broadcasts.left(client_id)  # its parcel, if any, can be claimed still
            raise
        owned = self._custody.take(client, claimed.number, asked)
        if claimed.parcel:
            owned.kept, owned.at = self._application.holdings(client), -math.inf
            taking_up = asyncio.create_task(self._take_up(client, owned))
            self._taking_up.add(taking_up)
            taking_up.add_done_callback(self._taking_up.discard)

    async def _take_up(self, client: bayeux.Client, owned: Owned) -> None:
        """Drop the parcel of a client that goes on here, before it gets old.

        Nobody waits for that; until it is done, each request asks the directory.
        """
        try:
            await self._custody.ours(client, owned, self._directory.take_up)
        except StoreError as exc:
            often.warning("the parcel of a client could not be dropped: %s", exc)

    def _revived(self, client_id: str, packed: bytes) -> bayeux.Client:
        came = forms.to_parcel(packed)
        options, now = self._server.options, self._now()
        identity = came.luggage.identity
        return moving.unpack(client_id, identity, came.state, options, now)

    # -- leaving --------------------------------------------------------------------

    async def _let_go(self, asked: Asked) -> bytes | Reply:
        """Answer a node that wants a client."""
        want = forms.to_want(asked.body)
        client_id = want.client_id
        if coming := self._coming.get(client_id):
            await asyncio.wait([coming])
        client, owned = self._server.client(client_id), self._custody.get(client_id)
        if owned is None and client_id not in self._leaving:
            return _NOT_HERE
        if client is None or owned is None:
            return _LATER  # it is leaving already
        if owned.number != want.number:
            # It came back; or the directory has lost the latest numbers.
            return _LATER if await self._custody.verify(client) else _NOT_HERE
        parcel = await self._park(client, asked, resumed=want.resumed)
        return self._hub.reply(asked, _given(parcel)) if parcel else _LATER

    def _taken(self, node: str, number: int, body: bytes) -> None:
        """Hear that another node has taken a client over."""
        want = forms.to_want(body)
        owned = self._custody.get(want.client_id)
        client = self._server.client(want.client_id)
        if node == self._hub.node or owned is None or client is None:
            return
        if owned.number <= want.number:
            self._custody.drop(client)
        else:  # it came back; or the directory had lost the latest numbers
            owned.at = -math.inf

    async def retreat(self) -> None:
        """Let all clients go that are here; other nodes take them."""
        await self._custody.for_all(self._leave)

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
        await self._custody.rest(client.id)
        await self._endpoint.part(client)
        await self._custody.rest(client.id)
        owned = self._custody.get(client.id)
        if self._server.client(client.id) is not client or owned is None:
            return b""
        pack = self._custody.pack
        record, parcel = pack(client, whole=False), pack(client, whole=True)
        self._custody.drop(client, resumed=resumed)
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
        end = self._now() + PARKING
        while True:
            try:
                return await park()
            except StoreUnavailableError:
                if self._now() > end:
                    raise
            await asyncio.sleep(PAUSE)

    async def settled(self, client_id: str | None) -> None:
        """Wait until the client has gone, if it is leaving; but not for Redis."""
        if client_id is not None and (gone := self._leaving.get(client_id)):
            await asyncio.wait([gone], timeout=BUSY)


async def _done(futures: Iterable[asyncio.Future[None]]) -> None:
    if waiting := list(futures):
        await asyncio.wait(waiting)


def _given(parcel: bytes) -> bytes:
    return _GIVEN + (parcel if len(parcel) <= LARGEST_PARCEL else b"")
