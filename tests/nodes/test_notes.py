"""What other nodes know of an agent whose node dies."""

from cometd_chat.nodes.cluster import Cluster
from cometd_chat.nodes.parcel import to_parcel
from tests.clients.pair import Pair
from tests.clients.raw import V1App
from tests.e2e.conftest import agent_token
from tests.nodes.load import Word, WordyAgent
from tests.web.conftest import until


async def test_what_an_agent_has_confirmed_is_noted(pair: Pair) -> None:
    node = pair.nodes[0]
    cluster = node._chat.endpoint.elsewhere
    assert isinstance(cluster, Cluster)

    async def noted() -> list[int]:
        place = await cluster._directory.find(agent.client_id)
        assert place is not None
        desk = to_parcel(place.record).luggage.desk
        assert desk is not None
        return [reading.acked for reading in desk.cursors]

    async with (
        V1App(f"{node.url}/genesys", user="cleo") as app,
        WordyAgent(f"{node.url}/cometd", agent_token()) as agent,
    ):
        agent.word = Word.ACK
        await app.start(userDisplayName="Cleo")
        await agent.start()
        await agent.operate("acceptChat", chatId=app.session_id)
        for number in range(5):
            await app.send(f"customer {number}")
        await agent.wait_for_text(app.session_id, "customer 4")
        last = agent.screen(app.session_id)[-1]["index"]
        cursor = node._chat.delivery.cursors(agent.client_id)[app.session_id]
        await until(lambda: cursor.acked == last)
        assert await noted() != [last]
        await cluster.custody.note()
        assert await noted() == [last]
