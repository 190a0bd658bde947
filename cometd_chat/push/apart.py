"""Work on several things of which none shall be in the way of the others."""

from collections.abc import Awaitable, Callable, Sequence

from cometd_chat.store import StoreError


async def each(work: Callable[[str], Awaitable[None]], names: Sequence[str]) -> None:
    """Do the work for each name; where it fails, the others do not notice.

    Raises: StoreError, one of those that came.
    """
    failure: StoreError | None = None
    for name in names:
        try:
            await work(name)
        except StoreError as error:
            failure = error
    if failure is not None:
        raise failure
