"""Bayeux as a library: a server with channels of one's own in any aiohttp application.

    bayeux = mount(app, "/cometd", broadcast=["/stocks/**"])

    @bayeux.service("/service/greet")
    async def greet(client: Client, data: Any) -> None:
        bayeux.send(client, "/service/greet", {"text": "hello"})

    bayeux.publish("/stocks/acme", {"price": 12})

It is the server that the chat runs on, with all its transports, and knows nothing of
chat. What waits for a client is kept in this process; a response that did not reach
the client goes out again with its next poll.
"""

import secrets
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from typing import Any, TypeAlias

from aiohttp import web
from msgspec import UNSET, Raw, Struct, UnsetType, json

from cometd_chat.background import repeated
from cometd_chat.bayeux import (
    ABSENT,
    LONG_POLLING,
    WEBSOCKET,
    BayeuxServer,
    Bounds,
    Broadcast,
    Client,
    Limits,
    Mailboxes,
    Message,
    Options,
    Patterns,
    Rewind,
    Rules,
    channels,
)
from cometd_chat.clock import SystemClock

from .addresses import Addresses
from .browsers import BrowserCookie
from .cometd import CometdEndpoint
from .long_polling import HttpTransports
from .origins import Origins
from .services import OnHandshake, OnLeft, OnPublish, OnSubscribe, Services
from .throttle import Throttles
from .websocket import WebSocketTransport

SWEEP_PERIOD = 0.5
"""Seconds between two looks for clients that went silent, and for what is late."""

HANDSHAKES = 500
"""Handshakes a second that do not have to wait."""

MAX_FRAME = 1024 * 1024
"""Bytes of the largest WebSocket message: those of aiohttp's largest body."""

DEFAULT_OPTIONS = Options(transports=(WEBSOCKET, LONG_POLLING))
DEFAULT_BOUNDS = Bounds()

_META = channels.Kind.META

Service: TypeAlias = Callable[[Client, Any], Awaitable[None]]
"""Takes what a client sent to a service channel."""

Procedure: TypeAlias = Callable[[Client, Any], Awaitable[object]]
"""Takes the argument of a call, and returns its result."""


def mount(
    app: web.Application,
    path: str,
    *,
    broadcast: Iterable[str] = (),
    origins: Sequence[str] = (),
    options: Options = DEFAULT_OPTIONS,
    bounds: Bounds = DEFAULT_BOUNDS,
) -> "Bayeux":
    """Put a Bayeux server under a path of the application, beside its other routes.

    `broadcast` are the channels and patterns on which clients may talk to each other;
    service channels are added with `Bayeux.service` and `Bayeux.procedure`. `origins`
    are the web pages (`https://shop.example`) that may use the server beside those of
    its own host, `*` for all. `options` has times and transports, `bounds` says how
    much may wait for one client.

    The server starts and stops with the application. Bodies are bounded by the
    application's `client_max_size`.

    Raises: ValueError for an empty path; RuntimeError when the application has
    started already.
    """
    bayeux = Bayeux(Rules(allowed=Patterns(broadcast)), bounds, options)
    bayeux.add_to(app, path, tuple(origins))
    return bayeux


