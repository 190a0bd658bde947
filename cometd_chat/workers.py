"""Several processes that serve one port, and the parent that looks after them.

How it works. The parent serves nobody: it has no event loop, no thread and no
connection, so that a fork is safe at any time. It binds a socket for each worker, and
keeps it while a worker is replaced: the kernel deals new connections out to the sockets
of a port, and those that wait for a worker that died are answered by the next one.

Two pipes tie them together. Workers write to one that they are ready. Nobody writes to
the other: its end tells the workers that the parent is gone, however that happened.

A worker that ends is started again, at first at once, then after pauses that grow; so
is one that finds no process. The first worker goes ahead of the others: what keeps it
from starting would keep them all, and is said once.
"""

import contextlib
import logging
import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
"""Seconds before a worker is started again that had not lived for long."""

LONGEST_PAUSE = 10.0
"""Seconds up to which that pause doubles."""

SETTLED = 10.0
"""Seconds after which a worker that is ready has lived for long."""

START_WITHIN = 60.0
"""Seconds in which a worker is ready, or else has hung: it connects to a store."""

STARTS = 5
"""Starts in a row that may fail while no worker serves; then the parent gives up."""

PARENT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What a worker has from its parent: its socket, bound but not listening yet, and
    a file descriptor that is at its end once the parent is gone."""

    number: int
    sock: socket.socket
    parent: int
    _told: int

    def ready(self) -> None:
        """Tell the parent that this worker serves requests."""
        os.write(self._told, bytes([self.number]))


@dataclass(slots=True, kw_only=True)
class _Worker:
    """`pid` is 0 while there is no process.

    `due` is when something has to be done: it is started while there is no process,
    and killed while it is not ready. `short` counts those of its lives, one after the
    other, that were short. `stale`: it has to load the configuration once it is ready.
    """

    number: int
    sock: socket.socket
    pid: int = 0
    ready_at: float | None = None
    due: float = math.inf
    short: int = 0
    stale: bool = False


class Workers:
    """The parent of `count` processes that `work`.

    `bind` returns a socket of the port, which others may be bound to as well; `ready`
    is called once all workers are. They have `stop_within` seconds to end, and
    `start_within` to be ready; then they are killed.
    """

    def __init__(
        self,
        count: int,
        bind: Callable[[], socket.socket],
        work: Callable[[Seat], None],
        ready: Callable[[], None],
        *,
        stop_within: float,
        start_within: float = START_WITHIN,
    ) -> None:
        self._bind = bind
        self._work = work
        self._ready = ready
        self._stop_within = stop_within
        self._start_within = start_within
        self._workers = [_Worker(number=n, sock=bind()) for n in range(count)]
        self._failed_starts = 0
        self._followed = self._complete = False
        self._status = 0
        self._stop_by: float | None = None

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT; return the exit status.

        SIGHUP is passed on. In the processes of the workers, `work` is called and the
        exit status raised as SystemExit, with whatever `work` raises.
        """
        self._open_pipes()
        for number in PARENT_SIGNALS:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._wakeup)
        self._start(self._workers[0])
        while self._stop_by is None or any(worker.pid for worker in self._workers):
            self._take_news()
            self._reap()
            self._do_what_is_due()
        return self._status

    def _open_pipes(self) -> None:
        self._signals, self._wakeup = os.pipe()
        self._told, self._tells = os.pipe()
        self._parent, self._alive = os.pipe()
        os.set_blocking(self._wakeup, False)

    # -- a worker's life ------------------------------------------------------------

    def _start(self, worker: _Worker) -> None:
        # A signal to the child must not be taken for one to the parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_SIGNALS)
        worker.ready_at, worker.due = None, time.monotonic() + self._start_within
        try:
            worker.pid = os.fork()
        except OSError as exc:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENT_SIGNALS)
            self._not_started(worker, exc)
            return
        if worker.pid == 0:
            self._serve(worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENT_SIGNALS)

    def _serve(self, worker: _Worker) -> NoReturn:
        """Do the work of a worker, in its process."""
        self._become(worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENT_SIGNALS)
        seat = Seat(
            number=worker.number,
            sock=worker.sock,
            parent=self._parent,
            _told=self._tells,
        )
        with worker.sock:
            self._work(seat)
        raise SystemExit(0)

    def _not_started(self, worker: _Worker, exc: OSError) -> None:
        """Start a worker later for which there is no process, except the first."""
        what = f"worker {worker.number + 1} cannot be started ({exc.strerror})"
        if self._followed:
            # However often: a server that began anew would find no process either.
            self._plan(worker, what)
        else:
            log.error("%s", what)
            self._stop(1)

    def _become(self, worker: _Worker) -> None:
        """Leave behind what is the parent's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Ctrl-C comes to all; the parent passes it on. SIGHUP comes once it is ready.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for end in (self._alive, self._told, self._signals, self._wakeup):
            os.close(end)
        for other in self._workers:
            if other is not worker:
                other.sock.close()

    def _is_ready(self, worker: _Worker) -> None:
        # It may have ended since; then it is planned already to start it again.
        if self._stop_by is not None or not worker.pid:
            return
        worker.ready_at, worker.due = time.monotonic(), math.inf
        self._failed_starts = 0
        if worker.stale:
            worker.stale = False
            self._send(worker, signal.SIGHUP)
        if not self._followed:
            self._followed = True
            for other in self._workers[1:]:
                self._start(other)
        if not self._complete and all(w.ready_at for w in self._workers):
            self._complete = True
            self._ready()

    def _ended(self, worker: _Worker, status: int) -> None:
        pid, worker.pid = worker.pid, 0
        if self._stop_by is not None:
            # One that was only starting fails for the reasons that it had anyway.
            starting = status > 0 and worker.ready_at is None
            if status not in {0, -signal.SIGTERM} and not starting:
                self._status = 1
        elif self._hopeless(worker):
            if self._complete:
                log.error("no worker can be started: giving up")
            self._stop(max(status, 1))
        else:
            self._plan(worker, f"worker {worker.number + 1} ({pid}) {_how(status)}")

    def _hopeless(self, worker: _Worker) -> bool:
        """Tell whether there is no sense in starting workers again."""
        if worker.ready_at is not None:
            return False
        self._failed_starts += 1
        serving = any(other.pid and other.ready_at for other in self._workers)
        limit = STARTS if self._complete else 1
        return not serving and self._failed_starts >= limit

    def _plan(self, worker: _Worker, what: str) -> None:
        """Let the worker be started again, in a while if it did not live for long."""
        now = time.monotonic()
        if worker.ready_at is None:
            self._turn_away(worker)
        if worker.ready_at is not None and now - worker.ready_at >= SETTLED:
            worker.short, pause = 0, 0.0
        else:
            pause = min(FIRST_PAUSE * 2 ** min(worker.short, 10), LONGEST_PAUSE)
            worker.short += 1
        worker.due, worker.stale = now + pause, True
        log.warning("%s: started again in %g s", what, pause)

    def _turn_away(self, worker: _Worker) -> None:
        """Send who waits on the worker's socket, perhaps for long, to the others."""
        try:
            sock = self._bind()
        except OSError as exc:
            log.warning("worker %d keeps its socket: %s", worker.number + 1, exc)
            return
        worker.sock.close()
        worker.sock = sock

    # -- the parent's loop ----------------------------------------------------------

    def _take_news(self) -> None:
        """Wait for signals and workers that are ready, but not beyond what is due."""
        due = self._stop_by or min(worker.due for worker in self._workers)
        timeout = None if due == math.inf else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([self._signals, self._told], [], [], timeout)
        if self._told in readable:
            for number in os.read(self._told, 256):
                self._is_ready(self._workers[number])
        if self._signals in readable:
            for number in set(os.read(self._signals, 256)):
                self._signalled(signal.Signals(number))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._stop_by is not None:
            if now >= self._stop_by:
                self._stop_by = math.inf
                self._kill(self._workers)
            return
        for worker in self._workers:
            if now >= worker.due and worker.pid:
                worker.due = math.inf
                self._kill([worker])
            elif now >= worker.due:
                self._start(worker)

    def _signalled(self, number: signal.Signals) -> None:
        if number in {signal.SIGTERM, signal.SIGINT} and self._stop_by is None:
            self._stop(0)
        elif number == signal.SIGHUP:
            for worker in self._workers:
                worker.stale = worker.ready_at is None
                if worker.ready_at is not None:
                    self._send(worker, number)

    def _stop(self, status: int) -> None:
        """Let all workers finish what they do; nobody new is let in."""
        self._status = status
        self._stop_by = time.monotonic() + self._stop_within
        for worker in self._workers:
            worker.sock.close()
            self._send(worker, signal.SIGTERM)

    def _kill(self, workers: list[_Worker]) -> None:
        for worker in workers:
            if worker.pid:
                log.error("worker %d takes too long: killed", worker.number + 1)
                self._send(worker, signal.SIGKILL)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._ended(worker, os.waitstatus_to_exitcode(status))

    def _send(self, worker: _Worker, number: signal.Signals) -> None:
        if worker.pid:
            # Not reaped yet, so that the number cannot be another process's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)


def _noted(*_: object) -> None:
    """Do nothing: the number was written to the pipe of signals."""


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
