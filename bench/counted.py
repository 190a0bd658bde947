"""The program whose instructions the guard counts.

It plays the log of exchanges through the server's own way in, without sockets, and then
a reference loop, in turns. `bench.counting` starts it under callgrind.
"""

import asyncio
import ctypes
import gc
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.exchanges import ROOM, Chat, Factory, Session, talk
from cometd_chat.app import Node
from cometd_chat.chat import make_agent_token
from cometd_chat.config import Config, loads

EXCHANGE, TURN = "exchange", "turn"
"""What is counted, under these names."""

MESSAGES = 40
"""Messages of each kind in a round of the log."""
READERS = 4
PASSES = 1.0
"""Seconds that pass in a round of the log, so that the server's jobs are done once."""
TURNS = 300
"""Turns of the reference loop in a round."""
PATIENCE = 10.0
"""Seconds that a thread waits before it asks the running one to make way."""

SECRET = "no secret: this server has no socket"  # noqa: S105 - it says so

CONFIG = """\
[server]
port = 0
[store]
url = sqlite:///{folder}/chat.db
[agents]
secret = {secret}
[bayeux]
broadcast_channels = /chat/*
"""


class Counter:
    """Tells callgrind what to count, by the library made of `counter.c`."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def begin(self) -> None:
        """Count from here."""
        gc.collect()
        self._library.count_from_here()

    def end(self, what: str, times: int) -> None:
        """Write down what was counted: `what` was done so many times."""
        self._library.count_to_here(f"{what} {times}".encode())


class Loop(asyncio.SelectorEventLoop):
    """An event loop that can stop time, and knows what answers connections.

    How much time an exchange takes says nothing here. So that what the server does from
    time to time is counted as often whenever it is counted, time is made to pass.
    """

    def __init__(self) -> None:
        self._stopped_at: float | None = None
        super().__init__()
        self.factory: Factory | None = None

    def time(self) -> float:
        """Return monotonic time in seconds, unless it was stopped."""
        return super().time() if self._stopped_at is None else self._stopped_at

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop time meanwhile. What waits for it to pass, waits."""
        self._stopped_at = self.time()
        try:
            yield
        finally:
            self._stopped_at = None

    def pass_time(self, seconds: float) -> None:
        """Let time pass at once, if it is stopped."""
        if self._stopped_at is not None:
            self._stopped_at += seconds

    async def create_server(self, *args: Any, **more: Any) -> Any:
        """Listen, and remember the factory of protocols, the first argument."""
        self.factory = args[0]
        return await super().create_server(*args, **more)


def play(
    counter: Counter, rounds: int, slowed: Callable[[Factory], Factory] | None = None
) -> None:
    """Play log and loop so many times, and have them counted.

    `slowed` may put something into the way in.
    """
    # Else the clock interrupts threads; so they make way when they have to wait.
    sys.setswitchinterval(PATIENCE)
    loop = Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_play(loop, counter, rounds, slowed or (lambda factory: factory)))


async def _play(
    loop: Loop, counter: Counter, rounds: int, slowed: Callable[[Factory], Factory]
) -> None:
    with TemporaryDirectory(prefix="guard-") as folder:
        async with Node(_config(folder)):
            if loop.factory is None:
                raise RuntimeError("the server does not listen through the event loop")
            here, there = socket.socketpair()
            with here, there:
                log = Log(loop, slowed(loop.factory), here)
                # The first time does more: it imports, and specializes bytecode.
                await log.play()
                reference(TURNS)
                for _ in range(rounds):
                    await _round(log, counter)


def _config(folder: str) -> Config:
    loaded = loads(CONFIG.format(folder=folder, secret=SECRET))
    if loaded.config is None:
        raise RuntimeError("; ".join(map(str, loaded.problems)))
    return loaded.config


async def _round(log: "Log", counter: Counter) -> None:
    counter.begin()
    exchanges = await log.play()
    counter.end(EXCHANGE, exchanges)
    counter.begin()
    reference(TURNS)
    counter.end(TURN, TURNS)


class Log:
    """The log of exchanges: rooms, and a chat that is stored."""

    def __init__(self, loop: Loop, factory: Factory, sock: socket.socket) -> None:
        self._loop = loop
        self._factory = factory
        self._sock = sock

    async def play(self) -> int:
        """Play it once; return how many exchanges it has."""
        with self._loop.stopped():
            sessions = [*await self._room(), *await self._chat()]
            for session in sessions:
                await session.stop()
            return sum(session.exchanges for session in sessions)

    async def _room(self) -> list[Session]:
        readers = [self._session() for _ in range(READERS)]
        for reader in readers:
            await reader.start(ROOM)
        await talk(readers, MESSAGES // READERS)
        return readers

    async def _chat(self) -> list[Session]:
        customer, agent = self._session(), self._session()
        chat = Chat(customer, agent)
        await chat.start(make_agent_token(SECRET, {"sub": "ann", "name": "Ann"}))
        await chat.talk(MESSAGES // 2)
        self._loop.pass_time(PASSES)
        await chat.talk(MESSAGES // 2)
        return [customer, agent]

    def _session(self) -> Session:
        return Session(self._factory, self._sock)


def reference(turns: int) -> int:
    """Do what servers in Python do: cut bytes, make and read JSON, call, look up."""
    text = b"POST /a HTTP/1.1\r\nHost: b\r\nAccept: */*\r\nContent-Length: 99\r\n\r\n"
    seen: dict[str, int] = {}
    for turn in range(turns):
        fields = dict(line.split(b": ", 1) for line in text.split(b"\r\n")[1:-2])
        message = {"id": str(turn), "channel": "/chat/1", "data": {"n": len(fields)}}
        (read,) = json.loads(json.dumps([message]))
        seen[read["id"]] = _counted(read["data"])
    return len(seen)


def _counted(data: dict[str, int]) -> int:
    return sum(value for key, value in data.items() if key.isidentifier())


def main(slowed: Callable[[Factory], Factory] | None = None) -> None:
    """Play with the library and the number of rounds of the command line."""
    library, rounds = sys.argv[1:]
    play(Counter(Path(library)), int(rounds), slowed)


if __name__ == "__main__":
    main()
