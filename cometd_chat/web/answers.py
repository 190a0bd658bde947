"""What replies of the GMS APIs have in common: headers, and failures in GMS's words."""

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler

from cometd_chat.chat import IdentityError
from cometd_chat.gms import v1
from cometd_chat.store import (
    SessionDamagedError,
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    StoreError,
    StoreUnavailableError,
    TranscriptFullError,
)

from .calls import Call, Handler, Reply, WebCall

HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
}
"""Header fields of every reply that has a body."""

_FAILURES: dict[type[Exception], tuple[int, str, str]] = {
    SessionNotFoundError: (404, "No such service", "ServiceNotFoundException"),
    SessionNotOpenError: (400, "Create the chat first", "ChatNotFoundException"),
    SessionEndedError: (400, "The chat has ended", "ChatEndedException"),
    TranscriptFullError: (413, "The transcript is full", "TranscriptFullException"),
    SessionDamagedError: (500, "The chat is damaged", "DamagedException"),
    StoreUnavailableError: (503, "Try again later", "UnavailableException"),
}

_UNSTORABLE = (400, "This cannot be stored", "BadRequestException")


async def answer(handler: Handler, call: Call) -> Reply:
    """Turn everything that may go wrong into GMS's `{message, exception}`."""
    try:
        return await handler(call)
    except v1.V1Error as exc:
        return failure(exc.status, str(exc), exc.exception)
    except IdentityError as exc:
        return failure(403, str(exc), "ForbiddenException")
    except web.HTTPException as exc:
        return http_failure(exc)
    except StoreError as exc:
        return store_failure(exc)


def answering(handler: Handler) -> WebHandler:
    """Let aiohttp call the handler."""

    async def serve(request: web.Request) -> web.StreamResponse:
        status, body = await answer(handler, WebCall(request))
        if not body:
            return web.Response(status=status)
        return web.Response(body=body, status=status, headers=HEADERS)

    return serve


def http_failure(exc: web.HTTPException) -> Reply:
    """Say in GMS's words what breaks the limits of bodies."""
    text = (exc.text or exc.reason).strip()
    return failure(exc.status, text, type(exc).__name__)


def store_failure(exc: StoreError) -> Reply:
    """Say in GMS's words what the store refuses or fails to do."""
    return failure(*_FAILURES.get(type(exc), _UNSTORABLE))


def failure(status: int, message: str, exception: str) -> Reply:
    """Return the reply to what failed."""
    return Reply(status, v1.error_body(message, exception))
