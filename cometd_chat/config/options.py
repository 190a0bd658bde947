"""The table of options: what there is, what it may be, when a change takes effect.

Each field made by `option` is one row. Validation, the reference page, the sample
file and the answer to a reload all come from these rows.
"""
# ruff: noqa: RUF009  # `option` is a dataclass field, which ruff cannot see

import re
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from cometd_chat.config.kinds import (
    BASE_PATH,
    BOOLEAN,
    CHANNELS,
    FILE,
    HOST,
    NETWORKS,
    ORIGINS,
    SECRET,
    STORE_URL,
    TEXT,
    TEXTS,
    URL,
    Kind,
    Network,
    choice,
    duration,
    integer,
    names,
    size,
    whole_seconds,
)

T = TypeVar("T")

EVENTS = (
    "Notice.TypingStarted",
    "Notice.TypingStopped",
    "Notice.Joined",
    "Notice.Left",
    "Notice.PushUrl",
    "Notice.Custom",
    "Message.Text",
)
"""Events of GMS Chat API v1 that can cause a push."""

TYPING = ("Notice.TypingStarted", "Notice.TypingStopped")

PROVIDERS = (
    "android",
    "gcm",
    "ios",
    "httpcb",
    "orscb",
    "customhttp",
    "fcm",
    "comet",
    "webpush",
)
"""Push types; all but the last are those of the GMS option `pushEnabled`."""

_ONE_QUEUE = "there is one queue, without tenants"
_V2 = "Chat API v2 is not there yet"
_RETRIED = "a push is tried again until it expires"

DAY = 86_400
KIB = 1024
MIB = 1024 * KIB


