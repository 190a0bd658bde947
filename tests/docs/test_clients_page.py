"""`docs/clients.md`: every cell of the matrix names a test that runs for its row."""

import ast
import json
import re
from functools import cache
from importlib.metadata import version
from itertools import product

import pytest

from tests.browser.test_chromium import MOST
from tests.web.phones import KINDS

from .pages import ROOT, rows

PAGE = ROOT / "docs" / "clients.md"
FEATURES = (
    "handshake",
    "subscribe",
    "batch",
    "publish",
    "receive",
    "network cut",
    "server restart",
    "resume",
    "disconnect",
)
TRANSPORTS = ("long-polling", "callback-polling", "websocket")
PAGES = "CometD, Chromium"

CLIENTS = [row[0] for row in rows(PAGE, "Client", "Version", "Runs in")]
MATRIX = rows(PAGE, "Client", "Transport", *FEATURES)
TESTS = {row[0]: row[1] for row in rows(PAGE, "Name", "Test")}
MISSING = [
    (client, thing)
    for client, thing, why in rows(PAGE, "Client", "Transport or feature", "Why")
    if why
]


@cache
def functions(path: str) -> set[str]:
    """Return the names of the functions in a file of the project."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_is_named_exists(name: str) -> None:
    path, _, function = TESTS[name].partition("::")
    assert function.startswith("test_")
    assert function in functions(path)


def test_each_name_is_that_of_a_test_and_each_test_is_named() -> None:
    cells = [cell for row in MATRIX for cell in row[2:] if cell != "–"]
    named = {name for cell in cells for name in cell.split(", ")}
    assert named == TESTS.keys()


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: " ".join(row[:2]))
def test_what_is_missing_has_a_reason(row: list[str]) -> None:
    client, transport, *cells = row
    owners = {client, f"{client}, {transport}"}
    for feature, cell in zip(FEATURES, cells, strict=True):
        told = any((owner, feature) in MISSING for owner in owners)
        assert told == (cell == "–"), feature


@pytest.mark.parametrize(("client", "transport"), [*product(CLIENTS, TRANSPORTS)])
def test_each_client_has_a_transport_or_a_reason(client: str, transport: str) -> None:
    tried = any(
        row[0] == client and row[1].split(" ")[0] == transport for row in MATRIX
    )
    assert tried != ((client, transport) in MISSING)


def test_the_rows_are_what_the_tests_run_with() -> None:
    pages = [row[1] for row in MATRIX if row[0] == PAGES]
    assert sorted(pages) == sorted(MOST)
    others = {
        f"{row[0].removesuffix(', Node')}, {row[1]}"
        for row in MATRIX
        if row[0] != PAGES
    }
    assert others == KINDS.keys()


def test_versions_are_those_that_are_installed() -> None:
    versions = " ".join(row[1] for row in rows(PAGE, "Client", "Version", "Runs in"))
    versions += (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"([\w-]+)`? (\d+\.\d+\.\d+)", versions))
    del told["tus"]  # the protocol
    package = (ROOT / "tests/clients/js/package.json").read_text(encoding="utf-8")
    assert told.pop("aiocometd-ng") == version("aiocometd-ng")
    assert json.loads(package)["dependencies"] == told
