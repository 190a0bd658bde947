"""Which device belongs to whom. Nobody gets a push that is meant for another user.

The sessions of a device are in as many partitions, and no step spans two of them. So
who has a device is decided in one place: its *record*, in a partition of its own. It
names the owner (a user, or one session whose user is not known), the sessions that have
the device (the *holders*), and a number that grows with each *taking*. Beside its
devices, each session keeps the number of the newest taking of each that it heard of.

A session takes a device in three steps:

1. In the record: it is a holder now; if the owner has changed, the others are none.
2. Each of the others loses the device, with the jobs for it.
3. The session itself gets the device.

Steps 2 and 3 do nothing in a session that has heard of a newer taking. Therefore it
does not matter in which order the steps of several takings arrive: per session, the
newest wins, and that is what the record says.

A crash between the steps, or a newest entry that a failover lost, harms nobody:

* After 1: the others still show the device, but a job is handed out only if the record
  names its session (`holds`), which is looked at after the job was lent. So the taking
  is final with step 1. Whoever finds such a session, lets it lose the device.
* After 2: nobody has it. The customer, who got no answer, registers again.
* A record that is lost is made again for the first session with the device that has
  a job. As long as there is one, it is never overruled. One of an earlier revision,
  under another name of the device or its type, counts as lost.

A job that was handed out before step 1 is on its way, as with any store.

For `Open`, steps 1 and 2 come before the transition and step 3 is part of it; a new
session gets its devices first, since nothing can be sent for what nobody knows.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from cometd_chat.model import Device, Session, device_name
from cometd_chat.store import SessionDamagedError, SessionNotFoundError
from cometd_chat.store.codec import to_json
from cometd_chat.store.redis_keys import partition_of
from cometd_chat.store.redis_rows import Row, carried, full_name, stored_names
from cometd_chat.store.redis_scripts import Scripts
from cometd_chat.store.redis_sessions import Sessions, change
from cometd_chat.store.transitions import with_device

ANY = "9e99"
"""More than the number of any taking."""

REMEMBERED = 64
"""Takings that a session remembers, the newest: steps of others arrived long ago."""


class Devices:
    """The devices of all sessions."""

    def __init__(self, scripts: Scripts, sessions: Sessions) -> None:
        self._scripts = scripts
        self._sessions = sessions

    async def register(self, session_id: str, device: Device, at: float) -> None:
        """`Store.register_device`."""
        known = await self._sessions.row(session_id)
        taking = await self.take(known.session, [device], known.takes)

        def decide(row: Row) -> bytes | None:
            devices = with_device(row.session.devices, device, at)
            return _equipped(row, devices, taking)

        await self._sessions.amend(session_id, decide)

    async def deregister(self, session_id: str, device_id: str | None) -> int:
        """`Store.deregister_device`."""

        def gone(device: Device) -> bool:
            return device_id is None or device.name == device_name(
                device.type, device_id
            )

        return await self._take_off(session_id, gone)

    async def forget(
        self, device_type: str, device_id: str, since: float | None
    ) -> int:
        """`Store.forget_device`."""
        name = full_name(device_type, device_id)

        def dead(device: Device) -> bool:
            late = since is not None and device.registered_at > since
            return full_name(device.type, device.id) == name and not late

        gone = 0
        for session_id in await self._holders(name):
            with suppress(SessionDamagedError):
                gone += await self._take_off(session_id, dead)
        return gone

    async def own(self, session: Session) -> None:
        """Make the devices of a new session those of its user."""
        if not session.devices:
            return
        taking = await self.take(session, session.devices, {})

        def decide(row: Row) -> bytes | None:
            return change(row, _heard(row, taking))

        await self._sessions.amend(session.id, decide)

    async def take(
        self, session: Session, devices: Iterable[Device], known: Mapping[str, int]
    ) -> dict[str, int]:
        """Take the devices for the session's user: steps 1 and 2.

        Returns the number of the taking of each by name, higher than the one that the
        session has `known`, or it would not hear of it.
        """
        taking, losers = {}, dict[str, dict[str, int]]()
        for device in devices:
            name = full_name(device.type, device.id)
            words = (name, _owner(session), "", known.get(name, 0))
            _, number, former = await self._scripts.run_at(
                "take_device", partition_of(name), session.id, *words
            )
            taking[name] = int(number)
            for loser in former:
                losers.setdefault(loser.decode(), {})[name] = taking[name]
        for loser, lost in losers.items():
            await self._lose(loser, lost)
        return taking

    async def holds(self, session_id: str, device: Device) -> bool:
        """Tell whether the session has the device; if not, it loses it."""
        name = full_name(device.type, device.id)
        partition = partition_of(name)
        record = self._scripts.keys.of(name, "device")
        read = self._scripts.router.read
        if await read(partition, "HEXISTS", record, f"s:{session_id}"):
            return True
        try:
            session = (await self._sessions.row(session_id)).session
        except (SessionNotFoundError, SessionDamagedError):  # purged since it was lent
            return False
        if not any(full_name(d.type, d.id) == name for d in session.devices):
            return False  # given up since then, also in the record
        words = (name, _owner(session), "1", 0)
        outcome, number, *_ = await self._scripts.run_at(
            "take_device", partition, session_id, *words
        )
        if outcome == b"ok":
            return True
        await self._lose(session_id, {name: int(number)})
        return False

    async def release_all(self, session: Session) -> None:
        """Note that a session which is gone has no devices any more."""
        for name in _all_names(session.devices):
            await self._scripts.run_at(
                "release_device", partition_of(name), session.id, name, ANY
            )

    async def _lose(self, session_id: str, lost: dict[str, int]) -> None:
        """Step 2: the session has these no longer, but for what it took later."""

        def decide(row: Row) -> bytes | None:
            news = {
                n: number for n, number in lost.items() if not _knows(row, n, number)
            }
            devices = row.session.devices
            stay = tuple(d for d in devices if full_name(d.type, d.id) not in news)
            if stay == devices:
                return change(row, _heard(row, news)) if news else None
            return _equipped(row, stay, news)

        # What the record says is enough, where the session says nothing.
        with suppress(SessionNotFoundError, SessionDamagedError):
            await self._sessions.amend(session_id, decide)

    async def _take_off(self, session_id: str, gone: Callable[[Device], bool]) -> int:
        """Take from the session what is gone; return how many devices that were."""

        def decide(row: Row) -> bytes | None:
            devices = row.session.devices
            stay = tuple(device for device in devices if not gone(device))
            return None if stay == devices else _equipped(row, stay, {})

        try:
            before = await self._sessions.amend(session_id, decide)
        except SessionNotFoundError:
            return 0
        lost = [device for device in before.session.devices if gone(device)]
        await self.release(before, lost)
        return len(lost)

    async def release(self, before: Row, devices: Iterable[Device]) -> None:
        """Note in the records that the session has these devices no longer."""
        for name in _all_names(devices):
            await self._scripts.run_at(
                "release_device",
                partition_of(name),
                before.session.id,
                name,
                str(before.takes.get(name, ANY)),
            )

    async def _holders(self, name: str) -> list[str]:
        record = self._scripts.keys.of(name, "device")
        fields = await self._scripts.router.read(partition_of(name), "HKEYS", record)
        return [one[2:].decode() for one in fields if one.startswith(b"s:")]


def equipped_fields(
    row: Row, devices: Iterable[Device], taking: dict[str, int]
) -> list[str]:
    """Return the fields of a session that took these devices."""
    fields = [text for pair in carried(devices).items() for text in pair]
    return fields + _heard(row, taking)


def _all_names(devices: Iterable[Device]) -> list[str]:
    return [f"{kind}\0{name}" for one in devices for kind, name in stored_names(one)]


def _owner(session: Session) -> str:
    return f"u{session.user}" if session.user else f"s{session.id}"


def _knows(row: Row, name: str, number: int) -> bool:
    """Tell whether the session has heard of this taking, or a newer one."""
    return row.takes.get(name, 0) >= number


def _heard(row: Row, taking: dict[str, int]) -> list[str]:
    takes = row.takes | taking
    newest = sorted(takes, key=takes.__getitem__)[-REMEMBERED:]
    return ["takes", to_json({name: takes[name] for name in newest}).decode()]


def _equipped(
    row: Row, devices: tuple[Device, ...], taking: dict[str, int]
) -> bytes | None:
    """Return the change to these devices, None if a newer taking was heard of."""
    if any(_knows(row, name, number + 1) for name, number in taking.items()):
        return None
    return change(row, equipped_fields(row, devices, taking), devices=devices)
