"""The conformance cases, run on the core alone, without any transport."""

import asyncio
import json
import secrets
import time
from typing import Any

import pytest

from cometd_chat.bayeux import (
    BayeuxServer,
    BodyError,
    Client,
    Connect,
    Decision,
    Disconnect,
    Farewell,
    Handshake,
    Limits,
    Message,
    Options,
    Poll,
    Publish,
    Reply,
    Request,
    Subscribe,
    Unsubscribe,
    encode,
    parse,
    reply,
    screen,
)

from .conformance import CASES, NEVER, Case, Replies, StatusError, run


class CoreTarget:
    """The core with an application that grants everything."""

    def __init__(self) -> None:
        options = Options(timeout=20, max_interval=60)
        self._server = BayeuxServer(options, lambda: secrets.token_hex(16))
        self._held: dict[Poll, asyncio.Future[bool]] = {}
        self._holding = asyncio.Event()

    @property
    def words(self) -> dict[str, Any]:
        return {"ext": {}, "channel": "/chat/room", "data": {"text": "hi"}}

    async def exchange(self, body: Any) -> Replies:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            batch = screen(parse(body, Limits()))
        except BodyError as exc:
            raise StatusError(exc.status) from exc
        connect, replies = None, []
        for item in batch:
            decision = self._decide(item, alone=len(batch) == 1)
            if isinstance(decision, Connect):
                connect = decision
            else:
                replies.append(self._settle(decision))
        if connect is not None:
            replies.append(await self._hold(connect))
        found = json.loads(encode(replies))
        assert isinstance(found, list)
        return found

    async def held(self) -> None:
        await self._holding.wait()

    def _decide(self, item: Message | Reply, *, alone: bool) -> Decision:
        if isinstance(item, Reply):
            return item
        return self._server.receive(item, time.monotonic(), alone=alone)

    def _settle(self, request: Request) -> Reply:
        match request:
            case Reply():
                return request
            case Handshake(message):
                return self._server.admit(message, None, time.monotonic())
            case Subscribe(client, message, _):
                return self._server.subscribe(client, message)
            case Publish(_, message):
                return reply(message)
            case Disconnect(client, _, answer):
                self._release(client)
                return answer
            case Unsubscribe(_, _, answer) | Farewell(_, answer):
                return answer

    def _release(self, client: Client) -> None:
        if client.poll in self._held:
            self._held.pop(client.poll).set_result(True)

    async def _hold(self, connect: Connect) -> Reply:
        """Wait as a transport would.

        Raises: StatusError for a connect whose place was taken.
        """
        if connect.displaced in self._held:
            self._held.pop(connect.displaced).set_result(False)
        poll = connect.poll
        served = True
        if poll.wait:
            self._held[poll] = asyncio.get_running_loop().create_future()
            self._holding.set()
            served = await self._until(poll)
        self._server.answered(connect.client, poll, time.monotonic())
        if not served:
            raise StatusError(500)
        return poll.reply

    async def _until(self, poll: Poll) -> bool:
        try:
            async with asyncio.timeout(poll.deadline - time.monotonic()):
                return await self._held[poll]
        except TimeoutError:
            del self._held[poll]
            return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_core_conforms(case: Case) -> None:
    await run(case, CoreTarget())


def test_there_are_cases_for_everything_and_no_two_of_one_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 40


class Wrong:
    """A server that answers everything in one wrong way."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.words: dict[str, Any] = {}

    async def exchange(self, body: Any) -> Replies:
        if isinstance(self._answer, int):
            raise StatusError(self._answer)
        return self._answer  # type: ignore[no-any-return]  # wrong on purpose

    async def held(self) -> None:
        return


@pytest.mark.parametrize(
    "answer",
    [
        400,
        [],
        {"id": 7, "successful": True},
        [{"id": "7", "successful": True}],
        [{"id": 7.0, "successful": True}],
        [{"id": 7, "successful": 1}],
        [{"id": 7, "successful": True, "error": "x"}],
        [{"id": 7, "successful": True}, {"id": 7, "successful": True}],
    ],
)
async def test_a_server_that_does_not_conform_is_found_out(answer: Any) -> None:
    case = Case(
        clause="none",
        name="none",
        given="new",
        send=[],
        expect=[{"id": 7, "successful": True, "error": NEVER}],
    )
    await run(case, Wrong([{"id": 7, "successful": True}]))
    with pytest.raises(AssertionError):
        await run(case, Wrong(answer))


async def test_an_answer_that_comes_too_soon_is_found_out() -> None:
    case = Case(clause="none", name="none", given="new", send=[], expect=[], hold=1)
    with pytest.raises(AssertionError, match="answered after"):
        await run(case, Wrong([]))
