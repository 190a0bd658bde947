"""Files that arrive piece by piece, at any node, and are read as a whole.

A file is an object `<chat>/<file>/info`, which says what it shall be, and pieces
`<chat>/<file>/<offset>`, named by where they begin. What has arrived ends where no
piece begins. This needs no locks and no leader, though a sender may vanish and come
back at another node while the first still reads what it had sent:

* A piece is put only where those before it end: whoever writes at an offset has put the
  piece that ends there, or has found it in the listing.
* Of several who put a piece at the same offset one wins (`Place.put`). The others
  stop, and their sender asks how far the file has come. Since all of them were at the
  same offset before they parted, pieces never overlap and never leave a hole.
* A put whose answer was lost looks like that of somebody else, unless the content is
  the same: then it does not matter who it was.
* Whoever removes a file puts a piece of nothing where it ends: either a sender goes on
  or nobody does any more, and that it was removed stays known as long as its chat. A
  sender who was far behind may still put pieces where others have been removed, and
  so looks once more before the file counts as whole.

Pieces are small enough to be kept in memory until they are durable, and are not put
together afterwards: reading needs no whole, and it would be a moment in which a node
can die. An object is never changed, so what a node has read stays true.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby

from msgspec import DecodeError, Struct, json
from msgspec.structs import replace

from . import Kept, Place, PlaceError

PIECE = 1 << 20
"""Bytes of the largest piece."""

SPARE_PIECES = 1000
"""Pieces of a file beyond those that it needs: how often its sender may break off."""

TRIES = 8
"""Tries to remove a file that goes on to arrive meanwhile."""

_INFO = "info"
_DIGITS = 12
_encode = json.Encoder().encode


class NoSuchFileError(Exception):
    """There is no such file in this chat."""


class ConflictError(Exception):
    """The file has come less far, or further, or it is another one."""


class TooMuchError(Exception):
    """More than was announced, or than is allowed."""


class Info(Struct, frozen=True, kw_only=True):
    """What a file shall be: a name for people, a media type, its bytes, who sends it,
    and since when (wall seconds).

    `participant` is the sender's number at that time. An agent who leaves loses it,
    and has another one when he is back: `sender` tells who he is, and is empty for
    the customer. `told` is what its sender said of it, in his own words.
    """

    name: str
    type: str
    size: int
    participant: int
    sender: str = ""
    at: float
    told: str = ""

    def announces(self, other: "Info") -> bool:
        """Tell whether the other one speaks of the same file, perhaps later."""
        return _what(self) == _what(other)


class File(Struct, frozen=True, kw_only=True):
    """A file of a chat, as far as it has arrived."""

    id: str
    chat_id: str
    info: Info
    pieces: tuple[Kept, ...] = ()

    @property
    def arrived(self) -> int:
        """Bytes that are there."""
        return sum(piece.size for piece in self.pieces)

    @property
    def whole(self) -> bool:
        return self.arrived == self.info.size


class Uploads:
    """The files of all chats. Ids of chats and files have letters and digits only.

    `piece` is the number of bytes of the largest piece. Any method may raise
    PlaceError.
    """

    def __init__(self, place: Place, *, piece: int = PIECE) -> None:
        self._place = place
        self._piece = piece

    async def begin(self, chat_id: str, file_id: str, info: Info) -> File:
        """Announce a file; announcing it again returns it as far as it has come.

        Raises: ConflictError when another one has this id, or had it.
        """
        if await self._place.put(f"{chat_id}/{file_id}/{_INFO}", _encode(info)):
            return File(id=file_id, chat_id=chat_id, info=info)
        try:
            file = await self.find(chat_id, file_id)
        except NoSuchFileError:
            raise ConflictError from None
        if not file.info.announces(info):
            raise ConflictError
        return file

    async def find(self, chat_id: str, file_id: str) -> File:
        """Return a file as far as it has come. Raises: NoSuchFileError."""
        kept = await self._place.listing(f"{chat_id}/{file_id}")
        if (file := await self._file(kept)) is None:
            raise NoSuchFileError
        return file

    async def of_chat(self, chat_id: str, *, most: int | None = None) -> list[File]:
        """Return all files of a chat, those that are not whole too, oldest first.

        Raises: TooMuchError if there are more than `most`, or have been.
        """
        kept = sorted(await self._place.listing(chat_id), key=_folder)
        groups = [list(group) for _, group in groupby(kept, key=_folder)]
        if most is not None and len(groups) > most:
            raise TooMuchError("too many files in this chat")
        found = await asyncio.gather(*map(self._file, groups))
        return sorted(filter(None, found), key=lambda file: file.info.at)

    async def write(self, file: File, offset: int, body: AsyncIterator[bytes]) -> File:
        """Take what arrives as the bytes from `offset` on; return how far it came.

        What was taken is durable. If the body breaks off, so is what had arrived, and
        what the body raised is raised again.

        Raises: ConflictError when the file ends elsewhere, or somebody else has gone
        on with it; TooMuchError beyond its size, or in too many pieces;
        NoSuchFileError when it was removed meanwhile.
        """
        if offset != file.arrived:
            raise ConflictError
        writing = _Writing(self._place, file, self._piece)
        try:
            async for some in body:
                await writing.add(some)
        except (ConflictError, TooMuchError, PlaceError):
            raise
        except Exception:
            await writing.flush()
            raise
        await writing.flush()
        if writing.file.whole:
            return await self.find(file.chat_id, file.id)
        return writing.file

    async def read(self, file: File, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `stop`, a piece at a time.

        Raises: NoSuchFileError when it is removed meanwhile.
        """
        begin = 0
        for piece in file.pieces:
            end = begin + piece.size
            if begin < stop and end > start:
                content = await self._place.get(piece.name)
                if content is None:
                    raise NoSuchFileError
                yield content[max(0, start - begin) : stop - begin]
            begin = end

    async def remove(self, file: File) -> None:
        """Remove a file; no other one can have its id.

        Raises: ConflictError when it goes on to arrive, or is whole by now;
        NoSuchFileError when somebody else has removed it.
        """
        for _ in range(TRIES):
            if await self._end(file):
                await self._remove(piece.name for piece in file.pieces)
                return
            file = await self.find(file.chat_id, file.id)
            if file.whole:
                break
        raise ConflictError

    async def give_up(self, file: File) -> bool:
        """Remove a file unless it goes on to arrive; tell whether it is gone."""
        try:
            await self.remove(file)
        except ConflictError:
            return False
        except NoSuchFileError:
            return True  # somebody else was faster
        return True

    async def _end(self, file: File) -> bool:
        """Let nothing follow what has arrived; tell whether that came in time."""
        name = _piece_of(file, file.arrived)
        # What is there and empty is the end too: no piece of a sender is.
        return await self._place.put(name, b"") or await self._place.get(name) == b""

    async def chats(self) -> list[str]:
        """Return the ids of all chats that have files."""
        return await self._place.folders()

    async def remove_chat(self, chat_id: str, before: float) -> bool:
        """Remove all files of a chat unless some of it is from after `before`."""
        kept = await self._place.listing(chat_id)
        if any(one.at > before for one in kept):
            return False
        await self._remove(one.name for one in kept)
        return True

    async def _remove(self, names: Iterable[str]) -> None:
        await self._place.remove(list(names))

    async def _file(self, kept: Sequence[Kept]) -> File | None:
        """Return the file of which these are all objects, if it is one."""
        if not all(one.size for one in kept):
            return None  # it was removed
        name = next((k.name for k in kept if k.name.endswith(f"/{_INFO}")), "")
        content = await self._place.get(name) if name else None
        if content is None:
            return None
        chat_id, file_id, _ = name.split("/")
        pieces = tuple(_chain(kept))
        return File(id=file_id, chat_id=chat_id, info=_info(content), pieces=pieces)


