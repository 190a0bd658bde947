"""The conformance cases, run on our servers over real sockets."""

from pathlib import Path

import pytest

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.run import applies, run
from tests.conformance.servers import CHAT_WORDS, LIBRARY_WORDS, chat, library
from tests.conformance.targets import HttpTarget, SocketTarget

CHAT = [case for case in CASES if applies(case, "http", CHAT_WORDS)]
LIBRARY = [case for case in CASES if applies(case, "http", LIBRARY_WORDS)]
SOCKET = [case for case in CASES if applies(case, "websocket", LIBRARY_WORDS)]


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize("case", CHAT, ids=lambda case: case.name)
async def test_the_chat_conforms_over_http(case: Case, tmp_path: Path) -> None:
    async with (
        chat(tmp_path) as (url, held),
        HttpTarget(url, CHAT_WORDS, held) as target,
    ):
        await run(case, target)


@pytest.mark.parametrize("case", LIBRARY, ids=lambda case: case.name)
async def test_the_library_conforms_over_http(case: Case) -> None:
    async with (
        library() as (url, held),
        HttpTarget(url, LIBRARY_WORDS, held) as target,
    ):
        await run(case, target)


@pytest.mark.parametrize("case", SOCKET, ids=lambda case: case.name)
async def test_the_library_conforms_over_websocket(case: Case) -> None:
    async with (
        library() as (url, held),
        SocketTarget(url, LIBRARY_WORDS, held) as target,
    ):
        await run(case, target)
