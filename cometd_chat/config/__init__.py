"""The configuration: one table of options, read from an INI file and the environment.

`load` returns a frozen `Config`, or tells everything that is wrong at once. Readers
keep a `LiveConfig` and ask it at the time of use, so that a reload needs no more than
`replace`; `changes` tells what it brought and what waits for a restart.
"""

from cometd_chat.config.check import Origins, check
from cometd_chat.config.ini import Origin, Problem
from cometd_chat.config.live import Changed, LiveConfig, changes
from cometd_chat.config.loader import Loaded, load, loads
from cometd_chat.config.options import (
    AgentOptions,
    AuthOptions,
    BayeuxOptions,
    FilesOptions,
    LimitOptions,
    LogOptions,
    ServerOptions,
    StoreOptions,
)
from cometd_chat.config.pages import (
    render_doc,
    render_push_options,
    render_sample,
    render_show,
)
from cometd_chat.config.places import Network
from cometd_chat.config.push_options import ProviderOptions, PushOptions
from cometd_chat.config.resolve import Config
from cometd_chat.config.service_options import ChatOptions, ServiceOptions
from cometd_chat.config.table import Reload

__all__ = [
    "AgentOptions",
    "AuthOptions",
    "BayeuxOptions",
    "Changed",
    "ChatOptions",
    "Config",
    "FilesOptions",
    "LimitOptions",
    "LiveConfig",
    "Loaded",
    "LogOptions",
    "Network",
    "Origin",
    "Origins",
    "Problem",
    "ProviderOptions",
    "PushOptions",
    "Reload",
    "ServerOptions",
    "ServiceOptions",
    "StoreOptions",
    "changes",
    "check",
    "load",
    "loads",
    "render_doc",
    "render_push_options",
    "render_sample",
    "render_show",
]
