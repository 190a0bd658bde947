"""What a Bayeux server asks of the application behind it.

A transport (`web/cometd.py`) knows these two protocols and nothing else: who may do
what (`Application`), and what is to be sent to whom (`Outbox`).
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Raw, Struct

from .client import Client, Rewind
from .messages import Ext, Message, error


class RefusedError(Exception):
    """The application's no; `str()` is the wire form `code:args:text`.

    `reconnect` is the advice for a refused handshake: `none`, or `handshake` when
    another try may succeed.
    """

    def __init__(
        self, code: int, text: str, *args: str, reconnect: str = "none"
    ) -> None:
        super().__init__(error(code, text, *args))
        self.reconnect = reconnect


class Peer(Struct, frozen=True, kw_only=True):
    """Where a request came from; header names are looked up without case.

    `browser` is the cookie `BAYEUX_BROWSER`, empty where there is none.
    """

    headers: Mapping[str, str]
    address: str = ""
    browser: str = ""

    def __repr__(self) -> str:
        return f"Peer(address={self.address!r})"  # the rest may hold secrets


class Application(Protocol):
    """Decides what the protocol leaves open. May wait, for instance for a store.

    Up to its first wait a call may run in no task: `asyncio.timeout` is not for it.
    """

    async def handshake(self, message: Message, peer: Peer) -> object:
        """Return the identity that the new client keeps.

        Raises: RefusedError.
        """
        ...

    def allows(self, client: Client, peer: Peer) -> bool:
        """Tell whether this peer may speak for the client; if not, it is unknown."""
        ...

    async def subscribe(
        self, client: Client, names: Sequence[str], message: Message
    ) -> Ext | None:
        """Grant all the channels or none; returns what the reply says in `ext`.

        Raises: RefusedError.
        """
        ...

    def continues(self, old: Client, new: Client) -> bool:
        """Tell whether the new client may go on in place of the old one."""
        ...

    async def resume(self, old: Client, new: Client, position: object) -> None:
        """Let the new client read on where the old one was, which is forgotten.

        `position` is what the client says it has.
        """
        ...

    async def unsubscribe(self, client: Client, names: Sequence[str]) -> None:
        """Note that the client gave these channels up."""
        ...

    def publish(
        self, client: Client, message: Message
    ) -> Coroutine[Any, Any, None] | None:
        """Do what the message asks for; that it is done promises that it is stored.

        Returns what has to be waited for until then, if anything.

        Raises: RefusedError, also by what is returned.
        """
        ...

    def connect(
        self, client: Client, message: Message
    ) -> Coroutine[Any, Any, None] | None:
        """Note a poll: what was sent before is acknowledged, the client is there.

        Returns what is to be done about that in the background, if anything.
        """
        ...

    async def silent(self, client: Client) -> None:
        """Note that the client has not polled for `offline_after`."""
        ...

    async def left(self, client: Client, message: Message | None) -> None:
        """Note that the client is gone: by its message, or (None) by expiry."""
        ...

    def part(self, client: Client) -> None:
        """Forget a client that goes on at another node, without any sign of it."""
        ...

    async def farewell(self, message: Message, peer: Peer) -> bool:
        """Take the goodbye of a client that Bayeux has forgotten; tell if it meant
        anything."""
        ...


class Outbox(Protocol):
    """Holds what waits for each client. A client's id is its address."""

    def take(self, client_id: str, *, ending: bool) -> list[Raw] | None:
        """Return the events for one response, in order; they stay unacknowledged.

        `ending` tells that the response goes out in any case, so that events which
        would not be worth one come along. None asks to wait for `catch_up()` and to
        try again.
        """
        ...

    async def catch_up(self, client_id: str) -> None:
        """Read what is missing."""
        ...

    def lost(self, client_id: str) -> None:
        """Take back what is not acknowledged: it did not reach the client."""
        ...

    def arrived(self, client_id: str) -> None:
        """Note that the client got what was taken since its last poll came."""
        ...

    def mark(self, client_id: str) -> Rewind:
        """Return a call that takes back only what will be taken from now on."""
        ...
