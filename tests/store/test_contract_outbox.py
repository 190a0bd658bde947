"""Pushes that were announced are sent: each, once, and only while they make sense."""

import asyncio
from dataclasses import fields

import pytest

from cometd_chat.model import End, Job, NewJob
from cometd_chat.store import Due, SessionNotFoundError, Store, StoreError
from tests.store.conftest import Place
from tests.store.facts import answered, asks, new, opened, phone, push, said

LEASE = 30.0


async def due(store: Store, name: str = "s", **facts: object) -> Due:
    """Return the one session that is due: its customer vanished, an agent wrote."""
    await opened(store, name, **facts)
    await store.mark_absent(name, "phone", 100.0)
    await store.append(name, [answered(at=100.0)])
    (one,) = await store.claim_due("sales", 100.0, 0.0, LEASE)
    return one


async def announced(store: Store, *jobs: NewJob) -> None:
    assert await store.announce(await due(store), 1, jobs)


async def claim(store: Store, now: float = 100.0, limit: int = 20) -> list[Job]:
    return await store.claim_jobs("apns", now, LEASE, limit)


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


# --- announcing ------------------------------------------------------------------


async def test_a_job_is_lent_as_it_was_announced(store: Store) -> None:
    other = phone(language="fr", quiet="22:00-07:00")
    first = push("a", content=b"\0\xff", position=1, expires_at=500.5, silent=True)
    second = push("b", device=other, not_before=50.5)
    await announced(store, first, second)
    assert await claim(store) == [lent(first), lent(second)]


def lent(job: NewJob) -> Job:
    """Return the job as it is lent the first time, at 100.0."""
    known = {field.name: getattr(job, field.name) for field in fields(NewJob)}
    return Job(**known, session_id="s", attempts=0, lease=100.0 + LEASE)


async def test_content_and_device_stay_out_of_the_text_of_a_job(store: Store) -> None:
    await announced(store, push())
    (job,) = await claim(store)
    assert "a secret" not in repr(job)
    assert job.device.id not in repr(job)


async def test_announcing_needs_no_job(store: Store) -> None:
    await announced(store)
    assert await claim(store) == []
    assert (await store.get("s")).announced == 1
    assert await store.claim_due("sales", 900.0, 0.0, LEASE) == []


async def test_a_job_whose_id_is_queued_is_kept_once(store: Store) -> None:
    await announced(store, push("a", position=1), push("a", position=2), push("b"))
    assert [(job.id, job.position) for job in await claim(store)] == [
        ("a", 1),
        ("b", 1),
    ]


async def test_of_two_workers_with_the_same_session_one_announces(
    store: Store,
) -> None:
    dead = await due(store)
    (alive,) = await store.claim_due("sales", 200.0, 0.0, LEASE)
    results = await asyncio.gather(
        store.announce(dead, 1, [push("dead")]),
        store.announce(alive, 1, [push("alive")]),
        store.announce(alive, 1, [push("twice")]),
    )
    assert list(results) == [False, True, False]
    assert ids(await claim(store)) == ["alive"]


async def test_a_customer_who_returned_is_not_announced_to(store: Store) -> None:
    one = await due(store)
    await store.mark_present("s", "phone", 200.0)
    assert not await store.announce(one, 1, [push()])
    assert await claim(store) == []
    assert (await store.get("s")).announced == 0


async def test_a_job_that_cannot_be_stored_leaves_the_session_due(
    store: Store,
) -> None:
    one = await due(store)
    with pytest.raises(StoreError):
        await store.announce(one, 1, [push("a"), push("\ud800")])
    assert await claim(store) == []
    assert (await store.get("s")).announced == 0
    assert await store.announce(one, 1, [push("a")])


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.register_device("s", phone("new"), 100.0),
        lambda store: store.register_device("s", phone(language="fr"), 100.0),
        lambda store: store.deregister_device("s", phone("old").id),
        lambda store: store.forget_device("ios", phone("old").id, None),
        lambda store: store.register_device("other", phone("old"), 100.0),
        lambda store: store.create(new("newcomer", devices=(phone("old"),))),
    ],
    ids=["added", "replaced", "deregistered", "dead", "taken", "taken-by-a-new-one"],
)
async def test_a_change_of_devices_takes_the_loan_back_at_once(
    store: Store, change: object
) -> None:
    assert callable(change)
    await opened(store, "other")
    await store.create(new(devices=(phone(), phone("old")), absent_since=100.0))
    await store.append("s", [answered(at=100.0)], transition=asks())
    (before,) = await store.claim_due("sales", 100.0, 0.0, 20.0)
    await change(store)
    assert not await store.announce(before, 1, [push()])
    assert not await store.postpone(before, 900.0)
    (after,) = await store.claim_due("sales", 100.0, 0.0, LEASE)
    assert after.session == await store.get("s")
    assert after.session.devices != before.session.devices
    assert await store.announce(after, 1, [push()])


