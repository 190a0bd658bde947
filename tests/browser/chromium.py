"""Chromium without a screen, spoken to by its DevTools protocol."""

import asyncio
import itertools
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.clients.raw import Json

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)

START = 30.0
"""Seconds that the browser gets to open its port."""


class ChromiumError(Exception):
    """The browser is missing, did not start, or refused a command."""


class Chromium:
    """One process of the browser with a profile of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._profile = folder / "profile"
        self._log = folder / "chromium.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        program = shutil.which("chromium")
        if program is None:
            raise ChromiumError("no chromium found: apt-get install -y chromium")
        command = [program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self.url = self._address()
        except ChromiumError:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _address(self) -> str:
        """Wait for the file in which the browser tells its port and path."""
        assert self._process is not None
        told = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = told.read_text().split() if told.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.02)
        raise ChromiumError(f"no port: {self._log.read_text(errors='replace')[-2000:]}")


class DevTools:
    """A connection to the browser. `listeners` get the events of their session."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.listeners: dict[str, Callable[[str, Json], None]] = {}
        self._ids = itertools.count(1)
        self._results: dict[int, asyncio.Future[Json]] = {}
        self._http = ClientSession()
        self._ws: ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ws = await self._http.ws_connect(self._url, max_msg_size=0)
        self._reading = asyncio.create_task(self._read(self._ws))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        await self._http.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def call(self, method: str, session: str = "", **params: Any) -> Json:
        """Run a method, of the browser or of a session, and return its result.

        Raises: ChromiumError when it is refused.
        """
        number = next(self._ids)
        self._results[number] = asyncio.get_running_loop().create_future()
        to = {"sessionId": session} if session else {}
        assert self._ws is not None
        await self._ws.send_json(
            {"id": number, "method": method, "params": params, **to}
        )
        try:
            async with asyncio.timeout(20):
                answer = await self._results[number]
        finally:
            del self._results[number]
        if "error" in answer:
            raise ChromiumError(f"{method}: {answer['error']['message']}")
        result: Json = answer["result"]
        return result

    async def _read(self, ws: ClientWebSocketResponse) -> None:
        async for frame in ws:
            message = frame.json()
            if "id" in message:
                self._answered(message)
            elif listener := self.listeners.get(message.get("sessionId", "")):
                listener(message["method"], message["params"])

    def _answered(self, message: Json) -> None:
        result = self._results.get(message["id"])
        if result is not None and not result.done():
            result.set_result(message)
