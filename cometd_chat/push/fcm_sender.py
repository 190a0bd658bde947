"""firebase-admin's sender, made fit for a server on one event loop.

firebase-admin 7.7 has ways that do not suit one, so that three of its private parts
are touched here and nowhere else; `check_library` looks that they are still what they
were.

* It fetches access tokens where it sends, on the event loop, and stops the loop for
  as long as Google takes. Here `fcm_account` fetches them in a thread, ahead of time;
  a request takes the token that is there.
* After a 401 it fetches two more tokens that way and sends again; after a 500 or 503
  it sends five times and sleeps in between. Here one push is one request: the queue
  that knows about the other pushes decides when to try again.
* It wants its own message objects, which know a fixed set of fields. Here a message
  is JSON, and what an admin passes through to Android or iOS arrives as it was.
"""

import itertools
import logging
from collections.abc import Generator, Mapping
from typing import Any

import firebase_admin  # type: ignore[import-untyped]  # no stubs, as all of it
import httpx
from firebase_admin import _http_client, _retry, exceptions, messaging

from cometd_chat.push.fcm_account import HTTP_TIMEOUT, Access

# At DEBUG it writes each header that HTTP/2 packs, our access tokens among them.
logging.getLogger("hpack").setLevel(logging.INFO)

_names = itertools.count(1)


class _Bearer(httpx.Auth):
    """Authorizes requests with the token of the moment, and leaves it at that."""

    token = ""

    def auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


class Sender(messaging._MessagingService):  # type: ignore[misc]  # noqa: SLF001
    """firebase-admin's sender: one request for each push, messages are JSON."""

    def __init__(self, access: Access) -> None:
        self._app = firebase_admin.initialize_app(
            access.credentials,
            {"projectId": access.project, "httpTimeout": HTTP_TIMEOUT},
            f"cometd-chat-{next(_names)}",
        )
        super().__init__(self._app)
        self._bearer = _Bearer()
        self._async_client = _http_client.HttpxAsyncClient(
            retry_config=_retry.HttpxRetry(max_retries=0), timeout=HTTP_TIMEOUT
        )
        self._async_client.async_client.auth = self._bearer

    def aim(self, endpoint: str, access: Access) -> None:
        """Send with this token to the project it belongs to, from now on."""
        self._fcm_url = f"{endpoint}/v1/projects/{access.project}/messages:send"
        self._bearer.token = access.token

    async def error_of(self, message: Mapping[str, Any]) -> Exception | None:
        """Send; return the error, or None if Google took it."""
        failed: Exception | None
        try:
            batch = await self.send_each_async([message], dry_run=False)
            failed = batch.responses[0].exception
        except exceptions.FirebaseError as error:
            failed = error
        return failed

    async def aclose(self) -> None:
        await self._async_client.aclose()
        self._client.close()
        # It knows of no service, and so does not start an event loop to close one.
        firebase_admin.delete_app(self._app)

    def _message_data(
        self, message: Mapping[str, Any], dry_run: bool
    ) -> dict[str, Mapping[str, Any]]:
        return {"message": message}


_RELIED_ON = {
    "_async_client",
    "_client",
    "_fcm_url",
    "_message_data",
    "send_each_async",
}


def check_library(
    service: type = messaging._MessagingService,  # noqa: SLF001 - see above
) -> None:
    """Raise RuntimeError if firebase-admin's sender lost what `Sender` replaces.

    Without this a renamed part would just not be replaced any more, and pushes would
    go out with the library's retries, or to Google instead of the test's server.
    """
    names = {*dir(service), *vars(service)["__init__"].__code__.co_names}
    missing = sorted(_RELIED_ON - names)
    if missing:
        raise RuntimeError(
            f"firebase-admin {firebase_admin.__version__} has no {', '.join(missing)}; "
            "install the version that cometd-chat names"
        )
