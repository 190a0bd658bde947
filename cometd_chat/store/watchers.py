"""Those who want to hear of changes in a store."""

import logging

from cometd_chat.store import Change, Watcher

log = logging.getLogger(__name__)


class Watchers:
    """Calls each watcher; one that raises is logged and harms nobody."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def tell(self, change: Change) -> None:
        for watcher in self._watchers:
            try:
                watcher(change)
            except Exception as error:  # noqa: BLE001 - any watcher, any fault
                # Without the traceback, whose message could show chat text.
                log.error("a watcher raised %s", type(error).__name__)
