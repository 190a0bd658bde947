"""What the configuration means to the Bayeux core, which knows of none."""

import math

from cometd_chat import bayeux
from cometd_chat.config import Config
from cometd_chat.web.browsers import BrowserCookie


def bayeux_options(config: Config) -> bayeux.Options:
    """Return the options of the configuration as the Bayeux core wants them."""
    return bayeux.Options(
        timeout=config.bayeux.timeout,
        max_interval=config.bayeux.max_interval,
        offline_after=config.bayeux.offline_after,
        transports=config.bayeux.transports,
        max_inactivity=config.bayeux.max_inactivity or math.inf,
        deliveries_are_activity=config.bayeux.deliveries_are_activity,
        max_clients=config.limits.clients,
        max_subscriptions=config.limits.subscriptions,
        max_holds_per_browser=config.bayeux.max_sessions_per_browser,
        surplus_interval=config.bayeux.multi_session_interval,
    )


def broadcast_rules(config: Config) -> bayeux.Rules:
    """Return who may broadcast what, as the Bayeux core wants it."""
    options = config.bayeux
    return bayeux.Rules(
        allowed=bayeux.Patterns(options.broadcast_channels),
        lazy=dict.fromkeys(options.lazy_channels, options.max_lazy_timeout),
        to_sender=options.broadcast_to_publisher,
    )


def mailbox_bounds(config: Config) -> bayeux.Bounds:
    """Return how much may wait for one client, as the Bayeux core wants it."""
    options = config.bayeux
    return bayeux.Bounds(
        events=options.mailbox_messages,
        size=options.mailbox_size,
        batch=config.limits.reply,
        overflow=bayeux.Overflow(options.mailbox_overflow),
    )


def browser_cookie(config: Config) -> BrowserCookie | None:
    """Return what option `[bayeux] browser_cookie` makes of the cookie."""
    options = config.bayeux
    if options.browser_cookie == "off":
        return None
    return BrowserCookie(
        same_site=options.browser_cookie.capitalize(),
        secure=options.browser_cookie == "none" or config.server.tls_cert is not None,
        partitioned=options.browser_cookie_partitioned,
    )
