"""One server, from its store to its port: what starts, in this order, and stops."""

import contextlib
import logging
import socket
import ssl
from functools import partial
from typing import Self

from aiohttp import web

from cometd_chat.background import repeated
from cometd_chat.clock import Clock, SystemClock
from cometd_chat.config import Config, LiveConfig
from cometd_chat.files.opening import open_place
from cometd_chat.store import Store
from cometd_chat.store.opening import is_shared, open_store
from cometd_chat.web.listener import LINGER, answering, listen, tls_context, url_of
from cometd_chat.web.origins import Origins

from .parts import Chat

COMPARE_PERIOD = 10.0
"""Seconds between two comparisons of this node's clock with that of the storage."""

NOTE_PERIOD = 5.0
"""Seconds between two notes, for other nodes, of what agents have confirmed: if this
one dies, not much more than that comes again."""

FLUSH_PERIOD = 1.0
"""Seconds between two writes of acknowledged positions."""

INACTIVITY_PERIOD = 1.0
"""Seconds between two moments in which it may be time to look for quiet chats."""

PUSH_PERIOD = 0.25
"""Seconds between two looks for pushes that are due."""

BADGE_PERIOD = 1.0
"""Seconds between two looks for badges that went down."""

PURGE_PERIOD = 600.0
"""Seconds between two looks for chats that are old enough to be forgotten."""

PURGE_FILES_PERIOD = 3600.0
"""Seconds between two looks for files of forgotten chats: each lists all chats."""

RELEASING = 0.25
"""Share of `[server] shutdown_timeout` within which held polls are answered, before it
begins for the requests that are running."""


class Node:
    """A server that runs: `start`, then `stop`. `url` is where it listens.

    `sock` is already bound to the address, if another process did that.
    """

    _chat: Chat

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        self.live = LiveConfig(config)
        self._clock = clock or SystemClock()
        self._sock = sock
        self._stack = contextlib.AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def store(self) -> Store:
        """Where the chats of this node are."""
        return self._chat.store

    async def start(self) -> None:
        """Open the store, listen, and begin the background work.

        Raises: OSError when the address cannot be had; StoreError; PlaceError.
        """
        # What was opened is closed in the opposite order, also when a later step fails.
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            await self._share(stack)
            stack.push_async_callback(self._chat.close)
            self.url = await self._listen(stack)
            await self._begin_jobs(stack)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Answer held polls, finish running requests, close the store."""
        await self._stack.aclose()

    def replace(self, config: Config) -> None:
        """Put another configuration in force, as far as it needs no restart."""
        self.live.replace(config)
        self._chat.reload()
        logging.getLogger().setLevel(config.log.level.upper())

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        store = await open_store(self.live.current.store)
        stack.push_async_callback(store.close)
        place = await open_place(self.live.current.files, self.live.current.store)
        if place is not None:
            stack.push_async_callback(place.close)
        self._chat = Chat(store, place, self.live, self._clock)

    async def _share(self, stack: contextlib.AsyncExitStack) -> None:
        """Join the other nodes of the storage, if there may be some."""
        config = self.live.current
        if not is_shared(config.store):
            return
        compare = self._chat.compare_clocks
        await compare()
        await stack.enter_async_context(repeated(COMPARE_PERIOD, compare))
        cluster = await stack.enter_async_context(self._chat.shared())
        renewing = repeated(config.bayeux.max_interval / 4, cluster.custody.renew)
        await stack.enter_async_context(renewing)
        await stack.enter_async_context(repeated(NOTE_PERIOD, cluster.custody.note))

    async def _listen(self, stack: contextlib.AsyncExitStack) -> str:
        """Serve the port; return the address as clients write it."""
        config = self.live.current
        tls = _tls(config)
        sock = self._sock or listen(config.server.host, config.server.port)
        app, origins = self._application()
        front = partial(self._chat.front, origins) if config.server.front else None
        timeout = config.server.shutdown_timeout
        serving = answering(
            app,
            sock,
            tls,
            front=front,
            release=partial(self._chat.release, timeout * RELEASING),
            linger=LINGER if is_shared(config.store) else 0.0,
            shutdown_timeout=timeout,
        )
        await stack.enter_async_context(serving)
        return url_of(sock, tls=tls is not None)

    def _application(self) -> tuple[web.Application, Origins]:
        app = web.Application(client_max_size=self.live.current.limits.body)
        origins = Origins(lambda: self.live.current.server.allowed_origins)
        origins.add_to(app)
        self._chat.routes(app)
        return app, origins

    async def _begin_jobs(self, stack: contextlib.AsyncExitStack) -> None:
        chat = self._chat
        jobs = {
            chat.sweep: self.live.current.bayeux.sweep_period,
            chat.presence.flush: FLUSH_PERIOD,
            chat.inactivity.sweep: INACTIVITY_PERIOD,
            chat.purge: PURGE_PERIOD,
            chat.purge_files: PURGE_FILES_PERIOD,
            chat.announcer.announce: PUSH_PERIOD,
            chat.announcer.correct: BADGE_PERIOD,
            chat.push.send: PUSH_PERIOD,
        }
        for job, period in jobs.items():
            await stack.enter_async_context(repeated(period, job))


def _tls(config: Config) -> ssl.SSLContext | None:
    cert, key = config.server.tls_cert, config.server.tls_key
    return None if cert is None else tls_context(cert, key)
