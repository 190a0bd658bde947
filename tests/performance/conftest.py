"""What is written in C, compiled as the scripts do it."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.counting import LIBRARY
from bench.generator import LOAD
from bench.targets import ROOT
from cometd_chat.app import Node
from tests.e2e.nodes import configured, make_node


def build(what: str, target: Path) -> Path:
    """Have one of the functions of scripts/lib.sh make a file."""
    command = f'source scripts/lib.sh && ensure_{what} "$1"'
    subprocess.run(["bash", "-euc", command, what, target], cwd=ROOT, check=True)
    return target


@pytest.fixture(scope="session")
def load_generator() -> Path:
    """Return the path of the program."""
    return build("load_generator", LOAD)


@pytest.fixture(scope="session")
def counter() -> Path:
    """Return the path of the library that tells callgrind what to count."""
    return build("counter", LIBRARY)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with rooms for everybody."""
    path = configured(tmp_path, broadcast_channels="/chat/*")
    async with make_node(path) as running:
        yield running
