"""Puts the pieces together; the only module that knows all of them."""

import asyncio
import contextlib
import logging
import math
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self

from aiohttp import web

from cometd_chat import bayeux, logs
from cometd_chat.agent_secret import SecretFileError, with_agent_secret
from cometd_chat.chat import (
    Agents,
    ChatApplication,
    Customers,
    Presence,
    TokenAuth,
    new_id,
)
from cometd_chat.clock import Clock, SystemClock
from cometd_chat.config import Config, LiveConfig, Reload, changes, load
from cometd_chat.delivery import Delivery
from cometd_chat.push.providers import Providers
from cometd_chat.push.texts import TextsError, load_texts
from cometd_chat.push.worker import PushWorker
from cometd_chat.store import Store, StoreError
from cometd_chat.store.sqlite import SqliteStore
from cometd_chat.web.addresses import Addresses
from cometd_chat.web.cometd import CometdEndpoint
from cometd_chat.web.long_polling import BrowserCookie, HttpTransports
from cometd_chat.web.origins import Origins
from cometd_chat.web.rest_v1 import RestV1
from cometd_chat.web.throttle import Throttles
from cometd_chat.web.websocket import WebSocketTransport

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that may wait to be accepted when all phones come back at once."""

LONGEST_LINE = 16_384
"""Bytes of a request's first line: callback-polling has its messages there."""

KEEPALIVE = 30.0
"""Seconds an idle connection, or one that sends its head slowly, stays open."""

UNREAD = 20_000
"""Milliseconds after which a peer that confirms nothing is cut off."""

FLUSH_PERIOD = 0.25
"""Seconds between two writes of acknowledged positions."""

PUSH_PERIOD = 0.25
"""Seconds between two looks for pushes that are due."""

PURGE_PERIOD = 600.0
"""Seconds between two looks for chats that are old enough to be forgotten."""

HEADERS = ("Content-Type", "gms_user", "Idempotency-Key")
"""Headers that web pages of other hosts may set."""

WATCH_PERIOD = 2.0
"""Seconds between two looks at the configuration file."""


