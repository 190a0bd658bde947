"""One HTTP request that carries Bayeux messages, and the response it will get."""

import asyncio
import fcntl
import struct
import termios
from dataclasses import dataclass, field

from aiohttp import web
from msgspec import Raw

from cometd_chat import bayeux

HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
}
DISPLACED = 500
"""Status of a connect whose place was taken by a newer one.

CometD's choice: clients ignore the failure, for its id is no longer theirs, and
browsers do not repeat it by themselves as they do with 408 (CometD issue 800).
"""


@dataclass(slots=True, eq=False)
class Exchange:
    """Collects replies until the response can go out, at once or after a hold."""

    request: web.Request
    replies: list[bayeux.Reply] = field(default_factory=list)
    client: bayeux.Client | None = None
    poll: bayeux.Poll | None = None
    due: bool = False
    reading: bool = False
    written: bool = False
    doubtful: bool = False
    outcome: asyncio.Future[bytes | int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def dead(self) -> bool:
        """Tell whether the connection is known to be gone."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    @property
    def unconfirmed(self) -> bool:
        """Tell whether the peer's host has not confirmed all of the response yet.

        A phone that lost its network confirms nothing, while writing to it goes
        on succeeding. False where the system cannot tell any more.
        """
        if not self.written:
            return True
        transport = self.request.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        return sock is not None and _unconfirmed_bytes(sock.fileno()) > 0

    def finish(self, events: list[Raw]) -> None:
        """Answer: replies first, then events, the connect's own reply last.

        Replies come before events because some clients drop events of a channel
        whose subscription they have not seen confirmed; the connect's reply comes
        last because clients confirm by it what came before.
        """
        connect = [self.poll.reply] if self.poll else []
        self._settle(bayeux.encode([*self.replies, *events, *connect]))

    def refuse(self, status: int) -> None:
        """End without any Bayeux message."""
        self._settle(status)

    def _settle(self, outcome: bytes | int) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    async def respond(self) -> web.StreamResponse:
        """Wait for the outcome and write it.

        Raises: ConnectionError when it could not be written.
        """
        outcome = await self.outcome
        if isinstance(outcome, int):
            response = web.Response(status=outcome)
        else:
            response = web.Response(body=outcome, headers=HEADERS)
        if self.dead:
            raise ConnectionResetError
        await response.prepare(self.request)
        await response.write_eof()
        self.written = True
        return response


def _unconfirmed_bytes(fd: int) -> int:
    try:
        packed = fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # closed meanwhile
        return 0
    (count,) = struct.unpack("i", packed)
    return int(count)
