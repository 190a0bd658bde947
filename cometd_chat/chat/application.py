"""The chat as a Bayeux server sees it: who may come in, subscribe and publish."""

import contextlib
import logging
from collections.abc import (
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, Final, TypeAlias

from msgspec import Raw, structs

from cometd_chat.bayeux import (
    EVERYBODY,
    Broadcast,
    Client,
    Ext,
    Hearers,
    Message,
    Peer,
    RefusedError,
    extensions,
)
from cometd_chat.clock import Clock
from cometd_chat.delivery import Cursor, Delivery, Mark
from cometd_chat.gms.values import LARGEST_POSITION, read_position
from cometd_chat.recurring import Sparing
from cometd_chat.store import SessionNotFoundError, StoreError

from .agents import Agents
from .desks import CHANNEL as AGENTS_CHANNEL
from .identity import Agent, AuthHook, Customer, IdentityError
from .luggage import Luggage, Published
from .readers import Goodbye, Readers

often: Final = Sparing(logging.getLogger(__name__))

CUSTOMERS_CHANNEL: Final = "/_genesys"

MOST_UNREAD: Final = 99_999
"""Largest number of unread messages that an app's icon can mean."""

NEWEST: Final = LARGEST_POSITION
"""Stands for the end of a transcript, wherever that is."""


Relay: TypeAlias = Callable[[Published], Coroutine[Any, Any, None]]
"""Takes what was published to `ChatApplication.broadcast` of all nodes.

Raises: RefusedError.
"""


class ChatApplication:
    """Routes what the Bayeux endpoint asks to customers, agents and broadcast."""

    def __init__(
        self,
        readers: Readers,
        agents: Agents,
        delivery: Delivery,
        broadcast: Broadcast,
        auth: AuthHook,
        clock: Clock,
    ) -> None:
        self._readers = readers
        self._agents = agents
        self._desks = agents.desks
        self._delivery = delivery
        self.relay: Relay | None = None
        self._broadcast = broadcast
        self._auth = auth
        self._clock = clock

    async def handshake(self, message: Message, peer: Peer) -> Agent | Customer:
        ext = message.ext or {}
        try:
            if (auth := ext.get("auth")) is not None:
                return self._auth.agent(_token(auth))
            return Customer(
                user=self._auth.user(peer),
                key=_text(ext, "serviceId"),
                position=_position(message),
            )
        except IdentityError as exc:
            raise RefusedError(403, str(exc)) from None

    def allows(self, client: Client, peer: Peer) -> bool:
        identity = client.identity
        if isinstance(identity, Agent):
            return not identity.expired(self._clock.time())
        if not isinstance(identity, Customer) or not identity.user:
            return True
        try:
            return self._auth.user(peer) in {"", identity.user}
        except IdentityError:
            return False

    def continues(self, old: Client, new: Client) -> bool:
        match old.identity, new.identity:
            case Customer() as before, Customer() as now:
                return before.user == now.user
            case before, now:
                return before == now

    async def resume(self, old: Client, new: Client, position: object) -> None:
        self._broadcast.move(old.id, new.id)
        if not isinstance(old.identity, Customer):
            self._desks.resume(old.id, new.id)
            return
        new.identity = old.identity
        try:
            await self._readers.resume(old.id, new.id, read_position(position))
        except StoreError:
            # It reads on all the same; its first poll says it again.
            often.warning("a customer's presence could not be stored")

    async def subscribe(
        self, client: Client, names: Sequence[str], message: Message
    ) -> Ext | None:
        identity = client.identity
        others = [name for name in names if name not in _channels(identity)]
        for name in others:
            if not self._broadcasts(name):
                raise RefusedError(403, "Subscription denied", name)
        ext = None
        if CUSTOMERS_CHANNEL in names and isinstance(identity, Customer):
            ext = await self._listen(client, identity, message)
        self._broadcast.subscribe(client.id, others)
        return ext

    async def unsubscribe(self, client: Client, names: Sequence[str]) -> None:
        self._broadcast.unsubscribe(client.id, names)
        if CUSTOMERS_CHANNEL in names and isinstance(client.identity, Customer):
            await self._say_goodbye(client, Goodbye())

    def publish(
        self, client: Client, message: Message
    ) -> Coroutine[Any, Any, None] | None:
        channel, data = message.channel, message.data
        if channel in _OURS:
            if channel == AGENTS_CHANNEL and isinstance(client.identity, Agent):
                return self._agents.operate(client.id, client.identity, message)
            raise RefusedError(403, "Publish denied", channel)
        ext = extensions.passed_on(message) if message.ext else None
        if self.relay is None:
            now = self._clock.monotonic()
            self._broadcast.publish(channel, data, sender=client.id, now=now, ext=ext)
            return None
        self._broadcast.check(channel, data)
        return self.relay(
            Published(channel=channel, data=bytes(data), sender=client.id, ext=ext)
        )

    def broadcast(
        self,
        published: Published,
        *,
        hearers: Hearers = EVERYBODY,
    ) -> None:
        """Post what was published to this node's clients; see `Broadcast.publish`."""
        with contextlib.suppress(RefusedError):  # other nodes' rules may be newer
            self._broadcast.publish(
                published.channel,
                Raw(published.data),
                sender=published.sender,
                now=self._clock.monotonic(),
                ext=published.ext,
                hearers=hearers,
            )

    def pack(self, client: Client, *, whole: bool) -> Luggage:
        """Return what the client needs to go on at another node.

        `whole`: with its mailbox and its marks, and not only what may be kept for
        the case that this node dies.
        """
        now, identity = self._clock.monotonic(), client.identity
        customer = identity if isinstance(identity, Customer) else None
        return Luggage(
            customer=customer,
            agent=identity if isinstance(identity, Agent) else None,
            names=self._broadcast.subscriptions.names(client.id),
            reader=self._readers.pack(client.id) if customer else None,
            desk=None if customer else self._desks.pack(client.id),
            mail=self._delivery.pack_mail(client.id, now) if whole else None,
            marks={n: mark.pack() for n, mark in _marks(client) if whole},
        )

    def holdings(self, client: Client) -> Hashable:
        """Return what changes when the record of the client has to be written."""
        return (
            frozenset(client.subscriptions),
            self._broadcast.subscriptions.names(client.id),
            frozenset(self._delivery.cursors(client.id)),
            self._readers.reads(client.id),
            self._desks.wants(client.id),
        )

    def confirmed(self, client: Client) -> Hashable:
        """Return what an agent has confirmed; of customers the store knows it."""
        if isinstance(client.identity, Customer):
            return None
        cursors = self._delivery.cursors(client.id)
        return frozenset((name, cursor.acked) for name, cursor in cursors.items())

    async def unpack(
        self, client: Client, luggage: Luggage, missed: Iterable[Published] = ()
    ) -> None:
        """Let a client of another node go on here.

        `missed` was published while it was on its way.

        Raises: StoreUnavailableError; nothing of the client is left then.
        """
        self._broadcast.subscribe(client.id, filter(self._broadcasts, luggage.names))
        if luggage.mail is not None:
            now = self._clock.monotonic()
            self._delivery.unpack_mail(client.id, luggage.mail, now)
        for published in missed:
            self.broadcast(published, hearers=Hearers(only=client.id))
        try:
            await self._unpack_chats(client, luggage, whole=luggage.mail is not None)
        except BaseException:
            self.part(client)
            raise
        for number, (mail, sent) in luggage.marks.items():
            client.marks[number] = self._delivery.unpack_mark(client.id, mail, sent)

    async def _unpack_chats(
        self, client: Client, luggage: Luggage, *, whole: bool
    ) -> None:
        if luggage.customer and luggage.reader:
            user = luggage.customer.user
            await self._readers.unpack(client.id, user, luggage.reader, whole=whole)
        if luggage.agent and luggage.desk:
            await self._desks.unpack(
                client.id, luggage.agent, luggage.desk, whole=whole
            )

    def deliver(self, client_id: str, event: bytes) -> None:
        """Put an event that another node sends into the mailbox of a client."""
        self._delivery.post(client_id, event)

    def part(self, client: Client) -> None:
        """Forget a client that goes on at another node, without any sign of it."""
        self._readers.deafen(client.id)
        self._desks.forget(client.id)
        self._delivery.forget(client.id)
        self._broadcast.forget(client.id)

    def connect(
        self, client: Client, message: Message
    ) -> Coroutine[Any, Any, None] | None:
        position = _position(message) if message.ext else None
        finished = self._delivery.acknowledge(client.id, position)
        if finished is None or not isinstance(client.identity, Customer):
            return None
        if not finished and self._readers.noted(client.id):
            return None
        return self._present(client.id, finished)

    async def _present(self, client_id: str, finished: Sequence[Cursor]) -> None:
        try:
            await self._readers.present(client_id, finished)
        except StoreError:
            # The poll must be held all the same; the next one says it again.
            often.warning("a customer's presence could not be stored")

    async def silent(self, client: Client) -> None:
        # Unless it polled again before this was its turn.
        if isinstance(client.identity, Customer) and client.silent:
            await self._readers.absent(client.id)

    async def left(self, client: Client, message: Message | None) -> None:
        try:
            await self._leave(client, message)
        finally:
            self._delivery.forget(client.id)
            self._broadcast.forget(client.id)

    async def _leave(self, client: Client, message: Message | None) -> None:
        if not isinstance(client.identity, Customer):
            self._desks.forget(client.id)
            return
        if message is not None:
            await self._say_goodbye(client, _goodbye(message))
            return
        try:
            await self._readers.absent(client.id)
        finally:
            self._readers.deafen(client.id)

    async def farewell(self, message: Message, peer: Peer) -> bool:
        try:
            user = self._auth.user(peer)
        except IdentityError:
            return False
        client_id, goodbye = message.client_id or "", _goodbye(message)
        try:
            return await self._readers.remembered(client_id, user, goodbye)
        except StoreError:
            often.warning("the goodbye of a forgotten client could not be stored")
            return False

    async def _say_goodbye(self, client: Client, goodbye: Goodbye) -> None:
        try:
            user = client.identity.user if isinstance(client.identity, Customer) else ""
            await self._readers.leave(client.id, user, goodbye)
        except StoreError:
            # The client is gone all the same; its leases end by themselves.
            often.warning("a customer's goodbye could not be stored")

    def _broadcasts(self, name: str) -> bool:
        """Tell whether this is a channel for everybody; those of the chat never are,
        whatever the configuration allows."""
        return name not in _OURS and self._broadcast.allows(name)

    async def _listen(
        self, client: Client, customer: Customer, message: Message
    ) -> Ext | None:
        key = _text(message.ext or {}, "serviceId") or customer.key
        replay = extensions.replay(message, CUSTOMERS_CHANNEL)
        position = _first(_replayed(replay), _position(message), customer.position)
        if not key and not customer.user:
            raise RefusedError(403, _NOBODY, CUSTOMERS_CHANNEL)
        try:
            await self._readers.listen(client.id, customer.user, key, position)
        except SessionNotFoundError:
            raise RefusedError(404, "Unknown service", CUSTOMERS_CHANNEL) from None
        except StoreError:
            raise RefusedError(503, "Try again", CUSTOMERS_CHANNEL) from None
        # What the handshake said holds for the first subscription only.
        client.identity = structs.replace(customer, position=None)
        if replay is None or position is None:
            return None
        return self._told(client.id, position)

    def _told(self, client_id: str, asked: int) -> Ext | None:
        """Answer `ext.replay`: where reading begins, and whether that leaves a gap."""
        tip = self._readers.tip(client_id)
        if tip is None:
            return None
        told = {"from": min(asked, tip), "tip": tip, "gap": NEWEST > asked > tip}
        return {"replay": {CUSTOMERS_CHANNEL: told}}


_OURS: Final = {CUSTOMERS_CHANNEL, AGENTS_CHANNEL}

_NOBODY: Final = (
    "Send ext.serviceId, or gms_user as [auth] and [server] trusted_proxies allow"
)


def _channels(identity: object) -> set[str]:
    """Return the chat's channels that are for such a client."""
    return {AGENTS_CHANNEL if isinstance(identity, Agent) else CUSTOMERS_CHANNEL}


def _marks(client: Client) -> Iterator[tuple[int, Mark]]:
    for number, mark in client.marks.items():
        if isinstance(mark, Mark):
            yield number, mark


def _position(message: Message) -> int | None:
    """Return the position a client says it has; a wrong one says nothing."""
    value = (message.ext or {}).get("transcriptPosition")
    return None if value is None else read_position(value)


def _goodbye(message: Message) -> Goodbye:
    unread = read_position((message.ext or {}).get("unreadCount"))
    return Goodbye(
        position=_position(message),
        unread=None if unread is None else min(unread, MOST_UNREAD),
    )


def _replayed(value: object) -> int | None:
    """Return the position that a replay value means: reading begins after it."""
    match value:
        case extensions.NEW_ONLY | "-1":
            return NEWEST
        case extensions.EVERYTHING | "-2":
            return 0
        case _:
            return read_position(value)


def _first(*positions: int | None) -> int | None:
    return next((p for p in positions if p is not None), None)


def _text(ext: dict[str, object], name: str) -> str:
    value = ext.get(name)
    return value if isinstance(value, str) else ""


def _token(auth: object) -> str:
    token = auth.get("token") if isinstance(auth, dict) else None
    if isinstance(token, str) and token:
        return token
    raise IdentityError("ext.auth.token is missing")
