"""Sessions and drafts for the tests of stores, with as little said as possible."""

from cometd_chat.model import (
    CUSTOMER,
    Device,
    Draft,
    EntryKind,
    Join,
    NewJob,
    Open,
    Profile,
    Role,
    Session,
)
from cometd_chat.store import Quiet, Store

ROOM = 400
ROOM_FOR_NEW = 640
AGENT = 2


def phone(name: str = "s", **facts: object) -> Device:
    """The device that is registered when this session is opened."""
    known: dict[str, object] = {
        "type": "ios",
        "provider": "apns",
        "language": "de",
        "debug": True,
        **facts,
    }
    return Device(id=f"phone-{name}", **known)  # type: ignore[arg-type]  # facts of a test


DEVICE = phone()


def spellings(name: str) -> list[Device]:
    """One browser, as three subscriptions that differ in all but the endpoint."""
    endpoint = f"https://push.example.com/{name}"
    escaped = endpoint.replace("/", "\\/")
    return [
        Device(id=text, type="webpush")
        for text in (
            f'{{"endpoint":"{endpoint}","keys":{{"p256dh":"BA","auth":"x"}}}}',
            f'{{"expirationTime": null, "endpoint": "{endpoint}", "keys": {{}}}}',
            f'{{"keys":{{"auth":"y"}},"endpoint":"{escaped}"}}',
        )
    ]


def new(name: str = "s", **facts: object) -> Session:
    known: dict[str, object] = {"service": "sales", "created_at": 1.0, **facts}
    return Session(id=name, key=f"key-{name}", **known)  # type: ignore[arg-type]  # facts of a test


def said(text: str = "hello", at: float = 10.0, **facts: object) -> Draft:
    """Something the customer wrote."""
    known: dict[str, object] = {
        "kind": EntryKind.MESSAGE,
        "role": Role.CUSTOMER,
        "participant": CUSTOMER,
        "nickname": "Kim",
        **facts,
    }
    return Draft(at=at, text=text, **known)  # type: ignore[arg-type]  # facts of a test


def answered(text: str = "yes?", at: float = 10.0, **facts: object) -> Draft:
    """Something an agent wrote, worth a push."""
    known: dict[str, object] = {
        "role": Role.AGENT,
        "participant": AGENT,
        "nickname": "Ann",
        "notable": True,
        **facts,
    }
    return said(text, at, **known)


def asks(**facts: object) -> Open:
    known: dict[str, object] = {"profile": Profile(nickname="Kim"), **facts}
    return Open(**known)  # type: ignore[arg-type]  # facts of a test


def joins(agent_id: str = "ann", **facts: object) -> Join:
    known: dict[str, object] = {"role": Role.AGENT, "nickname": agent_id, **facts}
    return Join(agent_id=agent_id, **known)  # type: ignore[arg-type]  # facts of a test


def push(name: str = "j", **facts: object) -> NewJob:
    """A push to the device, ready at any time."""
    known: dict[str, object] = {
        "device": DEVICE,
        "provider": "apns",
        "position": 1,
        "content": b"a secret",
        "not_before": 0.0,
        "expires_at": 1e9,
        **facts,
    }
    return NewJob(id=name, **known)  # type: ignore[arg-type]  # facts of a test


async def walk(store: Store, before: float, limit: int = 100) -> list[Quiet]:
    """Look at all open sessions; return the quiet ones."""
    found, cursor = await store.quiet(before, "", limit)
    while cursor:
        more, cursor = await store.quiet(before, cursor, limit)
        found += more
    return found


async def opened(store: Store, name: str = "s", **facts: object) -> str:
    """Create a session, ask for its chat (with a device); return its id."""
    await store.create(new(name, **facts))
    await store.append(name, [], transition=asks(device=phone(name)))
    return name
