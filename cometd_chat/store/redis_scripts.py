"""The scripts of `lua/`, each with what all of them share in front of it."""

import secrets
from hashlib import sha1
from importlib.resources import files
from typing import Any

from cometd_chat.store.codec import storable
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

        Raises: StoreError for what is no Unicode; StoreUnavailableError.
        """
        with storable():
            partition = partition_of(session_id)
        return await self.run_at(name, partition, session_id, *words)

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
        command = self._command(partition, "", session_id, *words)
        try:
            return await self.router.read(
                partition, "EVALSHA_RO", _DIGESTS[name], *command
            )
        except RefusedError:
            return await self.router.read(partition, "EVAL_RO", SOURCES[name], *command)

    async def _evaluate(self, name: str, partition: int, *words: Word) -> Any:
        command = self._command(partition, *words)
        router = self.router
        try:
            return await router.write(partition, "EVALSHA", _DIGESTS[name], *command)
        except RefusedError:  # NOSCRIPT: this server does not know it yet
            return await router.write(partition, "EVAL", SOURCES[name], *command)

    def _command(self, partition: int, *words: Word) -> tuple[Word, ...]:
        """Return keys and arguments; `words` begin with the operation and a session.

        The session's key is one of the two, if it is in this partition: while a slot
        moves between servers, that of one key alone would not show that the other has
        not arrived yet.
        """
        own, base = self.keys.own[partition], self.keys.bases[partition]
        session_id = words[1]
        if isinstance(session_id, str) and partition_of(session_id) == partition:
            return (2, own, f"{base}s:{session_id}", base, *words)
        return (1, own, base, *words)
