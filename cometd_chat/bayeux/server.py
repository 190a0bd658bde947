"""The server side of Bayeux as a state machine over all clients of one node.

How it works. Every message of a client goes through `receive()`, which checks what
the protocol can check and returns a *decision*: either the reply itself, or what
has to be asked or done outside (`Handshake`, `Subscribe`, `Publish`, `Connect`,
`Disconnect` …). The caller asks its application and reports back with `admit()` or
`subscribe()`, which return the reply. Nothing here waits, reads a clock or does
I/O: time is an argument, in monotonic seconds.

A client is in one of these states, and has exactly one alarm for all of them:

    polling   a connect is being answered or held; alarm at the end of the hold
    pausing   no connect; alarm at `offline_after`, when it counts as silent
    silent    no connect for longer than that; alarm at `max_interval`: expiry

`answered()` must be called after the response to a connect was written, or could
not be written: silence is counted from there, on every path. `Client.poll` is the
newest connect, and guards against a late answer of an older one.

An alarm that moves later is put right when it rings (`alarms.py`): a poll that ends
before its time moves none.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from msgspec import structs

from . import channels, extensions, messages
from .alarms import NEVER, Alarms
from .client import LONG_POLLING, Client
from .decisions import (
    Decision,
    Disconnect,
    Expired,
    Farewell,
    Handshake,
    Occurrence,
    Release,
    Silent,
    Subscribe,
    Unsubscribe,
)
from .frequent import Connect, Count, Publish
from .holds import Holds
from .messages import Advice, Ext, Message, Reply
from .replies import refusal, reply

_LONGEST: Final = 1e9  # milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Durations in seconds; see `docs/configuration.md`, section `bayeux`."""

    timeout: float = 25.0
    max_interval: float = 600.0
    offline_after: float = 10.0
    max_inactivity: float = math.inf
    deliveries_are_activity: bool = False
    transports: tuple[str, ...] = (LONG_POLLING,)
    max_clients: int = 50_000
    max_subscriptions: int = 10
    max_holds_per_browser: int = 5
    surplus_interval: float = 2.0


