"""Plays a page: does what its examples say, and compares what comes back.

A page is a script. Its steps are

    http             a request; the next `json` block is the answer (`json 404` if
                     the status is not 200)
    json publishes   the data of a publish by an agent, who is Ann; `json Ben
                     publishes` for others
    json receives    data that the agent gets next; others in between are passed over
    an aside         an HTML comment: what happens without being shown, see `_ASIDES`

Blocks of other languages are not played. In what is expected, `5b7c…` stands for an
id that begins otherwise and is longer: its first use gives it its value, and all
further ones must mean the same, also in requests. Times are compared by their form
only, and so are the seconds in the entries of a transcript.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession

from cometd_chat.app import Node
from cometd_chat.store import Change
from tests.clients.agent import CHANNEL, AgentClient
from tests.clients.raw import Json, V1App

from .pages import Step, steps

_SHORT = re.compile(r"\w{4}…")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MILLISECONDS = 10**12
_ENTRY = 5

HOLD = 250
"""Milliseconds for which an agent asks the server to hold a poll."""


class DifferentError(Exception):
    """The page says something else than the server."""


class Names:
    """What the shortened ids of a page stand for."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = dict(known)

    def fill(self, text: str) -> str:
        """Put the ids into a text. Raises: DifferentError for an unknown one."""
        return _SHORT.sub(lambda found: self._of(found[0]), text)

    def _of(self, short: str) -> str:
        if short not in self._known:
            raise DifferentError(f"nobody has told what {short} is")
        return self._known[short]

    def compare(self, expected: Any, actual: Any, place: str = "$") -> None:
        """Compare JSON values, and learn ids. Raises: DifferentError."""
        match expected, actual:
            case dict(), dict() if expected.keys() == actual.keys():
                for key, value in expected.items():
                    self.compare(value, actual[key], f"{place}.{key}")
            case list(), list() if len(expected) == len(actual):
                self._compare_items(expected, actual, place)
            case str(), str():
                self._compare_texts(expected, actual, place)
            case int(), int() if expected > _MILLISECONDS < actual:
                return
            case _ if expected != actual or type(expected) is not type(actual):
                raise DifferentError(f"{place}: {expected!r}\nis really\n{actual!r}")

    def _compare_items(self, expected: list[Any], actual: list[Any], at: str) -> None:
        entry = len(expected) == _ENTRY and str(expected[0]).startswith(
            ("Notice.", "Message.")
        )
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            if entry and index == 3 and one.isdecimal() and other.isdecimal():
                continue
            self.compare(one, other, f"{at}[{index}]")

    def _compare_texts(self, expected: str, actual: str, place: str) -> None:
        if _TIME.fullmatch(expected) and _TIME.fullmatch(actual):
            return
        parts = re.split(f"({_SHORT.pattern})", expected)
        pattern = "".join(
            self._pattern(part, i % 2 == 1) for i, part in enumerate(parts)
        )
        found = re.fullmatch(pattern, actual)
        if found is None:
            raise DifferentError(f"{place}: {expected!r}\nis really\n{actual!r}")
        new = [part for part in parts[1::2] if part not in self._known]
        self._known.update(zip(new, found.groups(), strict=True))

    def _pattern(self, part: str, short: bool) -> str:
        if not short:
            return re.escape(part)
        return re.escape(self._known[part]) if part in self._known else r"(\w{16,})"


