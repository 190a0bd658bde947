"""What customers and agents can do with files: send them, read them.

A file is an entry of the transcript once it is there as a whole, and not before: so
nobody is shown a file that cannot be read, and it reaches every screen as all entries
do. Files are kept apart from the transcript (`cometd_chat.files`), as long as their
chat.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from cometd_chat.clock import Clock
from cometd_chat.config import LiveConfig
from cometd_chat.files.uploads import (
    ConflictError,
    File,
    Info,
    NoSuchFileError,
    TooMuchError,
    Uploads,
)
from cometd_chat.model import (
    CUSTOMER,
    Draft,
    EntryKind,
    Participant,
    Role,
    Session,
)
from cometd_chat.store import (
    Once,
    SessionDamagedError,
    SessionEndedError,
    SessionNotFoundError,
    SessionNotOpenError,
    Store,
    TranscriptFullError,
)

from .customers import is_id, new_id
from .file_limits import FileLimits
from .file_names import NotAllowedError, media_type, refuse_kind, tidy_name
from .identity import Agent
from .notable import is_notable
from .ownership import owned


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody with a view of a chat: `part` is None for one who only listens.

    `sender` is the id of an agent, empty for the customer.
    """

    session: Session
    part: Participant | None
    sender: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A file that somebody will send: its name, media type and bytes.

    `told` is kept as it is, for its sender. A `key`, if not empty, makes repeats
    harmless.
    """

    name: str
    type: str
    size: int
    told: str = ""
    key: str = ""


class Files:
    """The files of all chats. Any method may raise PlaceError and StoreError."""

    def __init__(
        self, store: Store, uploads: Uploads, clock: Clock, live: LiveConfig
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._limits = FileLimits(uploads, clock, live)
        self._clock = clock
        self._live = live

    async def customer(self, chat_id: str, key: str, user: str) -> Party:
        """Return the customer of this chat, whose key proves it.

        Raises: SessionNotFoundError, also when the key is that of another chat.
        """
        session = owned(await self._store.find(key), user)
        if session.id != chat_id:
            raise SessionNotFoundError
        part = Participant(
            number=CUSTOMER, role=Role.CUSTOMER, nickname=session.profile.nickname
        )
        return Party(session=session, part=part)

    async def agent(self, chat_id: str, agent: Agent, file_id: str = "") -> Party:
        """Return the agent's part in this chat. Supervisors may look on, and whoever
        has left may ask for a file (`file_id`) that he had sent by then.

        Raises: SessionNotFoundError.
        """
        session = await self._store.get(chat_id)
        part = session.participant(agent.id)
        party = Party(session=session, part=part, sender=agent.id)
        if not agent.serves(session.service):
            raise SessionNotFoundError
        if part is None and agent.role is not Role.SUPERVISOR:
            await self._refuse_stranger(party, file_id)
        return party

    async def begin(self, party: Party, wanted: Announcement) -> File:
        """Announce a file; announcing it again returns it as far as it has come.

        Raises: NotAllowedError, TooMuchError, ConflictError when the key is that of
        another file, or of one that is gone; SessionEndedError, SessionNotOpenError,
        TranscriptFullError.
        """
        chat_id, info = party.session.id, self._info(party, wanted)
        file_id = _id_of(party, wanted.key) if wanted.key else new_id()
        if wanted.key and await self._is_there(party, file_id):
            file = await self._uploads.begin(chat_id, file_id, info)
        elif party.session.ended:
            raise SessionEndedError
        else:
            file = await self._announced(party, file_id, info)
        if self._limits.expired(file):
            raise ConflictError
        return await self._shown(party, file)

    async def progress(self, party: Party, file_id: str) -> File:
        """Return how far the party's own file has come.

        Raises: NoSuchFileError; SessionEndedError, TranscriptFullError, or
        NotAllowedError when the sender has left, when it was to be shown too late.
        """
        return await self._shown(party, await self._own(party, file_id))

    async def write(
        self, party: Party, file_id: str, offset: int, body: AsyncIterator[bytes]
    ) -> File:
        """Take what arrives of the party's own file, as `Uploads.write` does.

        Returning promises that it is stored, and, if the file is whole, that it is in
        the transcript. Nothing is taken of a file that could not be shown.

        Raises: NoSuchFileError, ConflictError, TooMuchError; SessionEndedError,
        TranscriptFullError, or NotAllowedError when the sender has left.
        """
        file = await self._own(party, file_id)
        if not file.whole:
            await self._refuse_late(party, file)
        file = await self._uploads.write(file, offset, body)
        return await self._shown(party, file)

    async def cancel(self, party: Party, file_id: str) -> None:
        """Remove the party's own file, while it is on its way.

        Raises: NoSuchFileError; ConflictError once it is in the transcript.
        """
        file = await self._own(party, file_id)
        if file.whole:
            raise ConflictError
        await self._uploads.remove(file)

    async def all(self, party: Party) -> list[File]:
        """Return the files of the chat that are whole, oldest first."""
        files = await self._uploads.of_chat(party.session.id)
        return [file for file in files if file.whole]

    async def find(self, party: Party, file_id: str) -> File:
        """Return a file that is whole. Raises: NoSuchFileError."""
        file = await self._uploads.find(party.session.id, file_id)
        if not file.whole:
            raise NoSuchFileError
        return file

    def read(self, file: File, start: int, stop: int) -> AsyncIterator[bytes]:
        """Return the bytes of a file from `start` to before `stop`."""
        return self._uploads.read(file, start, stop)

    def expires_at(self, file: File) -> float:
        """Return the wall seconds until which the file has to be whole."""
        return self._limits.expires_at(file)

    async def purge(self) -> None:
        """Remove the files of chats that are forgotten.

        Those of chats that the store does not know, and that got none for as long as
        chats are kept: another server's database must not cost anybody his files. What
        else is in the same folder is not ours.
        """
        options = self._live.current.store
        kept_for = max(options.new_retention, options.ended_retention)
        before = self._clock.time() - kept_for
        for chat_id in filter(is_id, await self._uploads.chats()):
            try:
                await self._store.get(chat_id)
            except SessionNotFoundError:
                await self._uploads.remove_chat(chat_id, before)
            except SessionDamagedError:
                pass  # who mends it has its files

    def _info(self, party: Party, wanted: Announcement) -> Info:
        part, name = _part_of(party), tidy_name(wanted.name)
        if not (party.session.open or party.session.ended):
            raise SessionNotOpenError
        refuse_kind(name, self._live.current.files.upload_file_types)
        return Info(
            name=name,
            type=media_type(wanted.type),
            size=wanted.size,
            participant=part.number,
            sender=party.sender,
            at=self._clock.time(),
            told=wanted.told,
        )

    async def _own(self, party: Party, file_id: str) -> File:
        file = await self._uploads.find(party.session.id, file_id)
        if file.info.sender != party.sender or self._limits.expired(file):
            raise NoSuchFileError
        return file

    async def _refuse_stranger(self, party: Party, file_id: str) -> None:
        """Refuse an agent who is not in the chat, unless he asks for what he sent: he
        may not have heard that it has arrived."""
        try:
            whole = is_id(file_id) and (await self._own(party, file_id)).whole
        except NoSuchFileError:
            whole = False
        if not whole:
            raise SessionNotFoundError

    async def _refuse_late(self, party: Party, file: File) -> None:
        _part_of(party)
        if party.session.ended:
            await self._uploads.give_up(file)
            raise SessionEndedError

    async def _is_there(self, party: Party, file_id: str) -> bool:
        try:
            await self._uploads.find(party.session.id, file_id)
        except NoSuchFileError:
            return False
        return True

    async def _announced(self, party: Party, file_id: str, info: Info) -> File:
        file = await self._limits.announce(party.session.id, file_id, info)
        try:
            await self._limits.find_room(file)
        except TooMuchError:
            if not file.whole:
                await self._uploads.give_up(file)
            elif await self._settled(party, file, []):
                return file  # without bytes it was whole at once: a repeat has shown it
            raise
        return file

    async def _shown(self, party: Party, file: File) -> File:
        """Put a file that is whole into the transcript: once, however often it is asked
        for, as the sender may not have heard that it was."""
        if not file.whole:
            return file
        part = await self._part_now(party)
        drafts = [self._draft(party.session, part, file)] if part else []
        if not await self._settled(party, file, drafts):
            raise NotAllowedError("You are not in this chat any more")
        return file

    async def _settled(self, party: Party, file: File, drafts: Sequence[Draft]) -> bool:
        """Show a file that is whole, or, without a draft, give it up; tell whether it
        is in the transcript.

        Of several requests, the first decides for all of them, so that none removes a
        file that another one has shown.
        """
        once = Once(key=f"file:{file.id}")
        try:
            done = await self._store.append(party.session.id, drafts, once=once)
        except (SessionEndedError, TranscriptFullError):
            await self._uploads.give_up(file)
            raise
        if not done.entries:
            await self._uploads.give_up(file)
        return bool(done.entries)

    async def _part_now(self, party: Party) -> Participant | None:
        """Return the party's part as it stands: an agent may leave while he sends."""
        if not party.sender:
            return party.part
        return (await self._store.get(party.session.id)).participant(party.sender)

    def _draft(self, session: Session, part: Participant, file: File) -> Draft:
        return Draft(
            kind=EntryKind.FILE_UPLOADED,
            role=part.role,
            participant=part.number,
            nickname=part.nickname,
            at=self._clock.time(),
            text=file.info.name,
            user_data={
                "file-id": file.id,
                "file-name": file.info.name,
                "file-size": str(file.info.size),
                "file-type": file.info.type,
            },
            notable=part.number != CUSTOMER
            and is_notable(self._live, session.service, EntryKind.FILE_UPLOADED),
        )


def _part_of(party: Party) -> Participant:
    if party.part is None:
        raise NotAllowedError("Accept the chat first")
    return party.part


def _id_of(party: Party, key: str) -> str:
    """Return the id of the file that its sender calls so."""
    # Header fields may hold bytes that are no text: `repr` writes them in ASCII.
    named = repr((party.session.id, party.sender, key))
    return hashlib.sha256(named.encode()).hexdigest()[:32]