class _Writing:
    """One body on its way into a file."""

    def __init__(self, place: Place, file: File, piece: int) -> None:
        self._place = place
        self._piece = piece
        self.file = file
        self._offset = file.arrived
        self._held = bytearray()

    async def add(self, some: bytes) -> None:
        if self._offset + len(self._held) + len(some) > self.file.info.size:
            raise TooMuchError("more bytes than Upload-Length")
        self._held += some
        while len(self._held) >= self._piece:
            await self._put(bytes(self._held[: self._piece]))

    async def flush(self) -> None:
        if self._held:
            await self._put(bytes(self._held))

    async def _put(self, content: bytes) -> None:
        file = self.file
        if len(file.pieces) > file.info.size // self._piece + SPARE_PIECES:
            raise TooMuchError("too many pieces: begin the file again")
        name = _piece_of(file, self._offset)
        kept = await self._place.put(name, content)
        if not kept and await self._place.get(name) != content:
            raise ConflictError
        piece = Kept(name, len(content), 0.0)
        self.file = replace(file, pieces=(*file.pieces, piece))
        self._offset += len(content)
        del self._held[: len(content)]


def _piece_of(file: File, offset: int) -> str:
    return f"{file.chat_id}/{file.id}/{offset:0{_DIGITS}}"


def _chain(kept: Iterable[Kept]) -> Iterable[Kept]:
    """Return the pieces in their order, up to where none begins."""
    pieces = {k.name.rpartition("/")[2]: k for k in kept}
    offset = 0
    while piece := pieces.get(f"{offset:0{_DIGITS}}"):
        yield piece
        offset += piece.size


def _info(content: bytes) -> Info:
    try:
        return json.decode(content, type=Info)
    except DecodeError:
        raise PlaceError("an object is damaged") from None


def _what(info: Info) -> tuple[object, ...]:
    return info.name, info.type, info.size, info.sender


def _folder(kept: Kept) -> str:
    return kept.name.rpartition("/")[0]
