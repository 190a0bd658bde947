"""What messages ask for, connects excepted: carried out, and replied to.

Who may do it is for the application to say; other nodes hear of what they must know.
"""

from collections.abc import Awaitable, Coroutine
from typing import Any

from cometd_chat import bayeux
from cometd_chat.clock import Clock

from .elsewhere import Elsewhere
from .polls import Polls
from .throttle import Throttles


class MovedError(Exception):
    """The client went to another node before this was done for it."""


class Handlers:
    """Carries out what the server has decided. `elsewhere` are the other nodes, if
    there are any."""

    def __init__(
        self,
        server: bayeux.BayeuxServer,
        application: bayeux.Application,
        clock: Clock,
        throttle: Throttles,
        polls: Polls,
    ) -> None:
        self._server = server
        self._application = application
        self._monotonic = clock.monotonic
        self._throttle = throttle
        self._polls = polls
        self.elsewhere: Elsewhere | None = None

    def handle(
        self, request: bayeux.Request, peer: bayeux.Peer
    ) -> bayeux.Reply | Coroutine[Any, Any, bayeux.Reply]:
        """Carry a decision out and return the reply to its message.

        Raises: MovedError, where there are other nodes.
        """
        if isinstance(request, bayeux.Publish):
            return self.publish(request)
        if isinstance(request, bayeux.Reply):
            if request.advice and request.advice.reconnect == "handshake":
                return self._advised(request, peer)
            return request
        return self._handle_slowly(request, peer)

    def publish(
        self, publish: bayeux.Publish
    ) -> bayeux.Reply | Coroutine[Any, Any, bayeux.Reply]:
        """Let the application take a message, and return the reply."""
        client, message = publish.client, publish.message
        try:
            storing = self._application.publish(client, message)
        except bayeux.RefusedError as exc:
            return bayeux.refusal(message, str(exc))
        if storing is None:
            return bayeux.reply(message)
        return self._stored(client, message, storing)

    async def silent(self, client: bayeux.Client) -> None:
        """Note that the client has not polled for a while, unless it does elsewhere."""
        if self.elsewhere is None:
            await self._application.silent(client)
        else:
            await self.elsewhere.silent(client)

    async def left(self, client: bayeux.Client, message: bayeux.Message | None) -> None:
        """Note that the client is gone, unless it went to another node."""
        if await self._gone(client, meant=message is not None):
            await self._application.left(client, message)
        else:
            self._application.part(client)

    async def _handle_slowly(
        self, request: bayeux.SlowRequest, peer: bayeux.Peer
    ) -> bayeux.Reply:
        match request:
            case bayeux.Handshake(message):
                return await self._handshake(message, peer)
            case bayeux.Farewell(message, refusal):
                known = await self._application.farewell(message, peer)
                return bayeux.reply(message) if known else refusal
            case bayeux.Subscribe():
                return await self._subscribe(request)
            case bayeux.Unsubscribe(client, names, reply):
                await self._application.unsubscribe(client, names)
                await self._keep(client)
                return reply
            case bayeux.Disconnect(client, message, reply):
                try:
                    await self.left(client, message)
                finally:
                    self._polls.release(client)
                return reply

    async def _advised(self, reply: bayeux.Reply, peer: bayeux.Peer) -> bayeux.Reply:
        """Return a reply that makes its reader come back at once, when it may."""
        await self._throttle.wait(peer, self._monotonic())
        return reply

    async def _handshake(
        self, message: bayeux.Message, peer: bayeux.Peer
    ) -> bayeux.Reply:
        await self._throttle.wait(peer, self._monotonic())
        try:
            identity = await self._application.handshake(message, peer)
        except bayeux.RefusedError as exc:
            return self._server.refuse(message, str(exc), exc.reconnect)
        now = self._monotonic()
        reply = self._server.admit(message, identity, now, peer.browser)
        new = self._server.client(reply.client_id or "")
        if new is None:
            return reply
        if not await self._welcome(new):
            self._server.part(new)
            return self._server.refuse(message, bayeux.UNAVAILABLE, "handshake")
        # After that: who is refused shall find his former client as it was.
        if (asked := bayeux.extensions.resume(message)) is not None:
            resumed = await self._resume(asked, new)
            told = {"clientId": asked.client_id, "resumed": resumed}
            reply.ext = {**(reply.ext or {}), "resume": told}
            await self._keep(new)
        return reply

    async def _resume(
        self, asked: bayeux.extensions.Resume, new: bayeux.Client
    ) -> bool:
        """Let the new client go on where a former one was, if that is still known."""
        old = self._server.client(asked.client_id)
        if old is None or not self._application.continues(old, new):
            return False
        # Before anything is awaited, so that no other handshake finds it as well.
        self._server.resume(old, new)
        if not await self._gone(old, meant=False):
            self._application.part(old)
            return False
        try:
            await self._application.resume(old, new, asked.position)
        finally:
            self._polls.release(old)
        return True

    async def _subscribe(self, asked: bayeux.Subscribe) -> bayeux.Reply:
        client, names, message = asked.client, asked.channels, asked.message
        try:
            ext = await self._application.subscribe(client, names, message)
        except bayeux.RefusedError as exc:
            return bayeux.refusal(message, str(exc))
        reply = self._server.subscribe(client, message)
        if reply.successful:
            reply.ext = ext or bayeux.UNSET
            await self._keep(client)
            return reply
        # It left while the application was asked.
        if self._server.client(client.id) is None:
            await self._application.unsubscribe(client, names)
        if self.elsewhere is not None:
            raise MovedError
        return reply

    async def _stored(
        self, client: bayeux.Client, message: bayeux.Message, storing: Awaitable[None]
    ) -> bayeux.Reply:
        try:
            await storing
        except bayeux.RefusedError as exc:
            return bayeux.refusal(message, str(exc))
        await self._keep(client)
        return bayeux.reply(message)

    async def _welcome(self, client: bayeux.Client) -> bool:
        """Let other nodes know a new client; False if that is not possible."""
        return self.elsewhere is None or await self.elsewhere.welcome(client)

    async def _keep(self, client: bayeux.Client) -> None:
        """Let other nodes know what the client has now."""
        if self.elsewhere is not None:
            await self.elsewhere.keep(client)

    async def _gone(self, client: bayeux.Client, *, meant: bool) -> bool:
        """Tell other nodes that the client is gone; False if it is with them."""
        elsewhere = self.elsewhere
        return elsewhere is None or await elsewhere.gone(client, meant=meant)
