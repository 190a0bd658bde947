"""Those who take part in the story: the customer's app, the agent, the company."""

import itertools
from asyncio import Queue
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

from cometd_chat.client import AgentClient, BayeuxClient, Json

SERVICE = "demo"
CUSTOMER = "Carla"

DEVICE = "the-phone-of-carla"
"""What names the phone to the company, where pushes go."""


class StepError(Exception):
    """A step of the story did not happen."""


def check(happened: bool, otherwise: str) -> None:
    """Raises: StepError with these words if it did not happen."""
    if not happened:
        raise StepError(otherwise)


class Company:
    """The company's own server, to which pushes of type `customhttp` are posted."""

    def __init__(self) -> None:
        self.pushes: Queue[Json] = Queue()

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


class Phone:
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
            check(response.status == 200, f"POST {path} got {response.status}")
            answer: Json = await response.json()
            return answer


class Desk:
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
