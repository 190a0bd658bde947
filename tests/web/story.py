"""What a phone must see of a chat, whatever client and transport it has."""

from collections.abc import Awaitable, Callable

from cometd_chat.app import Node
from tests.clients.raw import V1Chat
from tests.e2e.nodes import agent_at, clients, say

from .conftest import until
from .phones import Phone

NOTICE = "customer is not online"


async def hears_and_says_goodbye(node: Node, app: V1Chat, phone: Phone) -> None:
    """The phone shows what is written; with its goodbye all of that is confirmed."""
    await app.create_chat(notify_by="comet")
    async with agent_at(node, app.session_id) as agent:
        await say(agent, app, "one")
        await phone.shows("one")
        await say(agent, app, "two")
        await phone.shows("one", "two")
        position = len(phone.screen)
        await phone.leave(position)
        await agent.wait_for(lambda: agent.notices(app.session_id))
        assert agent.notices(app.session_id)[0]["text"] == NOTICE
        await until(lambda: clients(node) == 1)
        session = await node.store.get(app.session_id)
        assert session.acked == position


async def survives_a_cut(
    node: Node, app: V1Chat, phone: Phone, cut: Callable[[], Awaitable[None]]
) -> None:
    """Nothing is lost when the network breaks in between."""
    await app.create_chat(notify_by="comet")
    async with agent_at(node, app.session_id) as agent:
        await say(agent, app, "one")
        await phone.shows("one")
        await cut()
        await say(agent, app, "two")
        await phone.shows("one", "two")
        await say(agent, app, "three")
        await phone.shows("one", "two", "three")


async def survives_a_restart(
    node: Node, starting: Callable[[], Node], app: V1Chat, phone: Phone
) -> None:
    """The phone goes on at the next node, which `starting` makes at the same place."""
    await app.create_chat(notify_by="comet")
    async with agent_at(node, app.session_id) as agent:
        await say(agent, app, "one")
        await phone.shows("one")
    await node.stop()
    async with starting() as second, agent_at(second, app.session_id) as agent:
        await say(agent, app, "two")
        await phone.shows("one", "two")
        await say(agent, app, "three")
        await phone.shows("one", "two", "three")
