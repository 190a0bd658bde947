"""A bare long-polling client that can misbehave, and a GMS v1 app built on it.

`BayeuxClient` promises nothing that a test does not ask of it: every field of every
message can be set, replies can be thrown away, connects can be doubled. `V1Chat` is
an app that polls the REST interface; `V1App` is one that listens on `/_genesys` and
goes to the background and comes back as phones do.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from enum import Enum
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, FormData

from tests.clients.watched import Watched

Json: TypeAlias = dict[str, Any]

RETRY_DELAY = 0.05
"""Seconds until a poll that failed is tried again; phones wait longer."""


class NotAnsweredError(Exception):
    """The body of a response holds no reply to the request."""


class UnexpectedStatusError(Exception):
    """An HTTP status other than 200."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body[:200]}")
        self.status, self.body = status, body


def is_event(message: Json) -> bool:
    """Tell an event from a reply: it has data and no verdict (Bayeux 1.0 §5)."""
    return "data" in message and "successful" not in message


class BayeuxClient(Watched):
    """One Bayeux client over HTTP long-polling.

    `events` and `replies` hold everything that was received, in order. `client_id`,
    `advice` and `subscriptions` are what the server last said; a test may overwrite
    them. `headers` go with every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.url = url
        self.headers = dict(headers or {})
        self.client_id = ""
        self.advice: Json = {}
        self.subscriptions: list[str] = []
        self.events: list[Json] = []
        self.replies: list[Json] = []
        self.on_event: Callable[[Json], None] = lambda message: None
        self.handshake_fields: Json = {}
        self.connect_fields: Json = {}
        self._ids = itertools.count(1)
        self._http: ClientSession | None = None
        self._polling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.vanish()

    @property
    def http(self) -> ClientSession:
        if self._http is None or self._http.closed:
            self._http = ClientSession(timeout=ClientTimeout(total=120))
        return self._http

    async def vanish(self) -> None:
        """Cut all sockets without a word; the client can be used again."""
        await self.stop_polling()
        if self._http is not None:
            await self._http.close()

    # -- single requests ------------------------------------------------------------

    def message(self, channel: str, **fields: Any) -> Json:
        """Make a message with the next id and the client's id; `fields` win.

        A field that is None is left out.
        """
        message: Json = {"channel": channel, "id": str(next(self._ids))}
        if self.client_id:
            message["clientId"] = self.client_id
        message.update(fields)
        return {name: value for name, value in message.items() if value is not None}

    async def post(self, body: Any) -> list[Json]:
        """Send any JSON (one object or a list) and record what comes back.

        Raises: UnexpectedStatusError; aiohttp.ClientError when the connection fails.
        """
        async with await self._open(body) as response:
            if response.status != 200:
                raise UnexpectedStatusError(response.status, await response.text())
            received: list[Json] = await response.json()
        for message in received:
            self._record(message)
        self.changed()
        return received

    async def lose(self, body: Any) -> None:
        """Send, wait until the server has begun to answer, and read none of it."""
        response = await self._open(body)
        response.close()

    def _open(self, body: Any) -> Any:
        return self.http.post(self.url, json=body, headers=self.headers)

    def _record(self, message: Json) -> None:
        self.advice = message.get("advice", self.advice)
        if not is_event(message):
            self.replies.append(message)
            return
        self.events.append(message)
        self.on_event(message)

    async def request(self, channel: str, **fields: Any) -> Json:
        """Send one message in a list and return the reply to it.

        Raises: NotAnsweredError if there is none with this channel and id.
        """
        message = self.message(channel, **fields)
        for reply in await self.post([message]):
            if not is_event(reply) and answers(reply, message):
                return reply
        raise NotAnsweredError(channel)

    # -- the protocol ---------------------------------------------------------------

    async def handshake(self, **fields: Any) -> Json:
        """Ask for a client id; adopts it if the server agrees."""
        self.client_id = ""
        reply = await self.request(
            "/meta/handshake",
            **{
                "version": "1.0",
                "supportedConnectionTypes": ["long-polling"],
                **self.handshake_fields,
                **fields,
            },
        )
        self.client_id = reply.get("clientId", "")
        return reply

    async def connect(self, **fields: Any) -> Json:
        """Poll once."""
        return await self.request(
            "/meta/connect",
            **{"connectionType": "long-polling", **self.connect_fields, **fields},
        )

    async def subscribe(self, channel: str | list[str], **fields: Any) -> Json:
        """Subscribe, now and after every handshake that the poll loop makes."""
        reply = await self.request("/meta/subscribe", subscription=channel, **fields)
        names = channel if isinstance(channel, list) else [channel]
        if reply["successful"]:
            self.subscriptions += [n for n in names if n not in self.subscriptions]
        return reply

    async def unsubscribe(self, channel: str, **fields: Any) -> Json:
        if channel in self.subscriptions:
            self.subscriptions.remove(channel)
        return await self.request("/meta/unsubscribe", subscription=channel, **fields)

    async def publish(self, channel: str, data: Any, **fields: Any) -> Json:
        return await self.request(channel, data=data, **fields)

    async def disconnect(self, **fields: Any) -> Json:
        """Say goodbye; a poll loop ends with it."""
        polling, self._polling = self._polling, None
        try:
            return await self.request("/meta/disconnect", **fields)
        finally:
            await _end(polling)

    # -- the poll loop --------------------------------------------------------------

    def start_polling(self) -> None:
        """Keep a connect at the server from now on, following its advice."""
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

    async def stop_polling(self) -> None:
        """End the poll loop at once; a held connect is cut off."""
        polling, self._polling = self._polling, None
        await _end(polling)

    async def _poll(self) -> None:
        me = asyncio.current_task()
        while self._polling is me:
            try:
                reply = await self.connect()
                await self._follow_advice(reply)
            except (ClientError, OSError, NotAnsweredError, UnexpectedStatusError):
                await asyncio.sleep(RETRY_DELAY)

    async def _follow_advice(self, reply: Json) -> None:
        wait = self.advice.get("interval", 0) / 1000
        if reply["successful"]:
            await asyncio.sleep(wait)
            return
        match self.advice.get("reconnect"):
            case "handshake":
                await asyncio.sleep(wait)
                await self._start_again()
            case "none":
                self._polling = None
            case _:
                await asyncio.sleep(max(wait, RETRY_DELAY))

    async def _start_again(self) -> None:
        """Become a new client with the old subscriptions, as apps do after a 402.

        Who fails half-way is nobody: he would poll and hear nothing.
        """
        try:
            if (await self.handshake())["successful"]:
                for channel in self.subscriptions:
                    await self.subscribe(channel)
        except (ClientError, OSError):
            self.client_id = ""
            raise


def answers(reply: Json, message: Json) -> bool:
    """Tell whether `reply` is the one to `message`: same channel, same id."""
    return reply["channel"] == message["channel"] and reply.get("id") == message.get(
        "id"
    )


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is None or task is asyncio.current_task():
        return
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Encoding(Enum):
    """How v1 apps put parameters into a request; all of these are in use."""

    FORM = "form"
    MULTIPART = "multipart"
    JSON = "json"
    QUERY = "query"


class V1Chat(Watched):
    """A GMS v1 app in poll mode: REST only, and a screen.

    `base` is the address with the base path, without a slash at the end. `screen`
    lists (position, entry) in the order of arrival, an entry being the five strings
    `[event, nickname, text, offset, party]`; what the app has already is dropped, and
    a hole shows as a missing position.
    """

    def __init__(
        self, base: str, *, user: str = "", service: str = "request-chat"
    ) -> None:
        super().__init__()
        self.base, self.user, self.service = base, user, service
        self.headers = {"gms_user": user} if user else {}
        self.service_id = ""
        self.session_id = ""
        self.state = ""
        self.position = 0
        self.screen: list[tuple[int, list[str]]] = []
        self.encoding = Encoding.FORM
        self._http: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.vanish()

    @property
    def texts(self) -> list[str]:
        """What was said, without the notices."""
        return [entry[2] for _, entry in self.screen if entry[0] == "Message.Text"]

    @property
    def positions(self) -> list[int]:
        return [position for position, _ in self.screen]

    async def wait_for_text(self, text: str, within: float = 5.0) -> None:
        """Wait until this text is on the screen. Raises: TimeoutError."""
        await self.wait_for(lambda: text in self.texts, within)

    async def vanish(self) -> None:
        """Cut all sockets without a word; the app can be used again."""
        if self._http is not None:
            await self._http.close()

    # -- the REST interface ---------------------------------------------------------

    async def create_service(self, **data: str) -> Json:
        reply = await self.post(f"/1/service/{self.service}", data)
        self.service_id = reply["_id"]
        return reply

    async def create_chat(self, **params: str) -> Json:
        reply = await self._operate("", params)
        self.session_id = reply["chatSessionId"]
        return reply

    async def start(self, **params: str) -> Json:
        """Create the service and the chat; `params` are those of the chat."""
        await self.create_service()
        return await self.create_chat(**params)

    async def send(self, text: str, **params: str) -> Json:
        return await self._operate("/send", {"message": text, **params})

    async def refresh(self, **params: str) -> Json:
        """Fetch what is new; `params` replace the position that the app has."""
        return await self._operate(
            "/refresh", params or {"transcriptPosition": str(self.position)}
        )

    async def start_typing(self) -> Json:
        return await self._operate("/startTyping", {})

    async def stop_typing(self) -> Json:
        return await self._operate("/stopTyping", {})

    async def end(self) -> Json:
        """End the chat (REST `disconnect`)."""
        return await self._operate("/disconnect", {})

    async def _operate(self, operation: str, params: Mapping[str, str]) -> Json:
        reply = await self.post(
            f"/1/service/{self.service_id}/ixn/chat{operation}", params
        )
        self.rest_reply(reply)
        return reply

    async def post(self, path: str, params: Mapping[str, str]) -> Json:
        """Post parameters in the app's encoding.

        Raises: UnexpectedStatusError for a status other than 200.
        """
        if self._http is None or self._http.closed:
            self._http = ClientSession(timeout=ClientTimeout(total=60))
        async with self._http.post(
            self.base + path, headers=self.headers, **_encoded(self.encoding, params)
        ) as response:
            return await _object_of(response)

    # -- the screen -----------------------------------------------------------------

    def rest_reply(self, chat: Json) -> None:
        """Take in the chat object of a REST reply."""
        self.show(chat)

    def show(self, chat: Json) -> None:
        """Take in a chat object: its state, and the entries that are new here.

        The position of each entry follows from that of the last one, as real apps
        compute it: positions have no holes within a batch.
        """
        if self.session_id and chat["chatSessionId"] != self.session_id:
            return
        self.state = chat["chatIxnState"]
        entries = chat.get("transcriptToShow") or []
        first = int(chat["transcriptPosition"]) - len(entries) + 1
        for position, entry in enumerate(entries, first):
            if position > self.position:
                self.screen.append((position, entry))
                self.position = position
        self.changed()


def _encoded(encoding: Encoding, params: Mapping[str, str]) -> dict[str, Any]:
    match encoding:
        case Encoding.FORM:
            return {"data": dict(params)}
        case Encoding.JSON:
            return {"json": dict(params)}
        case Encoding.QUERY:
            return {"params": dict(params)}
        case Encoding.MULTIPART:
            form = FormData(dict(params), default_to_multipart=True)
            return {"data": form}


async def _object_of(response: ClientResponse) -> Json:
    if response.status != 200:
        raise UnexpectedStatusError(response.status, await response.text())
    body: Json = await response.json()
    return body


class V1App(V1Chat):
    """A GMS v1 app in push mode: REST to send, `/_genesys` to receive.

    The server joins the two by the header `gms_user`, or, without a `user`, by
    `ext.serviceId` in the handshake. REST replies do not reach the screen, as in the
    apps in the field: everything is expected on the channel.
    """

    def __init__(
        self, base: str, *, user: str = "", service: str = "request-chat"
    ) -> None:
        super().__init__(base, user=user, service=service)
        self.bayeux = BayeuxClient(f"{base}/cometd", self.headers)
        self.bayeux.on_event = self._received

    async def start(self, **params: str) -> Json:
        """Create the service, open the channel, create the chat, in this order."""
        await self.create_service()
        await self.foreground()
        return await self.create_chat(**params)

    async def create_chat(self, **params: str) -> Json:
        return await super().create_chat(notify_by="comet", **params)

    async def foreground(self) -> None:
        """Open the channel as a new client: handshake, subscribe, poll."""
        if not self.user:
            self.bayeux.handshake_fields = {"ext": {"serviceId": self.service_id}}
        reply = await self.bayeux.handshake()
        assert reply["successful"], reply
        reply = await self.bayeux.subscribe("/_genesys")
        assert reply["successful"], reply
        self.bayeux.start_polling()

    async def background(self) -> Json:
        """Say goodbye with the position that the app has (GMS, background state)."""
        return await self.bayeux.disconnect(
            ext={"transcriptPosition": str(self.position)}
        )

    async def vanish(self) -> None:
        """Cut all sockets without a word; `foreground` brings the app back."""
        await self.bayeux.vanish()
        await super().vanish()

    def rest_reply(self, chat: Json) -> None:
        self.state = chat["chatIxnState"]
        self.changed()

    def _received(self, message: Json) -> None:
        data = message["data"]
        if (
            message["channel"] == "/_genesys"
            and data["tag"] == f"service.chat.refresh.{self.service_id}"
        ):
            self.show(data["message"])
