"""The tests of connections run on asyncio's event loop, and on that of the server;
those of a module that has `LOOPS` on these."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(
    config: object, item: pytest.Function
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: Mapping[str, Callable[[], asyncio.AbstractEventLoop]]
    loops = getattr(item.module, "LOOPS", LOOPS)
    return loops
