"""Google's token endpoint and FCM HTTP v1, on loopback and as told.

Cleartext, so that firebase-admin speaks HTTP/1.1 to it. It may share the event loop
with the provider: one that stops the loop to fetch a token stops this server too.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.keys import private_pem

PROJECT = "demo-project"
AUDIENCE = "https://oauth2.googleapis.com/token"
TOKEN_LIFE = 3599
"""Seconds, as Google has it."""

Answering: TypeAlias = Callable[[], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Sent:
    """One request to FCM."""

    project: str
    authorization: str
    body: dict[str, Any]

    @property
    def message(self) -> Any:
        return self.body["message"]


@dataclass
class FakeFcm:
    """What came, and how it is answered; each field may be changed at any time."""

    port: int = 0
    sent: list[Sent] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answering | None = None
    token_answer: Answering | None = None
    token_delay: float = 0.0
    token_life: int = TOKEN_LIFE

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.assertions.append(_claims(str(form["assertion"])))
        self.asked.set()
        await asyncio.sleep(self.token_delay)
        if self.token_answer is not None:
            return await self.token_answer()
        return web.json_response(
            {
                "access_token": f"access-{len(self.assertions)}",
                "expires_in": self.token_life,
                "token_type": "Bearer",
            }
        )

    async def send(self, request: web.Request) -> web.StreamResponse:
        project = request.match_info["project"]
        authorization = request.headers.get("Authorization", "")
        self.sent.append(Sent(project, authorization, await request.json()))
        if self.answer is not None:
            return await self.answer()
        name = f"projects/{project}/messages/{len(self.sent)}"
        return web.json_response({"name": name})


@asynccontextmanager
async def fcm() -> AsyncIterator[FakeFcm]:
    """Run the fake; requests that still wait are given up at the end."""
    fake = FakeFcm()
    app = web.Application()
    app.router.add_post("/token", fake.token)
    app.router.add_post("/v1/projects/{project}/messages:send", fake.send)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.port = runner.addresses[0][1]
    try:
        yield fake
    finally:
        await runner.cleanup()


def fault(
    status: int,
    name: str,
    code: str = "",
    *,
    message: str = "no",
    fields: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Answering:
    """Answer with an error in Google's form; `code` is FCM's own name of it."""
    details: list[dict[str, Any]] = []
    if code:
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        details.append({"@type": kind, "errorCode": code})
    if fields:
        kind = "type.googleapis.com/google.rpc.BadRequest"
        violations = [{"field": each, "description": "no"} for each in fields]
        details.append({"@type": kind, "fieldViolations": violations})
    error = {"code": status, "message": message, "status": name, "details": details}
    return raw(status, json.dumps({"error": error}).encode(), headers)


def raw(
    status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> Answering:
    """Answer with any bytes."""

    async def answer() -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def never() -> web.StreamResponse:
    """Keep silent."""
    await asyncio.Event().wait()
    raise AssertionError


def service_account(file: Path, fake: FakeFcm, project: str = PROJECT) -> Path:
    """Write a service account that the fake accepts."""
    account = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "key-1",
        "private_key": private_pem(_key()).decode(),
        "client_email": f"push@{project}.iam.gserviceaccount.com",
        "token_uri": f"{fake.url}/token",
    }
    file.write_text(json.dumps(account))
    return file


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _claims(assertion: str) -> dict[str, Any]:
    public = _key().public_key()
    claims: dict[str, Any] = jwt.decode(
        assertion, public, algorithms=["RS256"], audience=AUDIENCE
    )
    return claims
