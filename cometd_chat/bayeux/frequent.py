"""The decisions about nearly all messages: a poll is answered, something is published.

They are no structs, as the others are (`decisions.py`), so that this module can be
compiled; then no attribute of theirs is looked for.
"""

from .client import Client, Rewind
from .messages import Message, Reply


class Count:
    """`batch` is the number that the answer to a connect will have; `rewind` takes
    back what came after the answer which the client says it got. None if that carried
    nothing: then nothing of what is not acknowledged arrived."""

    __slots__ = ("batch", "rewind")

    def __init__(self, batch: int, rewind: Rewind | None) -> None:
        self.batch = batch
        self.rewind = rewind


class Connect:
    """Answer this connect: at once, or (`wait`) hold it at most until `deadline`; then
    call `answered()`.

    One that was held for this client until now is displaced. It must end without a
    Bayeux reply, or the client would run two loops of connects.
    `count` is None for clients that do not speak the acknowledgement extension.
    """

    __slots__ = ("client", "count", "deadline", "message", "reply", "wait")

    def __init__(
        self,
        client: Client,
        message: Message,
        reply: Reply,
        wait: bool,
        deadline: float,
        count: Count | None,
    ) -> None:
        self.client = client
        self.message = message
        self.reply = reply
        self.wait = wait
        self.deadline = deadline
        self.count = count


class Publish:
    """Hand the message to the application; the reply tells whether it took it."""

    __slots__ = ("client", "message")

    def __init__(self, client: Client, message: Message) -> None:
        self.client = client
        self.message = message