async def test_what_changes_no_device_leaves_the_loan(store: Store) -> None:
    one = await due(store)
    await store.deregister_device("s", "another")
    await store.forget_device("fcm", phone().id, None)
    await store.forget_device("ios", phone().id, -1.0)
    await opened(store, "other")
    await store.append("s", [answered(at=101.0)], transition=End())
    assert await store.announce(one, 1, [push()])


async def test_a_change_of_devices_ends_a_postponement(store: Store) -> None:
    one = await due(store)
    assert await store.postpone(one, 9000.0)
    await store.register_device("s", phone("new"), 150.0)
    assert len(await store.claim_due("sales", 150.0, 0.0, LEASE)) == 1


# --- lending ---------------------------------------------------------------------


async def test_of_eight_senders_one_gets_each_job(store: Store) -> None:
    await announced(store, *(push(f"j{n}") for n in range(100)))
    claims = await asyncio.gather(*(claim(store, limit=15) for _ in range(8)))
    got = [job.id for jobs in claims for job in jobs]
    assert sorted(got) == sorted(f"j{n}" for n in range(100))
    assert max(len(jobs) for jobs in claims) == 15
    assert await claim(store) == []


async def test_each_provider_has_jobs_of_its_own(store: Store) -> None:
    await announced(store, push("a"), push("f", provider="fcm", not_before=900.0))
    assert await store.job_providers() == ["apns", "fcm"]
    assert ids(await claim(store)) == ["a"]
    assert await store.claim_jobs("fcm", 899.0, LEASE) == []
    assert ids(await store.claim_jobs("fcm", 900.0, LEASE)) == ["f"]
    assert await store.claim_jobs("", 900.0, LEASE) == []


async def test_providers_are_known_while_they_have_jobs(store: Store) -> None:
    assert await store.job_providers() == []
    await announced(store, push("a", provider=""), push("f", provider="fcm"))
    assert await store.job_providers() == ["", "fcm"]
    (job,) = await store.claim_jobs("fcm", 100.0, LEASE)
    assert await store.job_providers() == ["", "fcm"]
    await store.finish_job(job)
    assert await store.job_providers() == [""]


async def test_services_are_known_while_somebody_has_not_heard(store: Store) -> None:
    assert await store.unheard_services() == []
    for name, service in (("a", "sales"), ("b", "help"), ("c", "help"), ("d", "idle")):
        await opened(store, name, service=service)
        await store.mark_absent(name, "phone", 100.0)
        if service != "idle":
            await store.append(name, [answered(at=100.0)])
    assert await store.unheard_services() == ["help", "sales"]
    (lent,) = await store.claim_due("sales", 100.0, 0.0, LEASE)
    assert await store.unheard_services() == ["help", "sales"]
    await store.announce(lent, 1, ())
    await store.deregister_device("b", None)
    assert await store.unheard_services() == ["help"]
    await store.register_device("c", phone("c", muted=True), 100.0)
    assert await store.unheard_services() == []


async def test_a_job_waits_for_its_time(store: Store) -> None:
    await announced(store, push(not_before=200.0))
    assert await claim(store, 199.0) == []
    assert len(await claim(store, 200.0)) == 1


async def test_what_could_be_sent_for_the_longest_time_comes_first(
    store: Store,
) -> None:
    times = {"late": 90.0, "early": 10.0, "middle": 50.0, "middle-too": 50.0}
    await announced(store, *(push(name, not_before=at) for name, at in times.items()))
    assert ids(await claim(store, limit=3)) == ["early", "middle", "middle-too"]
    assert ids(await claim(store, limit=3)) == ["late"]


async def test_a_job_whose_lease_ran_out_is_lent_again_and_its_zombie_changes_nothing(
    store: Store,
) -> None:
    await announced(store, push())
    (dead,) = await claim(store, 100.0)
    assert await claim(store, 129.0) == []
    (alive,) = await claim(store, 130.0)
    assert not await store.finish_job(dead)
    assert not await store.retry_job(dead, 0.0)
    assert await claim(store, 159.0) == []
    assert await store.finish_job(alive)


async def test_a_sender_that_outlived_its_lease_still_holds_what_nobody_took(
    store: Store,
) -> None:
    await announced(store, push())
    (job,) = await claim(store)
    assert await store.finish_job(job)


async def test_a_finished_job_is_gone(store: Store) -> None:
    await announced(store, push())
    (job,) = await claim(store)
    assert await store.finish_job(job)
    assert not await store.finish_job(job)
    assert not await store.retry_job(job, 0.0)
    assert await claim(store, 900.0) == []


