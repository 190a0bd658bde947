"""What travels between nodes: messages that were published, and what clients have."""

from msgspec import Struct

from cometd_chat.bayeux import Ext, Mail

from .desks import Desk
from .identity import Agent, Customer
from .readers import Reader


class Published(Struct, frozen=True, kw_only=True):
    """What a client has published, on its way to all nodes."""

    channel: str
    data: bytes
    sender: str
    ext: Ext | None = None


class Luggage(Struct, frozen=True, kw_only=True):
    """What a client takes along to another node."""

    customer: Customer | None
    agent: Agent | None
    names: frozenset[str]
    reader: Reader | None
    desk: Desk | None
    mail: Mail | None
    marks: dict[int, tuple[int, dict[str, int]]]

    @property
    def identity(self) -> Agent | Customer:
        return self.agent or self.customer or Customer()
