"""The story of a chat that survives the phone's background state, played for real.

Customer, agent and server talk over real connections, and so do the server and the
company that pushes are sent to; each step is checked before the next is told. The
story is that of GMS, "Chat API Version 1 Push Notification and Background State".
"""

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from aiohttp import ClientError, ClientSession, web

from cometd_chat.app import Node
from cometd_chat.chat import make_agent_token
from cometd_chat.client import AgentClient, BayeuxClient, Json, LostError, RefusedError
from cometd_chat.config import Config, loads
from cometd_chat.store import StoreError

SERVICE = "demo"
AGENT = "Ann"
CUSTOMER = "Carla"

DEVICE = "the-phone-of-carla"
"""What names the phone to the company, where pushes go."""

TIMER = 2
"""Seconds of `_client_timeout_notification`: nobody wants to watch its 90."""

IN_TIME = 10.0
"""Seconds within which each chapter must come to its end."""

LATE = 1.5
"""Seconds that a push may come after its time."""

CONFIGURATION = """\
[server]
port = 0
[store]
url = sqlite:///{folder}/demo.db
[auth]
gms_user = trusted
[agents]
secret = {secret}
[push]
pushEnabled = comet, customhttp
defaultProvider = company
[push.provider.company]
customhttp.url = {webhook}
[service.{service}]
_client_timeout_notification = {timer}
"""

Tell: TypeAlias = Callable[[str, str], None]


class StepError(Exception):
    """A step of the story did not happen."""


async def play(echo: Callable[[str], None]) -> None:
    """Play the story, with a line for each step.

    Raises: StepError for the first step that did not happen.
    """
    began = time.monotonic()

    def tell(who: str, what: str) -> None:
        echo(f"{time.monotonic() - began:6.2f} s  {who:<7} {what}")

    try:
        async with _stage() as (node, http, company):
            tell("server", f"is ready on {node.url}, with a database for this story")
            await _Story(node, http, company, tell).play()
    except (LostError, RefusedError, ClientError, OSError, StoreError) as exc:
        raise StepError(f"the story broke off: {exc}") from exc
    tell("server", "has stopped: everything happened as told")


class _Company:
    """The company's own server, to which pushes of type `customhttp` are posted."""

    def __init__(self) -> None:
        self.pushes: asyncio.Queue[Json] = asyncio.Queue()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen on a free port; gives the address for pushes."""
        app = web.Application()
        app.router.add_post("/push", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/push"
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        await self.pushes.put(await request.json())
        return web.Response()


@asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Node, ClientSession, _Company]]:
    company = _Company()
    with TemporaryDirectory(prefix="cometd-chat-") as folder:
        async with (
            company.open() as webhook,
            Node(_config(Path(folder), webhook)) as node,
            ClientSession() as http,
        ):
            yield node, http, company


def _config(folder: Path, webhook: str) -> Config:
    text = CONFIGURATION.format(
        folder=folder,
        secret=secrets.token_hex(),
        service=SERVICE,
        timer=TIMER,
        webhook=webhook,
    )
    loaded = loads(text)
    if loaded.config is None:
        raise StepError("; ".join(map(str, loaded.problems)))
    return loaded.config


class _Phone:
    """The customer's app: GMS Chat API v1, with CometD to receive.

    `position` is that of the newest entry it has.
    """

    def __init__(self, http: ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/genesys"
        self._headers = {"gms_user": CUSTOMER.lower()}
        self._service = ""
        self.position = 0
        self.come_as_new_client()

    def come_as_new_client(self) -> None:
        """Forget the CometD session, as an app does that was put away."""
        address = f"{self._url}/cometd"
        self._bayeux = BayeuxClient(self._http, address, headers=self._headers)

    async def ask_for_chat(self) -> str:
        """Create service and chat, as the apps in the field do; return the chat."""
        self._service = (await self._post(f"/1/service/{SERVICE}"))["_id"]
        await self.come()
        chat = await self._operate(
            "",
            notify_by="comet",
            userDisplayName=CUSTOMER,
            push_notification_deviceid=DEVICE,
            push_notification_type="customhttp",
        )
        return str(chat["chatSessionId"])

    async def come(self) -> None:
        """Come to the foreground: handshake and subscribe."""
        await self._bayeux.start("/_genesys")

    async def go(self) -> None:
        """Go to the background, with the position reached."""
        await self._bayeux.stop(transcriptPosition=str(self.position))

    async def send(self, text: str) -> None:
        await self._operate("/send", message=text)

    async def read(self) -> list[Json]:
        """Poll until there is something; return the chat objects of that poll."""
        chats: list[Json] = []
        while not chats:
            chats = [event["data"]["message"] for event in await self._bayeux.poll()]
        self.position = int(chats[-1]["transcriptPosition"])
        return chats

    async def read_until(self, nickname: str, text: str) -> None:
        """Poll until somebody's entry has this text."""
        while True:
            for chat in await self.read():
                if [nickname, text] in (e[1:3] for e in chat["transcriptToShow"]):
                    return

    async def _operate(self, operation: str, **fields: str) -> Json:
        path = f"/1/service/{self._service}/ixn/chat{operation}"
        return await self._post(path, **fields)

    async def _post(self, path: str, **fields: str) -> Json:
        address = self._url + path
        async with self._http.post(
            address, data=fields, headers=self._headers
        ) as response:
            _check(response.status == 200, f"POST {path} got {response.status}")
            answer: Json = await response.json()
            return answer


