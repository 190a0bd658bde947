"""Makes the providers that jobs name, when the first job names them.

The drivers are imported then too: a server that sends no pushes to Apple or Google
needs none of their libraries (extra `push`).
"""

import asyncio
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig, ProviderOptions
from cometd_chat.model import Device

from . import (
    TAG,
    DeadDevice,
    Misconfigured,
    Notification,
    OptionsError,
    Outcome,
    PushProvider,
    Retry,
)
from .browsers import SERVICES
from .guard import Outbound, Rules

log = logging.getLogger(__name__)


_DEBUG = ":debug"

AGAIN = 30.0
"""Seconds after which a provider that could not be made is tried again: perhaps the
missing file is there by now."""


@dataclass(slots=True, eq=False)
class _Account:
    """A provider that was made of these options, and how many are sending by it."""

    options: ProviderOptions
    provider: PushProvider | None
    made_at: float
    stamp: tuple[int, ...] = ()
    users: int = 0
    retired: bool = False

    async def retire(self) -> None:
        """Close it, now or with the end of what is being sent."""
        self.retired = True
        await self.close_if_unused()

    async def close_if_unused(self) -> None:
        if self.retired and not self.users and self.provider is not None:
            await self.provider.close()


class Providers:
    """The push accounts of this server by `family[/service]:name[:debug]`.

    One is made anew when its options or its key have changed; what it is sending then
    comes to its end first.
    """

    def __init__(
        self, clock: Clock, live: LiveConfig, comet: PushProvider | None = None
    ) -> None:
        self._clock = clock
        self._live = live
        self._comet = comet
        self._accounts: dict[str, _Account] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def send(
        self, sender: str, device: Device, notification: Notification
    ) -> Outcome:
        """Send by this provider; see `PushProvider.send`.

        A phone that its environment of Apple's does not know is tried in the other
        one, too: apps of developers have tokens of the sandbox.
        """
        if sender.startswith("comet:"):
            return await self._by_comet(device, notification)
        outcome = await self._send(sender, device, notification)
        if isinstance(outcome, DeadDevice) and outcome.doubtful:
            return await self._elsewhere(sender, device, notification, outcome)
        return outcome

    async def _elsewhere(
        self, sender: str, device: Device, notification: Notification, dead: DeadDevice
    ) -> Outcome:
        """Try the other environment; the phone is dead if both say so."""
        other = self._twin(sender)
        if not other:
            return dead
        second = await self._send(other, device, notification)
        if isinstance(second, Misconfigured):  # which need not stop this environment
            return Retry(second.reason)
        return second

    async def _by_comet(self, device: Device, notification: Notification) -> Outcome:
        if self._comet is None:
            return Misconfigured("nobody is connected here")
        return await self._comet.send(device, notification)

    def _twin(self, sender: str) -> str:
        """Return the same app in Apple's other environment; empty if it has none."""
        family, _, rest = sender.partition(":")
        name = rest.removesuffix(_DEBUG)
        real, test = (
            self._live.current.provider(name, TAG, debug=debug)
            for debug in (False, True)
        )
        if family != "apns" or real.apns_server == test.apns_server:
            return ""
        return f"{family}:{name}" + _DEBUG * (name == rest)

    async def _send(
        self, sender: str, device: Device, notification: Notification
    ) -> Outcome:
        account = await self._account(sender)
        if account.provider is None:
            return Misconfigured("options, a file or the extra `push` are missing")
        account.users += 1
        try:
            return await account.provider.send(device, notification)
        finally:
            account.users -= 1
            await account.close_if_unused()

    async def close(self) -> None:
        """Close all that were made."""
        accounts, self._accounts = self._accounts, {}
        for account in accounts.values():
            await account.retire()

    async def _account(self, sender: str) -> _Account:
        kind, _, rest = sender.partition(":")
        family, name = kind.partition("/")[0], rest.removesuffix(_DEBUG)
        # Many pushes may ask for it at the same time, and must get the same one.
        async with self._making.setdefault(sender, asyncio.Lock()):
            options = self._live.current.provider(name, TAG, debug=name != rest)
            known = self._accounts.get(sender)
            if known is not None and self._is_good(known, options):
                return known
            provider = await self._make(family, options)
            made = _Account(options, provider, self._clock.monotonic(), _stamp(options))
            self._accounts[sender] = made
            if known is not None:
                await known.retire()
            return made

    def _is_good(self, account: _Account, options: ProviderOptions) -> bool:
        age = self._clock.monotonic() - account.made_at
        if account.options != options or account.stamp != _stamp(options):
            return False
        return account.provider is not None or age < AGAIN

    async def _make(self, family: str, options: ProviderOptions) -> PushProvider | None:
        try:
            # Loading a library takes long enough for a poll to notice.
            module = await asyncio.to_thread(importlib.import_module, _MODULES[family])
            return _FACTORIES[family](module, options, self._clock)
        except ImportError as exc:
            log.error(
                "pushes by %s need the extra `push`: %s is not installed: start with "
                "EXTRAS=push scripts/run, or pip install 'cometd-chat[push]'",
                family,
                exc.name,
            )
        except OptionsError as exc:
            log.error("pushes by %s: %s", family, exc)
        except (ValueError, OSError, RuntimeError) as exc:
            # Without its words, which may be those of a secret.
            log.error("pushes by %s: %s", family, type(exc).__name__)
        return None


