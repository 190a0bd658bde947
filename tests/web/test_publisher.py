"""Who publishes gets his own event with the reply, and still each event once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cometd_chat.app import Node
from tests.e2e.conftest import new_node
from tests.e2e.nodes import configured
from tests.web.asking import Client, Cut, Sent, Sockets

POLLS, OTHERS, MORE = "polls", "others", "more"
"""Connections of the client."""

HOLD = 3_000
"""Milliseconds."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with new_node(configured(tmp_path)) as running:
        yield running


class Phone:
    """A client who is subscribed, and holds a poll."""

    def __init__(self, node: Node, kind: type[Sent] = Sent) -> None:
        self.client = Client(node, kind)
        self.sweep = node._chat.endpoint.sweep

    async def start(self, **handshake: object) -> "Phone":
        await self.client.start(OTHERS, **handshake)
        await self.hold()
        return self

    async def hold(self) -> None:
        self.polling = asyncio.create_task(self.client.poll(POLLS, HOLD))
        await asyncio.sleep(0.01)

    async def publish(self, text: str) -> list[str]:
        return await self.client.publish(OTHERS, text)

    async def end(self) -> list[str]:
        """End the poll by another one, elsewhere; return what that one brings."""
        events = await self.client.poll(MORE)
        assert await self.polling == []  # it was displaced
        return events


async def other(node: Node) -> Client:
    client = Client(node, Sent)
    await client.start("other")
    return client


async def test_the_reply_brings_it_and_the_poll_stays(node: Node) -> None:
    phone = await Phone(node).start()
    assert await phone.publish("mine") == ["mine"]
    assert await phone.publish("again") == ["again"]
    assert not phone.polling.done()


async def test_everybody_else_gets_it_with_the_poll(node: Node) -> None:
    phone, friend = await Phone(node).start(), await Phone(node).start()
    await phone.publish("mine")
    assert await friend.polling == ["mine"]


async def test_a_reply_that_was_not_confirmed_is_repeated(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    assert await phone.end() == ["mine"]


async def test_the_next_request_on_its_connection_confirms_it(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("first")
    await phone.publish("second")
    assert await phone.end() == ["second"]


async def test_the_system_confirms_it(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    assert phone.client.last
    phone.client.last.confirmed = True
    await (await other(node)).publish("other", "news")
    assert await phone.polling == ["news"]


async def test_what_comes_meanwhile_does_not_overtake_it(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    await (await other(node)).publish("other", "news")
    assert await phone.polling == ["mine", "news"]


async def test_what_comes_meanwhile_waits_for_the_confirmation(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    reply = phone.client.last
    await (await other(node)).publish("other", "news")
    await asyncio.sleep(0.03)
    assert reply
    assert not phone.polling.done()
    reply.confirmed = True
    assert await phone.polling == ["news"]


async def test_a_client_who_waits_for_the_confirmation_may_leave(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    await (await other(node)).publish("other", "news")
    await phone.client.ask(MORE, "/meta/disconnect")
    assert await phone.polling in ([], ["mine", "news"])


async def test_a_second_event_is_not_told_before_the_first_arrived(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("first")
    assert await phone.client.publish(MORE, "second") == []
    assert await phone.polling == ["first", "second"]


async def test_a_reply_that_cannot_be_written_leaves_it_to_the_poll(
    node: Node,
) -> None:
    phone = await Phone(node).start()
    phone.client.kind = Cut
    await phone.publish("mine")
    assert await phone.polling == ["mine"]


async def test_a_connection_that_dies_with_it_leaves_it_to_the_poll(
    node: Node,
) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    reply = phone.client.last
    phone.sweep()
    assert reply
    assert reply.doubtful
    reply.confirmed = reply.gone = True  # so it is with a socket that is closed
    phone.sweep()
    assert await phone.polling == ["mine"]


async def test_with_time_it_counts_as_arrived(node: Node) -> None:
    phone = await Phone(node).start()
    await phone.publish("mine")
    assert phone.client.last
    phone.client.last.confirmed = True
    phone.sweep()
    assert await phone.end() == []


async def test_without_a_poll_it_comes_with_the_next_one(node: Node) -> None:
    client = Client(node, Sent)
    await client.start(OTHERS)
    assert await client.publish(OTHERS, "mine") == []
    assert await client.poll(POLLS) == ["mine"]


async def test_clients_who_acknowledge_get_it_with_the_poll(node: Node) -> None:
    phone = await Phone(node).start(ext={"ack": True})
    assert await phone.publish("mine") == []
    assert await phone.polling == ["mine"]


async def test_on_a_socket_it_comes_with_the_poll(node: Node) -> None:
    phone = await Phone(node, Sockets).start()
    assert await phone.publish("mine") == []
    assert await phone.polling == ["mine"]


async def test_a_refused_publish_brings_nothing(node: Node) -> None:
    phone = await Phone(node).start()
    (reply,) = await phone.client.ask(OTHERS, "/elsewhere", data="mine")
    assert reply["error"].startswith("403:")
    assert not phone.polling.done()
