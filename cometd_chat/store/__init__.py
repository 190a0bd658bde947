"""Where transcripts live. The docstrings of `Store` are its specification.

Three rules hold for every store:

* *Persist, then notify.* A method that writes returns after the commit reached
  durable storage; only then are the watchers told. What was returned is never lost.
* *Reading does not remove.* The acknowledged position moves by the customer's word
  only, and nothing that it passed is taken away from other readers.
* *A change is a hint.* Watchers may miss one, or see it late; the truth is read.

Times are wall seconds and always arguments, so that a store never asks a clock.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from cometd_chat.model import (
    Device,
    Draft,
    Entry,
    Job,
    NewJob,
    Participant,
    SentPush,
    Session,
    State,
    Transition,
)


class StoreError(Exception):
    """What a store refuses or fails to do; never carries chat text or keys.

    `option` of `[store]` is to be looked at where that keeps a server from starting.
    """

    option = "url"


class SessionNotFoundError(StoreError):
    """No such session, or none that this key, user or client may know of."""


class SessionDamagedError(StoreError):
    """The session is there, but what is stored of it cannot be read."""


class SessionEndedError(StoreError):
    """The session is over: nobody may write to it any more."""


class SessionNotOpenError(StoreError):
    """The session was created, but the chat has not been asked for yet."""


class TakenError(StoreError):
    """Another agent is already in the session."""

    def __init__(self, by: Participant) -> None:
        super().__init__("another agent has the session")
        self.by = by


class ConflictError(StoreError):
    """The newest entry is not the one that was expected: somebody was faster."""


class TranscriptFullError(StoreError):
    """The transcript has reached the greatest number of entries."""


class StoreUnavailableError(StoreError):
    """The storage cannot be reached or written now.

    Nothing was stored, or, where the storage is on another machine, it is not known:
    a repeat with the same `Once` stores it once.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many entries a transcript has at most, and, about, how many sessions there
    are that were never opened."""

    entries: int = 5000
    new: int = 50_000


DEFAULT_LIMITS: Final = Limits()


# Structs, for each entry that is written needs them: a dataclass takes six times as
# long to be made.
class Change(Struct, frozen=True, kw_only=True):
    """News of one session: new entries, or another fact about it (`altered`)."""

    session_id: str
    entries: tuple[Entry, ...] = ()
    altered: bool = False


class Appended(Struct, frozen=True, kw_only=True):
    """The entries that were stored, or those of the first time when repeated."""

    entries: tuple[Entry, ...]
    repeated: bool = False

    @property
    def position(self) -> int:
        """Position of the newest of the entries, 0 if there is none."""
        return self.entries[-1].position if self.entries else 0


class Once(Struct, frozen=True, kw_only=True):
    """An idempotency key: what it names is stored once per session.

    `window` limits the memory to so many seconds; None means the session's life.
    """

    key: str
    window: float | None = None


class Quiet(Struct, frozen=True, kw_only=True):
    """An open session whose newest entry, the one at `last`, is of `since` (wall
    seconds); without entries, that is when it was opened."""

    session_id: str
    service: str
    last: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A push that is due, lent to one worker until `lease` (wall seconds)."""

    session: Session
    lease: float


Watcher: TypeAlias = Callable[[Change], None]

UNREADABLE = "a push of chat %s by %s cannot be read, and is dropped"
"""Logged of a damaged job by who meets it; with its session's id and its provider."""

DAMAGED = "chat %s cannot be read, and is left out"
"""Logged of a damaged session, once by each process that meets it; with its id."""


