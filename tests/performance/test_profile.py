"""What a profile says is put under the right area."""

import os
import threading
from collections import Counter

import pytest

from bench.profile import area_of, by_area, cpu_by_thread, dearest, read_stacks

RAW = """\
thread (7);run (/asyncio/x.py:6);post (/x/cometd_chat/web/long_polling.py:9) 3
thread (7);run (/asyncio/x.py:6);append (/x/cometd_chat/store/sqlite.py:1) 4
thread (7);run (/asyncio/x.py:7);append (/x/cometd_chat/store/sqlite.py:2) 2
thread (7);run (/asyncio/x.py:7);take (/x/cometd_chat/delivery.py:2);f (/j.py:1) 1
thread (7);<module> (/x/y.py:3) 5
thread (8): "reads";Workers.take (/x/cometd_chat/store/sqlite_writer.py:3) 5000
thread (8);read (/x/cometd_chat/store/sqlite_writer.py:4) 1
thread (9);read (/x/cometd_chat/store/sqlite_writer.py:4) 9
"""
CPU = {7: 15e-6, 8: 4e-6}
"""Seconds of each thread; the last has ended meanwhile."""


def test_the_innermost_function_with_an_area_counts() -> None:
    areas = by_area(read_stacks(RAW, CPU))
    assert areas == Counter({"HTTP": 3, "store": 6 + 4, "chat": 1, "other": 5})


def test_lines_of_a_function_are_one_function() -> None:
    name, own, whole = dearest(read_stacks(RAW, CPU), 1)[0]
    assert (name, own) == ("run (/asyncio/x.py)", 0.0)
    assert whole == pytest.approx(100 * 10 / 19)


def test_threads_of_a_process_are_counted() -> None:
    used = cpu_by_thread(os.getpid())
    assert used[threading.get_native_id()] > 0


@pytest.mark.parametrize(
    ("file", "area"),
    [
        ("cometd_chat/web/cometd.py", "Bayeux"),
        ("cometd_chat/web/polls.py", "Bayeux"),
        ("cometd_chat/web/exchange.py", "HTTP"),
        ("site-packages/aiohttp/web_protocol.py", "HTTP"),
        ("cometd_chat/gms/v1/replies.py", "chat"),
        ("lib/python3.11/selectors.py", "loop"),
        ("lib/python3.11/logging/__init__.py", ""),
    ],
)
def test_files_have_areas(file: str, area: str) -> None:
    assert area_of(f"f (/x/{file})") == area
