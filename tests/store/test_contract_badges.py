"""Badges that went down, and what became of the pushes that were sent."""

import pytest

from cometd_chat.model import End, PushOverride, SentPush
from cometd_chat.store import Due, Store
from tests.store.facts import answered, opened, phone, push

LEASE = 10.0


async def announced(store: Store, name: str = "s") -> None:
    """Let an entry be announced to an absent customer."""
    await opened(store, name)
    await store.mark_present(name, "phone", 1000.0)
    await store.mark_absent(name, "phone", 100.0)
    await store.append(name, [answered(at=200.0)])
    (due,) = await store.claim_due("sales", 300.0, 0.0, LEASE)
    last = (await store.get(name)).last
    assert await store.announce(due, last, [push(f"{name}-told", device=phone(name))])


async def told(store: Store) -> None:
    """Let an absent customer be told of an entry by push."""
    await announced(store)
    (job,) = await store.claim_jobs("apns", 310.0, LEASE)
    assert await store.finish_job(job, 320.0)


async def lower(store: Store, now: float = 400.0) -> list[Due]:
    return await store.claim_badges(now, LEASE)


def corrected(name: str = "badge") -> list[object]:
    return [push(name, silent=True)]


# --- badges ----------------------------------------------------------------------


async def test_a_badge_is_lower_once_all_that_was_told_is_read(store: Store) -> None:
    await told(store)
    assert await lower(store) == []
    await store.append("s", [answered(at=201.0)])
    await store.acknowledge("s", 1)
    assert await lower(store) == []
    await store.acknowledge("s", 2)
    (one,) = await lower(store)
    assert one.session == await store.get("s")
    assert one.lease == 400.0 + LEASE


async def test_nobody_whom_no_push_reached_has_a_lower_badge(store: Store) -> None:
    await announced(store)
    (job,) = await store.claim_jobs("apns", 310.0, LEASE)
    assert await store.finish_job(job)  # it cannot be sent
    await store.acknowledge("s", 1)
    assert await lower(store) == []


async def test_a_push_that_arrived_although_its_customer_was_back_counts(
    store: Store,
) -> None:
    await announced(store)
    (job,) = await store.claim_jobs("apns", 310.0, LEASE)
    await store.mark_present("s", "phone", 1000.0, acked=1)
    assert not await store.finish_job(job, 320.0)
    assert [one.id for one in await sent(store)] == ["s-told"]
    assert await store.confirm_push("s", "s-told", 330.0, opened=True)
    assert not await store.finish_job(job, 340.0)  # sent again, after all
    (one,) = await sent(store)
    assert (one.sent_at, one.opened_at) == (320.0, 330.0)
    assert len(await lower(store)) == 1


async def test_a_lower_badge_is_lent_to_one_worker_and_then_to_the_next(
    store: Store,
) -> None:
    await told(store)
    await store.mark_present("s", "phone", 1000.0, acked=1)
    (first,) = await lower(store, 400.0)
    assert await lower(store, 409.0) == []
    (second,) = await lower(store, 410.0)
    assert not await store.update_badge(first, corrected())
    assert await store.update_badge(second, corrected())
    assert not await store.update_badge(second, corrected("again"))
    assert await lower(store, 1000.0) == []
    (job,) = await store.claim_jobs("apns", 420.0, LEASE)
    assert (job.id, job.silent) == ("badge", True)


async def test_a_correction_is_no_push_of_the_absence(store: Store) -> None:
    """Else the first push after it would come without its delay."""
    await told(store)
    await store.mark_present("s", "phone", 1000.0, acked=1)
    await store.mark_absent("s", "phone", 500.0)
    (one,) = await lower(store, 510.0)
    assert await store.update_badge(one, corrected())
    await store.append("s", [answered(at=520.0)])
    assert await store.claim_due("sales", 530.0, 90.0, LEASE) == []
    assert len(await store.claim_due("sales", 610.0, 90.0, LEASE)) == 1


