"""How many connects of each browser are held.

A browser opens only a few connections to one host, and its tabs share them (Bayeux
1.0, "Multiple clients"): where all wait for events, none is left for what a tab sends.
"""

from .client import WEBSOCKET, Client


class Holds:
    """The held connects of browsers, at most so many for each; any number if negative.

    The length is the number of browsers that have one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def take(self, client: Client) -> bool:
        """Tell whether the newest connect of a browser's client may be held; count it.

        It takes the place of the former one. A socket takes none.
        """
        if client.holds:
            self.give_back(client)
        if client.transport == WEBSOCKET:
            return True
        held = self._held.get(client.browser, 0)
        if 0 <= self._most <= held:
            return False
        self._held[client.browser] = held + 1
        client.holds = True
        return True

    def give_back(self, client: Client) -> None:
        """Free the place that the client `holds`."""
        client.holds = False
        self._held[client.browser] -= 1
        if not self._held[client.browser]:
            del self._held[client.browser]
