"""The official Faye client, under Node, scripted from Python tests."""

from typing import Any

from tests.clients.cometd_js import DRIVER, CometdJs
from tests.clients.raw import Json

FAYE_DRIVER = DRIVER.with_name("faye_client.mjs")


class FayeJs(CometdJs):
    """One Faye client in a Node process of its own.

    Used as `CometdJs`; its commands are `connect`, `subscribe`, `unsubscribe`,
    `publish`, `disconnect` and `status`. `states` is what it said of its transport,
    "up" or "down". Callback-polling needs a web page, which Node has not.
    """

    driver = FAYE_DRIVER

    def __init__(self) -> None:
        super().__init__()
        self.states: list[str] = []

    async def configure(self, url: str, user: str = "", **options: Any) -> None:
        """Set the URL, the header `gms_user`, `ext` by meta channel, and options.

        Durations in seconds: `retry` after a failure, `timeout` until advised.
        """
        await super().configure(url, user, **{"retry": 0.2, **options})

    def _take(self, line: Json) -> None:
        if line["type"] == "transport":
            self.states.append(line["state"])
        else:
            super()._take(line)
