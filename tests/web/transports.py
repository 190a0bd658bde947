"""Clients of the transports that tests of one client at a time do not need."""

import json
from enum import Enum
from typing import Any

from tests.clients.raw import Json, UnexpectedStatusError
from tests.clients.ws import SocketClient

CALLBACK = "__jsonp1__"


class Way(Enum):
    """The ways on which Bayeux messages can travel, by their connection type."""

    LONG_POLLING = "long-polling"
    FORM = "cross-origin-long-polling"
    CALLBACK_POLLING = "callback-polling"
    WEBSOCKET = "websocket"


class Mover(SocketClient):
    """A client that goes on by another transport whenever `way` changes.

    Its socket stays open until `close` or `cut`.
    """

    def __init__(self, *args: Any, way: Way = Way.LONG_POLLING, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.way = way
        self.handshake_fields["supportedConnectionTypes"] = ["long-polling"]

    async def post(self, body: Any) -> list[Json]:
        match self.way:
            case Way.WEBSOCKET:
                return await super().post(body)
            case Way.CALLBACK_POLLING:
                received = await self._get(body)
            case Way.FORM | Way.LONG_POLLING:
                received = await self._post(body)
        self._take(received)
        return received

    async def _get(self, body: Any) -> list[Json]:
        query = {"jsonp": CALLBACK, "message": json.dumps(body)}
        async with self.http.get(
            self.url, params=query, headers=self.headers
        ) as response:
            text = await response.text()
            if response.status != 200:
                raise UnexpectedStatusError(response.status, text)
        return called(text)

    async def _post(self, body: Any) -> list[Json]:
        form = {"message": json.dumps(body)}
        sent = {"data": form} if self.way is Way.FORM else {"json": body}
        async with self.http.post(self.url, headers=self.headers, **sent) as response:
            if response.status != 200:
                raise UnexpectedStatusError(response.status, await response.text())
            received: list[Json] = await response.json()
        return received


def called(script: str, callback: str = CALLBACK) -> list[Json]:
    """Return what a script hands to its callback."""
    before, after = f"/**/{callback}(", ");"
    assert script.startswith(before), script[:80]
    assert script.endswith(after), script[-80:]
    messages: list[Json] = json.loads(script[len(before) : -len(after)])
    return messages
