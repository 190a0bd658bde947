"""The GMS v1 app once more, with its channel kept by aiocometd-ng."""

import asyncio
from typing import Any

from aiocometd_ng.client import Client
from aiocometd_ng.constants import ConnectionType
from aiocometd_ng.exceptions import TransportError
from aiocometd_ng.extensions import Extension

from tests.clients.raw import Json, V1Chat


class Identity(Extension):
    """Says who the app is: a header on every request, and `ext` per meta channel.

    While `mute` it stops the goodbye that the library would send when it closes.
    """

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.ext: dict[str, Json] = {}
        self.mute = False

    async def outgoing(self, payload: list[Json], headers: dict[str, str]) -> None:
        headers.update(self.headers)
        for message in payload:
            if self.mute and message["channel"] == "/meta/disconnect":
                raise TransportError("the app has vanished")
            if ext := self.ext.get(message["channel"]):
                message["ext"] = ext

    async def incoming(self, payload: list[Json], headers: Any = None) -> None:
        """Nothing of what comes in concerns identity."""


class AiocometdApp(V1Chat):
    """A GMS v1 app in push mode whose Bayeux client is aiocometd-ng.

    It takes part in the same story as `V1App`: `start`, `send`, `background`,
    `foreground`, and a `screen`.
    """

    def __init__(
        self,
        base: str,
        *,
        user: str = "",
        service: str = "request-chat",
        connection_type: ConnectionType = ConnectionType.LONG_POLLING,
    ) -> None:
        super().__init__(base, user=user, service=service)
        self.identity = Identity(self.headers)
        self.connection_type = connection_type
        self.client: Client | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, **params: str) -> Json:
        """Create the service, open the channel, create the chat."""
        await self.create_service()
        await self.foreground()
        return await self.create_chat(notify_by="comet", **params)

    async def foreground(self) -> None:
        """Open the channel as a new client and read from it."""
        if not self.user:
            self.identity.ext["/meta/handshake"] = {"serviceId": self.service_id}
        self.identity.mute = False
        # A client that was closed cannot be opened again. connection_timeout=0: its
        # watchdog calls asyncio in a way that Python has not known since 3.10.
        self.client = Client(
            f"{self.base}/cometd",
            self.connection_type,
            connection_timeout=0,
            extensions=[self.identity],
        )
        await self.client.open()
        await self.client.subscribe("/_genesys")
        self._reading = asyncio.create_task(self._read(self.client))

    async def background(self) -> None:
        """Say goodbye with the position that the app has.

        The library logs the cancellation of its poll as an error; that is its habit.
        """
        position = {"transcriptPosition": str(self.position)}
        self.identity.ext["/meta/disconnect"] = position
        await self._close()

    async def vanish(self) -> None:
        """Cut all sockets without a word; `foreground` brings the app back."""
        self.identity.mute = True
        await self._close()
        await super().vanish()

    def rest_reply(self, chat: Json) -> None:
        self.state = chat["chatIxnState"]
        self.changed()

    async def _read(self, client: Client) -> None:
        while True:
            message = await client.receive()
            if message["channel"] == "/_genesys":
                self.show(message["data"]["message"])

    async def _close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if self.client is not None:
            await self.client.close()
