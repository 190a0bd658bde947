"""The limits of the configuration as the wire forms want them."""

from cometd_chat.config import LimitOptions
from cometd_chat.gms.values import Limits


def gms_limits(options: LimitOptions) -> Limits:
    """Return what one request may carry, in bytes."""
    return Limits(
        text=options.text,
        nickname=options.nickname,
        user_data=options.user_data,
        user_data_keys=options.user_data_keys,
    )