async def test_something_new_takes_the_place_of_a_correction(store: Store) -> None:
    await told(store)
    await store.acknowledge("s", 1)
    (early,) = await lower(store)
    await store.append("s", [answered(at=450.0)])
    assert not await store.update_badge(early, corrected())
    await store.acknowledge("s", 2)
    (later,) = await lower(store, 500.0)
    assert await store.update_badge(later, corrected())

    await store.append("s", [answered(at=510.0)])
    (due,) = await store.claim_due("sales", 520.0, 0.0, LEASE)
    assert await store.announce(due, 3, [push("news")])
    sent = await store.claim_jobs("apns", 530.0, LEASE)
    assert "badge" not in [job.id for job in sent]


async def test_a_change_of_devices_takes_a_lent_badge_back(store: Store) -> None:
    await told(store)
    await store.acknowledge("s", 1)
    (one,) = await lower(store)
    await store.register_device("s", phone("other"), 400.0)
    assert not await store.update_badge(one, corrected())
    assert len(await lower(store)) == 1


async def test_what_is_uncounted_is_pushed_but_not_in_the_badge(store: Store) -> None:
    await opened(store)
    quiet = PushOverride(title="Offer", uncounted=True)
    loud = PushOverride(apns={"aps": {"badge": 3}})
    await store.append("s", [answered(push=quiet), answered(push=loud), answered()])
    assert await store.badge("s") == 2
    assert [entry.push for entry in await store.read("s", 0)] == [quiet, loud, None]


# --- what was sent ---------------------------------------------------------------


async def sent(store: Store) -> list[SentPush]:
    return await store.sent_pushes("s")


async def test_what_was_sent_is_remembered_and_what_never_will_be_is_not(
    store: Store,
) -> None:
    await told(store)
    await store.append("s", [answered(at=350.0)])
    (due,) = await store.claim_due("sales", 360.0, 0.0, LEASE)
    assert await store.announce(due, 2, [push("more", position=2), push("dropped")])
    for job in await store.claim_jobs("apns", 370.0, LEASE):
        at = {"more": 380.0}.get(job.id)
        assert await store.finish_job(job, at)
        assert not await store.finish_job(job)
    facts = {"device_type": "ios", "provider": "apns"}
    assert await sent(store) == [
        SentPush(id="s-told", position=1, sent_at=320.0, **facts),
        SentPush(id="more", position=2, sent_at=380.0, **facts),
    ]
    assert await store.sent_pushes("nobody") == []


async def test_the_first_word_of_the_app_counts(store: Store) -> None:
    await told(store)
    assert await store.confirm_push("s", "s-told", 330.0, opened=False)
    assert await store.confirm_push("s", "s-told", 340.0, opened=False)
    (one,) = await sent(store)
    assert (one.shown_at, one.opened_at) == (330.0, None)
    assert await store.confirm_push("s", "s-told", 350.0, opened=True)
    assert await store.confirm_push("s", "s-told", 360.0, opened=True)
    (one,) = await sent(store)
    assert (one.shown_at, one.opened_at) == (330.0, 350.0)


async def test_what_was_opened_was_shown(store: Store) -> None:
    await told(store)
    assert await store.confirm_push("s", "s-told", 350.0, opened=True)
    (one,) = await sent(store)
    assert (one.shown_at, one.opened_at) == (350.0, 350.0)


@pytest.mark.parametrize(
    ("session", "push_id"), [("s", "other"), ("other", "s-told"), ("nobody", "s-told")]
)
async def test_nobody_confirms_what_was_not_sent_to_him(
    store: Store, session: str, push_id: str
) -> None:
    await told(store)
    await opened(store, "other")
    assert not await store.confirm_push(session, push_id, 330.0, opened=True)
    assert (await sent(store))[0].shown_at is None


async def test_what_was_sent_is_forgotten_with_its_session(store: Store) -> None:
    await told(store)
    await store.append("s", [], transition=End())
    assert await store.purge(0.0, 1e6) == 1
    assert await sent(store) == []
