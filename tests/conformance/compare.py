"""`python -m tests.conformance.compare`: writes the tables of docs/conformance.md.

Runs the cases against our servers and, over HTTP, against those of others, which
`npm ci --prefix tests/conformance/peers` installs. With `--check` nothing is written,
and the exit status is 1 if the page says something else.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.clients.cometd_js import find_node
from tests.conformance.case import Json
from tests.conformance.cases import CASES
from tests.conformance.servers import CHAT_WORDS, LIBRARY_WORDS, chat, library
from tests.conformance.table import Result, results
from tests.conformance.targets import Held, HttpTarget, SocketTarget, surely_held

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
PEERS = Path(__file__).parent / "peers"
BEGIN = "<!-- written by python -m tests.conformance.compare -->\n"
END = "<!-- end of what is written -->\n"

PASSED = "passed"
NOT_RUN = "not run"

Running: TypeAlias = AbstractAsyncContextManager[tuple[str, Held]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server that takes part; `running` starts it and yields where it is."""

    name: str
    words: Mapping[str, Json]
    running: Callable[[], Running]
    over: str = "http"


@asynccontextmanager
async def peer(script: str) -> AsyncIterator[tuple[str, Held]]:
    """Run a server of others; its script tells its address."""
    process = await asyncio.create_subprocess_exec(
        find_node(),
        str(PEERS / script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise SystemExit("npm ci --prefix tests/conformance/peers comes first")
        yield url, surely_held
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        # Its warnings fill the pipe, and it would wait for somebody to read them.
        await process.communicate()


def version(package: str) -> str:
    """Return the version of a peer that is pinned."""
    pinned = json.loads((PEERS / "package.json").read_text())["dependencies"]
    return f"{package} {pinned[package]}"


def ours(folder: Path) -> list[Contender]:
    """Return our servers."""
    return [
        Contender(name="cometd-chat", words=CHAT_WORDS, running=lambda: chat(folder)),
        Contender(name="as a library", words=LIBRARY_WORDS, running=library),
        Contender(
            name="as a library, over WebSocket",
            words=LIBRARY_WORDS,
            running=library,
            over="websocket",
        ),
    ]


def theirs() -> list[Contender]:
    """Return the servers of others."""
    return [
        Contender(
            name=version("faye"), words=CHAT_WORDS, running=lambda: peer("faye.js")
        ),
        Contender(
            name=version("cometd-nodejs-server"),
            words=LIBRARY_WORDS,
            running=lambda: peer("cometd.js"),
        ),
    ]


async def outcome(contender: Contender) -> list[Result]:
    """Run all cases that apply to a server."""
    target = SocketTarget if contender.over == "websocket" else HttpTarget
    words, over = contender.words, contender.over
    async with contender.running() as (url, held):
        found = results(lambda: target(url, words, held), over, words)
        return [result async for result in found]


def render(outcomes: Mapping[str, Sequence[Result]], others: Sequence[str]) -> str:
    """Return the tables: how many passed, and where the others differ."""
    lines = [_row("Server", "Cases", "Passed", "Differ"), _row(*["---"] * 4)]
    for name, found in outcomes.items():
        differing = sum(bool(result.differs) for result in found)
        lines.append(_row(name, len(found), len(found) - differing, differing))
    lines += ["", _row("Clause", "Case", *others), _row(*["---"] * (len(others) + 2))]
    columns = [_by_name(outcomes[name]) for name in others]
    for case in CASES:
        verdicts = [_verdict(column.get(case.name)) for column in columns]
        if not {PASSED, NOT_RUN}.issuperset(verdicts):
            lines.append(_row(_plain(case.clause), _plain(case.name), *verdicts))
    return "\n".join(lines) + "\n"


def _by_name(found: Sequence[Result]) -> dict[str, Result]:
    return {result.case.name: result for result in found}


def _verdict(result: Result | None) -> str:
    if result is None:
        return NOT_RUN
    return _plain(result.differs) or PASSED


def _plain(text: str) -> str:
    """Keep a text from being taken for Markdown."""
    return text.replace("|", "\\|").replace("*", "\\*")


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


async def _tables() -> str:
    with tempfile.TemporaryDirectory() as folder:
        contenders = ours(Path(folder))
        others = theirs()
        found = await asyncio.gather(*map(outcome, [*contenders, *others]))
    names = [contender.name for contender in [*contenders, *others]]
    return render(dict(zip(names, found, strict=True)), [c.name for c in others])


def written(page: str, tables: str) -> str:
    """Return the page with these tables."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def main() -> int:
    """Write the page, or check it; return the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    new = written(page, asyncio.run(_tables()))
    if "--check" in sys.argv[1:]:
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
