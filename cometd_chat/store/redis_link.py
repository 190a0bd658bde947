"""One connection to a server of the Redis protocol (RESP2).

Connecting, TLS, logging in, packing and parsing are redis-py's. What its client does
not give is here: commands of one turn of the event loop go out in one write and come
back in one read, as the more is asked at a time, the less each costs. Where writes
have to be confirmed by a replica or the disk, `WAIT` or `WAITAOF` follows them in the
same write, since both speak of their own connection only; one confirmation serves all.

A connection is used until something goes wrong with it, and never again afterwards:
whoever waits gets LostError and does not know whether the command was executed.
Nothing is tried again here.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

CONNECT_TIMEOUT = 1.0
"""Seconds within which a server has to accept a connection and its password."""

REPLY_TIMEOUT = 1.5
"""Seconds after which a connection that owes a reply is given up."""

Word: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Word, ...]


class TlsError(OSError):
    """There is no safe connection; the text says why."""


class LostError(Exception):
    """The connection is gone, perhaps after the command was executed."""


class UnconfirmedError(Exception):
    """The command was executed, but not confirmed as durably as it has to be."""


class RefusedError(Exception):
    """An error reply. `code` is its first word; `detail` is not to be shown: it may
    quote values."""

    def __init__(self, text: str) -> None:
        self.code, _, self.detail = text.partition(" ")
        super().__init__(self.code)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to introduce oneself to every server."""

    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class _Batch:
    futures: list["asyncio.Future[Any]"]
    confirmed: bool
    timer: asyncio.TimerHandle
    replies: list[Any] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return len(self.replies) == len(self.futures) + self.confirmed


class Link:
    """A connection; made by `connect`.

    `confirm` is the command that follows each batch: its reply, or the first number
    of it, is how many have confirmed, of which one is enough. With `heard`, every
    reply goes there, as a subscriber wants it.
    """

    def __init__(
        self,
        connection: Connection,
        confirm: Command | None,
        heard: Callable[[Any], None] | None,
    ) -> None:
        self._connection = connection
        self._confirm = connection.pack_command(*confirm) if confirm else []
        self._heard = heard
        self._packed: list[bytes] = []
        self._futures: list[asyncio.Future[Any]] = []
        self._asked = asyncio.Event()
        self._sent: deque[_Batch] = deque()
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            self._loop.create_task(self._until_fault(work))
            for work in (self._read, self._write)
        ]

    @classmethod
    async def connect(
        cls,
        address: Address,
        login: Login,
        *,
        confirm: Command | None = None,
        heard: Callable[[Any], None] | None = None,
    ) -> Self:
        """Connect and log in.

        Raises: OSError when nobody answers, or as nobody should; RefusedError.
        """
        connection = _connection(address, login)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
        except RedisError as error:
            _cut(connection)
            raise _fault(error) from error
        except BaseException:
            _cut(connection)
            raise
        return cls(connection, confirm, heard)

    def send(self, command: Command) -> "asyncio.Future[Any]":
        """Send the command with others of this turn; return its reply to come.

        The reply raises LostError, UnconfirmedError or RefusedError.

        Raises: UnicodeEncodeError for a word that is no Unicode.
        """
        packed = self._connection.pack_command(*command)
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.closed.is_set():
            future.set_exception(LostError())
            return future
        self._packed += packed
        self._futures.append(future)
        self._asked.set()
        return future

    @property
    def idle(self) -> bool:
        """Tell whether nobody waits for a reply."""
        return not self._sent and not self._futures

    def announce(self, command: Command) -> None:
        """Send a command whose replies are only heard."""
        self._packed += self._connection.pack_command(*command)
        self._asked.set()

    def abort(self) -> None:
        """Give the connection up."""
        self.closed.set()
        _cut(self._connection)
        for task in self._tasks:
            task.cancel()
        waiting = [f for sent in self._sent for f in sent.futures] + self._futures
        for sent in self._sent:
            sent.timer.cancel()
        self._sent.clear()
        self._futures.clear()
        self._packed.clear()
        for future in waiting:
            _fail(future, LostError())

    async def _until_fault(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (RedisError, LostError, ValueError):
            pass  # ValueError: redis-py cannot read a redirection
        finally:
            self.abort()

    async def _write(self) -> None:
        while True:
            await self._asked.wait()
            await self._connection.send_packed_command(self._batch())

    def _batch(self) -> bytes:
        """Return what was asked for since the last time, and expect the replies."""
        self._asked.clear()
        packed, self._packed = self._packed, []
        futures, self._futures = self._futures, []
        if futures:
            packed += self._confirm
            timer = self._loop.call_later(REPLY_TIMEOUT, self.abort)
            self._sent.append(_Batch(futures, bool(self._confirm), timer))
        return b"".join(packed)

    async def _read(self) -> None:
        while True:
            try:
                reply = await self._connection.read_response(disconnect_on_error=False)
            except RedisError as error:
                reply = _refusal(error)
                if reply is None:
                    raise
            self._got(reply)

    def _got(self, reply: Any) -> None:
        if self._heard:
            self._heard(reply)
        elif not self._sent:
            raise LostError
        else:
            batch = self._sent[0]
            batch.replies.append(reply)
            if batch.complete:
                self._sent.popleft()
                batch.timer.cancel()
                _settle(batch)


def _connection(address: Address, login: Login) -> Connection:
    """Return a connection that does nothing on its own: no second try, no ping."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": login.database,
        "protocol": 2,
        "driver_info": None,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": None,
        "health_check_interval": 0,
    }
    if login.password:
        options |= {"username": login.user or None, "password": login.password}
    if login.tls is None:
        return Connection(**options)
    connection = SSLConnection(**options)
    connection.ssl_context.context = login.tls  # it would read the files each time
    return connection


def _cut(connection: Connection) -> None:
    """Disconnect now. redis-py would first send what still waits, if ever it can."""
    if connection._writer:  # noqa: SLF001 - redis-py gives no other way
        connection._writer.transport.abort()  # noqa: SLF001
    connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001


def _refusal(error: RedisError) -> RefusedError | None:
    """Return the error reply, None for what was no reply."""
    if error.status_code:
        return RefusedError(f"{error.status_code} {error}")
    return RefusedError(str(error)) if isinstance(error, ResponseError) else None


def _fault(error: RedisError) -> Exception:
    """Return why there is no connection."""
    if problem := _tls_problem(error):
        return TlsError(problem)
    return _refusal(error) or OSError(type(error).__name__)


def _tls_problem(error: BaseException | None) -> str:
    """Return what is wrong with the other side's TLS, empty if nothing is known."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({error.verify_message})"
        if isinstance(error, ssl.SSLError):
            return "it does not speak TLS as we do"
        error = error.__cause__ or error.__context__
    return ""


def _settle(batch: _Batch) -> None:
    confirmed = not batch.confirmed or _confirms(batch.replies.pop())
    for future, reply in zip(batch.futures, batch.replies, strict=True):
        if isinstance(reply, Exception):
            _fail(future, reply)
        elif not confirmed:
            _fail(future, UnconfirmedError())
        elif not future.done():
            future.set_result(reply)


def _confirms(reply: Any) -> bool:
    """Tell whether one has: `WAIT` counts replicas, `WAITAOF` its own disk first."""
    count = reply[0] if isinstance(reply, list) and reply else reply
    return isinstance(count, int) and count >= 1


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be waiting any more