class Bayeux:
    """A Bayeux server in an aiohttp application: made by `mount()`.

    Its methods may be called from the application's event loop only. Hooks, services
    and procedures may raise `RefusedError`, and the client is told so.
    """

    def __init__(self, rules: Rules, bounds: Bounds, options: Options) -> None:
        clock = SystemClock()
        self._clock = clock
        self._mailboxes = Mailboxes(bounds)
        self._broadcast = Broadcast(rules, self._mailboxes)
        self._server = BayeuxServer(options, lambda: secrets.token_hex(16))
        self._services = Services(self._broadcast, self._mailboxes, clock)
        self._endpoint = CometdEndpoint(
            self._server,
            self._services,
            _Outbox(self._mailboxes),
            clock,
            Throttles(HANDSHAKES),
        )
        self._sockets = WebSocketTransport(
            self._endpoint,
            Limits(),
            MAX_FRAME,
            2 * options.timeout + options.offline_after,
        )
        self._mailboxes.on_wake(self._endpoint.polls.wake)

    def __len__(self) -> int:
        """Return how many clients there are."""
        return len(self._server)

    def add_to(self, app: web.Application, path: str, origins: Sequence[str]) -> None:
        """Serve clients there; see `mount()`."""
        # An application of its own: what guards it must not touch other routes.
        part = web.Application()
        Origins(lambda: origins).add_to(part)
        http = HttpTransports(self._endpoint, Limits(), cookie=BrowserCookie())
        Addresses(self._server, http, self._sockets).add_to(part.router, "")
        part.cleanup_ctx.append(self._sweeping)
        # Before requests are waited for, and those that are held with them.
        part.on_shutdown.append(self._close)
        app.add_subapp(path, part)

    def service(self, channel: str) -> Callable[[Service], Service]:
        """Let the decorated function take what clients publish on a service channel.

        It may answer with `send()`, and should be quick: the publish is confirmed
        when it returns, and browsers send nothing else until then.

        Raises: ValueError when this is no service channel, or it is taken.
        """

        def add(service: Service) -> Service:
            async def serve(client: Client, data: Any, _: Message) -> None:
                await service(client, data)

            self._services.add(channel, serve)
            return service

        return add

    def procedure(self, channel: str) -> Callable[[Procedure], Procedure]:
        """Let the decorated function answer remote calls on a service channel.

        What it returns is the result of the call, with the call's id: this is what
        `remoteCall("name", …)` of the CometD clients waits for on `/service/name`.
        aiocometd and Faye know no remote calls and do not see such an answer.

        Raises: ValueError when this is no service channel, or it is taken.
        """

        def add(procedure: Procedure) -> Procedure:
            async def serve(client: Client, data: Any, message: Message) -> None:
                result = await procedure(client, data)
                event = _event(message.channel, result, message.id)
                self._post(client, event)

            self._services.add(channel, serve)
            return procedure

        return add

    def on_handshake(self, hook: OnHandshake) -> OnHandshake:
        """Let the decorated function tell who a new client is: `client.identity`.

        It is given the message, with `ext`, and where it came from.
        """
        self._services.on_handshake = hook
        return hook

    def on_subscribe(self, hook: OnSubscribe) -> OnSubscribe:
        """Let the decorated function refuse subscriptions to broadcast channels.

        It is called for each channel or pattern that `broadcast` allows; if it
        refuses one, the client gets none of those that it asked for together.
        """
        self._services.on_subscribe = hook
        return hook

    def on_publish(self, hook: OnPublish) -> OnPublish:
        """Let the decorated function see, and refuse, what clients broadcast."""
        self._services.on_publish = hook
        return hook

    def on_left(self, hook: OnLeft) -> OnLeft:
        """Tell the decorated function of each client that left, or is given up."""
        self._services.on_left = hook
        return hook

    def publish(self, channel: str, data: object) -> int:
        """Publish to all who subscribed to the channel; return how many there are.

        Raises: RefusedError when `broadcast` does not allow the channel; TypeError
        for data without a JSON form.
        """
        now = self._clock.monotonic()
        return self._broadcast.publish(channel, _json(data), sender=None, now=now)

    def send(self, client: Client, channel: str, data: object) -> bool:
        """Send to one client, whether or not it subscribed; False if it is gone.

        Raises: ValueError for a channel of the protocol, or what is no channel;
        TypeError for data without a JSON form.
        """
        if not channels.is_name(channel) or channels.kind(channel) is _META:
            raise ValueError(f"nothing can be sent on {channel!r}")
        return self._post(client, _event(channel, data, ABSENT))

    def _post(self, client: Client, event: Raw) -> bool:
        # A mailbox of one that is gone would stay for ever.
        known = self._server.client(client.id) is client
        if known:
            self._mailboxes.post(client.id, event)
        return known

    async def _sweeping(self, _: web.Application) -> AsyncIterator[None]:
        async with repeated(SWEEP_PERIOD, self._sweep):
            yield

    async def _sweep(self) -> None:
        self._endpoint.sweep()
        for client_id in self._mailboxes.overflowed():
            await self._endpoint.expel(client_id)

    async def _close(self, _: web.Application) -> None:
        await self._endpoint.close()
        await self._sockets.close()


class _Outbox:
    """What waits for each client: its mailbox, and nothing to be read from afar."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes

    def take(self, client_id: str, *, ending: bool) -> list[Raw]:
        return self._mailboxes.take(client_id)

    async def catch_up(self, client_id: str) -> None:
        """Do nothing: all there is waits in this process."""

    def lost(self, client_id: str) -> None:
        self._mailboxes.lost(client_id)

    def arrived(self, client_id: str) -> None:
        self._mailboxes.acknowledge(client_id)

    def mark(self, client_id: str) -> Rewind:
        taken = self._mailboxes.mark(client_id)
        return lambda: self._mailboxes.lost(client_id, taken)


class _Event(Struct, frozen=True, kw_only=True):
    channel: str
    data: Raw
    id: Raw | UnsetType = UNSET


def _event(channel: str, data: object, message_id: Raw) -> Raw:
    echo = UNSET if message_id is ABSENT else message_id
    return Raw(json.encode(_Event(channel=channel, data=_json(data), id=echo)))


def _json(data: object) -> Raw:
    return Raw(json.encode(data))
