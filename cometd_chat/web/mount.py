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

import asyncio
import contextlib
import logging
import secrets
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, TypeAlias

from aiohttp import web
from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, json

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
    Peer,
    RefusedError,
    Rewind,
    Rules,
    channels,
    extensions,
)
from cometd_chat.clock import SystemClock

from .addresses import Addresses
from .cometd import CometdEndpoint
from .long_polling import BrowserCookie, HttpTransports
from .origins import Origins
from .throttle import Throttles
from .websocket import WebSocketTransport

log = logging.getLogger(__name__)

SWEEP_PERIOD = 0.5
"""Seconds between two looks for clients that went silent, and for what is late."""

HANDSHAKES = 500
"""Handshakes a second that do not have to wait."""

MAX_FRAME = 1024 * 1024
"""Bytes of the largest WebSocket message: those of aiohttp's largest body."""

DEFAULT_OPTIONS = Options(transports=(WEBSOCKET, LONG_POLLING))
DEFAULT_BOUNDS = Bounds()

Service: TypeAlias = Callable[[Client, Any], Awaitable[None]]
"""Takes what a client sent to a service channel."""

Procedure: TypeAlias = Callable[[Client, Any], Awaitable[object]]
"""Takes the argument of a call, and returns its result."""

OnHandshake: TypeAlias = Callable[[Message, Peer], Awaitable[object]]
OnSubscribe: TypeAlias = Callable[[Client, str], Awaitable[None]]
OnPublish: TypeAlias = Callable[[Client, str, Any], Awaitable[None]]
OnLeft: TypeAlias = Callable[[Client], Awaitable[None]]


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
        self._application = _Application(self._broadcast, self._mailboxes, clock)
        self._endpoint = CometdEndpoint(
            self._server,
            self._application,
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
        self._mailboxes.on_wake(self._endpoint.wake)

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

            self._application.add(channel, serve)
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

            self._application.add(channel, serve)
            return procedure

        return add

    def on_handshake(self, hook: OnHandshake) -> OnHandshake:
        """Let the decorated function tell who a new client is: `client.identity`.

        It is given the message, with `ext`, and where it came from.
        """
        self._application.on_handshake = hook
        return hook

    def on_subscribe(self, hook: OnSubscribe) -> OnSubscribe:
        """Let the decorated function refuse subscriptions to broadcast channels.

        It is called for each channel or pattern that `broadcast` allows; if it
        refuses one, the client gets none of those that it asked for together.
        """
        self._application.on_subscribe = hook
        return hook

    def on_publish(self, hook: OnPublish) -> OnPublish:
        """Let the decorated function see, and refuse, what clients broadcast."""
        self._application.on_publish = hook
        return hook

    def on_left(self, hook: OnLeft) -> OnLeft:
        """Tell the decorated function of each client that left, or is given up."""
        self._application.on_left = hook
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
        task = asyncio.create_task(self._sweep_for_ever())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_PERIOD)
            try:
                await self._sweep()
            except Exception:
                # A task boundary: one failure must not end what runs for months.
                log.exception("looking for silent clients failed")

    async def _sweep(self) -> None:
        self._endpoint.sweep()
        for client_id in self._mailboxes.overflowed():
            await self._endpoint.expel(client_id)

    async def _close(self, _: web.Application) -> None:
        await self._endpoint.close()
        await self._sockets.close()


_META = channels.Kind.META
_SERVICE = channels.Kind.SERVICE
_Serve: TypeAlias = Callable[[Client, Any, Message], Awaitable[None]]


class _Application:
    """Who may do what: broadcast channels as allowed, services as added, hooks."""

    def __init__(
        self, broadcast: Broadcast, mailboxes: Mailboxes, clock: SystemClock
    ) -> None:
        self._broadcast = broadcast
        self._mailboxes = mailboxes
        self._clock = clock
        self._services: dict[str, _Serve] = {}
        self.on_handshake: OnHandshake | None = None
        self.on_subscribe: OnSubscribe | None = None
        self.on_publish: OnPublish | None = None
        self.on_left: OnLeft | None = None

    def add(self, channel: str, serve: _Serve) -> None:
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


def _data(message: Message) -> Any:
    """Return what was published. Raises: RefusedError."""
    if message.data == ABSENT:
        raise RefusedError(400, "Data missing", message.channel)
    try:
        return json.decode(message.data)
    except DecodeError:
        raise RefusedError(400, "Data malformed", message.channel) from None
