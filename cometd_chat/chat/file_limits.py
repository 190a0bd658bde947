"""How many files somebody may send in a chat, how large they are, and until when."""

import asyncio
from collections.abc import Sequence
from itertools import count

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.files.uploads import File, Info, TooMuchError, Uploads

MOST_FILES = 10_000
"""Files of a chat, those that were given up too: each is there to be listed."""

LOOKS = 10
"""How often a file that was announced looks for room which others are to leave."""

PAUSE = 0.1
"""Seconds between two looks."""


class FileLimits:
    """The limits of section [files], for each sender in each chat. Any method may raise
    PlaceError."""

    def __init__(self, uploads: Uploads, clock: Clock, live: LiveConfig) -> None:
        self._uploads = uploads
        self._clock = clock
        self._live = live

    def expires_at(self, file: File) -> float:
        """Return the wall seconds until which the file has to be whole."""
        return file.info.at + self._live.current.files.unfinished_after

    def expired(self, file: File) -> bool:
        """Tell whether the file has not come to its end in time."""
        return not file.whole and self.expires_at(file) < self._clock.time()

    async def announce(self, chat_id: str, file_id: str, info: Info) -> File:
        """Announce a file, as `Uploads.begin` does, if there is room for it by now.

        Raises: TooMuchError; ConflictError when another one has this id, or had it.
        """
        others = await self._others(chat_id, file_id, info.sender)
        if beyond := self._beyond(info, others):
            raise TooMuchError(beyond)
        return await self._uploads.begin(chat_id, file_id, info)

    async def find_room(self, file: File) -> None:
        """Refuse a file beyond the limits, now that all nodes can see it: others may
        have been announced at the same time.

        Raises: TooMuchError; then the file has to give way.

        Of those that are too many the oldest wait until the others have given way, or
        each would give way to the others. Where clocks of nodes differ that may happen
        still, but never is more let in than is allowed.
        """
        for look in count(1):
            others = await self._others(file.chat_id, file.id, file.info.sender)
            if not (beyond := self._beyond(file.info, others)):
                return
            older = [other for other in others if _age(other) < _age(file)]
            if look == LOOKS or self._beyond(file.info, older):
                raise TooMuchError(beyond)
            await asyncio.sleep(PAUSE)

    async def _others(self, chat_id: str, file_id: str, sender: str) -> list[File]:
        """Return the sender's files but this one. What has expired makes room."""
        return [
            file
            for file in await self._uploads.of_chat(chat_id, most=MOST_FILES)
            if file.info.sender == sender and file.id != file_id
            if not (self.expired(file) and await self._uploads.give_up(file))
        ]

    def _beyond(self, info: Info, others: Sequence[File]) -> str:
        """Return the limit that keeps a file out beside others, if there is one."""
        options = self._live.current.files
        total = info.size + sum(other.info.size for other in others)
        if info.size > options.upload_max_file_size:
            return f"upload-max-file-size: {options.upload_max_file_size} bytes"
        if len(others) >= options.upload_max_files:
            return f"upload-max-files: {options.upload_max_files}"
        if total > options.upload_max_total_size:
            return f"upload-max-total-size: {options.upload_max_total_size} bytes"
        return ""


def _age(file: File) -> tuple[float, str]:
    return file.info.at, file.id