async def back_and_gone(store: Store, acked: int = 0) -> None:
    """Let the customer come back, perhaps read, and vanish."""
    assert await store.mark_present("s", "phone", 150.0, acked=acked)
    assert await store.mark_absent("s", "phone", 150.0)


async def due_again(store: Store) -> list[int]:
    found = await store.claim_due("sales", 1000.0, 0.0, LEASE)
    return [one.session.announced for one in found]


async def test_what_was_called_off_and_not_read_is_due_again(store: Store) -> None:
    await announced(store, push())
    await back_and_gone(store)
    assert await claim(store, 150.0) == []
    assert await due_again(store) == [0]


async def test_what_was_called_off_and_read_is_not_due_again(store: Store) -> None:
    await announced(store, push())
    await back_and_gone(store, acked=1)
    assert await due_again(store) == []


async def test_what_one_device_was_told_is_not_due_again(store: Store) -> None:
    await announced(store, push("a"), push("b"))
    first, _ = await claim(store)
    assert await store.finish_job(first, 100.0)
    await back_and_gone(store)
    assert await due_again(store) == []


async def test_what_was_sent_while_he_came_and_went_is_not_due_again(
    store: Store,
) -> None:
    await announced(store, push())
    (job,) = await claim(store)
    await back_and_gone(store)
    assert not await store.finish_job(job, 151.0)
    assert await due_again(store) == []


async def test_what_was_sent_is_not_sent_again_though_it_was_queued_anew(
    store: Store,
) -> None:
    """The customer came and went, and was announced to again, while it was sent."""
    await announced(store, push())
    (job,) = await claim(store)
    await back_and_gone(store)
    (once_more,) = await store.claim_due("sales", 150.0, 0.0, LEASE)
    assert await store.announce(once_more, 1, [push()])
    assert not await store.finish_job(job, 151.0)
    assert await claim(store, 151.0) == []
    assert await store.job_providers() == []


async def test_what_was_sent_late_is_not_tried_again_by_who_took_it_over(
    store: Store,
) -> None:
    await announced(store, push())
    (slow,) = await claim(store)
    (other,) = await claim(store, 100.0 + LEASE)
    assert not await store.finish_job(slow, 131.0)
    assert not await store.retry_job(other, 132.0)
    assert await claim(store, 500.0) == []


async def test_what_failed_while_he_came_and_went_is_due_again(store: Store) -> None:
    await announced(store, push())
    (job,) = await claim(store)
    await back_and_gone(store)
    assert not await store.finish_job(job)
    assert await due_again(store) == [0]


async def test_a_job_that_is_given_back_counts_its_attempts_and_waits(
    store: Store,
) -> None:
    await announced(store, push())
    (job,) = await claim(store, 100.0)
    assert await store.retry_job(job, 200.0)
    assert not await store.retry_job(job, 0.0)
    assert not await store.finish_job(job)
    assert await claim(store, 199.0) == []
    (again,) = await claim(store, 200.0)
    assert (again.attempts, again.not_before, again.id) == (1, 200.0, job.id)
    assert await store.retry_job(again, 150.0)
    (once_more,) = await claim(store, 200.0)
    assert once_more.attempts == 2


async def test_jobs_and_their_leases_outlive_the_process(
    store: Store, place: Place
) -> None:
    await announced(store, push("a"), push("b"))
    (job,) = await claim(store, limit=1)
    await store.close()
    again = await place()
    assert ids(await claim(again)) == ["b"]
    assert await again.finish_job(job)
    await again.close()


async def test_what_was_said_before_the_end_is_still_sent(store: Store) -> None:
    await announced(store, push())
    await store.append("s", [said(at=101.0)], transition=End())
    assert len(await claim(store)) == 1


# --- deleting --------------------------------------------------------------------


async def test_what_expired_is_not_sent_nor_given_back(store: Store) -> None:
    await announced(store, push("a", expires_at=200.0), push("b", expires_at=201.0))
    (lent, _) = await claim(store)
    assert ids(await claim(store, 200.0)) == ["b"]
    assert not await store.retry_job(lent, 0.0)
    assert not await store.finish_job(lent)
    assert await store.cancel_jobs("s") == 1


async def test_many_that_expired_at_once_are_all_left_out(store: Store) -> None:
    old = [push(f"o{n}", expires_at=150.0) for n in range(2500)]
    await announced(store, *old, push("new", not_before=100.0))
    assert ids(await claim(store, 150.0)) == ["new"]
    for _ in range(3):
        assert await claim(store, 150.0) == []
    assert await store.cancel_jobs("s") == 1