class BayeuxServer:
    """All clients of one node. `new_id` makes unguessable alphanumeric ids."""

    def __init__(self, options: Options, new_id: Callable[[], str]) -> None:
        self.options = options
        self._new_id = new_id
        self._clients: dict[str, Client] = {}
        self._alarms: Alarms[Client] = Alarms()
        self._tombstones: OrderedDict[str, float] = OrderedDict()
        self._holds = Holds(options.max_holds_per_browser)
        self._quiet: dict[Client, None] = {}  # who is silent, the longest first
        self._displaced: list[Occurrence] = []

    def __len__(self) -> int:
        return len(self._clients)

    def client(self, client_id: str) -> Client | None:
        """Return the client of this id, if it is known on this node."""
        return self._clients.get(client_id)

    def receive(
        self, message: Message, client: Client | None, now: float, *, alone: bool
    ) -> Decision:
        """Return what has to be done about one message of a client, which is None if
        it is not known; never raises.

        `alone` tells that it was the only message of its request: a connect that
        travels with others is answered at once, for their replies wait for it.
        """
        channel = message.channel
        if channel == channels.HANDSHAKE:
            return self._handshake(message)
        if client is None:
            return self._unknown(message)
        client.expires_at = now + self.options.max_interval
        if channel == channels.CONNECT:
            if now - client.active_at > self.options.max_inactivity:
                return self._retire(client, message, now)
            return self._connect(client, message, now, alone=alone)
        client.active_at = now
        if channels.is_name(channel) and not channel.startswith("/meta/"):
            return Publish(client, message)
        return self._dispatch(client, message, now)

    def admit(
        self, message: Message, identity: object, now: float, browser: str = ""
    ) -> Reply:
        """Make a client for a handshake that the application granted.

        Where there is no room, the one that has been silent for the longest makes it:
        it has to shake hands again. Or a stranger could keep everybody out.
        """
        if len(self._clients) >= self.options.max_clients and not self._make_room():
            return self.refuse(message, messages.OVERLOADED, "handshake")
        client = Client(
            self._new_id(),
            identity,
            expires_at=now + self.options.max_interval,
            silent_at=now + self.options.offline_after,
            active_at=now,
            browser=browser,
        )
        self.adopt(client)
        answer = self._handshake_reply(message, successful=True)
        answer.client_id = client.id
        answer.advice = self.advice("retry")
        if extensions.asks_for_acks(message):
            client.acks, client.batch = True, extensions.first_batch(client.id)
            answer.ext = {"ack": True}
        return answer

    def resume(self, old: Client, new: Client) -> None:
        """Let the new client go on in place of the old one, which is forgotten."""
        new.subscriptions |= old.subscriptions
        self._drop(old)
        if old.poll is not None:
            old.poll.reply.advice = self.advice("none")

    def adopt(self, client: Client) -> None:
        """Know a client that comes from another node (`moving.unpack`).

        However many there are here: its node let it in.
        """
        self._clients[client.id] = client
        self._alarms.set(client, client.silent_at)

    def part(self, client: Client) -> None:
        """Forget a client that goes on at another node."""
        if self._clients.get(client.id) is client:
            self._drop(client)

    def bury(self, client_id: str, now: float) -> None:
        """Note that a client of another node said goodbye there."""
        self._tombstones[client_id] = now + self.options.max_interval
        self._tombstones.move_to_end(client_id)  # if it was noted before
        if len(self._tombstones) > self.options.max_clients:
            self._tombstones.popitem(last=False)

    def refuse(self, message: Message, problem: str, reconnect: str = "none") -> Reply:
        """Return the reply to a handshake that was not granted."""
        answer = self._handshake_reply(message, successful=False)
        answer.error = problem
        answer.advice = self.advice(reconnect)
        return answer

    def subscribe(self, client: Client, message: Message) -> Reply:
        """Record what the application granted and return the reply.

        Service channels are granted, but not recorded (Bayeux 1.0, "Service
        Channels"): their messages need no subscription.
        """
        # It may have gone and come back, to go on as another one of the same id.
        if self._clients.get(client.id) is not client:
            return self._unknown_reply(message)
        client.subscriptions |= _recorded(message)
        return reply(message)

    def expel(self, client: Client) -> None:
        """Forget a client that has to begin anew, and tell its held connect so."""
        self._drop(client)
        if client.poll is not None:
            answer = client.poll.reply
            answer.successful, answer.error = False, messages.UNKNOWN_CLIENT
            answer.advice = self.advice("handshake")

    def answered(self, connect: Connect, now: float, *, events: bool = False) -> None:
        """Count the client's silence from here: its connect has been answered.

        To be called on every path, also when the response could not be written;
        `events` tells whether it carried any.
        """
        client = connect.client
        if client.poll is not connect:
            return
        if client.holds:
            self._holds.give_back(client)
        client.poll = None
        if events and self.options.deliveries_are_activity:
            client.active_at = now
        client.connected = True
        client.silent_at = now + self.options.offline_after
        client.expires_at = now + self.options.max_interval
        if client.silent_at < client.alarm:
            self._alarms.set(client, client.silent_at)

    def sweep(self, now: float) -> list[Occurrence]:
        """Return what happened by the passing of time; call it about once a second."""
        happened, self._displaced = self._displaced, []
        while (client := self._alarms.ring(now)) is not None:
            happened += self._ring(client, now)
            self._alarms.set(client, _next_alarm(client))
        self._forget(now)
        return happened

    def advice(self, reconnect: str) -> Advice:
        """Return complete advice with this server's durations."""
        return _advice(reconnect, self.options.timeout, self.options.max_interval)

    def _dispatch(self, client: Client, message: Message, now: float) -> Decision:
        match message.channel:
            case channels.SUBSCRIBE:
                return self._subscribe(client, message)
            case channels.UNSUBSCRIBE:
                return self._unsubscribe(client, message)
            case channels.DISCONNECT:
                self._bury(client, now)
                return Disconnect(client, message, reply(message))
            case channel if channel.startswith("/meta/"):
                return refusal(message, messages.UNKNOWN_CHANNEL)
            case _:
                return refusal(message, messages.INVALID_CHANNEL)

    def _handshake(self, message: Message) -> Decision:
        offered = message.supported_connection_types or ()
        if not set(offered) & set(self.options.transports):
            return self.refuse(message, messages.NO_TRANSPORT)
        return Handshake(message)

    def _handshake_reply(self, message: Message, *, successful: bool) -> Reply:
        answer = reply(message, successful=successful)
        answer.version = "1.0"
        answer.minimum_version = "1.0"
        answer.supported_connection_types = self.options.transports
        return answer

    def _connect(
        self, client: Client, message: Message, now: float, *, alone: bool
    ) -> Connect:
        asked = None if message.advice is None else _timeout(message.advice)
        hold = self.options.timeout
        if asked is not None and asked < hold:
            hold = asked
        answer = reply(message)
        former, client.transport = client.transport, message.connection_type or ""
        if asked is not None or not client.connected or client.transport != former:
            answer.advice = self.advice("retry")
        # The first connect tells the client that it is connected: never held.
        wait = alone and client.connected and hold > 0
        if wait and client.browser and not self._holds.take(client):
            wait, answer.advice = False, self._surplus_advice()
        deadline = now + hold if wait else NEVER
        count = self._count(client, message, answer) if client.acks else None
        connect = Connect(client, message, answer, wait, deadline, count)
        client.poll = connect
        if client.silent:
            client.silent = False
            self._quiet.pop(client, None)
        if deadline < client.alarm:
            self._alarms.set(client, deadline)
        return connect

    def _count(self, client: Client, message: Message, answer: Reply) -> Count:
        """Number the answer, and look up what the client says it got.

        That is not always the newest one: connects of the past may arrive late, and
        be answered in vain with what their client has.
        """
        client.batch += 1
        answer.ext = {"ack": client.batch}
        got = extensions.batch(message)
        return Count(client.batch, None if got is None else client.marks.get(got))

    def _surplus_advice(self) -> Advice:
        return structs.replace(
            self.advice("retry"),
            interval=_milliseconds(self.options.surplus_interval),
            multiple_clients=True,
        )

    def _retire(self, client: Client, message: Message, now: float) -> Disconnect:
        """End a client whose user has done nothing for too long (CometD's activity
        extension)."""
        self._bury(client, now)
        answer = reply(message)
        answer.advice = self.advice("none")
        return Disconnect(client, message, answer)

    def _subscribe(self, client: Client, message: Message) -> Decision:
        names = _requested(message)
        if not names or not all(map(_subscribable, names)):
            return refusal(message, messages.INVALID_SUBSCRIPTION)
        all_of_them = client.subscriptions | _recorded(message)
        if len(all_of_them) > self.options.max_subscriptions:
            return refusal(message, messages.TOO_MANY_SUBSCRIPTIONS)
        return Subscribe(client, message, names)

    def _unsubscribe(self, client: Client, message: Message) -> Decision:
        names = _requested(message)
        if not names:
            return refusal(message, messages.INVALID_SUBSCRIPTION)
        client.subscriptions.difference_update(names)
        return Unsubscribe(client, names, reply(message))

    def _unknown(self, message: Message) -> Decision:
        answer = self._unknown_reply(message)
        if message.channel == channels.DISCONNECT and message.client_id:
            return Farewell(message, answer)
        return answer

    def _unknown_reply(self, message: Message) -> Reply:
        answer = refusal(message, messages.UNKNOWN_CLIENT)
        if message.channel == channels.CONNECT:
            # Whoever disconnected on purpose must not be brought back to life by
            # a connect that was under way at that moment (CometD issue 921).
            meant = message.client_id in self._tombstones
            answer.advice = self.advice("none" if meant else "handshake")
        return answer

    def _bury(self, client: Client, now: float) -> None:
        self._drop(client)
        self.bury(client.id, now)
        if client.poll is not None:
            client.poll.reply.advice = self.advice("none")

    def _forget(self, now: float) -> None:
        while self._tombstones and next(iter(self._tombstones.values())) <= now:
            self._tombstones.popitem(last=False)

    def _ring(self, client: Client, now: float) -> Iterable[Occurrence]:
        if client.poll is not None:
            if client.poll.deadline > now:
                return ()
            client.poll.deadline = NEVER
            return (Release(client),)
        if not client.silent and client.silent_at <= now:
            client.silent = True
            self._quiet[client] = None
            return (Silent(client),)
        if client.silent and client.expires_at <= now:
            self._drop(client)
            return (Expired(client),)
        return ()

    def _make_room(self) -> bool:
        """Forget the client that has been silent for the longest, if there is one."""
        longest = next(iter(self._quiet), None)
        if longest is None:
            return False
        self._drop(longest)
        self._displaced.append(Expired(longest))
        return True

    def _drop(self, client: Client) -> None:
        self._clients.pop(client.id, None)
        self._quiet.pop(client, None)
        self._alarms.off(client)
        if client.holds:
            self._holds.give_back(client)


def _next_alarm(client: Client) -> float:
    if client.poll is not None:
        return client.poll.deadline
    return client.expires_at if client.silent else client.silent_at


def _requested(message: Message) -> tuple[str, ...]:
    names = message.subscription
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def _recorded(message: Message) -> set[str]:
    service = channels.Kind.SERVICE
    return {c for c in _requested(message) if channels.kind(c) is not service}


def _subscribable(name: str) -> bool:
    if channels.kind(name) is channels.Kind.META:
        return False
    return channels.is_name(name) or channels.is_pattern(name)


def _timeout(advice: Ext) -> float | None:
    """Return the hold the client asked for, in seconds, or None."""
    asked = advice.get("timeout")
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        return None
    # JSON numbers have any size; one beyond the range of floats cannot be divided.
    return min(max(asked, 0), _LONGEST) / 1000


@lru_cache
def _advice(reconnect: str, timeout: float, max_interval: float) -> Advice:
    return Advice(
        reconnect=reconnect,
        timeout=_milliseconds(timeout),
        max_interval=_milliseconds(max_interval),
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
