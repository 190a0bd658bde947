"""Which events of others a customer who is away may be pushed."""

from cometd_chat.config import LiveConfig
from cometd_chat.gms import v1
from cometd_chat.model import EntryKind


def is_notable(live: LiveConfig, service: str, kind: EntryKind) -> bool:
    """Tell what `_filtering_chat_events` of the service says of this kind."""
    options = live.current.service(service)
    return v1.event_name(kind) not in options.filtering_chat_events
