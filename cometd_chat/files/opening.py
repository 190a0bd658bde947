"""Opens the place for files that the configuration names."""

import secrets
from pathlib import Path

from cometd_chat.config import FilesOptions, StoreOptions

from . import Place, PlaceError
from .folder import Folder

BESIDE = "files"
"""Name of the folder beside the database."""

_TRIED = "check"


async def open_place(files: FilesOptions, store: StoreOptions) -> Place | None:
    """Open the place that section [files] names; None if there is none.

    Raises: PlaceError when it cannot be used.
    """
    if files.s3_bucket:
        place = await _bucket(files)
    elif files.folder or not store.url.startswith("redis"):
        place = _folder(files, store)
    else:
        return None
    try:
        await try_out(place)
    except PlaceError:
        await place.close()
        raise
    return place


def _folder(files: FilesOptions, store: StoreOptions) -> Place:
    if not files.folder:
        return Folder(Path(store.url.removeprefix("sqlite:///")).parent / BESIDE)
    root = Path(files.folder)
    if not root.parent.is_dir():
        # Where nodes share it, this tells a share that is not mounted.
        raise PlaceError(f"[files] folder = {root}: {root.parent} is no directory")
    return Folder(root)


async def _bucket(files: FilesOptions) -> Place:
    try:
        # Here, since nodes with a folder need not have the extra with its driver.
        from .bucket import Account, Bucket  # noqa: PLC0415 - has aiobotocore
    except ModuleNotFoundError as error:
        raise PlaceError(
            f"{error.name} is not installed: start with EXTRAS=s3 scripts/run, or "
            "pip install 'cometd-chat[s3]'"
        ) from None
    bucket, _, prefix = files.s3_bucket.partition("/")
    account = Account(
        endpoint=files.s3_endpoint,
        region=files.s3_region,
        access_key=files.s3_access_key,
        secret_key=files.s3_secret_key,
    )
    return await Bucket.open(bucket, prefix, account)


async def try_out(place: Place) -> None:
    """Find out whether the place does what files depend on, before anybody does.

    Raises: PlaceError.
    """
    # In a place of its own, which no other node removes that tries out the same. If
    # this one dies, it is purged like what is left of a chat.
    name = f"{secrets.token_hex(16)}/{_TRIED}"
    if not await place.put(name, b"once"):
        raise PlaceError("[files] an object is there that was never put")
    replaced = await place.put(name, b"twice") or await place.get(name) != b"once"
    await place.remove([name])
    if replaced:
        raise PlaceError(
            "[files] an object was replaced by another one of its name: the server "
            "has to honour If-None-Match: *"
        )
