"""The clients of this node: which they are, and what other nodes may read of them.

Each has a record in the directory, for the case that this node dies. Whether a client
is this node's still is *certain* for as long as the node is in touch with the others;
where it was not, the directory is asked.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cometd_chat import bayeux
from cometd_chat.bayeux import moving
from cometd_chat.chat.application import ChatApplication
from cometd_chat.clock import Clock
from cometd_chat.recurring import Sparing
from cometd_chat.store import StoreError
from cometd_chat.web.cometd import CometdEndpoint

from .broadcasts import Broadcasts
from .directory import Directory
from .hub import Hub
from .parcel import Parcel, to_bytes

PAUSE = 0.02
"""Seconds between two looks."""

BUSY = 1.0
"""Seconds for which a client that is wanted elsewhere may finish what it does."""

AT_ONCE = 200
"""Entries of the directory that are written at a time."""

often = Sparing(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class Here:
    """The parts of this node that know its clients."""

    server: bayeux.BayeuxServer
    endpoint: CometdEndpoint
    application: ChatApplication


@dataclass(slots=True)
class Owned:
    """A client of this node, with its number in the directory. `at` is when that was
    last certain; `kept` and `confirmed` are what its record tells of."""

    number: int
    at: float
    kept: Hashable = None
    confirmed: Hashable = None


class Custody:
    """All clients that are this node's.

    Methods that ask the directory raise StoreUnavailableError, unless they say so.
    """

    def __init__(
        self, hub: Hub, directory: Directory, here: Here, clock: Clock
    ) -> None:
        self._hub = hub
        self._directory = directory
        self._server = here.server
        self._endpoint = here.endpoint
        self._application = here.application
        self._now = clock.monotonic
        self._owned: dict[str, Owned] = {}
        self._working: Counter[str] = Counter()
        self.broadcasts = Broadcasts()

    def get(self, client_id: str) -> Owned | None:
        """Return what is known of a client of this node."""
        return self._owned.get(client_id)

    def take(self, client: bayeux.Client, number: int, at: float) -> Owned:
        """Have a client, which is certain since `at`; return what is known of it."""
        owned = self._owned[client.id] = Owned(number, at)
        self._server.adopt(client)
        return owned

    def drop(self, client: bayeux.Client, *, resumed: bool = False) -> None:
        """Forget a client that others have, without a word to anybody."""
        self._owned.pop(client.id, None)
        self.broadcasts.left(client.id)
        self._endpoint.parted(client, resumed=resumed)
        self._application.part(client)

    def pack(self, client: bayeux.Client, *, whole: bool) -> bytes:
        """Return the client's record, or (`whole`) its parcel."""
        state = moving.pack(client, self._now())
        luggage = self._application.pack(client, whole=whole)
        heard = self.broadcasts.heard(client.id) if whole else {}
        return to_bytes(Parcel(state=state, luggage=luggage, heard=heard))

    # -- whose it is ----------------------------------------------------------------

    def certain(self, client_id: str) -> bool:
        """Tell whether the client is certainly here."""
        owned = self._owned.get(client_id)
        return (
            owned is not None
            and self._hub.pulse.in_touch
            and owned.at >= self._hub.pulse.since
        )

    async def verify(self, client: bayeux.Client) -> bool:
        """Tell whether the client is this node's still, and write its record; forget it
        if not."""
        owned = self._owned.get(client.id)
        if owned is None:
            return False
        confirmed = self._application.confirmed(client)
        keep = partial(self._directory.keep, record=self.pack(client, whole=False))
        if ours := await self.ours(client, owned, keep):
            owned.confirmed = confirmed
        return ours

    async def ours(
        self,
        client: bayeux.Client,
        owned: Owned,
        ask: Callable[[str, int], Awaitable[bool]],
    ) -> bool:
        """Tell whether the client is this node's still, by asking the directory; forget
        it if not.

        False as well if it left while the answer was under way: that is older then.
        """
        now = self._now()
        ours = await ask(client.id, owned.number)
        if self._owned.get(client.id) is not owned:
            return False
        if ours:
            owned.at = max(owned.at, now)
        else:
            self.drop(client)
        return ours

    # -- what the directory tells of it ---------------------------------------------

    async def welcome(self, client: bayeux.Client) -> bool:
        """See `Elsewhere.welcome`; raises nothing."""
        await self.keep(client)
        owned = self._owned.get(client.id)
        if owned is None or owned.kept is None:
            self._owned.pop(client.id, None)
            return False
        return True

    async def keep(self, client: bayeux.Client) -> None:
        """See `Elsewhere.keep`; raises nothing."""
        if self._server.client(client.id) is not client:
            return
        owned = self._owned.setdefault(client.id, Owned(1, self._now()))
        holdings = self._application.holdings(client)
        if owned.kept == holdings:
            return
        try:
            if await self.verify(client):
                owned.kept = holdings
        except StoreError as exc:
            # Its next request, or the next renewal, says it again.
            often.warning("other nodes could not be told of a client: %s", exc)

    async def gone(self, client: bayeux.Client, *, meant: bool) -> bool:
        """See `Elsewhere.gone`; raises nothing."""
        self.broadcasts.left(client.id)
        owned = self._owned.get(client.id)
        if owned is None:
            return True
        remove = self._directory.remove
        try:
            return await remove(client.id, owned.number, meant=meant)
        except StoreError as exc:
            often.warning("other nodes could not be told of a goodbye: %s", exc)
            return True
        finally:
            self._owned.pop(client.id, None)

    async def renew(self) -> None:
        """Write the records of all clients again, well within their lifetime."""
        await self.for_all(self.verify)

    async def note(self) -> None:
        """Write the records of agents who have confirmed more than theirs tell."""
        behind = [
            name
            for name, owned in self._owned.items()
            if (client := self._server.client(name)) is not None
            and owned.confirmed != self._application.confirmed(client)
        ]
        await self._for_these(behind, self.verify)

    async def for_all(
        self, do: Callable[[bayeux.Client], Coroutine[Any, Any, object]]
    ) -> None:
        """Do it for all clients, some at a time; what fails is logged."""
        await self._for_these(list(self._owned), do)

    async def _for_these(
        self,
        names: Sequence[str],
        do: Callable[[bayeux.Client], Coroutine[Any, Any, object]],
    ) -> None:
        for start in range(0, len(names), AT_ONCE):
            some = map(self._server.client, names[start : start + AT_ONCE])
            work = [do(client) for client in some if client is not None]
            for problem in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(problem, Exception):
                    often.warning("a client's record could not be written: %s", problem)

    # -- what is done for it --------------------------------------------------------

    @contextlib.contextmanager
    def at_work(self, client_id: str | None) -> Iterator[None]:
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

    async def rest(self, client_id: str) -> None:
        """Wait until nothing is done for the client, but not for long."""
        end = self._now() + BUSY
        while self._working[client_id] and self._now() < end:  # noqa: ASYNC110 - rarely more than once
            await asyncio.sleep(PAUSE)
