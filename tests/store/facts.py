"""Sessions and drafts for the tests of stores, with as little said as possible."""

from cometd_chat.model import (
    CUSTOMER,
    Device,
    Draft,
    EntryKind,
    Join,
    Open,
    Profile,
    Role,
    Session,
)
from cometd_chat.store import Store

ROOM = 400
DEVICE = Device(id="device-1", type="ios", provider="apns", language="de", debug=True)
AGENT = 2


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


async def opened(store: Store, name: str = "s", **facts: object) -> str:
    """Create a session, ask for its chat (with a device); return its id."""
    await store.create(new(name, **facts))
    await store.append(name, [], transition=asks(device=DEVICE))
    return name
