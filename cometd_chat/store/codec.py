"""Parts of the model as JSON text, and back: what every store keeps as it is."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields

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
from cometd_chat.store import StoreError

KINDS = {kind.value: kind for kind in EntryKind}
ROLES = {role.value: role for role in Role}
STATES = {state.value: state for state in State}
NAMES = tuple(field.name for field in fields(Session))
"""What a session is made of, in the order of the model."""

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


def to_profile(text: str) -> Profile:
    return _to_profile(text) if text else _NO_PROFILE


def from_profile(profile: Profile) -> str:
    return "" if profile == _NO_PROFILE else _json.encode(profile).decode()


def to_device(text: str | bytes) -> Device:
    return _to_device(text)


def from_device(device: Device) -> str:
    return _json.encode(device).decode()


def to_devices(text: str) -> tuple[Device, ...]:
    """Return the devices; of two that an earlier revision told apart by names of one
    type, the later."""
    known: dict[tuple[str, str], Device] = {}
    for device in _to_devices(text) if text else ():
        known.pop((device.type, device.id), None)
        known[device.type, device.id] = device
    return tuple(known.values())


def from_devices(devices: Collection[Device]) -> str:
    return _json.encode(devices).decode() if devices else ""


def to_participants(text: str) -> tuple[Participant, ...]:
    return _to_participants(text) if text else ()


def from_participants(participants: Collection[Participant]) -> str:
    return _json.encode(participants).decode() if participants else ""


def from_override(push: PushOverride | None) -> str:
    return "" if push is None else _json.encode(push).decode()


def from_mapping(mapping: Mapping[str, str]) -> str:
    return _json.encode(mapping).decode() if mapping else ""