class _Desk:
    """The agent's side: operations out, and waiting for what they bring."""

    def __init__(self, client: AgentClient) -> None:
        self._client = client
        self._chat_id = ""
        self._inbox: deque[Json] = deque()
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        await self._client.start()

    async def sees_waiting(self, chat_id: str) -> None:
        """Find the chat in the list of those that wait."""
        self._chat_id = chat_id
        await self._client.operate("listChats", state="waiting")
        await self._until(
            lambda data: chat_id in {c["chatId"] for c in data.get("chats", ())}
        )

    async def operate(self, operation: str) -> None:
        await self._client.operate(operation, chatId=self._chat_id)

    async def send(self, text: str) -> int:
        """Send a message and return the position of its receipt."""
        local_id = f"desk-{next(self._numbers)}"
        await self._client.operate(
            "sendMessage", chatId=self._chat_id, message=text, localId=local_id
        )
        data = await self._until(lambda data: data.get("localId") == local_id)
        return int(data["position"])

    async def reads(self, text: str) -> None:
        """Wait for a message or a notice with this text."""
        await self._until(
            lambda data: text in {m.get("text") for m in data["messages"]}
        )

    async def sees_online(self) -> None:
        await self._until(lambda data: data.get("customer", {}).get("online", False))

    async def sees_end(self) -> None:
        await self._until(lambda data: data["chatEnded"])

    async def _until(self, fits: Callable[[Json], bool]) -> Json:
        """Return the next data that fits; what came before it is done with."""
        while True:
            while self._inbox:
                if fits(data := self._inbox.popleft()):
                    return data
            self._inbox.extend(await self._client.poll())