class Store(Protocol):
    """Sessions, their transcripts, and the pushes that are to tell of them.

    Any method may raise StoreUnavailableError; one that is asked for a session which
    is damaged, SessionDamagedError. Where several sessions are returned, lent or
    purged, or lose a device, one that is damaged is logged and holds up no other.
    """

    # -- sessions -------------------------------------------------------------------

    async def create(self, session: Session) -> None:
        """Keep a new session; its devices are taken from others as in registering.

        Beyond `Limits.new` that were never opened the oldest are forgotten, or about
        the oldest, for anybody can make them.

        Raises: StoreError when its id or key is that of another session.
        """
        ...

    async def get(self, session_id: str) -> Session:
        """Return the session as it stands.

        Raises: SessionNotFoundError.
        """
        ...

    async def find(self, key: str) -> Session:
        """Return the session that has this secret key.

        Raises: SessionNotFoundError.
        """
        ...

    async def of_user(self, user: str) -> list[Session]:
        """Return the user's sessions that he may still read, oldest first.

        Those are the open ones, and ended ones that he has not acknowledged to the
        end. None for an empty name.
        """
        ...

    async def of_client(self, client_id: str) -> list[Session]:
        """Return the sessions that this Bayeux client ever read as their customer.

        Oldest creation first. Also for clients that are long gone: presence is
        marked as over, not removed.
        """
        ...

    async def sessions(
        self, states: Collection[State], services: Collection[str], limit: int
    ) -> list[Session]:
        """Return up to `limit` sessions in these states, oldest start first.

        An empty `services` means every service.
        """
        ...

    # -- the transcript -------------------------------------------------------------

    async def append(
        self,
        session_id: str,
        drafts: Sequence[Draft],
        *,
        transition: Transition | None = None,
        once: Once | None = None,
        expected: int | None = None,
    ) -> Appended:
        """Store the drafts at the next positions, all or none, with the transition.

        Positions of one session are contiguous and start at 1; concurrent calls get
        different ones. Only where the storage may have lost its newest entries, which
        somebody may have seen, does the next one leave a gap, so that no position is
        ever given to two entries. Times of entries never go back within a session.
        A draft of participant `JOINING` gets the number of the agent who joins with
        it. With `once`, a repeat stores nothing and returns the entries of the first
        time.
        A transition that has been made already (opened, joined, left, ended) is a
        repeat too, with no entries. It is dated by the last draft, without any by
        the newest entry or else the creation. The participants of an ended session
        stay. The device of `Open` is registered at that date; all devices of the
        session are then those of its user. With `End(by_customer=True)`, the session
        loses its devices as in deregistering, but not in a repeat.
        With `expected`, the position that the caller knows as the newest (0 for no
        entry), nothing is stored if another one is: of several who saw the same
        transcript, one stores. Who gets no answer looks at the transcript again.

        Raises: SessionNotFoundError; SessionNotOpenError; SessionEndedError and
        ConflictError, which a repeat never meets; TakenError for `Join(alone=True)`
        when another agent is in; TranscriptFullError, but never for `End`;
        StoreUnavailableError; StoreError when a value cannot be stored, such as text
        with a lone surrogate.
        """
        ...

    async def read(self, session_id: str, after: int, limit: int = 500) -> list[Entry]:
        """Return up to `limit` entries from position `after` + 1 on, in order.

        An unknown session has no entries.
        """
        ...

    async def quiet(
        self, before: float, cursor: str, limit: int
    ) -> tuple[list[Quiet], str]:
        """Look at about `limit` more of the open sessions; return those that have been
        quiet since before `before`, and where to go on.

        Whoever begins with the empty cursor, and goes on with the one returned until
        that is empty again, has looked at all sessions that were open, in one state,
        all the time; at others perhaps, or twice. Nothing is changed or lent: callers
        see the same ones, and `append` with `expected` tells who was first.
        """
        ...

    # -- who is present, and what is acknowledged -----------------------------------

    async def mark_present(
        self, session_id: str, client_id: str, until: float, acked: int = 0
    ) -> bool:
        """Note that this client reads for the customer, at least until `until`.

        `acked` raises the acknowledged position (never lowers it, never beyond the
        newest entry). Pushes that were waiting are cancelled: the session is not due
        any more, and its jobs that are not silent are deleted, lent ones too. What
        these were to tell does not count as announced, beyond what was sent: the
        customer may vanish again without having read it. The base of the badge is
        forgotten.
        Returns whether the customer was absent before. Of several callers, exactly
        one gets True per return.

        Raises: SessionNotFoundError.
        """
        ...

    async def mark_absent(
        self,
        session_id: str,
        client_id: str,
        at: float,
        *,
        acked: int = 0,
        position: int | None = None,
    ) -> bool:
        """Note that this client stopped reading at `at`.

        `acked` raises the acknowledged position; `position`, the customer's own
        word, sets it, even backwards (within 0 … newest entry).
        Returns whether the customer became absent by this: no other client of the
        session has a lease beyond `at`, and he was present before. Exactly one
        caller gets True per absence. Never for a session that is not open, but for one
        that has ended before he acknowledged all that is notable.

        Raises: SessionNotFoundError.
        """
        ...

    async def expire_presence(self, now: float, limit: int = 100) -> list[Session]:
        """Return sessions whose customer's last lease ran out, now absent.

        Sessions that are open, or ended as above. Absent since `now`; a customer who
        never had a lease is not among them. Each absence is handed to one caller: what
        `mark_absent` does for clients that say goodbye, for those whose node died.
        """
        ...

    async def acknowledge(self, session_id: str, position: int) -> None:
        """Raise the acknowledged position without a word about presence.

        Raises: SessionNotFoundError.
        """
        ...

    # -- pushes that are due --------------------------------------------------------

    async def unheard_services(self) -> list[str]:
        """Return the services of which a session is due, lent, or will be due."""
        ...

    async def claim_due(
        self, service: str, now: float, delay: float, lease: float, limit: int = 20
    ) -> list[Due]:
        """Lend out sessions of the service that need a push, each to one caller.

        Due is a session with a device that is not muted, whose absent customer has
        not heard of a notable entry, neither by reading nor by push, be it over
        meanwhile: `delay` seconds after the first such entry of this absence (or
        after the absence began, if the entry was there before), and at once when a
        push was already announced in this absence.
        `lease` is in seconds; when it runs out, the session is lent again. So it is
        when its devices change, which takes the loan back.
        """
        ...

    async def announce(self, due: Due, position: int, jobs: Sequence[NewJob]) -> bool:
        """Queue the pushes that tell about everything up to `position`.

        The jobs are for devices of `due.session`. In one transaction, they are kept,
        the announced position is raised (never lowered, never beyond the newest
        entry), and the loan ends. A job whose id is queued already is kept once.
        Returns False, and changes nothing, when the lease had passed to somebody
        else or was given back, or the customer had returned, or the session's
        devices have changed. Silent jobs of the session that were queued before are
        deleted, for their badge is no longer true.
        """
        ...

    async def postpone(self, due: Due, until: float) -> bool:
        """Give a due push back, not to be lent again before `until`.

        Returns False, and changes nothing, when the lease had passed on as above. A
        change of the session's devices ends the waiting.
        """
        ...

    async def claim_badges(
        self, now: float, lease: float, limit: int = 20
    ) -> list[Due]:
        """Lend out sessions whose badge went down, each to one caller.

        These are sessions of which a job that is not silent was sent, and whose
        customer has by now acknowledged all that is notable. `lease` is in seconds, as
        for `claim_due`, but a loan of its own.
        """
        ...

    async def update_badge(self, due: Due, jobs: Sequence[NewJob]) -> bool:
        """Queue the silent pushes that correct a badge; the session has had them.

        Returns False, and changes nothing, when the lease had passed on, or there is
        something notable again.
        """
        ...

    # -- jobs: pushes on their way --------------------------------------------------

    async def job_providers(self) -> list[str]:
        """Return the providers that have jobs, whether these may be sent now or not."""
        ...

    async def claim_jobs(
        self, provider: str, now: float, lease: float, limit: int = 20
    ) -> list[Job]:
        """Lend out jobs of the provider that may be sent now, each to one caller.

        Those that could have been sent for the longest time come first. None that has
        expired; and, if it is not silent, none whose customer is present: both are
        gone for good. So is one that cannot be read, which is logged. `lease` is in
        seconds; when it runs out, the job is lent again.
        """
        ...

    async def finish_job(self, job: Job, sent_at: float | None = None) -> bool:
        """Note that the job was sent, or never will be: it is gone.

        With `sent_at`, it is remembered as sent for as long as the session, and what it
        told counts as announced, be the job gone or not. A job of this id that was
        given back, lent to somebody else or queued anew meanwhile is gone too: the
        customer has it. Returns False, and otherwise changes nothing, when its lease
        had passed to somebody else or was given back, or the job was deleted.
        """
        ...

    async def retry_job(self, job: Job, at: float) -> bool:
        """Give a job back, with one attempt more, not to be lent again before `at`.

        Returns False, and changes nothing, as above.
        """
        ...

    async def cancel_jobs(self, session_id: str) -> int:
        """Delete all jobs of the session, lent ones too; return how many.

        An unknown session has no jobs.
        """
        ...

    async def sent_pushes(self, session_id: str) -> list[SentPush]:
        """Return what was sent of the session's pushes, oldest first."""
        ...

    async def confirm_push(
        self, session_id: str, push_id: str, at: float, *, opened: bool
    ) -> bool:
        """Note the app's word that a push was shown, or (`opened`) touched.

        The first word counts; what was opened was shown. Returns False for a push
        that was not sent for this session.
        """
        ...

    # -- devices --------------------------------------------------------------------

    async def register_device(self, session_id: str, device: Device, at: float) -> None:
        """Let the session's pushes go to this device too, from `at` on.

        A device of the same type and id is replaced in full. At the same moment the
        device is taken from everybody else: sessions of another user, or any other
        session when one of the users is unknown (empty), lose it, and their jobs for
        it are deleted. Sessions of the same user share it. Jobs for it that are not
        silent are deleted when it is muted.

        Raises: SessionNotFoundError.
        """
        ...

    async def deregister_device(self, session_id: str, device_id: str | None) -> int:
        """Take the device, of whatever type, from the session; all if None.

        Its jobs of this session are deleted, lent ones too: none is lent afterwards,
        and none that fails can be given back. Returns how many devices are gone. An
        unknown session has none.
        """
        ...

    async def forget_device(
        self, device_type: str, device_id: str, since: float | None
    ) -> int:
        """Take a dead device from all sessions, with its jobs.

        Except from those where it was registered later than `since`, unless that is
        None. Returns how many registrations are gone.
        """
        ...

    # -- badges ---------------------------------------------------------------------

    async def badge(self, session_id: str) -> int:
        """Return the number that the app's icon should show to the customer.

        It counts the notable entries that he has not acknowledged and that are not
        `uncounted`, and adds the base, for this session and every other open session
        of the same user, if known.

        Raises: SessionNotFoundError.
        """
        ...

    async def set_badge_base(self, session_id: str, count: int, at: float) -> None:
        """Keep what the app reported as unread beside this chat (0 … 2**31 - 1).

        It holds until the customer is marked present. A report from before the
        newest one is ignored.

        Raises: SessionNotFoundError.
        """
        ...

    # -- the store itself -----------------------------------------------------------

    async def purge(self, new_before: float, ended_before: float) -> int:
        """Forget sessions never opened since, and those ended before, these times.

        Returns how many sessions, with their entries, are gone.
        """
        ...

    def watch(self, watcher: Watcher) -> None:
        """Call the watcher, on the event loop, after each commit that changed.

        In the order of positions for each session; never before the commit; one
        `Change` per write. Leases, jobs, badges, acknowledged and announced positions
        are no news.
        A watcher that raises is logged, without content, and harms nobody.
        """
        ...

    async def close(self) -> None:
        """Finish what was accepted, then release the storage."""
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store of several nodes, which go by its clock since theirs may differ."""

    async def time(self) -> float:
        """Return the wall seconds that the storage has."""
        ...
