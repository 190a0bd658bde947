"""Whose push service a browser's subscription is of. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from cometd_chat.model import endpoint_of

SERVICES = (
    "*.googleapis.com",
    "*.push.apple.com",
    "*.notify.windows.com",
    "*.push.services.mozilla.com",
)
"""Hosts of the browsers' push services; others have to be listed by the admin."""


def service_of(subscription: str, further: Sequence[str]) -> str:
    """Return which of `SERVICES` and the `further` hosts it is; empty if it is none.

    Few, whatever customers invent: each service has a queue of its own.
    """
    try:
        host = urlsplit(endpoint_of(subscription)).hostname or ""
    except ValueError:
        return ""
    return next((name for name in (*SERVICES, *further) if _is(host, name)), "")


def _is(host: str, name: str) -> bool:
    return host == name or (name.startswith("*.") and host.endswith(name[1:]))
