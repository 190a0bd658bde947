"""Several cursors of a client are read at the same time, where there is a loop."""

import asyncio

from msgspec import Raw

from cometd_chat.bayeux import Bounds, Mailboxes
from cometd_chat.delivery import Cursor, Delivery, at_once
from tests.delivery.scripted import ScriptedStore, render


async def test_no_cursor_waits_for_another() -> None:
    store = ScriptedStore()
    delivery = Delivery(store, Mailboxes(Bounds()))
    for name in ("s", "t"):
        delivery.attach("c", store.create(name, 2), render, 0)
    meeting = asyncio.Barrier(2)

    async def read(_: Cursor) -> None:
        await meeting.wait()

    async with asyncio.timeout(5):
        await at_once(read, delivery.cursors("c").values())


def test_mail_that_arrived_does_not_come_again() -> None:
    delivery = Delivery(ScriptedStore(), Mailboxes(Bounds()))
    delivery.post("c", b'"mail"')
    assert delivery.take("c", ending=True) == [Raw(b'"mail"')]
    delivery.arrived("c")
    delivery.lost("c")
    assert delivery.take("c", ending=True) == []
