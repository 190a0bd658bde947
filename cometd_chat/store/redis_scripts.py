"""The scripts of `lua/`, each with what all of them share in front of it."""

import secrets
from hashlib import sha1
from importlib.resources import files
from typing import Any

from cometd_chat.store.codec import damaged, storable
from cometd_chat.store.redis_keys import Keys, partition_of
from cometd_chat.store.redis_link import RefusedError, Word
from cometd_chat.store.redis_servers import Router

MAKING_ROOM = {"cancel_jobs", "expire_jobs", "finish_job", "purge", "release_device"}
"""Scripts that a server also runs when its memory is full: they take more than they
bring. What is too old could not go otherwise, and what was sent would be sent again."""


def _sources() -> dict[str, str]:
    folder = files(__package__) / "lua"
    texts = {
        file.name.removesuffix(".lua"): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    }
    common = texts.pop("common")
    return {
        name: "#!lua flags=allow-oom\n" * (name in MAKING_ROOM) + f"{common}\n{text}"
        for name, text in texts.items()
    }


SOURCES = _sources()
_DIGESTS = {
    name: sha1(text.encode(), usedforsecurity=False).hexdigest()
    for name, text in SOURCES.items()
}


class Scripts:
    """Runs scripts on the partition of what they are about."""

    def __init__(self, router: Router, keys: Keys) -> None:
        self.router = router
        self.keys = keys

    async def run(self, name: str, session_id: str, *words: Word) -> Any:
        """Change a session. A lost reply is asked for again, and is the first one.

        Raises: SessionDamagedError, which is logged; StoreError for what is no
        Unicode; StoreUnavailableError.
        """
        with storable():
            partition = partition_of(session_id)
        reply = await self.run_at(name, partition, session_id, *words)
        if reply[0] == b"damaged":
            raise damaged(session_id)
        return reply

    async def run_at(
        self, name: str, partition: int, session_id: str, *words: Word
    ) -> Any:
        """Change something in this partition on behalf of a session."""
        operation = secrets.token_urlsafe(9)
        with storable():
            return await self._evaluate(name, partition, operation, session_id, *words)

    async def ask(self, name: str, session_id: str, *words: Word) -> Any:
        """Read something of a session."""
        return await self.ask_at(name, partition_of(session_id), session_id, *words)

    async def ask_at(
        self, name: str, partition: int, session_id: str, *words: Word
    ) -> Any:
        """Read something in this partition."""
        base = self.keys.bases[partition]
        keys = (2, self.keys.own[partition], f"{base}s:{session_id}")
        command = (*keys, base, "", session_id, *words)
        try:
            return await self.router.read(
                partition, "EVALSHA_RO", _DIGESTS[name], *command
            )
        except RefusedError:
            return await self.router.read(partition, "EVAL_RO", SOURCES[name], *command)

    async def _evaluate(self, name: str, partition: int, *words: Word) -> Any:
        """Run a script that writes; `words` begin with the operation and a session.

        One of its keys never exists. So a server that gives the partition to another
        one refuses it before it begins, instead of in the middle, where it meets a key
        that has moved already.
        """
        base = self.keys.bases[partition]
        keys = (2, self.keys.own[partition], base + "never")
        command = (*keys, base, *words)
        router = self.router
        try:
            return await router.write(partition, "EVALSHA", _DIGESTS[name], *command)
        except RefusedError:  # NOSCRIPT: this server does not know it yet
            return await router.write(partition, "EVAL", SOURCES[name], *command)
