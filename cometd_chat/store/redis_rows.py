"""Sessions as hashes, entries as items of a stream, jobs as what scripts take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cometd_chat.model import (
    ALSO_CALLED,
    NOTHING,
    Device,
    Draft,
    Entry,
    EntryKind,
    Job,
    NewJob,
    PushOverride,
    Role,
    SentPush,
    Session,
    device_name,
)
from cometd_chat.store.codec import (
    NAMES,
    STATES,
    from_devices,
    from_participants,
    from_profile,
    legible,
    storable,
    to_devices,
    to_json,
    to_participants,
    to_profile,
)
from cometd_chat.store.redis_link import Word

_INTEGERS = ("last", "unread", "acked", "announced", "notable", "pushes")
_FLOATS = ("created_at", "started_at", "ended_at", "last_at")

_PLAIN = [n for n in NAMES if n not in {"profile", "devices", "participants"}]

_OWN: dict[str, str] = {
    "until": "",
    "unheard": "",
    "lease": "0",
    "badged": "0",
    "badge_lease": "0",
    "base": "0",
    "base_at": "0",
    "version": "1",
    "takes": "{}",
}
"""What a hash has beside the facts of the session, as it begins."""

_OWN_NUMBERS = ("lease", "badge_lease", "base", "base_at")
_OWN_TIMES = ("until", "unheard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A session, and what decides whether it may be changed.

    `takes` has the number of the newest taking, by this session or from it, of each
    device by name (`redis_devices.py`).
    """

    session: Session
    version: str
    seats: int
    takes: dict[str, int]


class _Job(msgspec.Struct, array_like=True):
    device: Device
    position: int
    content: bytes
    not_before: float
    expires_at: float
    silent: bool


class _Body(msgspec.Struct, array_like=True):
    """An entry without its position and its time, which the storage gives it."""

    kind: EntryKind
    role: Role
    participant: int
    nickname: str
    text: str
    message_type: str
    user_data: dict[str, str]
    notable: bool
    push: PushOverride | None


_to_takes = msgspec.json.Decoder(dict[str, int]).decode
_to_body = msgspec.json.Decoder(_Body).decode
_to_job = msgspec.json.Decoder(_Job).decode
_to_texts = msgspec.json.Decoder(list[str]).decode


@storable()
def new_row(session: Session) -> list[str]:
    """Return the fields and values of a new session's hash."""
    seats = max([1, *(one.number for one in session.participants)])
    return [*pairs(session), *_flat(_OWN), "seats", str(seats)]


def pairs(session: Session) -> list[str]:
    """Return the fields and values that tell the facts of the session."""
    values = {name: _text(getattr(session, name)) for name in _PLAIN}
    values["profile"] = from_profile(session.profile)
    values |= carried(session.devices)
    values["participants"] = from_participants(session.participants)
    return _flat(values)


def carried(devices: Iterable[Device]) -> dict[str, str]:
    """Return the fields that tell the devices."""
    known = tuple(devices)
    reachable = any(not device.muted for device in known)
    return {"devices": from_devices(known), "reachable": _text(reachable)}


def moved_fields(before: Session, after: Session, seats: int) -> list[str]:
    """Return the fields and values that a transition has changed."""
    old, new = pairs(before), pairs(after)
    changed = {
        field: value
        for field, value, former in zip(new[::2], new[1::2], old[1::2], strict=True)
        if value != former
    }
    return _flat(changed | {"seats": str(seats)})


def to_row(session_id: str, flat: Sequence[bytes]) -> Row | None:
    """Return the session of a hash, None if there is none.

    Raises: SessionDamagedError, which is logged.
    """
    if not flat:
        return None
    with legible(session_id):
        return _to_row(flat)


def _to_row(flat: Sequence[bytes]) -> Row:
    known = {
        name.decode(): value.decode()
        for name, value in zip(flat[::2], flat[1::2], strict=True)
    }
    _check_own(known)
    return Row(
        session=_to_session(known),
        version=known["version"],
        seats=int(known["seats"]),
        takes=_to_takes(known["takes"]),
    )


def _check_own(known: dict[str, str]) -> None:
    """Refuse what the scripts would, so that nobody gets what nobody may change."""
    for name in _OWN_NUMBERS:
        float(known[name])
    for name in _OWN_TIMES:
        float(known[name] or 0)