class Chat:
    """All parts of one node, wired; `routes` puts them into an application."""

    def __init__(self, store: Store, live: LiveConfig, clock: Clock) -> None:
        config = live.current
        self.live = live
        self.clock = clock
        self.store = store
        self.mailboxes = bayeux.Mailboxes(mailbox_bounds(config))
        self.broadcast = bayeux.Broadcast(broadcast_rules(config), self.mailboxes)
        self.delivery = Delivery(store, self.mailboxes, max_reply=config.limits.reply)
        self.presence = Presence(store, clock, live)
        auth = TokenAuth(live)
        self.customers = Customers(store, self.delivery, self.presence, clock, live)
        self.agents = Agents(store, self.delivery, clock, live)
        self.server = bayeux.BayeuxServer(bayeux_options(config), new_id)
        self.endpoint = CometdEndpoint(
            self.server,
            ChatApplication(
                self.customers, self.agents, self.delivery, self.broadcast, auth, clock
            ),
            self.delivery,
            clock,
            Throttles(config.bayeux.handshakes_per_second),
            timestamps=config.bayeux.timestamps,
        )
        self.delivery.on_wake(self.endpoint.wake)
        self.push = PushWorker(store, Providers(clock, live), clock, live)
        self.reload_texts()
        self._rest_v1 = RestV1(self.customers, auth, live, config.server.base_path)
        self._open_transports(config)

    def _open_transports(self, config: Config) -> None:
        limits = bayeux.Limits(
            messages=config.limits.messages_per_request,
            depth=config.limits.json_depth,
        )
        http = HttpTransports(
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
        self._addresses = Addresses(self.server, http, self.sockets)

    def routes(self, app: web.Application) -> None:
        """Add every address this node serves."""
        for base in {"", self.live.current.server.base_path}:
            self._addresses.add_to(app.router, f"{base}/cometd")
        self._rest_v1.add_routes(app)

    def reload_texts(self) -> None:
        """Read the localisation file of pushes; a wrong one leaves the former texts."""
        try:
            self.push.texts = load_texts(
                self.live.current.push.localization_file_location
            )
        except TextsError as exc:
            log.error("the texts of pushes stay as they are: %s", exc)

    async def sweep(self) -> None:
        """Do what is due by the passing of time."""
        self.endpoint.sweep()
        for client_id in self.mailboxes.due(self.clock.monotonic()):
            self.endpoint.wake(client_id)
        for client_id in self.mailboxes.overflowed():
            await self.endpoint.expel(client_id)
        await self.presence.sweep()

    async def purge(self) -> None:
        """Forget chats whose time of retention is over."""
        options, now = self.live.current.store, self.clock.time()
        gone = await self.store.purge(
            now - options.new_retention, now - options.ended_retention
        )
        if gone:
            log.info("forgot %d old sessions", gone)

    async def release(self, _: object = None) -> None:
        """Answer whoever waits; their clients go to another server."""
        await self.endpoint.close()
        await self.sockets.close()
        await self.push.close()

    async def close(self) -> None:
        """Finish what was accepted."""
        await self.agents.close()
        try:
            await self.presence.flush()
        except StoreError:
            log.warning("what clients acknowledged last could not be stored")


def browser_cookie(config: Config) -> BrowserCookie | None:
    """Return what option `[bayeux] browser_cookie` makes of the cookie."""
    options = config.bayeux
    if options.browser_cookie == "off":
        return None
    return BrowserCookie(
        same_site=options.browser_cookie.capitalize(),
        secure=options.browser_cookie == "none" or config.server.tls_cert is not None,
        partitioned=options.browser_cookie_partitioned,
    )


def broadcast_rules(config: Config) -> bayeux.Rules:
    """Return who may broadcast what, as the Bayeux core wants it."""
    options = config.bayeux
    return bayeux.Rules(
        allowed=bayeux.Patterns(options.broadcast_channels),
        lazy=dict.fromkeys(options.lazy_channels, options.max_lazy_timeout),
        to_sender=options.broadcast_to_publisher,
    )


def mailbox_bounds(config: Config) -> bayeux.Bounds:
    """Return how much may wait for one client, as the Bayeux core wants it."""
    options = config.bayeux
    return bayeux.Bounds(
        events=options.mailbox_messages,
        size=options.mailbox_size,
        batch=config.limits.reply,
        overflow=bayeux.Overflow(options.mailbox_overflow),
    )


def bayeux_options(config: Config) -> bayeux.Options:
    """Return the options of the configuration as the Bayeux core wants them."""
    return bayeux.Options(
        timeout=config.bayeux.timeout,
        max_interval=config.bayeux.max_interval,
        offline_after=config.bayeux.offline_after,
        transports=config.bayeux.transports,
        max_inactivity=config.bayeux.max_inactivity or math.inf,
        deliveries_are_activity=config.bayeux.deliveries_are_activity,
        max_clients=config.limits.clients,
        max_subscriptions=config.limits.subscriptions,
        max_holds_per_browser=config.bayeux.max_sessions_per_browser,
        surplus_interval=config.bayeux.multi_session_interval,
    )


class Node:
    """A server that runs: `start`, then `stop`. `url` is where it listens."""

    _chat: Chat

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.live = LiveConfig(config)
        self._clock = clock or SystemClock()
        self._stack = contextlib.AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, listen, and begin the background work.

        Raises: OSError when the address cannot be had; StoreError.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Answer held polls, finish running requests, close the store."""
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        config = self.live.current
        store = await open_store(config)
        stack.push_async_callback(store.close)
        chat = Chat(store, self.live, self._clock)
        self._chat = chat
        stack.push_async_callback(chat.close)
        app = web.Application(client_max_size=config.limits.body)
        # Once nobody is listening any more: whoever is answered comes back at once.
        app.on_shutdown.append(chat.release)
        Origins(lambda: self.live.current.server.allowed_origins, HEADERS).add_to(app)
        chat.routes(app)
        runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE,
            max_line_size=LONGEST_LINE,
            shutdown_timeout=config.server.shutdown_timeout,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        self._background(stack, chat)
        tls = _tls(config)
        sock = _listen(config.server.host, config.server.port)
        await web.SockSite(runner, sock, ssl_context=tls, backlog=BACKLOG).start()
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' if tls else ''}://{shown}:{port}"

    @property
    def store(self) -> Store:
        """Where the chats of this node are."""
        return self._chat.store

    def replace(self, config: Config) -> None:
        """Put another configuration in force, as far as it needs no restart."""
        self.live.replace(config)
        self._chat.server.options = bayeux_options(config)
        self._chat.reload_texts()
        self._chat.broadcast.rules = broadcast_rules(config)
        self._chat.mailboxes.bounds = mailbox_bounds(config)
        logging.getLogger().setLevel(config.log.level.upper())

    def _background(self, stack: contextlib.AsyncExitStack, chat: Chat) -> None:
        jobs = {
            chat.sweep: self.live.current.bayeux.sweep_period,
            chat.presence.flush: FLUSH_PERIOD,
            chat.purge: PURGE_PERIOD,
            chat.push.announce: PUSH_PERIOD,
            chat.push.send: PUSH_PERIOD,
        }
        for job, period in jobs.items():
            task = asyncio.create_task(every(period, job))
            stack.push_async_callback(_cancelled, task)


async def open_store(config: Config) -> Store:
    """Open the store that option `[store] url` names.

    Raises: StoreError.
    """
    path = config.store.url.removeprefix("sqlite:///")
    return await SqliteStore.open(path, max_entries=config.store.max_entries)


async def serve(
    path: Path | None,
    config: Config,
    env: Mapping[str, str],
    ready: Callable[[str], None],
) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP, or a changed file, loads it again.

    `ready` gets the URL once requests are answered.

    Raises: OSError, StoreError, SecretFileError when the server cannot start.
    """
    config = with_agent_secret(config)
    logs.set_up(config.log.level, config.log.format)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Node(config) as node:
        reloader = Reloader(path, env, node)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, reloader.reload)
        watch = asyncio.create_task(every(WATCH_PERIOD, reloader.check))
        ready(node.url)
        await stopping.wait()
        await _cancelled(watch)
        log.info("stopping")


