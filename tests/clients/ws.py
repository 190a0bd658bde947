"""A bare WebSocket client that can misbehave."""

import asyncio
import contextlib
import json
import socket
from typing import Any

from aiohttp import ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType

from tests.clients.proxy import RESET_ON_CLOSE
from tests.clients.raw import BayeuxClient, Json, is_event


class SocketClient(BayeuxClient):
    """A Bayeux client whose messages go over a WebSocket, opened when needed.

    `frames` are the arrays received, in order; `close_code` is the server's word when
    it closed the socket. With `reads = False` nothing is read from the next socket on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connect_fields = {"connectionType": "websocket"}
        self.handshake_fields["supportedConnectionTypes"] = ["websocket"]
        self.frames: list[list[Json]] = []
        self.close_code: int | None = None
        self.reads = True
        self.patience = 10.0
        self._ws: ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, **options: Any) -> ClientWebSocketResponse:
        """Open the socket if there is none; `options` go to the upgrade."""
        if self._ws is None or self._ws.closed or self.close_code is not None:
            await self.close()
            self.close_code = None
            self._ws = await self.http.ws_connect(
                self.url,
                headers=self.headers,
                max_msg_size=0,
                autoclose=False,
                **options,
            )
            if self.reads:
                self._reading = asyncio.create_task(self._read(self._ws))
        return self._ws

    async def send(self, *messages: Json) -> None:
        """Send an array of messages and wait for nothing."""
        await self.text(json.dumps(messages))

    async def text(self, text: str) -> None:
        """Send a text frame as it is."""
        ws = await self.open()
        await ws.send_str(text)

    async def post(self, body: Any) -> list[Json]:
        """Send any JSON; return all that came until each message was answered.

        Raises: ConnectionResetError when the socket closes before.
        """
        await self.open()
        start = len(self.frames)
        await self.text(json.dumps(body))
        asked = [body] if isinstance(body, dict) else body
        waiting = {(m["channel"], m["id"]) for m in asked}
        await self.wait_for(lambda: self._over(start, waiting), self.patience)
        received = [message for frame in self.frames[start:] for message in frame]
        if not waiting <= _answered(received):
            raise ConnectionResetError("the socket was closed")
        return received

    async def close(self) -> None:
        """Close the socket with a closing handshake, if it is open."""
        ws, self._ws = self._ws, None
        if ws is not None:
            await ws.close()
        if self._reading is not None:
            await self._reading
            self._reading = None

    async def closed(self, within: float = 5.0) -> int:
        """Wait until the server has closed the socket; return its code."""
        await self.wait_for(lambda: self.close_code is not None, within)
        assert self.close_code is not None
        return self.close_code

    def cut(self) -> None:
        """Reset the connection: no closing handshake, data under way is lost."""
        assert self._ws is not None
        sock: socket.socket | None = self._ws.get_extra_info("socket")
        if sock is None:
            return  # the server was quicker
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport: asyncio.Transport = self._ws._writer.transport
        transport.abort()

    async def vanish(self) -> None:
        """Cut the socket without a word; the client can be used again."""
        await self.stop_polling()
        if self._ws is not None and not self._ws.closed:
            self.cut()
        await self.close()
        await super().vanish()

    def _over(self, start: int, waiting: set[tuple[str, str]]) -> bool:
        received = [message for frame in self.frames[start:] for message in frame]
        return self.close_code is not None or waiting <= _answered(received)

    async def _read(self, ws: ClientWebSocketResponse) -> None:
        while True:
            frame = await ws.receive()
            if frame.type is not WSMsgType.TEXT:
                break
            self._take(json.loads(frame.data))
        self.close_code = _code(frame.data)
        self.changed()

    def _take(self, messages: list[Json]) -> None:
        assert isinstance(messages, list), "always an array"
        self.frames.append(messages)
        for message in messages:
            self._record(message)
        self.changed()


async def upgrade(url: str, **headers: str) -> int:
    """Ask for a WebSocket by hand and return the status of the answer."""
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    async with (
        ClientSession(timeout=ClientTimeout(total=10)) as http,
        http.get(url, headers=asked) as response,
    ):
        response.close()
        return response.status


def _answered(messages: list[Json]) -> set[tuple[str, str]]:
    return {
        (message["channel"], message["id"])
        for message in messages
        if not is_event(message) and "id" in message
    }


def _code(data: Any) -> int:
    """Return the code of a closing frame; 1006, as RFC 6455 has it, without one."""
    return data if isinstance(data, int) and data else 1006
