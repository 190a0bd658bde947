"""The part of the table of options that is about chats and their services."""

from dataclasses import dataclass

from cometd_chat.config.kinds import BOOLEAN, TEXT, names, whole_seconds
from cometd_chat.config.table import DAY, EVENTS, TYPING, Reload, option

_ONE_QUEUE = "there is one queue, without tenants"
_V2 = "Chat API v2 is not there yet"


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
    timeout_alert: int = option(
        whole_seconds(0, 365 * DAY),
        DAY,
        "Silence after which everybody in a chat is told that it will be closed soon; "
        "0 never closes it. GMS has 255: here it is a day, for who uses a mobile app "
        "may be away for hours.",
        name="timeout-alert",
    )
    timeout_alert2: int = option(
        whole_seconds(0, 365 * DAY),
        0,
        "Further silence after which they are told a second time; 0 does not.",
        name="timeout-alert2",
    )
    timeout_close: int = option(
        whole_seconds(0, 365 * DAY),
        3600,
        "Silence after they were told, the last time, until the chat is closed; 0 "
        "never closes it. GMS has 45.",
        name="timeout-close",
    )
    message_alert: str = option(
        TEXT,
        "Chat session will be closed soon due to inactivity of chat participants.",
        "What they are told; nothing is pushed where it is empty.",
        name="message-alert",
    )
    message_close: str = option(
        TEXT,
        "Chat session closed due to inactivity of chat participants.",
        "What they are told when the chat is closed; nothing is pushed where it is "
        "empty.",
        name="message-close",
    )
    flex_push_enabled: bool = option(
        BOOLEAN,
        False,
        "Lets customers of Chat API v2 who poll by REST ask for pushes.",
        name="flex-push-enabled",
        useless=_V2,
    )
    flex_push_timeout: int = option(
        whole_seconds(1, 1_728_000),
        45,
        "Silence after which such a customer counts as absent.",
        name="flex-push-timeout",
        useless=_V2,
    )
    flex_push_on_join: bool = option(
        BOOLEAN,
        False,
        "Lets them ask for pushes with the chat itself.",
        name="flex-push-on-join",
        useless=_V2,
    )
    flex_push_content: tuple[str, ...] = option(
        names("item", "app-dbid", "secure-key", "session-id", "user-id"),
        ("session-id", "user-id"),
        "What their pushes tell about the chat.",
        name="flex-push-content",
        useless=_V2,
    )
    flex_push_resend_delay: int = option(
        whole_seconds(1, DAY),
        15,
        "Time until a push that was not taken is sent again.",
        name="flex-push-resend-delay",
        useless=_V2,
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
        example="30",
    )
    client_timeout_notification_message: str = option(
        TEXT,
        "New message from Agent",
        "Text of the push.",
        name="_client_timeout_notification_message",
        example="You have a message",
    )
    client_timeout_notification_title: str = option(
        TEXT,
        "",
        "Title of the push; those of the provider win.",
        name="_client_timeout_notification_title",
        example="Shop",
    )
    push: bool = option(
        BOOLEAN,
        True,
        "Whether absent customers get pushes. What comes while it is off is never "
        "pushed.",
        example="off",
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
        example="Notice.TypingStarted, Notice.TypingStopped, Notice.Custom",
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
        example="company",
    )
    ttl: int = option(
        whole_seconds(1, 365 * DAY),
        DAY,
        "Life of a service without a chat.",
        reload=Reload.NEW_SESSIONS,
        name="_ttl",
        useless="[store] new_retention says it for all services",
    )
