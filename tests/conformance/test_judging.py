"""A server that does not conform is found out, and in words."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conformance.__main__ import line
from tests.conformance.case import NEVER, PLAIN, Case, Json, Other, Way
from tests.conformance.judge import DifferenceError, compare_set, difference
from tests.conformance.run import Answer, run
from tests.conformance.table import Result, differs
from tests.conformance.targets import HttpTarget

WORDS: dict[str, Json] = {"ext": {}, "channel": "/c"}


class Wrong:
    """A server that answers everything in one way."""

    def __init__(self, answer: Any) -> None:
        self.words = WORDS
        self._answer = answer

    async def __aenter__(self) -> "Wrong":
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def exchange(self, body: Json, way: Way, client_id: str) -> Answer:
        if isinstance(self._answer, Answer):
            return self._answer
        if isinstance(self._answer, Exception):
            raise self._answer
        return Answer(messages=self._answer)

    async def held(self, client_id: str) -> None:
        return


def case(**fields: Any) -> Case:
    expect = [{"id": 7, "successful": True, "error": NEVER}]
    known = {"clause": "none", "name": "none", "given": "new", "send": []}
    return Case(**(known | {"expect": expect} | fields))


GOOD = {"id": 7, "successful": True}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=400), "status 400"),
        ([], "0 messages, not 1"),
        ([{"id": "7", "successful": True}], '`id` is "7", not 7'),
        ([{"id": 7.0, "successful": True}], "`id` is 7.0, not 7"),
        ([{"id": 7, "successful": 1}], "`successful` is 1, not true"),
        ([{"successful": True}], "`id` is missing"),
        ([GOOD | {"error": "x"}], "there is `error`"),
        ([GOOD, GOOD], "2 messages, not 1"),
    ],
)
async def test_a_wrong_answer_is_found_out(answer: Any, words: str) -> None:
    await run(case(), Wrong([GOOD]))
    with pytest.raises(DifferenceError, match=words):
        await run(case(), Wrong(answer))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hold": 1}, "answered after 0.0 s, not 1 s"),
        ({"expect": 400}, "status 200, not 400"),
        ({"headers": {"Colour": "blue"}}, "Colour is missing"),
        ({"given": "connected"}, "what leads up to it fails"),
    ],
)
async def test_a_right_answer_in_the_wrong_place_is_found_out(
    fields: dict[str, Any], words: str
) -> None:
    answer = [GOOD | {"successful": False}] if "given" in fields else [GOOD]
    with pytest.raises(DifferenceError, match=words):
        await run(case(**fields), Wrong(answer))


async def test_events_are_heard_and_no_replies_unless_the_whole_is_asked_for() -> None:
    event = {"channel": "/c", "data": 1}
    await run(case(), Wrong([event, GOOD]))
    with pytest.raises(DifferenceError, match="2 messages, not 1"):
        await run(case(whole=True), Wrong([event, GOOD]))
    with pytest.raises(DifferenceError, match="2 messages, not 1"):
        await run(case(hears=[event]), Wrong([event, GOOD]))


async def test_the_order_of_replies_matters_for_the_whole_only() -> None:
    one, two = {"id": 1}, {"id": 2}
    await run(case(expect=[two, one]), Wrong([one, two]))
    with pytest.raises(DifferenceError, match="`id` is 1, not 2"):
        await run(case(expect=[two, one], whole=True), Wrong([one, two]))


def test_of_several_replies_the_one_that_was_meant_is_told() -> None:
    found = [{"id": 1, "a": 1}, {"id": 2, "a": 1}]
    with pytest.raises(DifferenceError, match="`a` is 1, not 2"):
        compare_set(found, [{"id": 2, "a": 2}, {"id": 1, "a": 1}])


def test_another_text_is_a_text() -> None:
    assert difference("b", Other("a")) == ""
    assert difference("a", Other("a"), "id") == '`id` is "a", not another one'
    assert difference(1, Other("a"), "id") == "`id` is 1, not another one"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html>", "the response is no JSON"),
        ('{"id": 7, "successful": true}', "the response is no array"),
        ('[{"id": 7, "successful": true}]', ""),
        ('/**/f([{"id": 7, "successful": true}]);', ""),
    ],
)
async def test_over_http_only_an_array_is_an_answer(text: str, words: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        assert await differs(case(), lambda: HttpTarget(url, WORDS)) == words


async def test_no_answer_is_told_as_that() -> None:
    assert (
        await differs(case(), lambda: Wrong(TimeoutError())) == "no answer within 6 s"
    )
    assert await differs(case(), lambda: Wrong([GOOD])) == ""


def test_a_result_is_one_line() -> None:
    assert line(Result(case=case(), differs="")) == "passed   none: none"
    assert line(Result(case=case(), differs="x")) == "differs  none: none  -- x"


def test_the_plain_way_is_that_of_most_clients() -> None:
    assert PLAIN.method == "POST"
    assert PLAIN.cookies
