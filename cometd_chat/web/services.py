"""What a mounted Bayeux server lets its clients do.

Broadcast channels are as allowed, service channels as they were added, and the hooks
of the application may refuse the rest.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias

from msgspec import DecodeError, json

from cometd_chat.bayeux import (
    ABSENT,
    Broadcast,
    Client,
    Mailboxes,
    Message,
    Peer,
    RefusedError,
    channels,
    extensions,
)
from cometd_chat.clock import Clock

log = logging.getLogger(__name__)

OnHandshake: TypeAlias = Callable[[Message, Peer], Awaitable[object]]
OnSubscribe: TypeAlias = Callable[[Client, str], Awaitable[None]]
OnPublish: TypeAlias = Callable[[Client, str, Any], Awaitable[None]]
OnLeft: TypeAlias = Callable[[Client], Awaitable[None]]

Serve: TypeAlias = Callable[[Client, Any, Message], Awaitable[None]]
"""Takes what was published on a service channel, with its message."""

_SERVICE = channels.Kind.SERVICE


class Services:
    """Who may do what: broadcast channels as allowed, services as added, hooks."""

    def __init__(
        self, broadcast: Broadcast, mailboxes: Mailboxes, clock: Clock
    ) -> None:
        self._broadcast = broadcast
        self._mailboxes = mailboxes
        self._clock = clock
        self._services: dict[str, Serve] = {}
        self.on_handshake: OnHandshake | None = None
        self.on_subscribe: OnSubscribe | None = None
        self.on_publish: OnPublish | None = None
        self.on_left: OnLeft | None = None

    def add(self, channel: str, serve: Serve) -> None:
        """Let `serve` take what is published on a service channel.

        Raises: ValueError when this is no service channel, or it is taken.
        """
        if not channels.is_name(channel) or channels.kind(channel) is not _SERVICE:
            raise ValueError(f"not the name of a service channel: {channel!r}")
        if channel in self._services:
            raise ValueError(f"two services on {channel}")
        self._services[channel] = serve

    async def handshake(self, message: Message, peer: Peer) -> object:
        with _refusing(message.channel, reconnect="handshake"):
            return self.on_handshake and await self.on_handshake(message, peer)

    def allows(self, client: Client, peer: Peer) -> bool:
        return True  # its id is a secret, and known to nobody else

    async def subscribe(
        self, client: Client, names: Sequence[str], message: Message
    ) -> None:
        heard = [name for name in names if channels.kind(name) is not _SERVICE]
        for name in heard:
            if not self._broadcast.allows(name):
                raise RefusedError(403, "Subscription denied", name)
            if self.on_subscribe:
                with _refusing(name):
                    await self.on_subscribe(client, name)
        self._broadcast.subscribe(client.id, heard)

    def continues(self, old: Client, new: Client) -> bool:
        return old.identity == new.identity

    async def resume(self, old: Client, new: Client, position: object) -> None:
        self._mailboxes.lost(old.id)
        self._mailboxes.move(old.id, new.id)
        self._broadcast.move(old.id, new.id)

    async def unsubscribe(self, client: Client, names: Sequence[str]) -> None:
        self._broadcast.unsubscribe(client.id, names)

    async def publish(self, client: Client, message: Message) -> None:
        channel = message.channel
        if channels.kind(channel) is _SERVICE:
            await self._serve(client, message)
            return
        if not self._broadcast.allows(channel):
            raise RefusedError(403, "Publish denied", channel)
        if self.on_publish:
            with _refusing(channel):
                await self.on_publish(client, channel, _data(message))
        now = self._clock.monotonic()
        ext = extensions.passed_on(message)
        self._broadcast.publish(
            channel, message.data, sender=client.id, now=now, ext=ext
        )

    async def _serve(self, client: Client, message: Message) -> None:
        serve = self._services.get(message.channel)
        if serve is None:
            raise RefusedError(404, "Unknown channel", message.channel)
        with _refusing(message.channel):
            await serve(client, _data(message), message)

    def connect(self, client: Client, message: Message) -> None:
        self._mailboxes.acknowledge(client.id)

    async def silent(self, client: Client) -> None:
        """Go on: it may come back until it is given up."""

    async def left(self, client: Client, message: Message | None) -> None:
        self._broadcast.forget(client.id)
        if self.on_left:
            with contextlib.suppress(RefusedError), _refusing("/meta/disconnect"):
                await self.on_left(client)

    def part(self, client: Client) -> None:
        self._broadcast.forget(client.id)

    async def farewell(self, message: Message, peer: Peer) -> bool:
        return False


@contextlib.contextmanager
def _refusing(channel: str, reconnect: str = "none") -> Iterator[None]:
    """Tell the client no more than that something failed; the log has the rest.

    Raises: RefusedError, in place of all other errors.
    """
    try:
        yield
    except RefusedError:
        raise
    except Exception:
        log.exception("what a client asked for on %s failed", channel)
        raise RefusedError(
            500, "Internal error", channel, reconnect=reconnect
        ) from None


def _data(message: Message) -> Any:
    """Return what was published. Raises: RefusedError."""
    if message.data == ABSENT:
        raise RefusedError(400, "Data missing", message.channel)
    try:
        return json.decode(message.data)
    except DecodeError:
        raise RefusedError(400, "Data malformed", message.channel) from None
