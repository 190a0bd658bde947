"""Where a client may be besides this node.

With one node there is no such place. With several, each client belongs to one of them
at a time, and goes to the node where it polls (`cometd_chat/nodes`).
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Raw

from cometd_chat import bayeux

from .exchange import Exchange

Item: TypeAlias = bayeux.Message | bayeux.Reply
"""A message, or the reply that refuses what was none."""


class Elsewhere(Protocol):
    """The other nodes, as the endpoint of one of them sees them."""

    async def serve(
        self, exchange: Exchange, items: Sequence[Item], peer: bayeux.Peer
    ) -> None:
        """Serve a request: by `CometdEndpoint.serve_here` where the client is here or
        has to come here, or by the node that has it."""
        ...

    @property
    def deaf(self) -> bool:
        """Tell whether requests are better served by the others."""
        ...

    async def welcome(self, client: bayeux.Client) -> bool:
        """Note a new client; False if the others cannot know of it, and would refuse
        it: then it must not be let in."""
        ...

    async def keep(self, client: bayeux.Client) -> None:
        """Note where the client is and what it has, if that is new."""
        ...

    async def silent(self, client: bayeux.Client) -> None:
        """Tell the application so, unless the client is with another node."""
        ...

    async def gone(self, client: bayeux.Client, *, meant: bool) -> bool:
        """Note that nobody has the client any more; False if another node has it.

        `meant`: it said goodbye, and must not be brought back to life.
        """
        ...


class _Abroad(Exchange):
    """Stands for a request at another node: it shares its connection with nobody."""

    @property
    def dead(self) -> bool:
        return False

    @property
    def unconfirmed(self) -> bool:
        return False

    def refuse(self, status: int) -> None:
        """Do nothing: nobody waits here."""

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        """Do nothing: nobody waits here."""


ABROAD: Exchange = _Abroad(object())
