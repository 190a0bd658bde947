"""The part of the table of options that is about pushes."""
# ruff: noqa: RUF009  # `option` is a dataclass field, which ruff cannot see

from dataclasses import dataclass
from pathlib import Path

from cometd_chat.config.kinds import (
    BOOLEAN,
    SECRET,
    TEXT,
    TEXTS,
    choice,
    duration,
    integer,
    names,
    whole_seconds,
)
from cometd_chat.config.places import CONTACT, FILE, HTTP_URL, HTTPS_URL, URL
from cometd_chat.config.table import DAY, EVENTS, TYPING, Reload, option

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

_NO_SUBSCRIPTIONS = "the Notification API is not there yet"
_RETRIED = "a push is tried again until it expires"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Pushes to customers who are absent."""

    push_enabled: tuple[str, ...] = option(
        names("provider", *PROVIDERS),
        ("comet",),
        "Push types that are on, gcm and android being other names of fcm; an empty "
        "list switches all pushes off.",
        name="pushEnabled",
        example="comet, ios, fcm",
    )
    default_subscription_expiration: int = option(
        whole_seconds(30, 365 * DAY),
        30,
        "Life of a subscription to notifications that names none.",
        reload=Reload.NEW_SESSIONS,
        useless=_NO_SUBSCRIPTIONS,
        name="defaultSubscriptionExpiration",
        example="3600",
    )
    filtering_chat_events: tuple[str, ...] = option(
        names("event", *EVENTS),
        TYPING,
        "Events that cause no push, for services that do not say it themselves.",
        example="Notice.TypingStarted, Notice.TypingStopped, Notice.Joined",
    )
    default_provider: str = option(
        TEXT,
        "",
        "Provider of devices and services that name none.",
        name="defaultProvider",
        example="company",
    )
    badge_update: tuple[str, ...] = option(
        names("type", "ios", "fcm", "customhttp"),
        ("ios", "customhttp"),
        "Types of devices that get a silent push with the new number once their user "
        "has read; customhttp only where posts are signed.",
        example="ios, fcm",
    )
    localization_file_location: Path | None = option(
        FILE,
        None,
        "File with the texts of pushes in other languages.",
        name="localizationFileLocation",
        example="texts.ini",
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
        example="30s",
        used_by="all",
    )
    form: str = option(
        choice("text", "conversation"),
        "text",
        "What a push shows: the texts of the options; or the conversation, who wrote "
        "and what, and with several agents the subject of the chat, too.",
        example="conversation",
        used_by="all",
    )
    privacy: str = option(
        choice("full", "generic", "id-only"),
        "full",
        "How much leaves the house: all; the texts of the options without anything of "
        "the chat; or its id and position only, with which the app asks.",
        example="generic",
        used_by="all",
    )
    apns_key_file: Path | None = option(
        FILE,
        None,
        "Key (.p8) with which tokens for APNs are signed.",
        name="apns.key_file",
        example="AuthKey.p8",
    )
    apns_key_id: str = option(
        TEXT,
        "",
        "Apple's id of that key.",
        name="apns.key_id",
        example="ABC123DEFG",
    )
    apns_team_id: str = option(
        TEXT,
        "",
        "Apple's id of the developer team.",
        name="apns.team_id",
        example="DEF123GHIJ",
    )
    apns_topic: str = option(
        TEXT,
        "",
        "Bundle id of the app.",
        name="apns.topic",
        example="com.example.shop",
    )
    apns_server: str = option(
        HTTPS_URL,
        "https://api.push.apple.com",
        "Address of APNs; the sandbox has its own.",
        name="apns.server",
        example="https://api.sandbox.push.apple.com",
    )
    apns_proxy: str = option(
        HTTP_URL,
        "",
        "Address of an HTTP proxy on the way to APNs.",
        name="apns.proxy",
        example="http://proxy.example.com:3128",
    )
    apple_keystore: Path | None = option(
        FILE,
        None,
        "Certificate (.p12) for APNs, in place of a key.",
        name="apple.keystore",
        example="push.p12",
    )
    apple_keystore_password: str = option(
        SECRET,
        "",
        "Password of apple.keystore.",
        name="apple.keystorePassword",
        example="s3cret",
    )
    apple_title: str = option(
        TEXT,
        "",
        "Title of the alert.",
        name="apple.title",
        example="Shop",
    )
    apple_alert: str = option(
        TEXT,
        "",
        "Alert that is one text.",
        name="apple.alert",
        example="There is news",
    )
    apple_alert_message_body: str = option(
        TEXT,
        "",
        "Body of the alert; empty is the text of the push.",
        name=f"{_ALERT}body",
        example="You have a new message",
    )
    apple_alert_message_action_loc_key: str = option(
        TEXT,
        "",
        "Key of the localised name of the alert's button.",
        name=f"{_ALERT}action-loc-key",
        example="READ",
    )
    apple_alert_message_loc_key: str = option(
        TEXT,
        "",
        "Key of the localised body.",
        name=f"{_ALERT}loc-key",
        example="NEW_MESSAGE",
        used_by="ios, fcm, customhttp (signed), webpush",
    )
    apple_alert_message_loc_args: tuple[str, ...] = option(
        TEXTS,
        (),
        "Values for the places in the localised body.",
        name=f"{_ALERT}loc-args",
        example="Shop",
        used_by="ios, fcm, customhttp (signed), webpush",
    )
    apple_alert_message_loc_argument_names: tuple[str, ...] = option(
        TEXTS,
        (),
        "Names of the values for the places in the localised body.",
        name=f"{_ALERT}loc-argument-names",
        useless="apple.alertMessage.loc-args has the values",
        example="shop",
    )
    apple_alert_message_launch_image: str = option(
        TEXT,
        "",
        "Image shown while the app starts.",
        name=f"{_ALERT}launch-image",
        example="chat.png",
    )
    apple_badge: int | None = option(
        integer(0, 99_999, "number"),
        None,
        "Number on the app's icon; without it, the unread entries.",
        name="apple.badge",
        example="1",
        used_by="ios, fcm, customhttp, webpush, comet",
    )
    apple_sound: str = option(
        TEXT,
        "",
        "Sound of the alert.",
        name="apple.sound",
        example="default",
        used_by="ios, fcm, customhttp (signed), webpush",
    )
    apple_content_available: bool = option(
        BOOLEAN,
        False,
        "Wakes the app in the background.",
        name="apple.content-available",
        example="true",
    )
    apple_category: str = option(
        TEXT,
        "",
        "Category of the alert, by which the app knows its buttons.",
        name="apple.category",
        example="CHAT",
        used_by="ios, fcm (iPhones), customhttp (signed), webpush",
    )
    apple_thread_id: str = option(
        TEXT,
        "",
        "Group of alerts that lie together; empty is one group for each chat.",
        name="apple.thread-id",
        example="support",
        used_by="ios, fcm (iPhones), customhttp (signed), webpush",
    )
    apple_mutable_content: bool = option(
        BOOLEAN,
        False,
        "Lets the app change the alert before it is shown.",
        name="apple.mutable-content",
        example="true",
        used_by="ios, fcm (iPhones)",
    )
    apple_interruption_level: str = option(
        choice("passive", "active", "time-sensitive", "critical"),
        "active",
        "How much the alert may disturb.",
        name="apple.interruption-level",
        example="time-sensitive",
        used_by="ios, fcm (iPhones)",
    )
    android_channel_id: str = option(
        TEXT,
        "",
        "Notification channel of the Android app.",
        name="android.channel_id",
        example="chat",
    )
    fcm_credentials_file: Path | None = option(
        FILE,
        None,
        "Service account (JSON) for FCM.",
        name="fcm.credentials_file",
        example="firebase.json",
    )
    fcm_endpoint: str = option(
        URL,
        "https://fcm.googleapis.com",
        "Address of FCM.",
        name="fcm.endpoint",
        example="https://fcm.example.com",
    )
    fcm_api_key: str = option(
        SECRET,
        "",
        "Server key of the old FCM interface.",
        name="fcm.apiKey",
        useless=_FCM,
        example="s3cret",
    )
    fcm_title: str = option(
        TEXT,
        "",
        "Title of the notification.",
        name="fcm.title",
        example="Shop",
        used_by="fcm, customhttp (signed), webpush",
    )
    fcm_body: str = option(
        TEXT,
        "",
        "Body of the notification.",
        name="fcm.body",
        example="You have a new message",
        used_by="fcm, webpush, httpcb, comet",
    )
    android_gcm_api_key: str = option(
        SECRET,
        "",
        "Server key of GCM.",
        name="android.gcm.apiKey",
        useless=_GCM,
        example="s3cret",
    )
    android_gcm_retry_number: int = option(
        integer(0, 100, "number"),
        2,
        "How often a push to Android is tried again.",
        name="android.gcm.retryNumber",
        useless=_RETRIED,
        example="3",
    )
    android_collapse_key: str = option(
        TEXT,
        "",
        "Pushes with the same key replace each other on the device.",
        name="android.collapseKey",
        example="chat",
        used_by="ios, fcm, customhttp (signed), webpush",
    )
    android_delay_while_idle: bool = option(
        BOOLEAN,
        False,
        "Lets a push wait until the device is used.",
        name="android.delayWhileIdle",
        useless="Google ignores it since 2016",
        example="true",
    )
    android_ssl_trust_all: bool = option(
        BOOLEAN,
        False,
        "Trusts every certificate.",
        name="android.ssl_trust_all",
        useless="certificates are always checked",
        example="true",
    )
    android_unavailability_retry_timeout: int = option(
        whole_seconds(1, DAY),
        120,
        "Time until the next try when Google does not answer.",
        name="android.unavailability_retry_timeout",
        useless=_RETRIED,
        example="60",
    )
    customhttp_url: str = option(
        URL,
        "",
        "Address that pushes of type customhttp are posted to.",
        name="customhttp.url",
        example="https://push.example.com/chat",
    )
    customhttp_message: str = option(
        TEXT,
        "",
        "Fixed text in place of the message.",
        name="customhttp.message",
        example="There is news",
    )
    customhttp_secret: str = option(
        SECRET,
        "",
        "Key with which posts to customhttp.url are signed (Standard Webhooks).",
        name="customhttp.secret",
        example="whsec_…",
    )
    httpcb_hosts: tuple[str, ...] = option(
        TEXTS,
        (),
        "Hosts, or *.domain, that pushes of type httpcb may be posted to; with :port "
        "where it is not the usual one.",
        name="httpcb.hosts",
        example="*.example.com",
    )
    webpush_hosts: tuple[str, ...] = option(
        TEXTS,
        (),
        "Further hosts, or *.domain, of push services that browsers may name; "
        "those of Apple, Google, Microsoft and Mozilla always may.",
        name="webpush.hosts",
        example="*.example.com",
    )
    webpush_subject: str = option(
        CONTACT,
        "mailto:postmaster@localhost",
        "Whom push services write to about this server (RFC 8292).",
        name="webpush.subject",
        example="mailto:push@example.com",
    )
    webpush_vapid_key_file: Path | None = option(
        FILE,
        None,
        "Private key (PEM) that identifies this server to browsers (RFC 8292).",
        name="webpush.vapid_key_file",
        example="vapid.pem",
    )
