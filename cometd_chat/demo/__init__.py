"""The story of a chat that survives the phone's background state, played for real.

Customer, agent and server talk over real connections, and so do the server and the
company that pushes are sent to; each step is checked before the next is told. The
story is that of GMS, "Chat API Version 1 Push Notification and Background State".
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientError, ClientSession

from cometd_chat.app import Node
from cometd_chat.client import LostError, RefusedError
from cometd_chat.config import Config, loads
from cometd_chat.store import StoreError

from .people import SERVICE, Company, StepError
from .story import TIMER, Story

__all__ = ["StepError", "play"]

CONFIGURATION = """\
[server]
port = 0
[store]
url = sqlite:///{folder}/demo.db
[auth]
gms_user = trusted
[agents]
secret = {secret}
[push]
pushEnabled = comet, customhttp
defaultProvider = company
[push.provider.company]
customhttp.url = {webhook}
[service.{service}]
_client_timeout_notification = {timer}
"""


async def play(echo: Callable[[str], None]) -> None:
    """Play the story, with a line for each step.

    Raises: StepError for the first step that did not happen.
    """
    began = time.monotonic()

    def tell(who: str, what: str) -> None:
        echo(f"{time.monotonic() - began:6.2f} s  {who:<7} {what}")

    try:
        async with _stage() as (node, http, company):
            tell("server", f"is ready on {node.url}, with a database for this story")
            await Story(node, http, company, tell).play()
    except (LostError, RefusedError, ClientError, OSError, StoreError) as exc:
        raise StepError(f"the story broke off: {exc}") from exc
    tell("server", "has stopped: everything happened as told")


@asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Node, ClientSession, Company]]:
    company = Company()
    with TemporaryDirectory(prefix="cometd-chat-") as folder:
        async with (
            company.open() as webhook,
            Node(_config(Path(folder), webhook)) as node,
            ClientSession() as http,
        ):
            yield node, http, company


def _config(folder: Path, webhook: str) -> Config:
    text = CONFIGURATION.format(
        folder=folder,
        secret=secrets.token_hex(),
        service=SERVICE,
        timer=TIMER,
        webhook=webhook,
    )
    loaded = loads(text)
    if loaded.config is None:
        raise StepError("; ".join(map(str, loaded.problems)))
    return loaded.config
