"""Requests that one node has served by another."""

from collections.abc import Sequence

from msgspec import Raw

from cometd_chat import bayeux
from cometd_chat.web.elsewhere import Item
from cometd_chat.web.exchange import Exchange

from . import parcel
from .parcel import Errand


class ErrandExchange(Exchange):
    """A request that came from another node; `response` goes back there, and is empty
    if the request is refused."""

    def __init__(self) -> None:
        super().__init__(object())
        self.response = b""

    @property
    def dead(self) -> bool:
        return False

    @property
    def unconfirmed(self) -> bool:
        return False

    def sync(self, now: float) -> None:
        """Leave it to the node that has the request: it knows when it came."""

    def refuse(self, status: int) -> None:
        """Leave the response empty."""

    def send(self, messages: Sequence[bayeux.Reply | Raw]) -> None:
        self.response = bayeux.encode(messages)


def errand_of(
    client_id: str, items: Sequence[Item], peer: bayeux.Peer, headers: Sequence[str]
) -> Errand:
    """Return the messages of a request, for the node that has the client."""
    messages = [item for item in items if isinstance(item, bayeux.Message)]
    return Errand(
        client_id=client_id,
        messages=parcel.messages_to_bytes(messages),
        headers=parcel.headers_of(peer, headers),
        address=peer.address,
        browser=peer.browser,
    )


def answer_with(exchange: Exchange, items: Sequence[Item], response: bytes) -> None:
    """Add what the other node answered, and what was refused here already."""
    replies = iter(parcel.to_replies(response))
    for item in items:
        exchange.add(item, item if isinstance(item, bayeux.Reply) else next(replies))
