"""What is logged of things that may happen with each request: not each time.

While a storage is away, a thousand requests a second would fill the disk with the same
line.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

REMINDER = 60.0
"""Seconds after which what still happens is logged again."""

CALM = 6.0
"""Seconds without a failure after which an outage may be over: more than a call is
tried again, so that one part that fails for good is not over with each of another."""


@dataclass(slots=True)
class _Said:
    """When a line was logged, and how many have been left out since."""

    at: float
    left_out: int = 0


class Sparing:
    """Logs each message at once, and again after `REMINDER` at the earliest, with how
    many were left out.

    Messages are told apart without their arguments, so that there are only as many as
    the program has. `now` gives monotonic seconds.
    """

    def __init__(
        self, log: logging.Logger, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._now = now
        self._said: dict[str, _Said] = {}

    def info(self, message: str, *args: object) -> None:
        """Log it as information, unless that was done of late."""
        self._say(logging.INFO, message, *args)

    def warning(self, message: str, *args: object) -> None:
        """Log it as a warning, unless that was done of late."""
        self._say(logging.WARNING, message, *args)

    def error(self, message: str, *args: object) -> None:
        """Log it as an error, unless that was done of late."""
        self._say(logging.ERROR, message, *args)

    def _say(self, level: int, message: str, *args: object) -> None:
        said, now = self._said.get(message), self._now()
        if said is not None and now - said.at < REMINDER:
            said.left_out += 1
            return
        more = f" ({said.left_out} more since the last time)" if said else ""
        self._said[message] = _Said(now)
        self._log.log(level, "%s%s", message % args, more)


class Outage:
    """Tells when something begins to fail, after each `REMINDER` that it still does,
    and when it works again.

    `what` works, or does not, is said like that. `now` gives monotonic seconds.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._what = what
        self._now = now
        self._began = self._said_at = self._failed_at = 0.0
        self._count = 0

    @property
    def lasts(self) -> bool:
        """Tell whether it has failed, and was not told to be over."""
        return self._count > 0

    def failed(self, why: object) -> None:
        """Note a failure."""
        now = self._now()
        self._failed_at = now
        self._count += 1
        if self._count == 1:
            self._began = self._said_at = now
            self._log.error("%s fails: %s", self._what, why)
        elif now - self._said_at >= REMINDER:
            self._said_at = now
            told = self._what, self._count, now - self._began, why
            self._log.error("%s still fails, %d times in %.0f s: %s", *told)

    def worked(self) -> None:
        """Note a success; to be called while it `lasts`."""
        now = self._now()
        if self._count and now - self._failed_at >= CALM:
            told = self._what, self._count, self._failed_at - self._began
            self._log.warning("%s works again: it failed %d times in %.0f s", *told)
            self._count = 0
