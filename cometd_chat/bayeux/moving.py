"""What a client is, apart from the node it is on: so that it can go on at another.

Monotonic times mean nothing elsewhere; they travel as seconds ago. Nothing of a poll
travels: a client leaves its polls behind.
"""

from collections.abc import Collection

from msgspec import Raw, Struct

from .client import Client
from .server import Options


class ClientState(Struct, frozen=True, kw_only=True):
    """A `Client` on its way. `idle` is in seconds since its user did anything."""

    subscriptions: Collection[str] = ()
    browser: str = ""
    transport: str = ""
    acks: bool = False
    batch: int = 0
    connected: bool = False
    idle: float = 0.0


class Mail(Struct, frozen=True, kw_only=True):
    """A mailbox on its way; see `Mailboxes.pack`.

    `wakes_in` is in seconds: infinite for never, minus infinite for at once.
    """

    queue: list[bytes]
    batch: list[bytes]
    gone: int
    wakes_in: float
    overflowed: bool = False

    @property
    def events(self) -> list[Raw]:
        """What waits."""
        return [Raw(event) for event in self.queue]

    @property
    def taken(self) -> list[Raw]:
        """What was sent, and is not acknowledged."""
        return [Raw(event) for event in self.batch]


def pack(client: Client, now: float) -> ClientState:
    """Return what goes with the client."""
    return ClientState(
        subscriptions=sorted(client.subscriptions),
        browser=client.browser,
        transport=client.transport,
        acks=client.acks,
        batch=client.batch,
        connected=client.connected,
        idle=max(now - client.active_at, 0.0),
    )


def unpack(
    client_id: str, identity: object, state: ClientState, options: Options, now: float
) -> Client:
    """Return the client as `BayeuxServer.adopt` wants it.

    It counts as there from now on, whether or not it had fallen silent.
    """
    client = Client(
        client_id,
        identity,
        expires_at=now + options.max_interval,
        silent_at=now + options.offline_after,
        active_at=now - state.idle,
        browser=state.browser,
    )
    client.acks, client.batch = state.acks, state.batch
    client.transport, client.connected = state.transport, state.connected
    client.subscriptions = set(state.subscriptions)
    return client
