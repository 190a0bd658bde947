"""Runs a case against a target, and raises if it differs."""

import asyncio
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.conformance.case import (
    AT_ONCE,
    DISCONNECT,
    HANDSHAKE,
    PLAIN,
    Case,
    Json,
    Other,
    Way,
)
from tests.conformance.judge import DifferenceError, compare, compare_set, is_event

SLACK = 3.0
"""Seconds within which "at once" must happen, also over a slow network."""

HEARING = 1.0
"""Seconds in which an event must have come."""

_WORD = re.compile(r"\$([a-z_]+)")
_numbers = itertools.count(int(time.time() * 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: `status` as HTTP has it, and messages if that is 200."""

    status: int = 200
    messages: list[Json] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)


class Target(Protocol):
    """A Bayeux server to talk to."""

    @property
    def words(self) -> Mapping[str, Json]:
        """The words that it knows."""
        ...

    async def exchange(self, body: Json, way: Way, client_id: str) -> Answer:
        """Send a body for a client, bytes as they are and anything else as JSON."""
        ...

    async def held(self, client_id: str) -> None:
        """Wait until the connect of this client is held."""
        ...


def applies(case: Case, over: str, words: Mapping[str, Json]) -> bool:
    """Tell whether the case can be run there."""
    return over in case.over and ("service" in words or "$service" not in repr(case))


async def run(case: Case, target: Target) -> None:
    """Bring the target into the state, send the request, and judge what comes back.

    Raises: DifferenceError.
    """
    one = _Run(case, target)
    try:
        await one.judge()
    except DifferenceError as exc:
        raise DifferenceError(one.in_words(str(exc))) from None


class _Run:
    """One run of a case: `words` are what its texts stand for by now."""

    def __init__(self, case: Case, target: Target) -> None:
        self._case = case
        self._target = target
        self._heard: list[Json] = []
        channel = f"{target.words['channel']}/{next(_numbers)}"
        self._words = {**target.words, "client": "", "channel": channel}

    async def judge(self) -> None:
        case = self._case
        await self._prepare()
        started = time.monotonic()
        first = asyncio.create_task(self._exchange(case.send, case.way))
        try:
            second = await self._meanwhile(first)
            answer, elapsed = await first, time.monotonic() - started
        finally:
            first.cancel()
        self._compare(answer)
        if second is not None:
            self._compare_replies(second, case.then)
        if not case.hold <= elapsed < case.hold + SLACK:
            raise DifferenceError(f"answered after {elapsed:.1f} s, not {case.hold} s")
        if case.hears is not None:
            await self._listen(self._filled(case.hears))

    def in_words(self, text: str) -> str:
        """Return the text with the words in place of what they stand for."""
        for word in ("channel", "client", "other"):
            if value := self._words.get(word):
                text = text.replace(str(value), f"${word}")
        return text

    async def _prepare(self) -> None:
        if "$other" in repr(self._case):
            self._words["other"] = await self._new_client("connected")
        if self._case.given != "new":
            self._words["client"] = await self._new_client(self._case.given)
        for body in self._case.before:
            await self._succeed(body)

    async def _new_client(self, given: str) -> str:
        acks = given == "acking"
        hello = HANDSHAKE | {"ext": {"ack": True}} if acks else HANDSHAKE
        (reply,) = await self._succeed([hello])
        self._words["client"] = client_id = str(reply["clientId"])
        self._words |= {"ack": 0, "ack_before": 0}
        connect = AT_ONCE | {"ext": {"ack": "$ack"}} if acks else AT_ONCE
        steps: dict[str, list[Json]] = {
            "admitted": [],
            "connected": [connect],
            "acking": [connect],
            "gone": [connect, DISCONNECT],
        }
        for step in steps[given]:
            await self._succeed([step])
        return client_id

    async def _succeed(self, body: Json) -> list[Json]:
        answer = await self._exchange(body)
        replies = _replies(answer)
        failed = [reply for reply in replies if not reply.get("successful")]
        if answer.status != 200 or failed or not replies:
            raise DifferenceError(f"what leads up to it fails: {failed or answer}")
        return replies

    async def _meanwhile(self, first: asyncio.Task[Answer]) -> Answer | None:
        if self._case.meanwhile is None:
            return None
        holding = asyncio.create_task(self._target.held(self._words["client"]))
        await asyncio.wait({first, holding}, return_when=asyncio.FIRST_COMPLETED)
        if not holding.done():
            holding.cancel()
            raise DifferenceError("the connect is not held")
        return await self._exchange(self._case.meanwhile)

    async def _exchange(self, body: Json, way: Way = PLAIN) -> Answer:
        filled = self._filled(body)
        who = _client(filled) or self._words["client"]
        answer = await self._target.exchange(filled, way, who)
        if who == self._words["client"]:
            self._heard += filter(is_event, answer.messages)
        for reply in _replies(answer):
            self._note(reply)
        return answer

    def _note(self, reply: Mapping[str, Json]) -> None:
        ext = reply.get("ext") or {}
        if reply.get("channel") == "/meta/connect" and "ack" in ext:
            self._words["ack_before"] = self._words["ack"]
            self._words["ack"] = ext["ack"]

    def _compare(self, answer: Answer) -> None:
        expected = self._filled(self._case.expect)
        if isinstance(expected, int):
            if answer.status != expected:
                raise DifferenceError(f"status {answer.status}, not {expected}")
        elif self._case.whole:
            _check_status(answer)
            compare(answer.messages, expected)
        else:
            self._compare_replies(answer, expected)
        for name, pattern in self._case.headers.items():
            value = answer.headers.get(name, "")
            if not re.fullmatch(pattern, value):
                raise DifferenceError(f"{name} is {value or 'missing'}")

    def _compare_replies(self, answer: Answer, expected: Sequence[Json]) -> None:
        _check_status(answer)
        compare_set(_replies(answer), self._filled(expected))

    async def _listen(self, expected: Sequence[Json]) -> None:
        """Poll until all events are there, and once more for one too many."""
        until = time.monotonic() + HEARING
        while len(self._heard) < len(expected) and time.monotonic() < until:
            await self._exchange([AT_ONCE])
        await self._exchange([AT_ONCE])
        compare(self._heard, expected)

    def _filled(self, value: Json) -> Json:
        """Return the value with the words put in."""
        match value:
            case str():
                return self._text(value)
            case dict():
                return {name: self._filled(inner) for name, inner in value.items()}
            case list() | tuple():
                return [self._filled(inner) for inner in value]
            case Other(text):
                return Other(self._text(text))
            case _:
                return value

    def _text(self, text: str) -> Json:
        if (whole := _WORD.fullmatch(text)) is not None:
            return self._words[whole[1]]
        return _WORD.sub(lambda found: str(self._words[found[1]]), text)


def _check_status(answer: Answer) -> None:
    if answer.status != 200:
        raise DifferenceError(f"status {answer.status}")


def _replies(answer: Answer) -> list[Json]:
    return [message for message in answer.messages if not is_event(message)]


def _client(body: Json) -> str:
    """Return the id of the client that sends this, empty if none is known."""
    messages = body if isinstance(body, list) else [body]
    found = (m.get("clientId") for m in messages if isinstance(m, dict))
    return next((client for client in found if isinstance(client, str)), "")
