"""The real command in a process of its own, as a shell would start it."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.clients.watched import Watched

PROJECT = Path(__file__).parents[2]
START = 20.0
"""Seconds a process may take until it has said or done something."""


def _hears_ctrl_c() -> None:
    """Undo what shells do to programs in the background, such as the tests' own run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program(Watched):
    """Started by `async with`; `out` and `err` are the lines it has written so far."""

    what: tuple[str, ...] = ("-m", "cometd_chat")

    def __init__(
        self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.out: list[str] = []
        self.err: list[str] = []
        self._folder = folder
        self._arguments = arguments
        self._env = {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error"}
        # Where several processes write, each writes whole lines.
        self._env["PYTHONUNBUFFERED"] = ""
        self._env |= env or {}
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self.what,
            *self._arguments,
            cwd=self._folder,
            env=os.environ | self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_hears_ctrl_c,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(self.process.stdout, self.out)),
            asyncio.create_task(self._read(self.process.stderr, self.err)),
        ]

    async def kill(self) -> None:
        """Kill -9, if it still runs."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end and return the exit status."""
        async with asyncio.timeout(START):
            await asyncio.gather(*self._readers)
            return await self.process.wait()

    async def says(self, pattern: str) -> str:
        """Wait for a line on standard output or error that has the pattern."""
        found = re.compile(pattern).search
        return await self.wait_for(
            lambda: next(filter(found, [*self.out, *self.err]), None), START
        )

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            lines.append(line.decode().removesuffix("\n"))
            self.changed()


class Server(Program):
    """`cometd-chat serve` with a configuration; answers requests once it started."""

    def __init__(self, config: Path, *arguments: str) -> None:
        super().__init__(config.parent, "serve", "--config", str(config), *arguments)
        self.url = ""

    async def start(self) -> None:
        await super().start()
        self.out.clear()
        self.url = (await self.says("^cometd-chat ready on ")).split()[-1]

    async def restart(self) -> None:
        """Kill -9, then start on the same port."""
        await self.kill()
        port = self.url.rpartition(":")[2]
        self._arguments = (*self._arguments, "--port", port)
        await self.start()


async def run(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> tuple[int, Program]:
    """Run the command to its end; return its exit status, and what it wrote."""
    async with Program(folder, *arguments, env=env) as program:
        return await program.ended(), program


def says_it_in_one_sentence(program: Program) -> bool:
    """Tell whether the last line of standard error is the error, and all of it."""
    *before, last = program.err
    return last.startswith("Error: ") and not any(
        "Traceback" in line for line in before
    )
