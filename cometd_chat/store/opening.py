"""Opens the store that the configuration names."""

from cometd_chat.config import StoreOptions

from . import Limits, Store, StoreError
from .sqlite import SqliteStore


def is_shared(options: StoreOptions) -> bool:
    """Tell whether other nodes may have the same storage."""
    return options.url.startswith("redis")


async def open_store(options: StoreOptions) -> Store:
    """Open the store that option `[store] url` names.

    Raises: StoreError.
    """
    if is_shared(options):
        return await _open_redis(options)
    path = options.url.removeprefix("sqlite:///")
    return await SqliteStore.open(path, limits=_limits(options))


async def _open_redis(options: StoreOptions) -> Store:
    try:
        # Here, since nodes with a file need not have the extra with its driver.
        from .redis import Durability, RedisStore, parse  # noqa: PLC0415 - has Redis
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{error.name} is not installed: start with EXTRAS=redis scripts/run, or "
            "pip install 'cometd-chat[redis]'"
        ) from None
    return await RedisStore.open(
        parse(options.url, options.user, options.password),
        prefix=options.prefix,
        durability=Durability(options.durability),
        allow_volatile=options.allow_volatile,
        limits=_limits(options),
    )


def _limits(options: StoreOptions) -> Limits:
    return Limits(entries=options.max_entries, new=options.max_new)
