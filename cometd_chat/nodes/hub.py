"""Short calls between nodes, and what is told to all of them.

Redis's channels carry both: one channel for each node, one for all. They promise
nothing, so that a call that is not answered in time fails, and whoever called does
without. Every node tells all, itself included, that it is there: who hears its own
word is *in touch*, who is not heard for a while counts as gone (`Pulse`). Who does not
hear what it tells, though Redis takes it and others hear, is *deaf*: it says so, and
leaves its work to them.

A line that breaks loses what was on its way. Who listens anew says so, and calls to
and from him that have no answer yet are made again: a repeat is known by its number,
and gets the answer that the first one got.

What is told to all reaches this node by the same way as the others, and so in the
same order for those of one sender.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import msgspec

from cometd_chat.clock import Clock
from cometd_chat.recurring import Sparing
from cometd_chat.store import StoreError, StoreUnavailableError
from cometd_chat.store.redis_keys import Keys
from cometd_chat.store.redis_link import (
    CONNECT_TIMEOUT,
    Address,
    Link,
    LostError,
    RefusedError,
)
from cometd_chat.store.redis_servers import Router

from .calls import PATIENCE, Calls, NoAnswerError
from .pulse import BEAT, IN_TOUCH, Pulse
from .repeats import Number, Repeats

PAUSE = 0.1
"""Seconds before a subscription that was lost is made again."""

MOST_WORK = 10_000
"""Calls of others that are answered at a time; further ones are not."""

MOST_BYTES = 1_048_576
"""Largest body of a message; larger ones are not sent."""

often = Sparing(logging.getLogger(__name__))


class Asked(NamedTuple):
    """A call of another node; `number` is the call's."""

    node: str
    number: int
    body: bytes


class Reply(NamedTuple):
    """An answer that somebody else publishes: `message`, on `channel`."""

    channel: str
    message: bytes


Handler: TypeAlias = Callable[[Asked], Awaitable[bytes | Reply]]
"""Answers a call: with the body of the answer, or with one that is published."""

Listener: TypeAlias = Callable[[str, int, bytes], None]
"""Takes what a node told all: the node, a number that grows, the body."""