class _Story:
    """The chapters; each goes on where the one before ended."""

    def __init__(
        self, node: Node, http: ClientSession, company: _Company, tell: Tell
    ) -> None:
        self._tell = tell
        self._pushes = company.pushes
        self._phone = _Phone(http, node.url)
        token = make_agent_token(
            node.live.current.agents.secret, {"sub": "ann", "name": AGENT}
        )
        self._desk = _Desk(AgentClient(http, node.url, token))
        self._chat_id = ""
        self._missed = ("I have found your bike.", "When can you fetch it?")
        self._missed_since = 0.0

    async def play(self) -> None:
        for chapter in (
            self._meeting,
            self._talk,
            self._background,
            self._missing,
            self._push,
            self._foreground,
            self._short_absence,
            self._end,
        ):
            try:
                async with asyncio.timeout(IN_TIME):
                    await chapter()
            except TimeoutError:
                what = chapter.__name__.strip("_").replace("_", " ")
                raise StepError(f"nothing came for {IN_TIME:.0f} s: {what}") from None

    async def _meeting(self) -> None:
        self._chat_id = await self._phone.ask_for_chat()
        self._tell("app", "opens CometD, then asks for a chat (v1, notify_by=comet)")
        await self._desk.start()
        await self._desk.sees_waiting(self._chat_id)
        self._tell("agent", f"sees chat {self._chat_id} waiting (listChats)")
        await self._desk.operate("acceptChat")
        await self._phone.read_until(AGENT, "has joined the session")
        self._tell("app", f"reads: {AGENT} has joined the session{self._at()}")

    async def _talk(self) -> None:
        await self._phone.send("My bike is gone!")
        await self._desk.reads("My bike is gone!")
        self._tell("agent", f"reads from {CUSTOMER}: My bike is gone!")
        await self._desk.send("I will look for it.")
        await self._phone.read_until(AGENT, "I will look for it.")
        self._tell("app", f"reads from {AGENT}: I will look for it.{self._at()}")

    async def _background(self) -> None:
        await self._phone.go()
        position = f'ext {{"transcriptPosition": "{self._phone.position}"}}'
        self._tell("app", f"goes to the background: /meta/disconnect, {position}")
        await self._desk.reads("customer is not online")
        self._tell("agent", "reads the notice: customer is not online")

    async def _missing(self) -> None:
        self._missed_since = time.monotonic()
        for number, text in enumerate(self._missed, 1):
            position = await self._desk.send(text)
            _check(
                position == self._phone.position + number,
                f"message {number} got position {position}",
            )
            self._tell("agent", f"writes: {text} (position {position})")
        self._tell("server", f"runs the timer, _client_timeout_notification = {TIMER}")

    async def _push(self) -> None:
        push = await self._pushes.get()
        waited = time.monotonic() - self._missed_since
        _check(TIMER <= waited < TIMER + LATE, f"the push came after {waited:.2f} s")
        _check(push["deviceId"] == DEVICE, "the push is for another device")
        message = push["message"]
        lines = [line["Message.Text"] for line in message["lastTranscript"]]
        _check(lines == [*self._missed], f"the push tells {lines}")
        self._tell("company", f"gets the push after {waited:.1f} s, for {DEVICE}:")
        self._tell("phone", f"shows: {message['message']}: {' '.join(lines)}")

    async def _foreground(self) -> None:
        self._phone.come_as_new_client()
        await self._phone.come()
        self._tell("app", "comes back: new handshake, subscribe, connect")
        chats = await self._phone.read()
        texts = [[e[2] for e in chat["transcriptToShow"]] for chat in chats]
        _check(texts == [list(self._missed)], f"the app gets {texts}")
        for text in self._missed:
            self._tell("app", f"reads: {text}")
        self._tell("app", f"has all it missed, in one /_genesys message{self._at()}")
        await self._desk.sees_online()
        self._tell("agent", "sees the customer online again")

    async def _short_absence(self) -> None:
        text = "It is at the station."
        await self._phone.go()
        self._tell("app", "goes to the background once more")
        await self._desk.reads("customer is not online")
        await self._desk.send(text)
        self._tell("agent", f"writes: {text}")
        self._phone.come_as_new_client()
        await self._phone.come()
        await self._phone.read_until(AGENT, text)
        self._tell("app", f"comes back in time, and reads it{self._at()}")
        try:
            async with asyncio.timeout(TIMER + LATE):
                push = await self._pushes.get()
        except TimeoutError:
            self._tell("company", f"gets no push for it within {TIMER + LATE:.1f} s")
        else:
            raise StepError(f"there was a push for {push['deviceId']}")

    async def _end(self) -> None:
        await self._desk.operate("endChat")
        (chat,) = await self._phone.read()
        _check(chat["chatIxnState"] == "DISCONNECTED", "the app sees no end")
        _check(len(chat["transcriptToShow"]) == 1, "the app gets entries twice")
        self._tell("app", f"reads that the chat has ended{self._at()}")
        await self._desk.sees_end()
        self._tell("agent", "sees the chat ended")

    def _at(self) -> str:
        return f" (position {self._phone.position})"


def _check(happened: bool, otherwise: str) -> None:
    if not happened:
        raise StepError(otherwise)
