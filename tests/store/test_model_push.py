"""Whatever happens to pushes and devices, a store agrees with plain Python."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from cometd_chat.model import EntryKind, Job, Role
from cometd_chat.store import Due
from tests.store.conftest import Place
from tests.store.machine import (
    LEASE,
    NAME,
    NAMES,
    PLAN,
    SPAN,
    TOKEN,
    USER,
    Machine,
    explore,
)

END = st.sampled_from(("failed", "lost", "sent"))


class Pushes(Machine):
    """Begins with chats whose customers are away and must be told of an entry."""

    def __init__(self, place: Place, number: int) -> None:
        super().__init__(place, number)
        self.sending: list[Job] = []
        self.lower: list[Due] = []
        self.sent: dict[str, list[str]] = {}

    @initialize(user=USER)
    def begin(self, user: str) -> None:
        for name, token, whose in zip(NAMES, ("x", "y"), ("kim", user), strict=True):
            self.open(name, token, whose)
            self.absent(name, "phone", 0, None)
            self.answer(name)

    @rule(name=NAME)
    def answer(self, name: str) -> None:
        """An agent writes what is worth a push."""
        draft = self.draft(EntryKind.MESSAGE, Role.AGENT, True, 0)
        self.apply(name, [draft], None)

    @rule(plan=PLAN, delay=st.sampled_from((0.0, 20.0)))
    def work(self, plan: Any, delay: float) -> None:
        """Do what a worker does that is not disturbed."""
        already = len(self.lent)
        self.claim(delay)
        for pick in range(len(self.lent) - already):
            name, _ = self.lent[-1 - pick]
            self.announce(pick, self.chats[name].last, [plan])

    @rule(name=NAME, plan=PLAN, end=st.sampled_from(("failed", "lost", "sent")))
    def correct(self, name: str, plan: Any, end: str) -> None:
        """Do what a worker does for badges; it may be disturbed by the other chat."""
        self.tick()
        found = self.run(self.store.claim_badges(self.now, LEASE, limit=10_000))
        got = [one for one in found if one.session.id.startswith(self.prefix)]
        lower = {
            name
            for name, chat in self.chats.items()
            if chat.lower and chat.badge_lease <= self.now
        }
        assert {one.session.id for one in got} == {self.id(name) for name in lower}
        for one in got:
            self.chats[one.session.id.removeprefix(self.prefix)].badge_lease = one.lease
            self.lower.append(one)
        if end == "failed":
            self.answer(name)
        if end != "lost" and self.lower:
            self.corrected(self.lower.pop(), plan)

    def corrected(self, due: Due, plan: Any) -> None:
        name = due.session.id.removeprefix(self.prefix)
        chat = self.chats[name]
        jobs = [self.planned(d, *plan[:2], True) for d in due.session.devices]
        held = chat.lower and chat.badge_lease == due.lease
        assert self.run(self.store.update_badge(due, jobs)) == held
        if held:
            chat.badged, chat.badge_lease = False, 0.0
            self.queued(name, jobs)

    @rule(limit=st.integers(0, 4), first=END, others=END)
    def send(self, limit: int, first: str, others: str) -> None:
        """Do what a sender does; it may never come back from some jobs."""
        already = len(self.sending)
        self.claim_jobs(limit)
        for pick in range(len(self.sending) - already):
            end = others if pick else first
            if end == "sent":
                self.finish(pick)
            elif end == "failed":
                self.retry(pick, 0.0)

    @rule(name=NAME, plan=PLAN, end=END)
    def push(self, name: str, plan: Any, end: str) -> None:
        """Go the whole way of a push."""
        self.answer(name)
        self.work(plan, 0.0)
        self.send(4, end, "failed")

    def claim_jobs(self, limit: int) -> None:
        self.tick()
        got = self.run(
            self.store.claim_jobs(self.provider, self.now, LEASE, limit=limit)
        )
        self.jobs = {
            job_id: pending
            for job_id, pending in self.jobs.items()
            if pending.job.expires_at > self.now
        }
        ready = [p.ready_at for p in self.jobs.values() if p.ready_at <= self.now]
        lent = [self.jobs[job.id] for job in got]
        assert [pending.ready_at for pending in lent] == sorted(ready)[:limit]
        for job, pending in zip(got, lent, strict=True):
            pending.lease = self.now + LEASE
            assert job.session_id == self.id(pending.name)
            assert (job.lease, job.attempts) == (pending.lease, pending.attempts)
            chat = self.chats[pending.name]
            assert job.silent or chat.absent_since is not None
            device = chat.devices[job.device.id]
            assert job.silent or not device.muted
        self.sending += got

    def held(self, job: Job) -> bool:
        return job.id in self.jobs and self.jobs[job.id].lease == job.lease

    @precondition(lambda self: self.sending)
    @rule(pick=st.integers(0, 99))
    def finish(self, pick: int) -> None:
        job = self.sending[-1 - pick % len(self.sending)]
        name = job.session_id.removeprefix(self.prefix)
        done = self.run(self.store.finish_job(job, self.now))
        assert done == self.held(job)
        self.sent.setdefault(name, []).append(job.id)
        chat = self.chats[name]
        chat.told = max(chat.told, job.position)
        if not job.silent:
            chat.badged = True
            chat.announced = max(chat.announced, min(job.position, chat.last))
        self.jobs.pop(job.id, None)

    @invariant()
    def remembers_what_was_sent(self) -> None:
        for name in self.chats:
            known = self.run(self.store.sent_pushes(self.id(name)))
            assert {one.id for one in known} == set(self.sent.get(name, ()))

    @precondition(lambda self: self.sending)
    @rule(pick=st.integers(0, 99), span=SPAN)
    def retry(self, pick: int, span: float) -> None:
        job = self.sending[-1 - pick % len(self.sending)]
        at = self.now + span
        assert self.run(self.store.retry_job(job, at)) == self.held(job)
        if self.held(job):
            pending = self.jobs[job.id]
            pending.lease, pending.not_before = 0.0, at
            pending.attempts += 1

    @rule(name=NAME, token=TOKEN, muted=st.booleans())
    def register(self, name: str, token: str, muted: bool) -> None:
        device = self.device(token, muted=muted)
        self.run(self.store.register_device(self.id(name), device, self.now))
        self.chats[name].register(device, self.now)
        self.taken(name, device.id)
        self.equipped(name)

    @rule(
        name=NAME,
        token=TOKEN,
        ago=SPAN,
        how=st.sampled_from(["one", "all", "old", "dead", "jobs"]),
    )
    def lose(self, name: str, token: str, ago: float, how: str) -> None:
        match how:
            case "one":
                self.deregister(name, token)
            case "all":
                self.deregister(name, None)
            case "old":
                self.forget(token, ago)
            case "dead":
                self.forget(token, None)
            case _:
                self.cancel(name)

    def deregister(self, name: str, token: str | None) -> None:
        chat = self.chats[name]
        gone = [self.device(token).id] if token else list(chat.devices)
        gone = [device_id for device_id in gone if device_id in chat.devices]
        device_id = self.device(token).id if token else None
        work = self.store.deregister_device(self.id(name), device_id)
        assert self.run(work) == len(gone)
        for device_id in gone:
            del chat.devices[device_id]
            self.equipped(name)

    def forget(self, token: str, ago: float | None) -> None:
        dead = self.device(token)
        since = None if ago is None else self.now - ago
        gone = self.run(self.store.forget_device(dead.type, dead.id, since))
        for name, chat in self.chats.items():
            known = chat.devices.get(dead.id)
            if known and (since is None or known.registered_at <= since):
                del chat.devices[dead.id]
                self.equipped(name)
                gone -= 1
        assert gone == 0

    def cancel(self, name: str) -> None:
        mine = {job_id for job_id, p in self.jobs.items() if p.name == name}
        assert self.run(self.store.cancel_jobs(self.id(name))) == len(mine)
        for job_id in mine:
            del self.jobs[job_id]

    @rule(name=NAME, base=st.integers(0, 9), skew=st.integers(-5, 0))
    def report(self, name: str, base: int, skew: int) -> None:
        chat = self.chats[name]
        at = self.now + skew
        self.run(self.store.set_badge_base(self.id(name), base, at))
        if at >= chat.base_at:
            chat.base, chat.base_at = base, at


def test_a_store_agrees_with_its_model_of_pushes(place: Place) -> None:
    explore(Pushes, place, steps=80)
