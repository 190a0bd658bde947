"""Plain publish and subscribe between clients (Bayeux 1.0, "Publish").

An event carries what was published and the channel, and nothing that tells who
published it: a client id is a secret, and an event with the publisher's message id
would look like a reply to clients that happen to wait for that id.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from msgspec import UNSET, Raw, json

from . import channels
from .application import RefusedError
from .mailbox import Mailboxes
from .messages import ABSENT, Event, Ext
from .subscriptions import Patterns, Subscriptions, matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What broadcasting is allowed to do.

    `lazy` gives the longest delay in seconds for channels and patterns whose events
    need not wake anybody; the most specific one holds. `to_sender`: who publishes on
    a channel to which he is subscribed gets the event too (CometD option
    `broadcastToPublisher`).
    """

    allowed: Patterns = field(default=Patterns(()))
    lazy: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    to_sender: bool = True


@dataclass(frozen=True, slots=True)
class Hearers:
    """Who is to hear an event of those who subscribed: `only` one, who missed it while
    it came from another node, or all `but` those who have heard it there."""

    only: str | None = None
    but: Collection[str] = ()

    def among(self, clients: set[str]) -> set[str]:
        """Return those of the clients who are."""
        wanted = clients if self.only is None else clients & {self.only}
        return wanted.difference(self.but) if self.but else wanted


EVERYBODY: Final = Hearers()


_encode: Final = json.Encoder().encode


class Broadcast:
    """Takes what clients publish to the mailboxes of those who subscribed.

    `rules` may be replaced at any time. A subscription that they no longer allow
    stays, but hears nothing: publishing is checked too.
    """

    def __init__(self, rules: Rules, mailboxes: Mailboxes) -> None:
        self.rules = rules
        self.subscriptions = Subscriptions()
        self._mailboxes = mailboxes

    def allows(self, name: str) -> bool:
        """Tell whether clients may use this channel, or all that the pattern matches.

        Meta and service channels are never theirs.
        """
        return self.rules.allowed.covers(name)

    def subscribe(self, client_id: str, names: Iterable[str]) -> None:
        """Subscribe the client to all these channels and patterns, or to none.

        Raises: RefusedError with code 403 when one of them is not allowed.
        """
        granted = list(names)
        for name in granted:
            if not self.allows(name):
                raise RefusedError(403, "Subscription denied", name)
        for name in granted:
            self.subscriptions.add(name, client_id)

    def unsubscribe(self, client_id: str, names: Iterable[str]) -> None:
        """End these subscriptions; what waits already is delivered all the same."""
        for name in names:
            self.subscriptions.remove(name, client_id)

    def move(self, old: str, new: str) -> None:
        """Give a client's subscriptions to the one that goes on in its place."""
        for name in self.subscriptions.names(old):
            self.subscriptions.add(name, new)
        self.subscriptions.forget(old)

    def forget(self, client_id: str) -> None:
        """Drop the subscriptions and the mailbox of a client that is gone."""
        self.subscriptions.forget(client_id)
        self._mailboxes.forget(client_id)

    def publish(
        self,
        channel: str,
        data: Raw,
        *,
        sender: str | None,
        now: float,
        ext: Ext | None = None,
        hearers: Hearers = EVERYBODY,
    ) -> int:
        """Post the data as an event to every subscriber; return how many there are.

        `sender` is the publishing client, None for the server itself. `ext` is what
        the caller wants the event to carry: never simply that of the publisher.
        `hearers` leaves out clients that have come from another node.

        Raises: RefusedError with code 403 when the channel is not allowed or is a
        pattern, and 400 when there is no data (Bayeux 1.0, "Publish Request").
        """
        self.check(channel, data)
        receivers = self.subscriptions.matching(channel)
        if sender is not None and not self.rules.to_sender:
            receivers.discard(sender)
        if hearers is not EVERYBODY:
            receivers = hearers.among(receivers)
        # Encoded once: all mailboxes share the bytes.
        event = Event(channel=channel, data=data, ext=UNSET if ext is None else ext)
        lazy_until = self._lazy_until(channel, now) if self.rules.lazy else None
        self._mailboxes.post_all(receivers, Raw(_encode(event)), lazy_until=lazy_until)
        return len(receivers)

    def check(self, channel: str, data: Raw) -> None:
        """Tell whether this may be published. Raises: as `publish`."""
        if not (channels.is_name(channel) and self.rules.allowed.covers(channel)):
            raise RefusedError(403, "Publish denied", channel)
        if data == ABSENT:
            raise RefusedError(400, "Data missing", channel)

    def _lazy_until(self, channel: str, now: float) -> float | None:
        lazy = self.rules.lazy
        delays = (lazy[name] for name in matches(channel) if name in lazy)
        delay = next(delays, None)
        return None if delay is None else now + delay
