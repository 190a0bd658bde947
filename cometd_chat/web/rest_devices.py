"""Push devices over HTTP: what apps register, take back, and say they have shown."""

from aiohttp import web

from cometd_chat.chat import AuthHook, Customers
from cometd_chat.chat.limits import gms_limits
from cometd_chat.config import LiveConfig
from cometd_chat.gms import v1
from cometd_chat.model import Session

from .answers import answering
from .calls import Call, Reply


class RestDevices:
    """The handlers of `{base}/1/service/{id}/device` and `{base}/push/receipt`."""

    def __init__(
        self, customers: Customers, auth: AuthHook, live: LiveConfig, base_path: str
    ) -> None:
        self._customers = customers
        self._auth = auth
        self._live = live
        self._base_path = base_path

    def add_routes(self, app: web.Application) -> None:
        """Add everything that apps call about their devices."""
        device = f"{self._base_path}/1/service/{{service}}/device"
        app.router.add_put(device, answering(self.register))
        app.router.add_delete(device, answering(self.deregister))
        for base in sorted({"", self._base_path}):
            app.router.add_post(f"{base}/push/receipt", answering(self.receipt))

    async def register(self, call: Call) -> Reply:
        """Register or replace a push device of this chat's customer."""
        session = await self._session(call, call.service)
        asked = await self._parameters(call)
        device = v1.parse_device(asked, gms_limits(self._live.current.limits))
        await self._customers.register(session, device)
        return Reply(204)

    async def deregister(self, call: Call) -> Reply:
        """Deregister a device, or all; nothing queued for it is sent afterwards."""
        session = await self._session(call, call.service)
        asked = await self._parameters(call)
        device_id = asked.get("push_notification_deviceid") or asked.get("uuid")
        await self._customers.deregister(session, device_id)
        return Reply(204)

    async def receipt(self, call: Call) -> Reply:
        """Note that an app has shown a push, or that its user has opened it."""
        asked = await self._parameters(call)
        told = v1.parse_receipt(asked, gms_limits(self._live.current.limits))
        session = await self._session(call, told.key)
        await self._customers.confirm_push(session, told.id, opened=told.opened)
        return Reply(204)

    async def _session(self, call: Call, key: str) -> Session:
        return await self._customers.session(key, self._auth.user(call.peer))

    async def _parameters(self, call: Call) -> dict[str, str]:
        return await call.parameters(self._live.current.server.body_timeout)
