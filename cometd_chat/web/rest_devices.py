"""Push devices over HTTP: what apps register, take back, and say they have shown."""

from collections.abc import Mapping

from aiohttp import web

from cometd_chat.chat import AuthHook, Customers
from cometd_chat.chat.limits import gms_limits
from cometd_chat.config import LiveConfig
from cometd_chat.gms import v1
from cometd_chat.model import Session
from cometd_chat.store import SessionNotFoundError

from .answers import answering
from .calls import Call, Reply


class RestDevices:
    """The handlers of `{base}/1/service/{id}/device`, of
    `{base}/2/chat/{service}/{chatId}/device`, and of `{base}/push/receipt`."""

    def __init__(
        self, customers: Customers, auth: AuthHook, live: LiveConfig, base_path: str
    ) -> None:
        self._customers = customers
        self._auth = auth
        self._live = live
        self._base_path = base_path

    def add_routes(self, app: web.Application) -> None:
        """Add everything that apps call about their devices."""
        for chat in ("1/service/{service}", "2/chat/{service}/{chat}"):
            device = f"{self._base_path}/{chat}/device"
            app.router.add_put(device, answering(self.register))
            app.router.add_delete(device, answering(self.deregister))
        for base in sorted({"", self._base_path}):
            app.router.add_post(f"{base}/push/receipt", answering(self.receipt))

    async def register(self, call: Call) -> Reply:
        """Register or replace a push device of this chat's customer."""
        asked = await self._parameters(call)
        session = await self._addressed(call, asked)
        device = v1.parse_device(asked, gms_limits(self._live.current.limits))
        await self._customers.register(session, device)
        return Reply(204)

    async def deregister(self, call: Call) -> Reply:
        """Deregister a device, or all; nothing queued for it is sent afterwards."""
        asked = await self._parameters(call)
        session = await self._addressed(call, asked)
        device_id = asked.get("uuid") or asked.get("push_notification_deviceid")
        await self._customers.deregister(session, device_id)
        return Reply(204)

    async def receipt(self, call: Call) -> Reply:
        """Note that an app has shown a push, or that its user has opened it."""
        asked = await self._parameters(call)
        told = v1.parse_receipt(asked, gms_limits(self._live.current.limits))
        session = await self._session(call, told.key)
        await self._customers.confirm_push(session, told.id, opened=told.opened)
        return Reply(204)

    async def _addressed(self, call: Call, asked: Mapping[str, str]) -> Session:
        """Return the chat of an address: its key is in it, or comes as `secureKey`,
        which alone is enough (GMS Chat API version 2)."""
        if not call.chat:
            return await self._session(call, call.service)
        session = await self._session(call, asked.get("secureKey", ""))
        if (session.service, session.id) != (call.service, call.chat):
            raise SessionNotFoundError
        return session

    async def _session(self, call: Call, key: str) -> Session:
        return await self._customers.session(key, self._auth.user(call.peer))

    async def _parameters(self, call: Call) -> dict[str, str]:
        return await call.parameters(self._live.current.server.body_timeout)