async def test_the_customers_return_deletes_all_jobs_but_the_silent(
    store: Store,
) -> None:
    await announced(store, push("ready"), push("lent"), push("quiet", silent=True))
    lent, _ = await claim(store, limit=2)
    await store.mark_present("s", "phone", 200.0)
    assert not await store.finish_job(lent)
    assert not await store.retry_job(lent, 100.0)
    assert ids(await claim(store)) == ["quiet"]
    await store.mark_absent("s", "phone", 150.0)
    assert ids(await claim(store, 900.0)) == ["quiet"]


async def test_another_customers_return_deletes_nothing(store: Store) -> None:
    await announced(store, push())
    await opened(store, "other")
    await store.mark_absent("other", "tablet", 100.0)
    await store.mark_present("other", "tablet", 200.0)
    assert len(await claim(store)) == 1


async def test_jobs_of_a_session_are_cancelled_together(store: Store) -> None:
    await announced(store, push("a"), push("b", silent=True), push("c", provider="fcm"))
    one = await due(store, "other")
    assert await store.announce(one, 1, [push("d", device=phone("other"))])
    lent = (await claim(store, limit=1))[0]
    assert await store.cancel_jobs("s") == 3
    assert not await store.retry_job(lent, 0.0)
    assert await store.cancel_jobs("s") == 0
    assert await store.cancel_jobs("nobody") == 0
    assert ids(await claim(store, 900.0)) == ["d"]


async def test_nothing_is_sent_for_a_session_that_was_purged(store: Store) -> None:
    await announced(store, push("a", silent=True), push("b"))
    await store.append("s", [], transition=End())
    assert await store.purge(0.0, 900.0) == 1
    assert await claim(store) == []
    assert await store.job_providers() == []
    assert await store.unheard_services() == []
    await store.create(new("another"))
    assert await store.forget_device("ios", phone().id, None) == 0


# --- the badge -------------------------------------------------------------------


async def test_the_badge_counts_what_is_notable_and_not_acknowledged(
    store: Store,
) -> None:
    await opened(store)
    assert await store.badge("s") == 0
    await store.append("s", [answered(), said(), answered(), answered(notable=False)])
    assert await store.badge("s") == 2
    await store.acknowledge("s", 1)
    assert await store.badge("s") == 1
    await store.mark_absent("s", "phone", 100.0, position=0)
    assert await store.badge("s") == 2


async def test_a_push_leaves_the_badge(store: Store) -> None:
    await announced(store)
    assert await store.badge("s") == 1


async def test_the_badge_is_that_of_all_open_chats_of_a_user(store: Store) -> None:
    for name, user in (("a", "kim"), ("b", "kim"), ("over", "kim"), ("c", "lee")):
        await opened(store, name, user=user)
        await store.append(name, [answered()])
        await store.set_badge_base(name, 10, 100.0)
    await store.append("over", [], transition=End())
    await store.create(new("unopened", user="kim"))
    await store.set_badge_base("unopened", 500, 100.0)
    assert await store.badge("a") == await store.badge("b") == 22
    assert await store.badge("c") == 11
    assert await store.badge("over") == 33  # its last push counts itself too


async def test_customers_without_a_name_have_badges_of_their_own(store: Store) -> None:
    for name in ("a", "b"):
        await opened(store, name)
        await store.append(name, [answered()])
    assert await store.badge("a") == 1


async def test_what_the_app_reported_is_added_until_the_customer_is_present(
    store: Store,
) -> None:
    await opened(store)
    await store.append("s", [answered()])
    await store.set_badge_base("s", 5, 100.0)
    await store.mark_absent("s", "phone", 100.0)
    assert await store.badge("s") == 6
    await store.set_badge_base("s", 3, 101.0)
    assert await store.badge("s") == 4
    await store.mark_present("s", "phone", 200.0)
    assert await store.badge("s") == 1
    await store.set_badge_base("s", 7, 150.0)
    await store.mark_present("s", "phone", 200.0)
    assert await store.badge("s") == 1


async def test_an_old_report_does_not_replace_a_newer_one(store: Store) -> None:
    await opened(store)
    await store.set_badge_base("s", 5, 100.0)
    await store.set_badge_base("s", 9, 99.0)
    assert await store.badge("s") == 5
    await store.set_badge_base("s", 6, 100.0)
    assert await store.badge("s") == 6


@pytest.mark.parametrize(
    ("count", "becomes"), [(-1, 0), (2**31, 2**31 - 1), (2**70, 2**31 - 1)]
)
async def test_a_report_beyond_reason_is_brought_within_it(
    store: Store, count: int, becomes: int
) -> None:
    await opened(store)
    await store.set_badge_base("s", count, 100.0)
    assert await store.badge("s") == becomes


async def test_an_unknown_session_has_no_badge(store: Store) -> None:
    with pytest.raises(SessionNotFoundError):
        await store.badge("nobody")
    with pytest.raises(SessionNotFoundError):
        await store.set_badge_base("nobody", 1, 100.0)