class Reload(StrEnum):
    """When a changed option takes effect."""

    LIVE = "live"
    NEW_SESSIONS = "new-sessions"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One row of the table. `attr` is the field it sets, `name` how it is written.

    `only` names the one section that takes it where its class serves several.
    `useless` says why the option is accepted but has no effect. `twin`: the value
    for devices in debug mode.
    """

    name: str = ""
    attr: str = ""
    kind: Kind[Any]
    default: Any
    sentence: str
    reload: Reload = Reload.LIVE
    only: str = ""
    useless: str = ""
    twin: bool = False

    @property
    def secret(self) -> bool:
        return self.kind is SECRET

    def show(self, value: object) -> str:
        """Write a value as the file would have it; nothing is shown of a secret."""
        if value in (None, "", ()):
            return ""
        return "***" if self.secret else without_password(self.kind.show(value))


def without_password(text: str) -> str:
    """Return the text without user and password of the addresses in it."""
    return re.sub(r"//[^\s,]*@", "//***@", text)


def option(kind: Kind[Any], default: T, sentence: str, **more: Any) -> T:
    """Describe an option of a section; `more` are further fields of `Option`."""
    row = Option(kind=kind, default=default, sentence=sentence, **more)
    return field(default=default, repr=not row.secret, metadata={_ROW: row})


_ROW = "option"


def rows(kind: type[Any]) -> tuple[Option, ...]:
    """Return the options of a class, in the order they are written."""
    return tuple(
        replace(f.metadata[_ROW], attr=f.name, name=f.metadata[_ROW].name or f.name)
        for f in fields(kind)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The HTTP server."""

    host: str = option(
        HOST,
        "127.0.0.1",
        "Address to listen on.",
        reload=Reload.RESTART,
    )
    port: int = option(
        integer(0, 65535, "port"),
        8080,
        "Port to listen on; 0 takes a free one.",
        reload=Reload.RESTART,
    )
    base_path: str = option(
        BASE_PATH,
        "/genesys",
        "Path under which the chat and CometD addresses live.",
        reload=Reload.RESTART,
    )
    trusted_proxies: tuple[Network, ...] = option(
        NETWORKS,
        (),
        "Networks of the reverse proxies whose forwarding headers are believed.",
        reload=Reload.RESTART,
    )
    allowed_origins: tuple[str, ...] = option(
        ORIGINS,
        (),
        "Web pages of other hosts that may talk to the server, such as "
        "https://www.example.com; * allows all.",
    )
    tls_cert: Path | None = option(
        FILE,
        None,
        "Certificate chain (PEM); with it the server speaks HTTPS.",
        reload=Reload.RESTART,
    )
    tls_key: Path | None = option(
        FILE,
        None,
        "Private key (PEM) of tls_cert.",
        reload=Reload.RESTART,
    )
    shutdown_timeout: float = option(
        duration(0, 600),
        25.0,
        "Time that running requests get to finish when the server stops.",
        reload=Reload.RESTART,
    )
    body_timeout: float = option(
        duration(0.1, 300),
        10.0,
        "Time within which the body of a request must have arrived.",
        reload=Reload.RESTART,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BayeuxOptions:
    """CometD: how long polls are held and clients are remembered."""

    timeout: float = option(
        duration(1, 300),
        25.0,
        "Time a poll is held when there is nothing to deliver.",
    )
    max_interval: float = option(
        duration(1, DAY),
        600.0,
        "Time without a poll after which a client is forgotten.",
    )
    offline_after: float = option(
        duration(0.1, 3600),
        10.0,
        "Time without a poll after which the customer counts as absent.",
    )
    broadcast_channels: tuple[str, ...] = option(
        CHANNELS,
        (),
        "Channels on which clients may publish to each other.",
    )
    transports: tuple[str, ...] = option(
        names("transport", "websocket", "long-polling", "callback-polling", least=1),
        ("websocket", "long-polling", "callback-polling"),
        "Transports offered in the handshake.",
    )
    lazy_channels: tuple[str, ...] = option(
        CHANNELS,
        (),
        "Channels whose messages wait for others to travel with.",
    )
    max_lazy_timeout: float = option(
        duration(0.01, 60),
        5.0,
        "Longest time for which a message of a lazy channel waits.",
    )
    broadcast_to_publisher: bool = option(
        BOOLEAN,
        True,
        "Sends what a client publishes back to it, if it is subscribed.",
    )
    mailbox_messages: int = option(
        integer(1, 1_000_000, "messages"),
        1000,
        "Greatest number of broadcast messages that wait for one client.",
    )
    mailbox_size: int = option(
        size(KIB, 256 * MIB),
        MIB,
        "Greatest size of the broadcast messages that wait for one client.",
    )
    mailbox_overflow: str = option(
        choice("oldest", "release"),
        "oldest",
        "What happens beyond that: oldest drops the oldest message, release makes "
        "the client begin anew, so that it learns of the loss.",
    )
    timestamps: bool = option(
        BOOLEAN,
        False,
        "Tells in each reply when it was sent (CometD's timestamp extension).",
        reload=Reload.RESTART,
    )
    max_inactivity: float = option(
        duration(0, 30 * DAY),
        0.0,
        "Time without any other message than polls after which a client is "
        "disconnected (CometD's activity extension); 0 never.",
    )
    deliveries_are_activity: bool = option(
        BOOLEAN,
        False,
        "Counts what is delivered to a client as its activity, too.",
    )
    max_sessions_per_browser: int = option(
        integer(-1, 100, "sessions"),
        5,
        "Polls that are held for one browser; further ones are answered at once. "
        "-1 holds all.",
    )
    multi_session_interval: float = option(
        duration(0.1, 60),
        2.0,
        "Time such a browser is told to wait between polls.",
    )
    browser_cookie: str = option(
        choice("off", "lax", "strict", "none"),
        "lax",
        "SameSite of the cookie BAYEUX_BROWSER, which tells browsers apart; none is "
        "for pages of other sites and needs HTTPS; off sets no cookie.",
    )
    browser_cookie_partitioned: bool = option(
        BOOLEAN,
        False,
        "Makes the cookie Partitioned, for browsers that block others in frames.",
    )
    handshakes_per_second: int = option(
        integer(1, 1_000_000, "handshakes"),
        500,
        "Handshakes answered at once; more have to wait a little, so that clients "
        "do not all come back to a restarted server in the same moment.",
    )
    sweep_period: float = option(
        duration(0.05, 60),
        1.0,
        "Time between two looks for clients that went silent.",
        reload=Reload.RESTART,
    )
    publish_window: float = option(
        duration(0, 3600),
        120.0,
        "Time in which a repeated publish without localId is stored only once.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Where chats are kept, and for how long."""

    url: str = option(
        STORE_URL,
        "sqlite:///./data/cometd-chat.db",
        "Database; three slashes start a relative path, four an absolute one.",
        reload=Reload.RESTART,
    )
    max_entries: int = option(
        integer(10, 1_000_000, "entries"),
        5000,
        "Greatest number of entries in one transcript.",
        reload=Reload.RESTART,
    )
    new_retention: float = option(
        duration(60, 3650 * DAY),
        float(DAY),
        "Time after which a session that never became a chat is deleted.",
    )
    ended_retention: float = option(
        duration(60, 3650 * DAY),
        float(DAY),
        "Time after its end at which a chat is deleted.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthOptions:
    """How customers prove who they are."""

    gms_user: str = option(
        choice("trusted", "signed", "off"),
        "off",
        "What the header gms_user is worth: trusted is believed as GMS does, signed "
        "must be a token, off is not looked at.",
    )
    customer_secret: str = option(
        SECRET,
        "",
        "Key of customers' tokens that are signed with HMAC.",
    )
    customer_jwks: Path | None = option(
        FILE,
        None,
        "Key set (JWKS) of customers' tokens that are signed with a private key.",
    )
    i_understand_gms_user_is_spoofable: bool = option(
        BOOLEAN,
        False,
        "Lets a server that others can reach believe the header gms_user, which "
        "every caller can forge.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How agents prove who they are; without either, a secret is made."""

    secret: str = option(
        SECRET,
        "",
        "Key of agents' tokens that are signed with HMAC, 32 bytes or more.",
    )
    jwks: Path | None = option(
        FILE,
        None,
        "Key set (JWKS) of agents' tokens that are signed with a private key.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What one request, client or chat may take."""

    body: int = option(
        size(KIB, 16 * MIB),
        256 * KIB,
        "Greatest body of a request.",
        reload=Reload.RESTART,
    )
    messages_per_request: int = option(
        integer(1, 10_000, "messages"),
        100,
        "Greatest number of Bayeux messages in one request.",
        reload=Reload.RESTART,
    )
    json_depth: int = option(
        integer(8, 500, "levels"),
        64,
        "Greatest nesting of JSON.",
        reload=Reload.RESTART,
    )
    text: int = option(
        size(1, MIB),
        8 * KIB,
        "Greatest text of one chat message, in UTF-8.",
    )
    nickname: int = option(
        integer(1, 1024, "characters"),
        128,
        "Longest nickname.",
    )
    user_data: int = option(
        size(0, MIB),
        16 * KIB,
        "Greatest user data of one chat, keys and values together.",
    )
    user_data_keys: int = option(
        integer(0, 1000, "keys"),
        64,
        "Greatest number of keys in the user data of one chat.",
    )
    subscriptions: int = option(
        integer(1, 1000, "channels"),
        10,
        "Greatest number of channels one client may subscribe to.",
    )
    reply: int = option(
        size(KIB, 16 * MIB),
        256 * KIB,
        "Size at which a reply is cut; the rest follows with the next poll.",
        reload=Reload.RESTART,
    )
    clients: int = option(
        integer(1, 10_000_000, "clients"),
        50_000,
        "Greatest number of Bayeux clients of this node.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What the server logs, and how."""

    level: str = option(
        choice("debug", "info", "warning", "error"),
        "info",
        "Least severity that is logged.",
    )
    format: str = option(
        choice("auto", "text", "json"),
        "auto",
        "Form of a line; auto is text on a terminal and json elsewhere.",
        reload=Reload.RESTART,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """All chats, or those of one service."""

    default_chat_endpoint: str = option(
        TEXT,
        "Environment:default",
        "Endpoint (tenant:name) of chats whose service names none.",
        reload=Reload.NEW_SESSIONS,
        useless=_ONE_QUEUE,
    )
    enable_fast_chat_transcript_refresh: bool = option(
        BOOLEAN,
        False,
        "Gives the entries of a v1 transcript their Index.",
        name="enable-fast-chat-transcript-refresh",
    )
    enable_notification_mode: bool = option(
        BOOLEAN,
        False,
        "Opens Chat API v2 over CometD.",
        reload=Reload.RESTART,
        only="chat",
        useless=_V2,
    )
    push_notification_include_payload: bool = option(
        BOOLEAN,
        False,
        "Puts the content of the entry into customhttp pushes of v2 chats.",
        useless=_V2,
    )
    push_notification_to_active_client: bool = option(
        BOOLEAN,
        False,
        "Sends pushes to customers who are present, too.",
        useless=_V2,
    )
    flex_disconnect_timeout: int = option(
        whole_seconds(1, 1_728_000),
        45,
        "Silence after which a customer who polls by REST counts as absent.",
        name="flex-disconnect-timeout",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """One service of Chat API v1, under the names of GMS."""

    client_timeout_notification: int = option(
        whole_seconds(0, DAY),
        90,
        "Time between the first entry an absent customer misses and the push; "
        "0 is at once.",
        name="_client_timeout_notification",
    )
    client_timeout_notification_message: str = option(
        TEXT,
        "New message from Agent",
        "Text of the push.",
        name="_client_timeout_notification_message",
    )
    agent_timeout_notification_message: str = option(
        TEXT,
        "customer is not online",
        "Text that tells agents the customer went away; empty tells nothing.",
        name="_agent_timeout_notification_message",
    )
    filtering_chat_events: tuple[str, ...] = option(
        names("event", *EVENTS),
        TYPING,
        "Events that cause no push; the default is filtering_chat_events of [push].",
        name="_filtering_chat_events",
    )
    chat_400_response_on_disconnected: bool = option(
        BOOLEAN,
        False,
        "Answers requests for a chat that has ended with status 400.",
        name="_chat_400_response_on_disconnected",
    )
    chat_endpoint: str = option(
        TEXT,
        "gms_builtin",
        "Endpoint (tenant:name) of the service's chats; gms_builtin is "
        "default_chat_endpoint.",
        reload=Reload.NEW_SESSIONS,
        name="_chat_endpoint",
        useless=_ONE_QUEUE,
    )
    provider_name: str = option(
        TEXT,
        "",
        "Push provider of the service; empty is defaultProvider.",
        name="_provider_name",
    )
    ttl: int = option(
        whole_seconds(1, 365 * DAY),
        DAY,
        "Life of a service instance in which no chat takes place.",
        reload=Reload.NEW_SESSIONS,
        name="_ttl",
        useless="[store] new_retention says it for all services",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Pushes to customers who are absent."""

    push_enabled: tuple[str, ...] = option(
        names("provider", *PROVIDERS),
        ("comet",),
        "Push types that are on; an empty list switches all pushes off.",
        reload=Reload.RESTART,
        name="pushEnabled",
    )
    default_subscription_expiration: int = option(
        whole_seconds(30, 365 * DAY),
        30,
        "Life of a subscription to notifications that names none.",
        reload=Reload.NEW_SESSIONS,
        name="defaultSubscriptionExpiration",
    )
    filtering_chat_events: tuple[str, ...] = option(
        names("event", *EVENTS),
        TYPING,
        "Events that cause no push, for services that do not say it themselves.",
    )
    default_provider: str = option(
        TEXT,
        "",
        "Provider of devices and services that name none.",
        name="defaultProvider",
    )
    localization_file_location: Path | None = option(
        FILE,
        None,
        "File with the texts of pushes in other languages.",
        name="localizationFileLocation",
    )


_GCM = "Google closed GCM in 2019; use fcm.credentials_file"
_FCM = "Google closed this interface in 2024; use fcm.credentials_file"
_ALERT = "apple.alertMessage."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """How one provider sends pushes; each option may have a twin `debug.<option>`."""

    coalesce: float = option(
        duration(0, 3600),
        0.0,
        "Time in which the entries after a first push are put into one more.",
    )
    apns_key_file: Path | None = option(
        FILE,
        None,
        "Key (.p8) with which tokens for APNs are signed.",
        name="apns.key_file",
    )
    apns_key_id: str = option(
        TEXT,
        "",
        "Apple's id of that key.",
        name="apns.key_id",
    )
    apns_team_id: str = option(
        TEXT,
        "",
        "Apple's id of the developer team.",
        name="apns.team_id",
    )
    apns_topic: str = option(
        TEXT,
        "",
        "Bundle id of the app.",
        name="apns.topic",
    )
    apns_server: str = option(
        URL,
        "https://api.push.apple.com",
        "Address of APNs; the sandbox has its own.",
        name="apns.server",
    )
    apns_proxy: str = option(
        URL,
        "",
        "Address of an HTTP proxy on the way to APNs.",
        name="apns.proxy",
    )
    apple_keystore: Path | None = option(
        FILE,
        None,
        "Certificate (.p12) for APNs, in place of a key.",
        name="apple.keystore",
    )
    apple_keystore_password: str = option(
        SECRET,
        "",
        "Password of apple.keystore.",
        name="apple.keystorePassword",
    )
    apple_title: str = option(
        TEXT,
        "",
        "Title of the alert.",
        name="apple.title",
    )
    apple_alert: str = option(
        TEXT,
        "",
        "Alert that is one text.",
        name="apple.alert",
    )
    apple_alert_message_body: str = option(
        TEXT,
        "",
        "Body of the alert; empty is the text of the push.",
        name=f"{_ALERT}body",
    )
    apple_alert_message_action_loc_key: str = option(
        TEXT,
        "",
        "Key of the localised name of the alert's button.",
        name=f"{_ALERT}action-loc-key",
    )
    apple_alert_message_loc_key: str = option(
        TEXT,
        "",
        "Key of the localised body.",
        name=f"{_ALERT}loc-key",
    )
    apple_alert_message_loc_args: tuple[str, ...] = option(
        TEXTS,
        (),
        "Values for the places in the localised body.",
        name=f"{_ALERT}loc-args",
    )
    apple_alert_message_loc_argument_names: tuple[str, ...] = option(
        TEXTS,
        (),
        "Names of the values for the places in the localised body.",
        name=f"{_ALERT}loc-argument-names",
        useless="apple.alertMessage.loc-args has the values",
    )
    apple_alert_message_launch_image: str = option(
        TEXT,
        "",
        "Image shown while the app starts.",
        name=f"{_ALERT}launch-image",
    )
    apple_badge: int | None = option(
        integer(0, 99_999, "number"),
        None,
        "Number on the app's icon; without it, the unread entries.",
        name="apple.badge",
    )
    apple_sound: str = option(
        TEXT,
        "",
        "Sound of the alert.",
        name="apple.sound",
    )
    apple_content_available: bool = option(
        BOOLEAN,
        False,
        "Wakes the app in the background.",
        name="apple.content-available",
    )
    fcm_credentials_file: Path | None = option(
        FILE,
        None,
        "Service account (JSON) for FCM.",
        name="fcm.credentials_file",
    )
    fcm_endpoint: str = option(
        URL,
        "https://fcm.googleapis.com",
        "Address of FCM.",
        name="fcm.endpoint",
    )
    fcm_api_key: str = option(
        SECRET,
        "",
        "Server key of the old FCM interface.",
        name="fcm.apiKey",
        useless=_FCM,
    )
    fcm_title: str = option(
        TEXT,
        "",
        "Title of the notification.",
        name="fcm.title",
    )
    fcm_body: str = option(
        TEXT,
        "",
        "Body of the notification.",
        name="fcm.body",
    )
    android_gcm_api_key: str = option(
        SECRET,
        "",
        "Server key of GCM.",
        name="android.gcm.apiKey",
        useless=_GCM,
    )
    android_gcm_retry_number: int = option(
        integer(0, 100, "number"),
        2,
        "How often a push to Android is tried again.",
        name="android.gcm.retryNumber",
        useless=_RETRIED,
    )
    android_collapse_key: str = option(
        TEXT,
        "",
        "Pushes with the same key replace each other on the device.",
        name="android.collapseKey",
    )
    android_delay_while_idle: bool = option(
        BOOLEAN,
        False,
        "Lets a push wait until the device is used.",
        name="android.delayWhileIdle",
        useless="Google ignores it since 2016",
    )
    android_ssl_trust_all: bool = option(
        BOOLEAN,
        False,
        "Trusts every certificate.",
        name="android.ssl_trust_all",
        useless="certificates are always checked",
    )
    android_unavailability_retry_timeout: int = option(
        whole_seconds(1, DAY),
        120,
        "Time until the next try when Google does not answer.",
        name="android.unavailability_retry_timeout",
        useless=_RETRIED,
    )
    customhttp_url: str = option(
        URL,
        "",
        "Address that pushes of type customhttp are posted to.",
        name="customhttp.url",
    )
    customhttp_message: str = option(
        TEXT,
        "",
        "Fixed text in place of the message.",
        name="customhttp.message",
    )
    customhttp_secret: str = option(
        SECRET,
        "",
        "Key with which posts to customhttp.url are signed (Standard Webhooks).",
        name="customhttp.secret",
    )
    httpcb_hosts: tuple[str, ...] = option(
        TEXTS,
        (),
        "Hosts, or *.domain, that pushes of type httpcb may be posted to.",
        name="httpcb.hosts",
    )
    webpush_hosts: tuple[str, ...] = option(
        TEXTS,
        (),
        "Further hosts, or *.domain, of push services that browsers may name; "
        "those of Apple, Google, Microsoft and Mozilla always may.",
        name="webpush.hosts",
    )
    webpush_subject: str = option(
        TEXT,
        "mailto:postmaster@localhost",
        "Whom push services write to about this server (RFC 8292).",
        name="webpush.subject",
    )
    webpush_vapid_key_file: Path | None = option(
        FILE,
        None,
        "Private key (PEM) that identifies this server to browsers (RFC 8292).",
        name="webpush.vapid_key_file",
    )
