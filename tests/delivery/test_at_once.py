"""The store is asked several things at the same time, where there is a loop."""

import asyncio

from msgspec import Raw

from cometd_chat.bayeux import Bounds, Mailboxes
from cometd_chat.delivery import Delivery, at_once
from tests.delivery.scripted import ScriptedStore


async def test_no_read_waits_for_another() -> None:
    meeting = asyncio.Barrier(2)

    async def read() -> None:
        await meeting.wait()

    async with asyncio.timeout(5):
        await at_once([read, read])


def test_mail_that_arrived_does_not_come_again() -> None:
    delivery = Delivery(ScriptedStore(), Mailboxes(Bounds()))
    delivery.post("c", b'"mail"')
    assert delivery.take("c", ending=True) == [Raw(b'"mail"')]
    delivery.arrived("c")
    delivery.lost("c")
    assert delivery.take("c", ending=True) == []
