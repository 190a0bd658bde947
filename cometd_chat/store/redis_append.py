"""Growing a transcript. What a transition does is decided in Python, as for any store.

An append without a transition is one script. With one, the script first returns the
session as it is; what becomes of it is decided here, and the second call does it unless
the session has changed in between: then it returns the session again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cometd_chat.model import Draft, End, Entry, Join, Open, Session, Transition
from cometd_chat.store import (
    Appended,
    Change,
    ConflictError,
    Once,
    StoreUnavailableError,
    TranscriptFullError,
)
from cometd_chat.store.codec import STATES, legible
from cometd_chat.store.growth import author, entry_of, growth
from cometd_chat.store.redis_devices import Devices, equipped_fields
from cometd_chat.store.redis_link import Word
from cometd_chat.store.redis_rows import (
    Row,
    from_draft,
    mark_of,
    moved_fields,
    to_entries,
    to_row,
)
from cometd_chat.store.redis_scripts import Scripts
from cometd_chat.store.redis_sessions import (
    ASK,
    TRIES,
    Sessions,
    change,
    crowded,
    no_session,
)
from cometd_chat.store.transitions import made_already, moved, refuse_closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """`Store.append` with what it needs."""

    scripts: Scripts
    sessions: Sessions
    devices: Devices
    session_id: str
    drafts: Sequence[Draft]
    transition: Transition | None
    once: Once | None
    expected: int | None
    limit: int

    async def __call__(self) -> Appended:
        wanted, joined = (b"" if self.transition is None else ASK), None
        row: Row | None = None
        for _ in range(TRIES):
            words = self._words(wanted, joined)
            outcome, *facts = await self.scripts.run("append", self.session_id, *words)
            if outcome == b"ok":
                stored = self._stored(facts, joined)
                await self._release(row)
                return stored
            if outcome == b"repeat":
                with legible(self.session_id):
                    return Appended(entries=tuple(to_entries(facts[0])), repeated=True)
            decides = outcome == b"decide"
            row = to_row(self.session_id, facts[0]) if decides else None
            if row is None or self.transition is None:
                self._refuse(outcome, facts)
            elif made_already(row.session, self.transition):
                return Appended(entries=(), repeated=True)
            else:
                wanted = await self._decide(row, self.transition)
                joined = row.seats + 1 if isinstance(self.transition, Join) else None
        raise crowded()

    def _refuse(self, outcome: bytes, facts: list[Any]) -> None:
        if outcome == b"none":
            raise no_session()
        if outcome == b"closed":
            with legible(self.session_id):
                state = STATES[facts[0].decode()]
            refuse_closed(state)
        if outcome == b"conflict":
            raise ConflictError("the newest entry is another one")
        if outcome == b"full":
            raise TranscriptFullError("the transcript is full")
        raise StoreUnavailableError("the database gave an answer without a meaning")

    async def _decide(self, row: Row, transition: Transition) -> bytes:
        """Return the change that the transition is, after what must precede it."""
        before = row.session
        now = self.drafts[-1].at if self.drafts else before.last_at
        at = max(before.last_at or before.created_at, now)
        after = moved(before, transition, row.seats + 1, at)
        seats = row.seats + isinstance(transition, Join)
        fields = moved_fields(before, after, seats)
        if isinstance(transition, End) and transition.by_customer:
            return change(row, fields, devices=after.devices, state=after.state)
        if not isinstance(transition, Open):
            return change(row, fields, state=after.state)
        taking = await self._prepare(after, row)
        if not after.devices:
            return change(row, fields, state=after.state)
        fields += equipped_fields(row, after.devices, taking)
        return change(row, fields, devices=after.devices, state=after.state)

    async def _release(self, before: Row | None) -> None:
        """Note whose the devices are that went with the chat; a crash before it harms
        nobody, for a record only permits what a session's own devices ask for."""
        if before and isinstance(self.transition, End) and self.transition.by_customer:
            await self.devices.release(before, before.session.devices)

    async def _prepare(self, after: Session, before: Row) -> dict[str, int]:
        if after.user:
            await self.sessions.list_under(after.user, "user", after.id)
        return await self.devices.take(after, after.devices, before.takes)

    def _words(self, wanted: bytes, joined: int | None) -> list[Word]:
        drafts, once, known = self.drafts, self.once, growth(self.drafts)
        ending = isinstance(self.transition, End)
        window = once.window if once else None
        words: list[Word] = [
            wanted,
            "" if ending else self.limit,
            "" if self.expected is None else self.expected,
            f"k{once.key}" if once else "",
            "" if window is None else repr(window),
            repr(drafts[-1].at) if drafts else "",
            known.keep,
            known.more,
            "" if known.text is None else f"t{known.text}",
        ]
        for draft in drafts:
            body = from_draft(draft, author(draft, joined))
            words += [repr(draft.at), body, mark_of(draft)]
        return words

    def _stored(self, facts: list[Any], joined: int | None) -> Appended:
        number, first, times = facts
        positions = range(int(first), int(first) + len(self.drafts))
        entries: tuple[Entry, ...] = tuple(
            entry_of(draft, position, float(at), author(draft, joined))
            for draft, position, at in zip(self.drafts, positions, times, strict=True)
        )
        altered = self.transition is not None
        news = Change(session_id=self.session_id, entries=entries, altered=altered)
        self.sessions.tell(news, number)
        return Appended(entries=entries)
