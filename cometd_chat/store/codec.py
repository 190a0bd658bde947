"""Parts of the model as JSON text, and back: what every store keeps as it is."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache

import msgspec

from cometd_chat.model import (
    Device,
    EntryKind,
    Participant,
    Profile,
    PushOverride,
    Role,
    Session,
    State,
)
from cometd_chat.store import DAMAGED, SessionDamagedError, StoreError

log = logging.getLogger(__name__)

KINDS = {kind.value: kind for kind in EntryKind}
ROLES = {role.value: role for role in Role}
STATES = {state.value: state for state in State}
NAMES = tuple(field.name for field in fields(Session))
"""What a session is made of, in the order of the model."""

REMEMBERED = 1000
"""Damaged sessions that are not told again while they are remembered."""

_NO_PROFILE = Profile()

_json = msgspec.json.Encoder(enc_hook=dict)
"""Knows everything but the read-only mappings, which are made dicts."""
to_json = _json.encode
to_mapping = msgspec.json.Decoder(dict[str, str]).decode
to_override = msgspec.json.Decoder(PushOverride).decode
_to_profile = msgspec.json.Decoder(Profile).decode
_to_device = msgspec.json.Decoder(Device).decode
_to_devices = msgspec.json.Decoder(tuple[Device, ...]).decode
_to_participants = msgspec.json.Decoder(tuple[Participant, ...]).decode


@contextmanager
def storable() -> Iterator[None]:
    """Make a text that no storage could hold, such as a lone surrogate, a StoreError.

    The value itself is not told.
    """
    try:
        yield
    except UnicodeEncodeError:
        raise StoreError("a value cannot be stored: UnicodeEncodeError") from None


@contextmanager
def legible(session_id: str | bytes) -> Iterator[None]:
    """Make what is wrong with a stored session a SessionDamagedError (`damaged`)."""
    try:
        yield
    except (ValueError, KeyError, RecursionError):  # also what msgspec raises
        if isinstance(session_id, bytes):
            session_id = session_id.decode(errors="replace")
        raise damaged(session_id) from None  # its words may be those of the chat


def damaged(session_id: str) -> SessionDamagedError:
    """Return the error for this session, which is logged."""
    _tell(session_id)
    return SessionDamagedError("the session is damaged")


@lru_cache(REMEMBERED)
def _tell(session_id: str) -> None:
    """Log a damaged session once, for it is met each time that it could be due."""
    log.error(DAMAGED, session_id)


def to_profile(text: str | bytes) -> Profile:
    return _to_profile(text) if text else _NO_PROFILE


def from_profile(profile: Profile) -> str:
    return "" if profile == _NO_PROFILE else _json.encode(profile).decode()


def to_device(text: str | bytes) -> Device:
    return _to_device(text)


def from_device(device: Device) -> str:
    return _json.encode(device).decode()


def to_devices(text: str | bytes) -> tuple[Device, ...]:
    """Return the devices; of two that an earlier revision told apart, though one name
    means them, the later."""
    known: dict[tuple[str, str], Device] = {}
    for device in _to_devices(text) if text else ():
        known.pop((device.type, device.name), None)
        known[device.type, device.name] = device
    return tuple(known.values())


def from_devices(devices: Collection[Device]) -> str:
    return _json.encode(devices).decode() if devices else ""


def to_participants(text: str | bytes) -> tuple[Participant, ...]:
    return _to_participants(text) if text else ()


def from_participants(participants: Collection[Participant]) -> str:
    return _json.encode(participants).decode() if participants else ""


def from_override(push: PushOverride | None) -> str:
    return "" if push is None else _json.encode(push).decode()


def from_mapping(mapping: Mapping[str, str]) -> str:
    return _json.encode(mapping).decode() if mapping else ""