def _stamp(options: ProviderOptions) -> tuple[int, ...]:
    """Return what changes with the key for browsers; the providers for phones look
    after their files themselves, and keep their connections."""
    file = options.webpush_vapid_key_file
    try:
        found = file.stat() if file else None
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found else ()


_MODULES = {
    "apns": "cometd_chat.push.apns",
    "fcm": "cometd_chat.push.fcm",
    "customhttp": "cometd_chat.push.webhook",
    "httpcb": "cometd_chat.push.webhook",
    "webpush": "cometd_chat.push.webpush",
}


def _apns(module: Any, options: ProviderOptions, clock: Clock) -> PushProvider:
    provider: PushProvider = module.ApnsProvider(
        options, clock, proxy=options.apns_proxy
    )
    return provider


def _fcm(module: Any, options: ProviderOptions, clock: Clock) -> PushProvider:
    if options.fcm_credentials_file is None:
        raise OptionsError("fcm.credentials_file is missing")
    provider: PushProvider = module.FcmProvider(
        options.fcm_credentials_file, clock=clock, endpoint=options.fcm_endpoint
    )
    return provider


def _customhttp(module: Any, options: ProviderOptions, clock: Clock) -> PushProvider:
    provider: PushProvider = module.CustomHttpProvider(
        options.customhttp_url, secret=options.customhttp_secret, clock=clock
    )
    return provider


def _httpcb(module: Any, options: ProviderOptions, clock: Clock) -> PushProvider:
    out = Outbound(module.callback_rules(options.httpcb_hosts), clock=clock)
    provider: PushProvider = module.HttpCallbackProvider(out)
    return provider


def _webpush(module: Any, options: ProviderOptions, clock: Clock) -> PushProvider:
    if options.webpush_vapid_key_file is None:
        raise OptionsError("webpush.vapid_key_file is missing")
    provider: PushProvider = module.WebPushProvider(
        options.webpush_vapid_key_file,
        subject=options.webpush_subject,
        out=Outbound(Rules(hosts=(*SERVICES, *options.webpush_hosts)), clock=clock),
        clock=clock,
    )
    return provider


_FACTORIES: dict[str, Callable[[Any, ProviderOptions, Clock], PushProvider]] = {
    "apns": _apns,
    "fcm": _fcm,
    "customhttp": _customhttp,
    "httpcb": _httpcb,
    "webpush": _webpush,
}