Retreat: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Leaves to the others what they cannot ask for."""


class _Message(msgspec.Struct, array_like=True, frozen=True):
    """`name` is empty for an answer, whose number is that of the call."""

    node: str
    number: int
    name: str
    body: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode

_BEAT = "beat"
_ANEW = "anew"
_LEAVING = "leaving"
_DEAF = "deaf"


class Hub:
    """This node's line to the others; `node` is its name."""

    def __init__(self, router: Router, keys: Keys, node: str, clock: Clock) -> None:
        self.node = node
        self._router = router
        self._all = f"{keys.layout}:nodes"
        self._hearing = f"{self._all}:hear"
        self.pulse = Pulse(node, clock)
        self._calls = Calls(self.pulse, clock, self._send)
        self._repeats = Repeats()
        self._handlers: dict[str, Handler] = {}
        self._listeners: dict[str, Listener] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._link: Link | None = None
        self._number = 0
        self._retreat: asyncio.Task[None] | None = None
        self.when_deaf: Retreat | None = None
        """Called while this node is deaf, again and again."""
        self._subscribed = asyncio.Event()

    def answer(self, name: str, handler: Handler) -> None:
        """Let calls of this name be answered so."""
        self._handlers[name] = handler

    def hear(self, name: str, listener: Listener) -> None:
        """Let what is told to all under this name go there."""
        self._listeners[name] = listener

    async def start(self) -> None:
        """Listen, and tell the others that this node is there."""
        self._tasks = [
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._compare()),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._subscribed.wait()

    async def close(self) -> None:
        """Answer what was asked, tell the others that this node leaves, and answer
        nobody any more."""
        if self._work:
            await asyncio.wait(set(self._work), timeout=PATIENCE)
        with suppress(StoreError):
            await self.tell(_LEAVING, b"")
        for task in [*self._tasks, *self._work]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._work, return_exceptions=True)
        if self._link:
            self._link.abort()

    async def call(
        self, node: str, name: str, body: bytes, patience: float = PATIENCE
    ) -> bytes:
        """Return the other node's answer; one that is there has `patience` seconds.

        Raises: NoAnswerError, which is a LateError if the node is there;
        StoreUnavailableError when Redis does not take it.
        """
        self._number += 1
        message = self._message(self._number, name, body)
        return await self._calls.make(self._number, node, message, patience)

    def reply(self, asked: Asked, body: bytes) -> Reply:
        """Return what answers a call, for one who publishes it together with what it
        tells.

        Raises: NoAnswerError for a body that is too large.
        """
        return Reply(self._channel(asked.node), self._message(asked.number, "", body))

    async def tell(self, name: str, body: bytes) -> None:
        """Tell all nodes; this one hears it as well.

        Raises: StoreUnavailableError when Redis does not take it.
        """
        self._number += 1
        await self._publish(self._all, self._message(self._number, name, body))

    def hint(self, name: str, body: bytes) -> None:
        """Tell all nodes if Redis takes it, and do not wait for that."""
        self._keep(asyncio.create_task(_quietly(self.tell(name, body))))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Let the task live until it is done, or this node leaves."""
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _ask_again(self, calls: Iterable[tuple[str, bytes]]) -> None:
        """Make calls again that were lost, or their answers, with a node's line."""
        for node, message in calls:
            self._send_quietly(node, message)

    def _channel(self, node: str) -> str:
        return f"{self._all}:{node}"

    def _message(self, number: int, name: str, body: bytes) -> bytes:
        if len(body) > MOST_BYTES:
            raise NoAnswerError
        return _encode(_Message(self.node, number, name, body))

    def _send_quietly(self, node: str, message: bytes) -> None:
        self._keep(asyncio.create_task(_quietly(self._send(node, message))))

    async def _send(self, node: str, message: bytes) -> None:
        await self._publish(self._channel(node), message)

    async def _publish(self, channel: str, message: bytes) -> None:
        await self._router.publish(channel, message)

    async def _listen(self) -> None:
        channels = (self._all, self._channel(self.node))
        avoid: Address | None = None
        while True:
            try:
                avoid = await self._router.any_server(avoid=avoid)
                login = self._router.servers.login
                self._link = await Link.connect(avoid, login, heard=self._read)
                self.pulse.connected()
                self._link.announce(("SUBSCRIBE", *channels))
                await self._link.closed.wait()
            except (OSError, LostError, RefusedError, StoreUnavailableError):
                pass
            await asyncio.sleep(PAUSE)

    async def _beat(self) -> None:
        pulse = self.pulse
        while True:
            with suppress(StoreError):
                await self.tell(_DEAF if pulse.deaf else _BEAT, b"")
                pulse.told()
            self._retreat_if_deaf()
            self._calls.give_up()
            pulse.forget_others()
            self._doubt_own_line()
            await asyncio.sleep(BEAT)

    async def _compare(self) -> None:
        """Note in Redis that this node hears, or look whether another one does.

        Apart from the beat: it goes on where the primary for this has died.
        """
        # The last note is gone before anybody who stopped hearing looks for one.
        lifetime = round(IN_TOUCH * 1000)
        note = ("SET", self._hearing, self.node, "PX", lifetime)
        while True:
            with suppress(StoreError):
                if self.pulse.in_touch:
                    await self._router.write(0, *note)
                elif self.pulse.in_vain:
                    others = await self._router.read(0, "GET", self._hearing)
                    self.pulse.others_hear = bool(others)
            await asyncio.sleep(BEAT)

    def _retreat_if_deaf(self) -> None:
        busy = self._retreat is not None and not self._retreat.done()
        if self.pulse.deaf and self.when_deaf and not busy:
            self._retreat = asyncio.create_task(self.when_deaf())
            self._keep(self._retreat)

    def _doubt_own_line(self) -> None:
        """Listen anew where this node's own word does not come back.

        Also where the subscription has no answer: a server that hangs may still take
        connections.
        """
        if self._link and self.pulse.line_is_silent:
            self._link.abort()

    def _read(self, reply: Any) -> None:
        if not isinstance(reply, list) or len(reply) != 3:
            return
        kind, _, payload = reply
        if kind == b"subscribe" and payload == 2:
            self.pulse.listening()
            self._subscribed.set()
            self._ask_again(self._calls.waiting())
            self.hint(_ANEW, b"")
        if kind == b"message":
            try:
                message = _decode(payload)
            except msgspec.MsgspecError:
                often.error(
                    "a message between nodes cannot be read: not the same version"
                )
                return
            self._heard_of(message)

    def _heard_of(self, message: _Message) -> None:
        node, name = message.node, message.name
        if node == self.node or name == _BEAT:
            self.pulse.note(node)
        if not name:
            self._calls.answered(message.number, message.body)
        elif name == _LEAVING or (name == _DEAF and node != self.node):
            self.pulse.gone(node)
        elif name == _ANEW and node != self.node:
            self._ask_again(self._calls.waiting(node))
        elif name not in {_ANEW, _BEAT, _DEAF}:
            self._take(message)

    def _take(self, message: _Message) -> None:
        number = Number(message.node, message.number)
        if self._repeats.first(number):
            self._pass_on(message)
        elif answer := self._repeats.answer(number):
            self._send_quietly(message.node, answer)

    def _pass_on(self, message: _Message) -> None:
        if listener := self._listeners.get(message.name):
            listener(message.node, message.number, message.body)
        elif message.name in self._handlers and len(self._work) < MOST_WORK:
            self._keep(asyncio.create_task(self._serve(message)))

    async def _serve(self, message: _Message) -> None:
        try:
            asked = Asked(message.node, message.number, message.body)
            said = await self._handlers[message.name](asked)
            reply = said if isinstance(said, Reply) else self.reply(asked, said)
            self._repeats.answered(Number(asked.node, asked.number), reply.message)
            if reply is not said:
                await self._publish(*reply)
        except (StoreError, NoAnswerError):
            often.warning("a call of another node could not be answered")
        except Exception as exc:  # noqa: BLE001 - a task boundary; the caller goes on
            often.error("a call of another node failed: %s", type(exc).__name__)


async def _quietly(telling: Coroutine[Any, Any, None]) -> None:
    with suppress(StoreError, NoAnswerError):
        await telling
