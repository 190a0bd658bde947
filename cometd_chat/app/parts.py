"""What serves chats on one node: every part, and how they hang together."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from cometd_chat import bayeux
from cometd_chat.chat import (
    FORWARDED_FOR,
    Agents,
    AuthHook,
    ChatApplication,
    Customers,
    Desks,
    Files,
    Inactivity,
    Presence,
    Readers,
    Sessions,
    TokenAuth,
    new_id,
)
from cometd_chat.clock import Clock, SharedClock
from cometd_chat.config import Config, LiveConfig
from cometd_chat.delivery import Delivery, at_once
from cometd_chat.files import Place
from cometd_chat.files.uploads import Uploads
from cometd_chat.push.announcer import Announcer
from cometd_chat.push.comet import CometProvider
from cometd_chat.push.providers import Providers
from cometd_chat.push.texts import TextsError, load_texts
from cometd_chat.push.worker import PushWorker
from cometd_chat.store import SharedStore, Store, StoreError
from cometd_chat.web.addresses import Addresses
from cometd_chat.web.cometd import CometdEndpoint
from cometd_chat.web.files import RestFiles
from cometd_chat.web.front import Fallback, Front
from cometd_chat.web.health import Health
from cometd_chat.web.listener import KEEPALIVE
from cometd_chat.web.long_polling import HttpTransports
from cometd_chat.web.origins import Origins
from cometd_chat.web.plain import PlainPosts
from cometd_chat.web.plain_calls import PlainCalls
from cometd_chat.web.rest_devices import RestDevices
from cometd_chat.web.rest_v1 import IDEMPOTENCY_KEY, RestV1
from cometd_chat.web.throttle import Throttles
from cometd_chat.web.websocket import WebSocketTransport

from .core_options import (
    bayeux_options,
    broadcast_rules,
    browser_cookie,
    mailbox_bounds,
)

if TYPE_CHECKING:
    from cometd_chat.nodes.cluster import Cluster

log = logging.getLogger(__name__)

IDENTITY_HEADERS = ("gms_user",)
"""Header fields that tell who sent a request."""


class Routes(Protocol):
    """A part that answers requests."""

    def add_routes(self, app: web.Application) -> None: ...


class Chat:
    """All parts of one node, wired; `routes` puts them into an application.

    Without a `place` for files, there are none.
    """

    def __init__(
        self, store: Store, place: Place | None, live: LiveConfig, clock: Clock
    ) -> None:
        config = live.current
        self.live = live
        self.clock = clock
        self.shared_clock = SharedClock(clock)
        self.store = store
        auth = TokenAuth(live)
        self._open_delivery(config)
        self._open_chat()
        self._open_bayeux(auth, config)
        self._open_push()
        self._open_rest(auth, place, config)
        self._open_transports(config)

    def _open_delivery(self, config: Config) -> None:
        self.mailboxes = bayeux.Mailboxes(mailbox_bounds(config))
        self.broadcast = bayeux.Broadcast(broadcast_rules(config), self.mailboxes)
        self.delivery = Delivery(
            self.store, self.mailboxes, max_reply=config.limits.reply, each=at_once
        )

    def _open_chat(self) -> None:
        store, clock, live = self.store, self.shared_clock, self.live
        sessions = Sessions(store)
        self.presence = Presence(store, clock, live)
        self.readers = Readers(store, self.delivery, self.presence, clock, live)
        self.customers = Customers(
            store, sessions, self.readers, self.presence, clock, live
        )
        self.desks = Desks(store, self.delivery, clock, live)
        self.agents = Agents(store, sessions, self.desks, self.delivery, clock, live)
        self.inactivity = Inactivity(store, clock, live)

    def _open_bayeux(self, auth: TokenAuth, config: Config) -> None:
        self.server = bayeux.BayeuxServer(bayeux_options(config), new_id)
        self.application = ChatApplication(
            self.readers,
            self.agents,
            self.delivery,
            self.broadcast,
            auth,
            self.clock,
        )
        self._throttles = Throttles(config.bayeux.handshakes_per_second, auth.caller)
        self.endpoint = CometdEndpoint(
            self.server,
            self.application,
            self.delivery,
            self.clock,
            self._throttles,
            timestamps=config.bayeux.timestamps,
        )
        self.delivery.on_wake(self.endpoint.polls.wake)

    def _open_push(self) -> None:
        self._comet = CometProvider(self.server, self.mailboxes)
        providers = Providers(self.shared_clock, self.live, self._comet)
        self.announcer = Announcer(self.store, self.shared_clock, self.live)
        self.push = PushWorker(self.store, providers, self.shared_clock, self.live)
        self._reload_texts()

    def _open_rest(self, auth: AuthHook, place: Place | None, config: Config) -> None:
        base = config.server.base_path
        self.files: Files | None = None
        parts = (self.customers, auth, self.live, base)
        chats = RestV1(*parts)
        self._calls = PlainCalls(chats.posts)
        self._rest: list[Routes] = [chats, RestDevices(*parts), Health(self.unready)]
        if place is not None:
            uploads = Uploads(place)
            self.files = Files(self.store, uploads, self.shared_clock, self.live)
            self._rest.append(RestFiles(self.files, auth, self.live, base))

    def _open_transports(self, config: Config) -> None:
        limits = bayeux.Limits(
            messages=config.limits.messages_per_request,
            depth=config.limits.json_depth,
        )
        self._http = HttpTransports(
            self.endpoint,
            limits,
            config.server.body_timeout,
            cookie=browser_cookie(config),
        )
        self.sockets = WebSocketTransport(
            self.endpoint,
            limits,
            config.limits.body,
            2 * config.bayeux.timeout + config.bayeux.offline_after,
            config.limits.clients,
        )
        self._addresses = Addresses(self.server, self._http, self.sockets)

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator["Cluster"]:
        """Share the clients with the other nodes of the storage."""
        # Here, since nodes with a file need not have the extra with Redis' driver.
        from cometd_chat.nodes.custody import Here  # noqa: PLC0415 - has Redis
        from cometd_chat.nodes.joining import joined  # noqa: PLC0415 - has Redis
        from cometd_chat.store.redis_url import parse  # noqa: PLC0415 - has Redis

        options = self.live.current.store
        servers = parse(options.url, options.user, options.password)
        self.readers.follow()
        self.desks.follow()
        async with joined(
            servers,
            options.prefix,
            Here(self.server, self.endpoint, self.application),
            self.clock,
            IDENTITY_HEADERS,
        ) as cluster:
            self._comet.deliver = cluster.deliver
            yield cluster

    def routes(self, app: web.Application) -> None:
        """Add every address this node serves."""
        for base in {"", self.live.current.server.base_path}:
            self._addresses.add_to(app.router, f"{base}/cometd")
        for part in self._rest:
            part.add_routes(app)

    def front(self, origins: Origins, fallback: Fallback) -> Front:
        """Return what answers plain requests before the application."""
        config = self.live.current
        addresses = {f"{base}/cometd" for base in ("", config.server.base_path)}
        posts = PlainPosts(
            self._http,
            addresses,
            origins,
            self.clock,
            headers=(*IDENTITY_HEADERS, FORWARDED_FOR, IDEMPOTENCY_KEY),
            calls=self._calls,
        )
        return Front(
            posts,
            fallback,
            keepalive=KEEPALIVE,
            body_timeout=config.server.body_timeout,
            max_body=config.limits.body,
        )

    def unready(self) -> str:
        """Say why requests should go to another node, empty if there is no reason.

        A store that is away is none: it is away for all nodes, and held polls are
        better kept than cut.
        """
        if self.endpoint.closing:
            return "this node stops"
        if self.endpoint.elsewhere is not None and self.endpoint.elsewhere.deaf:
            return "this node does not hear the others"
        return ""

    def reload(self) -> None:
        """Put the values of `live` in force that are not read from it each time."""
        config = self.live.current
        self.server.options = bayeux_options(config)
        self.broadcast.rules = broadcast_rules(config)
        self.mailboxes.bounds = mailbox_bounds(config)
        self.delivery.max_reply = config.limits.reply
        self.sockets.max_sockets = config.limits.clients
        self._throttles.set_rate(config.bayeux.handshakes_per_second)
        self._reload_texts()

    def _reload_texts(self) -> None:
        """Read the localisation file of pushes; a wrong one leaves the former texts."""
        try:
            self.announcer.texts = load_texts(
                self.live.current.push.localization_file_location
            )
        except TextsError as exc:
            log.error("the texts of pushes stay as they are: %s", exc)

    async def sweep(self) -> None:
        """Do what is due by the passing of time."""
        self.endpoint.sweep()
        for client_id in self.mailboxes.due(self.clock.monotonic()):
            self.endpoint.polls.wake(client_id)
        for client_id in self.mailboxes.overflowed():
            await self.endpoint.expel(client_id)
        await self.presence.sweep()

    async def compare_clocks(self) -> None:
        """Go by the clock of the storage, if other nodes do."""
        if isinstance(self.store, SharedStore):
            await self.shared_clock.compare(self.store.time)

    async def purge(self) -> None:
        """Forget chats whose time of retention is over."""
        options, now = self.live.current.store, self.shared_clock.time()
        gone = await self.store.purge(
            now - options.new_retention, now - options.ended_retention
        )
        if gone:
            log.info("forgot %d old sessions", gone)

    async def purge_files(self) -> None:
        """Remove the files of chats that are forgotten."""
        if self.files:
            await self.files.purge()

    async def release(self, within: float) -> None:
        """Answer whoever waits; their clients go to another node, if there are others:
        not all at once, but `within` these seconds."""
        await self.endpoint.close(within if self.endpoint.elsewhere else 0.0)
        await self.sockets.close()
        await self.push.close()

    async def close(self) -> None:
        """Finish what was accepted."""
        await self.desks.close()
        try:
            await self.presence.flush()
        except StoreError:
            log.warning("what clients acknowledged last could not be stored")
