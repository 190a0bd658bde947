"""A node without its sockets whose pushes are kept instead of sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cometd_chat.model import Device, Session
from cometd_chat.push import Delivered, Notification, Outcome
from cometd_chat.push.announcer import Announcer
from cometd_chat.push.worker import PushWorker
from cometd_chat.store.sqlite import SqliteStore
from tests.chat.world import Desk, FakeClock, Phone, World, desk, phone

CONFIG = """\
[auth]
gms_user = trusted
[push]
pushEnabled = comet, customhttp, ios, fcm
defaultProvider = main
[push.provider.main]
[push.provider.other]
[service.sales]
_client_timeout_notification = 90
[service.at-once]
_client_timeout_notification = 0
"""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One call of a provider."""

    at: float
    sender: str
    device: str
    push: Notification

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.push.lines]


class Recorder:
    """Providers that keep what they get, and say what the test wants.

    `say` has outcomes in order by sender or device id; `hold` keeps a sender's calls
    until its event is set.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.sent: list[Sent] = []
        self.say: dict[str, list[Outcome | Exception]] = {}
        self.hold: dict[str, asyncio.Event] = {}
        self.closed = False

    async def send(
        self, sender: str, device: Device, notification: Notification
    ) -> Outcome:
        assert not self.closed
        self.sent.append(
            Sent(at=self._clock.now, sender=sender, device=device.id, push=notification)
        )
        if sender in self.hold:
            await self.hold[sender].wait()
        said = self.say.get(sender) or self.say.get(device.id) or [Delivered()]
        outcome = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        self.closed = True

    @property
    def texts(self) -> list[list[str]]:
        return [sent.texts for sent in self.sent]

    @property
    def devices(self) -> list[str]:
        return [sent.device for sent in self.sent]


class Office(World):
    """The world of a chat, with all that its pushes need."""

    def __init__(self, store: SqliteStore, config: str) -> None:
        super().__init__(store, config)
        self.sender = Recorder(self.clock)
        self.announcer = self.another_announcer()
        self.push = self.worker()

    def another_announcer(self) -> Announcer:
        """Return one more announcer on the same store."""
        seam: Any = self.store
        return Announcer(seam, self.clock, self.live)

    def worker(self, noting: Sequence[float] = (0.0, 0.0)) -> PushWorker:
        """Return one more worker on the same store; see `NOTING`."""
        seam: Any = self.store
        return PushWorker(seam, self.sender, self.clock, self.live, noting=noting)

    async def wait(self, seconds: float = 0.0) -> None:
        """Let time pass, then do a round of pushes."""
        self.clock.now += seconds
        await self.round()

    async def round(self, worker: PushWorker | None = None) -> None:
        """Announce and send what is due, and wait until it is sent."""
        worker = worker or self.push
        await self.announcer.announce()
        before = asyncio.all_tasks()
        await worker.send()
        if begun := asyncio.all_tasks() - before:
            await asyncio.wait(begun)

    async def corrected(self, seconds: float = 0.0) -> None:
        """Let time pass, then look for badges that went down, and send that."""
        self.clock.now += seconds
        await self.presence.flush()
        await self.announcer.correct()
        await self.round()

    async def away(
        self, name: str = "p", *, service: str = "at-once", user: str = "kim"
    ) -> tuple[Session, Desk]:
        """Return a chat whose agent writes and whose customer has gone away."""
        session = await self.chat(user, service)
        ann = await desk(self, "ann")
        await ann.do("acceptChat", chatId=session.id)
        await self.gives(session, Device(id=name, type="customhttp"))
        await self.visit(user)
        return session, ann

    async def visit(self, user: str = "kim") -> None:
        """Let the customer's app come, read everything, and go again."""
        app = await self.comes(user)
        await self.goes(app)

    async def comes(self, user: str = "kim") -> Phone:
        """Let the customer's app come, and read everything."""
        app = await phone(self, user)
        while await app.poll():
            pass
        return app

    async def goes(self, app: Phone, **ext: object) -> None:
        await app.disconnect(**ext)

    async def gives(self, session: Session, device: Device) -> None:
        await self.customers.register(session, device)


async def says(ann: Desk, session: Session, *texts: str, **fields: Any) -> None:
    """Let the agent write."""
    for text in texts:
        await ann.do("sendMessage", chatId=session.id, message=text, **fields)


@asynccontextmanager
async def office(path: Path, more: str = "") -> AsyncIterator[Office]:
    store = await SqliteStore.open(path / "chat.db", pace=0.0)
    try:
        here = Office(store, CONFIG + more)
        yield here
        await here.told()
    finally:
        await store.close()
