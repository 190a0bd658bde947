"""What of an exception reaches the log: where and what kind, never its text."""

import errno
import json
import logging
import sqlite3
import sys

import pytest

from cometd_chat.logs import JsonFormatter, TextFormatter

FORMS = [TextFormatter(), JsonFormatter()]


def logged(form: logging.Formatter, error: Exception) -> str:
    try:
        try:
            int("the text of a chat")
        except ValueError as cause:
            raise error from cause
    except type(error):
        record = logging.LogRecord(
            "test", logging.ERROR, "", 0, "job failed", (), sys.exc_info()
        )
    text = form.format(record)
    return json.loads(text)["exception"] if isinstance(form, JsonFormatter) else text


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_says_where_and_what_kind_and_quotes_nothing(
    form: logging.Formatter,
) -> None:
    lines = logged(form, KeyError("my token")).splitlines()
    assert lines[-1] == "KeyError"
    assert lines.index("ValueError") < lines.index("which led to")
    assert sum("in logged" in line for line in lines) == 2
    assert not [line for line in lines if "ValueError: " in line or "'my" in line]


@pytest.mark.parametrize("form", FORMS)
def test_a_fault_of_the_machine_has_its_name(form: logging.Formatter) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "a file")
    assert logged(form, full).endswith("OSError: No space left on device")


@pytest.mark.parametrize("form", FORMS)
def test_a_fault_of_the_store_has_its_name(form: logging.Formatter) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect("/nowhere/at/all")
    told = logged(form, caught.value)
    assert told.endswith("OperationalError: SQLITE_CANTOPEN")


@pytest.mark.parametrize("form", FORMS)
def test_a_hidden_cause_stays_hidden(form: logging.Formatter) -> None:
    error = RuntimeError()
    error.__suppress_context__ = True
    try:
        try:
            int("the text of a chat")
        except ValueError:
            raise error from None
    except RuntimeError:
        told = form.formatException(sys.exc_info())
    assert "which led to" not in told
