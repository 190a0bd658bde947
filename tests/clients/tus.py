"""A bare client of `{base}/files`: every header can be set, bodies can break off."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout

LOOKS = 400
"""How often a client looks whether something has arrived."""

OFFSET_STREAM = "application/offset+octet-stream"


@dataclass(frozen=True)
class Answered:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])

    @property
    def location(self) -> str:
        return self.headers["Location"]


def metadata(name: str, media_type: str = "") -> str:
    """Return the value of `Upload-Metadata`."""
    told = {"filename": name, "filetype": media_type}
    return ",".join(
        f"{key} {b64encode(value.encode()).decode()}"
        for key, value in told.items()
        if value
    )


class TusClient:
    """Somebody with a view of one chat, by its key or by an agent's token.

    `headers` go with every request.
    """

    def __init__(self, server: str, chat_id: str, proof: str, **headers: str) -> None:
        self.url = f"{server}/genesys/files/{chat_id}"
        self.server = server
        self.headers = {
            "Authorization": f"Bearer {proof}",
            "Tus-Resumable": "1.0.0",
            **headers,
        }
        self._http = ClientSession(timeout=ClientTimeout(total=60))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    async def ask(
        self, method: str, where: str = "", body: Any = None, **headers: str | None
    ) -> Answered:
        """Send any request; a header field that is None is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {**self.headers, **named}
        url = f"{self.server}{where}" if where else self.url
        async with self._http.request(
            method,
            url,
            data=BytesIO(body) if isinstance(body, bytes) else body,
            headers={
                name: value for name, value in fields.items() if value is not None
            },
            skip_auto_headers=["Content-Type"],
        ) as response:
            return Answered(response.status, response.headers, await response.read())

    async def create(
        self, size: int, name: str = "a.pdf", media_type: str = "", **headers: str
    ) -> Answered:
        told = metadata(name, media_type)
        return await self.ask(
            "POST", Upload_Length=str(size), Upload_Metadata=told, **headers
        )

    async def patch(self, where: str, offset: int, body: Any) -> Answered:
        return await self.ask(
            "PATCH",
            where,
            body,
            Upload_Offset=str(offset),
            Content_Type=OFFSET_STREAM,
        )

    async def send(self, content: bytes, name: str = "a.pdf", **more: str) -> str:
        """Send a whole file; return where it is."""
        created = await self.create(len(content), name, **more)
        assert created.status == 201, created
        done = await self.patch(created.location, 0, content)
        assert (done.status, done.offset) == (204, len(content)), done
        return created.location

    async def arrived(self, where: str, least: int) -> int:
        """Wait until so much of a file has arrived; return how much."""
        offset = 0
        for _ in range(LOOKS):
            offset = (await self.ask("HEAD", where)).offset
            if offset >= least:
                return offset
            await asyncio.sleep(0.05)
        raise AssertionError(f"{offset} bytes have arrived, not {least}")

    async def listed(self) -> list[dict[str, Any]]:
        answer = await self.ask("GET")
        assert answer.status == 200, answer
        files: list[dict[str, Any]] = json.loads(answer.body)["files"]
        return files


async def trickle(content: bytes, at_once: int) -> AsyncIterator[bytes]:
    """A body that comes in small chunks, without a length of its own."""
    for at in range(0, len(content), at_once):
        yield content[at : at + at_once]
