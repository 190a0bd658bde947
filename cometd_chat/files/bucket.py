"""Uploaded files in a bucket of S3, or of a server that is compatible with it."""

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # no stubs
from aiobotocore.session import get_session  # type: ignore[import-untyped]  # no stubs
from aiohttp import ClientError as ConnectionFailedError
from botocore.exceptions import (  # type: ignore[import-untyped]  # no stubs either
    BotoCoreError,
    ClientError,
)

from . import Kept, PlaceError

CONNECT_TIMEOUT = 2.0
"""Seconds within which a connection must be there."""

READ_TIMEOUT = 10.0
"""Seconds within which an answer must go on."""

ATTEMPTS = 2
"""How often a request is sent, at most."""

CONNECTIONS = 32
"""Connections of this process to the server."""

PAGE = 1000
"""Objects that S3 lists, or removes, with one request at most."""

_MISSING = "NoSuchKey"
_TAKEN = "PreconditionFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the bucket is, and who asks. What is empty, the usual places of S3 clients
    tell: the environment, files in the home directory, the role of the machine."""

    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)


class Bucket:
    """A `Place` whose objects are those of a bucket, below a prefix.

    The server must honour `If-None-Match: *` when it is given an object, as S3 does.
    `page` is how many objects one request lists or removes.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, page: int) -> None:
        self._client = client
        self._page = page
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._stack = contextlib.AsyncExitStack()

    @classmethod
    async def open(
        cls, bucket: str, prefix: str, account: Account, *, page: int = PAGE
    ) -> Self:
        """Return the bucket; it is not asked yet. Raises: PlaceError."""
        # They would log requests, with the names of the objects.
        for name in ("aiobotocore", "botocore"):
            logging.getLogger(name).setLevel(logging.ERROR)
        made = cls(None, bucket, prefix, page)
        try:
            made._client = await made._stack.enter_async_context(_client(account))
        except (BotoCoreError, ValueError) as error:
            raise _failed(error) from None
        return made

    async def put(self, name: str, content: bytes) -> bool:
        key = self._prefix + name
        done = await self._ask(
            "put_object", _TAKEN, Key=key, Body=content, IfNoneMatch="*"
        )
        return done is not None

    async def get(self, name: str) -> bytes | None:
        found = await self._ask("get_object", _MISSING, Key=self._prefix + name)
        if found is None:
            return None
        try:
            async with found["Body"] as body:
                content: bytes = await body.read()
        except (BotoCoreError, ConnectionFailedError, TimeoutError) as error:
            raise _failed(error) from None
        return content

    async def listing(self, folder: str) -> list[Kept]:
        cut = len(self._prefix)
        return [
            Kept(found["Key"][cut:], found["Size"], found["LastModified"].timestamp())
            async for page in self._pages(Prefix=f"{self._prefix}{folder}/")
            for found in page.get("Contents", ())
        ]

    async def folders(self) -> list[str]:
        cut = len(self._prefix)
        return [
            found["Prefix"][cut:].rstrip("/")
            async for page in self._pages(Prefix=self._prefix, Delimiter="/")
            for found in page.get("CommonPrefixes", ())
        ]

    async def remove(self, names: Iterable[str]) -> None:
        objects = [{"Key": self._prefix + name} for name in names]
        for start in range(0, len(objects), self._page):
            some = {"Objects": objects[start : start + self._page], "Quiet": True}
            done = await self._ask("delete_objects", "", Delete=some)
            if done and done.get("Errors"):
                raise PlaceError(f"the bucket fails: {done['Errors'][0].get('Code')}")

    async def close(self) -> None:
        await self._stack.aclose()

    async def _ask(self, operation: str, nothing: str, **request: Any) -> Any:
        """Return the answer; None if it is the error `nothing`. Raises: PlaceError."""
        try:
            return await getattr(self._client, operation)(
                Bucket=self._bucket, **request
            )
        except ClientError as error:
            if nothing and error.response.get("Error", {}).get("Code") == nothing:
                return None
            raise _failed(error) from None
        except (BotoCoreError, TimeoutError) as error:
            raise _failed(error) from None

    async def _pages(self, **request: Any) -> AsyncIterator[Any]:
        request["MaxKeys"] = self._page
        after: dict[str, str] = {}
        while True:
            page = await self._ask("list_objects_v2", "", **request, **after)
            yield page
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}


def _client(account: Account) -> Any:
    # Of a server with a name of its own, buckets are paths and not names in its domain.
    style = {"addressing_style": "path"} if account.endpoint else {}
    return get_session().create_client(
        "s3",
        endpoint_url=account.endpoint or None,
        region_name=account.region or None,
        aws_access_key_id=account.access_key or None,
        aws_secret_access_key=account.secret_key or None,
        config=AioConfig(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            s3=style,
        ),
    )


def _failed(error: Exception) -> PlaceError:
    """Tell what failed, without what the error says: it may have names and keys."""
    reason = type(error).__name__
    if isinstance(error, ClientError):
        reason = str(error.response.get("Error", {}).get("Code") or reason)
    return PlaceError(f"the bucket fails: {reason}")
