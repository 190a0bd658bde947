"""What becomes of a session when somebody opens, joins, leaves or ends it. Pure.

So is what becomes of its devices.
"""

from dataclasses import replace
from typing import assert_never

from cometd_chat.model import (
    CUSTOMER,
    Device,
    End,
    Join,
    Leave,
    Open,
    Participant,
    Role,
    Session,
    State,
    Transition,
)
from cometd_chat.store import SessionEndedError, SessionNotOpenError, TakenError


def refuse_closed(state: State) -> None:
    """Raises: SessionNotOpenError, SessionEndedError."""
    if state is State.NEW:
        raise SessionNotOpenError("the chat has not been asked for yet")
    if state is State.ENDED:
        raise SessionEndedError("the chat is over")


def made_already(session: Session, transition: Transition) -> bool:
    """Return whether the transition would be a repeat.

    Raises: SessionNotOpenError when it is too early for any but `Open`.
    """
    if isinstance(transition, Open):
        return session.state is not State.NEW
    if session.state is State.NEW:
        refuse_closed(session.state)
    match transition:
        case Join(agent_id=agent_id):
            return session.participant(agent_id) is not None
        case Leave(agent_id=agent_id):
            return session.participant(agent_id) is None
        case End():
            return session.ended
    assert_never(transition)


def moved(session: Session, transition: Transition, number: int, at: float) -> Session:
    """Return the session after the transition, which has not been made already.

    `number` is what an agent who joins is called from now on. The participants of
    an ended session stay, to tell who took part.

    Raises: SessionEndedError, TakenError.
    """
    if session.ended:
        refuse_closed(session.state)
    match transition:
        case Open():
            return _opened(session, transition, at)
        case Join():
            return _joined(session, transition, number)
        case Leave(agent_id=agent_id):
            return _left(session, agent_id)
        case End(by_customer=left):
            devices = () if left else session.devices
            return replace(session, state=State.ENDED, ended_at=at, devices=devices)
    assert_never(transition)


def with_device(
    devices: tuple[Device, ...], device: Device, at: float
) -> tuple[Device, ...]:
    """Return the devices after this one was registered at `at`: it is the newest."""
    others = without_device(devices, device.type, device.name)
    return (*others, replace(device, registered_at=at))


def without_device(
    devices: tuple[Device, ...], device_type: str, name: str
) -> tuple[Device, ...]:
    """Return the devices but the one of this name, if it is among them."""
    return tuple(d for d in devices if (d.type, d.name) != (device_type, name))


def _opened(session: Session, wish: Open, at: float) -> Session:
    customer = Participant(
        number=CUSTOMER, role=Role.CUSTOMER, nickname=wish.profile.nickname
    )
    devices = session.devices
    if wish.device is not None:
        devices = with_device(devices, wish.device, at)
    return replace(
        session,
        state=State.WAITING,
        started_at=at,
        profile=wish.profile,
        devices=devices,
        comet=wish.comet,
        user=wish.user or session.user,
        participants=(customer, *session.agents),
    )


def _joined(session: Session, wish: Join, number: int) -> Session:
    if wish.alone and session.agents:
        raise TakenError(session.agents[0])
    newcomer = Participant(
        number=number, role=wish.role, nickname=wish.nickname, id=wish.agent_id
    )
    return replace(
        session,
        state=State.ACTIVE,
        participants=(*session.participants, newcomer),
    )


def _left(session: Session, agent_id: str) -> Session:
    stay = tuple(
        p for p in session.participants if p.number == CUSTOMER or p.id != agent_id
    )
    alone = all(p.number == CUSTOMER for p in stay)
    state = State.WAITING if alone else session.state
    return replace(session, state=state, participants=stay)