def _to_session(known: dict[str, str]) -> Session:
    values: dict[str, Any] = {name: known[name] for name in _PLAIN}
    values |= {name: int(known[name]) for name in _INTEGERS}
    values |= {name: float(known[name]) for name in _FLOATS}
    absent = known["absent_since"]
    values["absent_since"] = float(absent) if absent else None
    values["state"] = STATES[known["state"]]
    values["comet"] = known["comet"] == "1"
    values["profile"] = to_profile(known["profile"])
    values["devices"] = to_devices(known["devices"])
    values["participants"] = to_participants(known["participants"])
    return Session(**values)


@storable()
def from_draft(draft: Draft, participant: int) -> bytes:
    """Return what is kept of a draft beside its time."""
    body = _Body(
        draft.kind,
        draft.role,
        participant,
        draft.nickname,
        draft.text,
        draft.message_type,
        dict(draft.user_data),
        draft.notable,
        draft.push,
    )
    return to_json(body)


def mark_of(draft: Draft) -> str:
    """Return how the draft counts: "n" notable, "u" but not in the badge, or ""."""
    if not draft.notable:
        return ""
    return "u" if draft.push is not None and draft.push.uncounted else "n"


def to_entry(position: int, at: float, body: bytes) -> Entry:
    known = _to_body(body)
    return Entry(
        position=position,
        kind=known.kind,
        role=known.role,
        participant=known.participant,
        nickname=known.nickname,
        at=at,
        text=known.text,
        message_type=known.message_type,
        user_data=known.user_data or NOTHING,
        notable=known.notable,
        push=known.push,
    )


def to_entries(items: Iterable[Any]) -> list[Entry]:
    """Return the entries of a reply to XRANGE."""
    return [
        to_entry(int(name.partition(b"-")[0]), float(fields[1]), fields[3])
        for name, fields in items
    ]


@storable()
def from_jobs(jobs: Iterable[NewJob]) -> list[Word]:
    """Return the eight values of each job that the scripts take."""
    words: list[Word] = []
    for job in jobs:
        body = _Job(
            job.device,
            job.position,
            job.content,
            job.not_before,
            job.expires_at,
            job.silent,
        )
        words += [job.id, job.provider, job.device.type, job.device.name]
        words += [_text(job.silent), repr(job.not_before), repr(job.expires_at)]
        words.append(to_json(body))
    return words


def to_job(session_id: str, job_id: str, provider: str, lent: Any, lease: float) -> Job:
    """Return the job that a claim has lent.

    Raises: MsgspecError if it is damaged.
    """
    _, ready, attempts, text = lent
    body = _to_job(text or b"")
    return Job(
        id=job_id,
        session_id=session_id,
        device=body.device,
        provider=provider,
        position=body.position,
        content=body.content,
        not_before=float(ready),
        expires_at=body.expires_at,
        silent=body.silent,
        attempts=int(attempts),
        lease=lease,
    )


def to_sent(flat: Sequence[bytes]) -> list[SentPush]:
    """Return what was sent of a session, oldest first."""
    found = []
    for name, text in zip(flat[::2], flat[1::2], strict=True):
        kind, provider, position, sent_at, shown_at, opened_at = _to_texts(text)
        found.append(
            SentPush(
                id=name.decode(),
                device_type=kind,
                provider=provider,
                position=int(position),
                sent_at=float(sent_at),
                shown_at=float(shown_at) if shown_at else None,
                opened_at=float(opened_at) if opened_at else None,
            )
        )
    return sorted(found, key=lambda one: (one.sent_at, one.id))


def full_name(device_type: str, device_id: str) -> str:
    """Return what names a device everywhere."""
    return f"{device_type}\0{device_name(device_type, device_id)}"


def stored_names(device: Device) -> list[tuple[str, str]]:
    """Return its type and name, and what earlier revisions, which told them apart, may
    have stored instead."""
    types = (device.type, *ALSO_CALLED.get(device.type, ()))
    names = dict.fromkeys((device.name, device.id))
    return [(kind, name) for kind in types for name in names]


def _text(value: object) -> str:
    """Return a fact as text that becomes the same fact again."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return repr(value) if isinstance(value, float) else str(value)


def _flat(values: dict[str, str]) -> list[str]:
    return [text for pair in values.items() for text in pair]
