"""The forms in which clients, and requests of clients, travel between nodes."""

from collections.abc import Mapping, Sequence

import msgspec

from cometd_chat import bayeux
from cometd_chat.chat.luggage import Luggage, Published


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A client on its way.

    `heard` is how far it heard each node's broadcasts, by the name of the node.
    """

    state: bayeux.ClientState
    luggage: Luggage
    heard: dict[str, int] = {}


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of one client for the node that has it; of the peer what tells who it
    is."""

    client_id: str
    messages: bytes
    headers: dict[str, str]
    address: str
    browser: str

    @property
    def peer(self) -> bayeux.Peer:
        return bayeux.Peer(
            headers=_Headers(self.headers), address=self.address, browser=self.browser
        )


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """A client that a node wants, or has taken, and the number that it had.

    `resumed`: another client goes on in its place.
    """

    client_id: str
    number: int
    resumed: bool = False


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event for the mailbox of a client."""

    client_id: str
    event: bytes


class _Headers(dict[str, str]):
    """Header fields by name in any case; kept in small letters."""

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]  # of strings
        return super().get(name.lower(), default)


def headers_of(peer: bayeux.Peer, names: Sequence[str]) -> dict[str, str]:
    """Return the fields of these names that the request had, by small letters."""
    found: Mapping[str, str] = peer.headers
    fields = {name.lower(): found.get(name) for name in names}
    return {name: value for name, value in fields.items() if value is not None}


to_bytes = msgspec.msgpack.Encoder().encode
to_parcel = msgspec.msgpack.Decoder(Parcel).decode
to_errand = msgspec.msgpack.Decoder(Errand).decode
to_want = msgspec.msgpack.Decoder(Want).decode
to_delivery = msgspec.msgpack.Decoder(Delivery).decode
to_published = msgspec.msgpack.Decoder(Published).decode
to_messages = msgspec.json.Decoder(list[bayeux.Message]).decode
to_replies = msgspec.json.Decoder(list[bayeux.Reply]).decode
messages_to_bytes = msgspec.json.Encoder().encode
