"""A client that speaks as the Genesys SDK for iOS does (GFayeSwift)."""

import asyncio
import json
from typing import Any, TypeAlias

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from tests.clients.raw import Json
from tests.clients.watched import Watched

Ext: TypeAlias = dict[str, str]

HOLD = 10_000
"""Milliseconds it asks for with every connect."""


class GFaye(Watched):
    """One app on an iPhone: a single object per frame, and no ids of meta messages.

    It looks at no advice, connects again at once after each successful connect, and
    does nothing at all after a handshake or connect that failed: only a new socket
    brings it back. Of each frame it reads the first message only, as its versions did
    until 2020. What comes on a channel is `delivered` if the reply to its
    subscription has been read before, and `dropped` otherwise. All `ext` values are
    strings; `handshake_ext` goes with each handshake. The app subscribes again with
    each new socket.
    """

    def __init__(self, url: str, handshake_ext: Ext | None = None) -> None:
        super().__init__()
        self.url = url
        self.handshake_ext = handshake_ext or {}
        self.client_id = ""
        self.connected = False
        self.stuck = False
        self.sockets = 0
        self.connects = 0
        self.delivered: list[Json] = []
        self.dropped: list[Json] = []
        self.errors: list[str] = []
        self.patience = HOLD
        self._wanted: list[str] = []
        self._open: set[str] = set()
        self._http = ClientSession()
        self._ws: ClientWebSocketResponse | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self, *channels: str) -> None:
        """Keep a socket open from now on, and subscribe to the channels."""
        self._wanted += channels
        self._running = asyncio.create_task(self._run())
        await self.wait_for(lambda: self._open >= set(channels) or self.stuck)

    async def publish(self, channel: str, data: Json, number: int) -> None:
        """Publish; publishes, and only they, have an id."""
        await self._send(channel, data=data, id=str(number))

    async def disconnect(self, ext: Ext) -> None:
        """Give all channels up, say goodbye, wait for the reply, close the socket."""
        for channel in self._wanted:
            await self._send("/meta/unsubscribe", subscription=channel)
        await self._send("/meta/disconnect", connectionType="websocket", ext=ext)
        await self.wait_for(lambda: not self.connected)
        await self.vanish()

    async def vanish(self) -> None:
        """Stop; the socket closes without a Bayeux message."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._http.close()

    async def _run(self) -> None:
        while True:
            try:
                async with self._http.ws_connect(self.url) as ws:
                    self._ws = ws
                    self.sockets += 1
                    await self._speak(ws)
            except (ClientError, OSError):
                await asyncio.sleep(0.05)
            self.connected = self.stuck = False
            self._open.clear()
            self.changed()

    async def _speak(self, ws: ClientWebSocketResponse) -> None:
        self.client_id = ""
        await self._handshake()
        async for frame in ws:
            if frame.type is not WSMsgType.TEXT:
                return
            received = json.loads(frame.data)
            # A bare object means nothing to it.
            if isinstance(received, list):
                await self._receive(received[0])
            self.changed()

    async def _receive(self, message: Json) -> None:
        match message["channel"]:
            case "/meta/handshake":
                await self._shaken(message)
            case "/meta/connect":
                await self._connect_again(message)
            case "/meta/subscribe":
                self._subscribed(message)
            case "/meta/disconnect":
                self.connected = False
            case _ if "data" in message:
                self._event(message)

    async def _shaken(self, reply: Json) -> None:
        if not reply["successful"]:
            self.stuck = True
            return
        self.client_id = reply["clientId"]
        self.connected = True
        await self._connect()
        for channel in self._wanted:
            if channel not in self._open:
                await self._send("/meta/subscribe", subscription=channel)

    async def _connect_again(self, reply: Json) -> None:
        if not reply["successful"]:
            self.stuck, self.connected = True, False
            return
        self.connected = True
        await self._connect()

    def _subscribed(self, reply: Json) -> None:
        if reply["successful"]:
            self._open.add(reply["subscription"])
        else:
            self.errors.append(reply["error"])

    def _event(self, message: Json) -> None:
        if message["channel"] not in self._open:
            self.dropped.append(message)
            return
        assert isinstance(message["data"], dict), "the SDK would crash"
        self.delivered.append(message)

    async def _handshake(self) -> None:
        ext = {"ext": self.handshake_ext} if self.handshake_ext else {}
        await self._send(
            "/meta/handshake",
            version="1.0",
            minimumVersion="1.0beta",
            supportedConnectionTypes=[
                "long-polling",
                "callback-polling",
                "iframe",
                "websocket",
            ],
            **ext,
        )

    async def _connect(self) -> None:
        self.connects += 1
        await self._send(
            "/meta/connect",
            connectionType="websocket",
            advice={"timeout": self.patience},
        )

    async def _send(self, channel: str, **fields: Any) -> None:
        assert self._ws is not None
        known = {"clientId": self.client_id} if self.client_id else {}
        await self._ws.send_str(json.dumps({"channel": channel, **known, **fields}))