class Player:
    """Plays pages against a node. `tokens` maps the names of agents to their tokens.

    `known` are ids that a page may use without having learned them, `patience` is the
    time in seconds within which something must come.
    """

    def __init__(
        self,
        start_node: Callable[[], Node],
        tokens: Mapping[str, str],
        known: Mapping[str, str],
    ) -> None:
        self._start_node = start_node
        self._tokens = tokens
        self._names = Names(known)
        self._stack = AsyncExitStack()
        self._agents: dict[str, AgentClient] = {}
        self._seen: dict[str, int] = {}
        self._answer: Step | None = None
        self.patience = 5.0

    async def __aenter__(self) -> Self:
        self._http = await self._stack.enter_async_context(ClientSession())
        await self._start()
        self._app = V1App(f"{self._node.url}/genesys", user="cleo")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._app.vanish()
        for agent in self._agents.values():
            await agent.vanish()
        await self._node.stop()
        await self._stack.aclose()

    async def _start(self) -> None:
        self._node = self._start_node()
        await self._node.start()

    async def play(self, page: Path) -> None:
        """Do everything the page shows. Raises: DifferentError with the line."""
        script = [step for step in steps(page) if _is_played(step)]
        for step, following in pairwise([*script, Step(info="", text="", line=0)]):
            try:
                await self._do(step, following)
            except (DifferentError, TimeoutError, AssertionError) as exc:
                raise DifferentError(f"{page.name}:{step.line}: {exc}") from exc

    async def _do(self, step: Step, following: Step) -> None:
        match step.info.split(" "):
            case ["http"]:
                await self._request(step.text, following)
                self._answer = following
            case ["json", *who, "publishes"]:
                await self._publish(_name(who), step.text)
            case ["json", *who, "receives"]:
                await self._receive(_name(who), json.loads(step.text))
            case ["aside"]:
                await self._aside(step.text)
            case _:
                _check(step is self._answer, "an example that is played by nothing")

    async def _request(self, text: str, answer: Step) -> None:
        head, _, body = self._names.fill(text).partition("\n\n")
        first, *lines = head.strip().splitlines()
        method, path = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        headers.setdefault("Content-Type", _content_type(body))
        async with self._http.request(
            method, self._node.url + path, headers=headers, data=body.strip().encode()
        ) as response:
            status, content = response.status, await response.text()
        _, *code = answer.info.split(" ")
        if answer.language != "json" or status != int(code[0] if code else 200):
            raise DifferentError(f"the answer is {status}: {content}")
        try:
            self._names.compare(json.loads(answer.text), json.loads(content))
        except DifferentError as exc:
            raise DifferentError(f"{exc}\nthe whole answer is {content}") from None

    async def _agent(self, name: str) -> AgentClient:
        if name not in self._agents:
            url = f"{self._node.url}/genesys/cometd"
            agent = self._agents[name] = AgentClient(url, self._tokens[name])
            await agent.handshake()
            await agent.subscribe(CHANNEL)
            self._seen[name] = 0
        return self._agents[name]

    async def _publish(self, name: str, text: str) -> Json:
        agent = await self._agent(name)
        return await agent.publish(CHANNEL, json.loads(self._names.fill(text)))

    async def _receive(self, name: str, expected: Json) -> None:
        agent = await self._agent(name)
        differences: list[str] = []
        try:
            async with asyncio.timeout(self.patience):
                while not self._found(name, expected, differences):
                    # Nobody polls between the steps, so that what a page shows in
                    # two objects does not depend on who was faster.
                    await agent.connect(advice={"timeout": HOLD})
        except TimeoutError:
            raise DifferentError("\n".join(differences) or "nothing came") from None

    def _found(self, name: str, expected: Json, differences: list[str]) -> bool:
        events = self._agents[name].events
        while self._seen[name] < len(events):
            self._seen[name] += 1
            try:
                self._names.compare(expected, events[self._seen[name] - 1]["data"])
            except DifferentError as exc:
                differences.append(str(exc))
            else:
                return True
        return False

    async def _aside(self, text: str) -> None:
        for pattern, action in _ASIDES.items():
            if found := re.fullmatch(pattern, text, re.DOTALL):
                await action(self, *map(self._names.fill, found.groups()))
                return
        raise DifferentError(f"nobody knows what this aside means: {text}")

    async def operates(self, name: str, data: str) -> None:
        """An agent carries out an operation; what it brings is passed over."""
        reply = await self._publish(name, data)
        assert reply["successful"], reply

    async def customer(self, operation: str, argument: str) -> None:
        match operation:
            case "asks for a chat":
                await self._app.start(userDisplayName="Cleo", subject=argument)
                self._names.compare("f4a5…", self._app.session_id)
            case "writes":
                await self._app.send(argument)
            case "goes":
                await self._app.background()
            case _:
                await self._app.foreground()

    async def restart(self) -> None:
        """The server is started again, on another port as nobody is told."""
        for agent in self._agents.values():
            await agent.vanish()
        self._agents.clear()
        await self._node.stop()
        await self._start()

    async def fall_silent(self) -> None:
        """Nobody writes in the chat for a day, which is over at once."""
        config, told = self._node.live.current, asyncio.Event()

        def hear(change: Change) -> None:
            if change.entries:
                told.set()

        self._node.store.watch(hear)
        chat = replace(config.chat, timeout_alert=1)
        self._node.replace(replace(config, chat=chat))
        async with asyncio.timeout(self.patience):
            await told.wait()
        self._node.replace(config)

    async def unstore(self) -> None:
        """The storage goes away."""
        await self._node.store.close()


_Action = Callable[..., Awaitable[None]]

_ASIDES: Mapping[str, _Action] = {
    r"(\w+) publishes (\{.*\})": Player.operates,
    r"the customer (asks for a chat|writes|goes|comes back):? ?(.*)": Player.customer,
    r"nobody writes for a day": Player.fall_silent,
    r"the server is started again": Player.restart,
    r"the storage fails": Player.unstore,
}


def _check(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise DifferentError(otherwise)


def _is_played(step: Step) -> bool:
    return step.language in {"http", "json", "aside"}


def _name(words: list[str]) -> str:
    return words[0] if words else "Ann"


def _content_type(body: str) -> str:
    if body.lstrip().startswith(("[", "{")):
        return "application/json"
    return "application/x-www-form-urlencoded"
