"""Pushes by CometD itself, to an app that is connected but reads no chat.

Such an app has said goodbye to its chats (`/meta/unsubscribe` of `/_genesys`), or
shows none at the moment, but goes on polling. Its device has the type `comet`, and is
named by its clientId. Pushes come as events on a service channel, for which no client
needs a subscription.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Raw

from cometd_chat.bayeux import BayeuxServer, Mailboxes
from cometd_chat.model import Device

from . import DeadDevice, Delivered, Notification, Outcome, Retry
from .fitting import encode
from .payloads import comet_data

CHANNEL = "/service/push"


Deliver: TypeAlias = Callable[[str, bytes], Awaitable[bool | None]]
"""Puts an event into the mailbox of a client of another node: its id, the event.

Returns whether there is such a client, None when that cannot be told now.
"""


class CometProvider:
    """Puts pushes into the mailboxes of clients: this node's, and by `deliver` those of
    other nodes."""

    def __init__(self, server: BayeuxServer, mailboxes: Mailboxes) -> None:
        self._server = server
        self._mailboxes = mailboxes
        self.deliver: Deliver | None = None

    async def send(self, device: Device, notification: Notification) -> Outcome:
        """Post the push for the client; see `PushProvider`."""
        data = comet_data(notification)
        event = encode({"channel": CHANNEL, "data": data})
        if self._server.client(device.id) is not None:
            self._mailboxes.post(device.id, Raw(event))
            return Delivered()
        match self.deliver and await self.deliver(device.id, event):
            case True:
                return Delivered()
            case None if self.deliver:
                return Retry("the client is on its way")
            case _:
                return DeadDevice("no such client")

    async def close(self) -> None:
        """There is nothing to release."""
