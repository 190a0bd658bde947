"""A week of a phone's life, against the rules of GMS told a second time.

The rules, as "Chat API Version 1 Push Notification and Background State" has them:
an agent's event that is not filtered, while the customer is away, is pushed after
`_client_timeout_notification`, and the later ones of that absence at once. Nothing is
pushed to somebody who is back, and nothing twice. Ours go further in that silence
counts like a goodbye, and that what was on its way when the customer vanished counts,
from the moment he vanished; and in that the icon's number, once he has read what it
counted, is put right silently.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cometd_chat.model import Device
from tests.push.office import CONFIG, Office, office

DELAY = 90
WEEK = 7 * 86_400
FILTER = "_filtering_chat_events = Notice.Custom, Notice.TypingStarted\n"

AGENT_DOES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "says": ("sendMessage", {}, True),
    "whispers": ("sendMessage", {"push": {"disabled": True}}, False),
    "types": ("startTyping", {}, False),
    "stops": ("stopTyping", {}, True),
    "shows": ("pushUrl", {"pushUrl": "https://example.com/"}, True),
    "notes": ("customNotice", {"message": "x"}, False),
}
"""What the agent can do: operation, its fields, and whether it is worth a push."""


PHONE_DOES = ("comes", "goes", "vanishes", "forgets", "loses", "mutes")


@dataclass
class Rules:
    """An app that keeps count, second by second, of what it should be pushed.

    `away` is since when; `unread` are time and position of what is worth a push and
    was not read; `heard` is up to where it was told.
    """

    away: float | None = None
    last: int = 0
    read: int = 0
    heard: int = 0
    rung: bool = False
    muted: bool = False
    unread: list[tuple[float, int]] = field(default_factory=list)
    pushes: list[tuple[float, int]] = field(default_factory=list)
    badged: bool = False
    corrections: list[float] = field(default_factory=list)

    def goes(self, at: float, has: int) -> None:
        self.read = has
        if self.away is None:
            self.away, self.rung = at, False

    def comes(self) -> None:
        self.away, self.read, self.rung = None, self.last, False

    def entry(self, at: float, *, worthy: bool) -> None:
        self.last += 1
        if worthy:
            self.unread.append((at, self.last))

    def look(self, now: float) -> None:
        """Push what has to be pushed by now."""
        if self.away is None or self.muted:
            return
        news = [e for e in self.unread if e[1] > max(self.read, self.heard)]
        if not news:
            return
        since = max(self.away, news[0][0])
        if self.rung or now >= since + DELAY:
            self.heard = news[-1][1]
            self.rung = self.badged = True
            self.pushes.append((now, self.heard))

    def correct(self, now: float) -> None:
        """Put the number right if all that it counted was read by now."""
        if self.badged and self.unread[-1][1] <= self.read:
            self.badged = False
            self.corrections.append(now)


Step = tuple[str, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["says", "waits", *PHONE_DOES, *AGENT_DOES]),
        st.sampled_from([0.0, 1.0, 45.0, 89.0, 90.0, 600.0, 30_000.0]),
    ),
    min_size=5,
    max_size=40,
)


class Life:
    """The phone and its agent, at the office and by the rules."""

    def __init__(self, here: Office) -> None:
        self.here = here
        self.rules = Rules()
        self.app: Any = None

    async def begin(self) -> None:
        self.chat, self.ann = await self.here.away(service="sales")
        await self.here.customers.deregister(self.chat, None)
        await self.here.gives(self.chat, Device(id="p", type="ios"))
        self.rules.last = 1  # the customer has joined, and then the agent
        self.rules.entry(self.here.clock.now, worthy=True)
        self.rules.goes(self.here.clock.now, has=2)

    async def step(self, name: str, pause: float) -> None:
        if name in AGENT_DOES:
            await self.agent(name)
        elif name == "comes" and self.app is None:
            self.app = await self.here.comes()
            self.rules.comes()
        elif name == "mutes":
            await self.switch()
        elif name in {"goes", "vanishes", "forgets", "loses"} and self.app is not None:
            await self.leave(name)
        await self.passes(pause)

    async def agent(self, name: str) -> None:
        operation, fields, worthy = AGENT_DOES[name]
        said = {"message": f"m{self.rules.last}"} if operation == "sendMessage" else {}
        await self.ann.do(operation, chatId=self.chat.id, **said, **fields)
        self.rules.entry(self.here.clock.now, worthy=worthy)

    async def switch(self) -> None:
        """The user switches pushes of this phone off, or on again."""
        self.rules.muted = not self.rules.muted
        phone = Device(id="p", type="ios", muted=self.rules.muted)
        await self.here.gives(self.chat, phone)

    async def leave(self, how: str) -> None:
        """It says where it is, perhaps one entry less than it got; or falls silent,
        perhaps with a message under way."""
        app, self.app = self.app, None
        has = self.rules.last
        if how == "goes":
            await app.disconnect(transcriptPosition=str(has))
        elif how == "forgets":
            has = max(0, self.rules.last - 1)
            await app.disconnect(transcriptPosition=str(has))
        else:
            if how == "loses":
                await self.agent("says")
            await app.fall_silent()
            await app.expire()
        self.rules.goes(self.here.clock.now, has)

    async def passes(self, seconds: float) -> None:
        """Let time pass; the app polls meanwhile, and the worker looks around."""
        for part in parts(seconds):
            self.here.clock.now += part
            if self.app is not None:
                while await self.app.poll():
                    pass
                self.rules.comes()
            await self.here.round()
            self.rules.look(self.here.clock.now)
            await self.here.corrected()
            self.rules.correct(self.here.clock.now)


def parts(seconds: float) -> Sequence[float]:
    """Cut a time so that the moments around the delay are looked at."""
    if seconds <= DELAY:
        return [seconds]
    return [89.0, 1.0, seconds - 90.0]


async def live(steps: Sequence[Step]) -> None:
    with TemporaryDirectory() as folder:
        async with office(Path(folder)) as here:
            here.configure(
                CONFIG.replace("[service.sales]\n", f"[service.sales]\n{FILTER}")
            )
            life = Life(here)
            await life.begin()
            for name, pause in steps:
                await life.step(name, pause)
            await life.passes(WEEK)
            loud = [s for s in here.sender.sent if not s.push.silent]
            silent = [s for s in here.sender.sent if s.push.silent]
            assert [(s.at, s.push.position) for s in loud] == life.rules.pushes
            assert [s.at for s in silent] == life.rules.corrections
            assert {s.push.badge for s in silent} <= {0}


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_pushes_of_a_week_are_those_of_the_rules(steps: list[Step]) -> None:
    asyncio.run(live(steps))