class Reloader:
    """Loads the configuration file again: as a whole, or not at all."""

    def __init__(self, path: Path | None, env: Mapping[str, str], node: Node) -> None:
        self._path = path
        self._env = env
        self._node = node
        self._seen = self._stamp()

    async def check(self) -> None:
        """Reload if the file is another one than at the last look."""
        if (stamp := self._stamp()) != self._seen:
            self._seen = stamp
            self.reload()

    def reload(self) -> None:
        """Put the file's values in force, or log what is wrong and change nothing."""
        self._seen = self._stamp()
        loaded = load(self._path, self._env)
        for problem in loaded.problems:
            log.warning("%s", problem)
        try:
            config = loaded.config and with_agent_secret(loaded.config)
        except SecretFileError as exc:
            log.error("%s", exc)
            config = None
        if config is None:
            log.error("the configuration has errors: the former one stays in force")
            return
        changed = changes(self._node.live.current, config)
        self._node.replace(config)
        for change in changed:
            late = change.reload is Reload.RESTART
            log.info("%s%s", change, ", at the next start" if late else "")
        log.info("configuration loaded, %d options changed", len(changed))

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


async def every(period: float, job: Callable[[], Awaitable[None]]) -> None:
    """Do a job again and again, `period` seconds apart, whatever it may raise."""
    while True:
        await asyncio.sleep(period)
        try:
            await job()
        except Exception:
            # A task boundary: one failure must not end what runs for months.
            log.exception("background job failed")


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: a peer that confirms nothing would otherwise
        # hold memory for a quarter of an hour.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.server.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.server.tls_cert, config.server.tls_key)
    return context


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
