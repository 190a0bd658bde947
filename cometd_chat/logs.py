"""Log lines: text for people, JSON for machines, one line for each event.

Whatever the texts contain, a record stays on its line: control characters could
forge further records, or send commands to a terminal. A traceback shows where and
what kind: the message of an exception may quote a chat or a token.
"""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType

from aiohttp.http_exceptions import HttpProcessingError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 4096
_MOST_CAUSES = 8

_ExcInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
)


class _Formatter(logging.Formatter):
    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's
        told: list[str] = []
        error = ei[1]
        while error is not None and len(told) < _MOST_CAUSES:
            told.append(
                "".join(traceback.format_tb(error.__traceback__)) + _kind(error)
            )
            hidden = error.__suppress_context__
            error = error.__cause__ or (None if hidden else error.__context__)
        return "\nwhich led to\n".join(reversed(told))


class TextFormatter(_Formatter):
    """One line of text; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"
        )

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        record.message = _safe(record.message)
        return super().formatMessage(record)


class JsonFormatter(_Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "pid": record.process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _safe(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class _NoBadRequests(logging.Filter):
    """Drops aiohttp's traceback for each malformed request: a flood for the asking."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, HttpProcessingError)


def set_up(level: str, form: str) -> None:
    """Log to standard error, as options `[log] level` and `format` say."""
    handler = logging.StreamHandler(sys.stderr)
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    handler.addFilter(_NoBadRequests())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _kind(error: BaseException) -> str:
    """Return the type and the fault's fixed name, which operators need: "disk full"."""
    fault = getattr(error, "strerror", None) or getattr(error, "sqlite_errorname", None)
    return type(error).__name__ + (f": {fault}" if fault else "")


def _safe(text: str) -> str:
    cut = text[:_LONGEST]
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", cut).replace("\n", " ")
