"""A proxy serves many clients on one connection: what that says of a response."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests.e2e.conftest import new_node
from tests.e2e.nodes import configured
from tests.web.asking import Client, Sent, Sockets


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with new_node(configured(tmp_path)) as running:
        yield running


async def told(node: Node, kind: type[Sent]) -> tuple[Client, Client]:
    """Return a client that was told something on connection 1, and another client."""
    first, second = Client(node, kind), Client(node, kind)
    await first.start(1)
    await second.start(2)
    polling = asyncio.create_task(first.poll(1, 5000))
    await asyncio.sleep(0.05)
    await second.ask(2, "/news/x", data="news")
    assert await polling == ["news"]
    return first, second


async def test_a_request_behind_a_response_proves_that_it_arrived(node: Node) -> None:
    first, second = await told(node, Sent)
    assert await second.poll(1) == ["news"]
    assert await first.poll(3) == []


async def test_without_such_a_request_what_is_not_confirmed_is_sent_again(
    node: Node,
) -> None:
    first, second = await told(node, Sent)
    assert await second.poll(2) == ["news"]
    assert await first.poll(3) == ["news"]


async def test_a_request_proves_nothing_where_requests_do_not_wait(node: Node) -> None:
    first, second = await told(node, Sockets)
    assert await second.poll(1) == ["news"]
    assert await first.poll(3) == ["news"]


async def test_nothing_is_kept_of_connections_that_are_over(node: Node) -> None:
    first, second = await told(node, Sent)
    await second.ask(2, "/news/x", data="more")
    await first.poll(1)
    for client in (first, second):
        await client.ask(4, "/meta/disconnect")
    node._chat.endpoint.sweep()
    assert node._chat.endpoint._in_flight.client_on == {}
