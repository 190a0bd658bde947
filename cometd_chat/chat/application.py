"""The chat as a Bayeux server sees it: who may come in, subscribe and publish."""

import dataclasses
import logging
from collections.abc import Sequence

from cometd_chat.bayeux import Client, Message, Peer, RefusedError
from cometd_chat.delivery import Delivery
from cometd_chat.gms.values import read_position
from cometd_chat.store import SessionNotFoundError, StoreError

from .agents import CHANNEL as AGENTS_CHANNEL
from .agents import Agents
from .customers import Customers
from .identity import Agent, AuthHook, Customer, IdentityError

log = logging.getLogger(__name__)

CUSTOMERS_CHANNEL = "/_genesys"


class ChatApplication:
    """Routes what the Bayeux endpoint asks to customers and agents."""

    def __init__(
        self, customers: Customers, agents: Agents, delivery: Delivery, auth: AuthHook
    ) -> None:
        self._customers = customers
        self._agents = agents
        self._delivery = delivery
        self._auth = auth

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
        if not isinstance(identity, Customer) or not identity.user:
            return True
        try:
            return self._auth.user(peer) in {"", identity.user}
        except IdentityError:
            return False

    async def subscribe(
        self, client: Client, names: Sequence[str], message: Message
    ) -> None:
        for name in names:
            self._check(client, name)
        identity = client.identity
        if CUSTOMERS_CHANNEL in names and isinstance(identity, Customer):
            await self._listen(client, identity, message)

    async def unsubscribe(self, client: Client, names: Sequence[str]) -> None:
        if CUSTOMERS_CHANNEL in names and isinstance(client.identity, Customer):
            await self._customers.leave(client.id, None)
            self._customers.deafen(client.id)

    async def publish(self, client: Client, message: Message) -> None:
        if message.channel == AGENTS_CHANNEL and isinstance(client.identity, Agent):
            await self._agents.operate(client.id, client.identity, message)
            return
        raise RefusedError(403, "Publish denied", message.channel)

    async def connect(self, client: Client, message: Message) -> None:
        finished = self._delivery.acknowledge(client.id, _position(message))
        if not isinstance(client.identity, Customer):
            return
        try:
            await self._customers.present(client.id, finished)
        except StoreError:
            # The poll must be held all the same; the next one says it again.
            log.warning("a customer's presence could not be stored")

    async def silent(self, client: Client) -> None:
        if isinstance(client.identity, Customer):
            await self._customers.absent(client.id)

    async def left(self, client: Client, message: Message | None) -> None:
        if not isinstance(client.identity, Customer):
            self._agents.forget(client.id)
            return
        try:
            if message is None:
                await self._customers.absent(client.id)
            else:
                await self._customers.leave(client.id, _position(message))
        finally:
            self._customers.deafen(client.id)

    async def farewell(self, message: Message, peer: Peer) -> bool:
        try:
            user = self._auth.user(peer)
        except IdentityError:
            return False
        client_id, position = message.client_id or "", _position(message)
        return await self._customers.remembered(client_id, user, position)

    def _check(self, client: Client, name: str) -> None:
        match name, client.identity:
            case (str(channel), Agent()) if channel == AGENTS_CHANNEL:
                return
            case (str(channel), Customer()) if channel == CUSTOMERS_CHANNEL:
                return
        raise RefusedError(403, "Subscription denied", name)

    async def _listen(
        self, client: Client, customer: Customer, message: Message
    ) -> None:
        key = _text(message.ext or {}, "serviceId") or customer.key
        position = _position(message)
        if position is None:
            position = customer.position
        # What the handshake said holds for the first subscription only.
        client.identity = dataclasses.replace(customer, position=None)
        if not key and not customer.user:
            raise RefusedError(
                403, "Send gms_user, or ext serviceId", CUSTOMERS_CHANNEL
            )
        try:
            await self._customers.listen(client.id, customer.user, key, position)
        except SessionNotFoundError:
            raise RefusedError(404, "Unknown service", CUSTOMERS_CHANNEL) from None
        except StoreError:
            raise RefusedError(503, "Try again", CUSTOMERS_CHANNEL) from None


def _position(message: Message) -> int | None:
    """Return the position a client says it has; a wrong one says nothing."""
    value = (message.ext or {}).get("transcriptPosition")
    return None if value is None else read_position(value)


def _text(ext: dict[str, object], name: str) -> str:
    value = ext.get(name)
    return value if isinstance(value, str) else ""


def _token(auth: object) -> str:
    token = auth.get("token") if isinstance(auth, dict) else None
    if isinstance(token, str) and token:
        return token
    raise IdentityError("ext.auth.token is missing")
