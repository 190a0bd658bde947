"""A provider with its key, and the fake APNs it sends to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from cometd_chat.config.push_options import ProviderOptions
from cometd_chat.model import Device
from cometd_chat.push import Notification, Outcome
from cometd_chat.push.apns import ApnsProvider
from cometd_chat.push.apns_route import Patience
from tests.keys import private_pem
from tests.push.facts import NOW, SetClock
from tests.push.fake_apns import FakeApns

TOKEN = "a1" * 32
PATIENCE = Patience(connect=2, reply=2, send=5)
PUSH = Notification(
    id="5d1f2c3e-0000-4000-8000-0123456789ab",
    chat="180-chat",
    position=7,
    body="New message from Agent",
    expires_at=NOW + 3600,
)


def key_options(directory: Path) -> ProviderOptions:
    """Return the options of a provider with a new key."""
    file = directory / "key.p8"
    write_key(file)
    return ProviderOptions(
        apns_key_file=file,
        apns_key_id="KEY0000001",
        apns_team_id="TEAM000001",
        apns_topic="com.example.chat",
    )


def write_key(file: Path) -> ec.EllipticCurvePublicKey:
    """Put a new key into the file and return what verifies its tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(private_pem(key))
    return key.public_key()


@dataclass
class World:
    """What a test plays with."""

    apns: FakeApns
    provider: ApnsProvider
    clock: SetClock

    async def send(self, token: str = TOKEN, **more: Any) -> Outcome:
        """Send `PUSH` with the changes `more`."""
        device = Device(id=token, type="ios")
        return await self.provider.send(device, replace(PUSH, **more))

    def start(self, count: int = 1, **more: Any) -> list[asyncio.Task[Outcome]]:
        """Begin to send so many pushes at once."""
        return [asyncio.create_task(self.send(**more)) for _ in range(count)]

    async def burst(self, count: int) -> list[Outcome]:
        return await asyncio.gather(*self.start(count))


@asynccontextmanager
async def world(
    directory: Path,
    options: ProviderOptions | None = None,
    *,
    proxy: str = "",
    patience: Patience = PATIENCE,
    **server: Any,
) -> AsyncIterator[World]:
    """Start a fake APNs and make a provider for it; `server` is for the fake."""
    async with FakeApns(directory, **server) as apns:
        given = replace(options or key_options(directory), apns_server=apns.url)
        clock = SetClock()
        provider = ApnsProvider(
            given, clock, proxy=proxy, tls=apns.identity.trust, patience=patience
        )
        try:
            yield World(apns, provider, clock)
        finally:
            await provider.close()
