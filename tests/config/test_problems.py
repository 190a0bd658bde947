"""Whatever is wrong with a file, the reader learns where, what and what instead."""

from pathlib import Path

import pytest

from cometd_chat.config import load

SECONDS = "expected whole seconds 0..86400"
DURATION = "expected duration 1s..5m (ms, s, m, h, d)"
SIZE = "expected size 1KiB..16MiB (B, KB, MB, KiB, MiB)"
YES = "expected yes or no (also true, on, 1, false, off, 0)"
KNOWN = "Known: android, gcm, ios, httpcb, orscb, customhttp, fcm, comet, webpush"
EVENTS = (
    "Known: Notice.TypingStarted, Notice.TypingStopped, Notice.Joined, Notice.Left, "
    "Notice.PushUrl, Notice.Custom, Message.Text"
)

ONE_LINE = [
    # whole seconds
    ("[service.a]", '_client_timeout_notification = 90s', ""),
    ("[service.a]", '_client_timeout_notification = 2 minutes', ""),
    ("[service.a]", '_client_timeout_notification = 1500ms', ""),
    ("[service.a]", '_client_timeout_notification = 90.0', ""),
    ("[service.a]", '_client_timeout_notification = -5', ""),
    ("[service.a]", '_client_timeout_notification = +5', ""),
    ("[service.a]", '_client_timeout_notification = 1_000', ""),
    ("[service.a]", '_client_timeout_notification = ٣', ""),
    ("[service.a]", '_client_timeout_notification = 86401', ""),
    ("[service.a]", '_client_timeout_notification = ' + "9" * 5000, ""),
    ("[service.a]", '_client_timeout_notification = soon', ""),
    ("[service.a]", '_client_timeout_notification =', ""),
    ("[service.a]", '_client_timeout_notification = "90"', ""),
    ("[service.a]", '_client_timeout_notification = 90 ; at most', ""),
    ("[service.a]", '_ttl = 0', ""),
    ("[chat]", 'flex-disconnect-timeout = 1m', ""),
    ("[push]", 'defaultSubscriptionExpiration = 29', ""),
    # numbers
    ("[server]", 'port = 65536', ""),
    ("[server]", 'port = http', ""),
    ("[server]", 'port = 8080 # the usual', ""),
    ("[limits]", 'json_depth = 4', ""),
    ("[push]", 'apple.badge = many', ""),
    # durations
    ("[bayeux]", 'timeout = 25 seconds', ""),
    ("[bayeux]", 'timeout = 1 Min', ""),
    ("[bayeux]", 'timeout = 25S', ""),
    ("[bayeux]", 'timeout = 25x', ""),
    ("[bayeux]", 'timeout = 10m', ""),
    ("[bayeux]", 'timeout = -1s', ""),
    ("[bayeux]", 'timeout = 1e1', ""),
    ("[bayeux]", 'timeout =', ""),
    ("[bayeux]", "timeout = '25s'", ""),
    # sizes
    ("[limits]", 'body = 256k', ""),
    ("[limits]", 'body = 256kib', ""),
    ("[limits]", 'body = 1 gb', ""),
    ("[limits]", 'body = 17MiB', ""),
    ("[limits]", 'body = big', ""),
    # yes or no
    ("[auth]", 'i_understand_gms_user_is_spoofable = ture', ""),
    ("[chat]", 'enable_notification_mode = "yes"', ""),
    ("[chat]", 'enable_notification_mode = 2', ""),
    ("[chat]", 'enable_notification_mode =', ""),
    # choices
    ("[auth]", 'gms_user = Trusted', ""),
    ("[auth]", 'gms_user = sigend', ""),
    ("[auth]", 'gms_user = everybody', ""),
    ("[log]", 'level = warn', ""),
    ("[log]", 'level = INFO', ""),
    # lists
    ("[push]", 'pushEnabled = fcm, appel', ""),
    ("[push]", 'pushEnabled = "fcm, ios"', ""),
    ("[push]", 'pushEnabled = fcm, ios,', ""),
    ("[push]", 'pushEnabled = fcm,, ios', ""),
    ("[push]", 'filtering_chat_events = Notice.Typing', ""),
    ("[service.a]", '_filtering_chat_events = message.text', ""),
    ("[bayeux]", 'transports = websocket', ""),
    ("[bayeux]", 'transports =', ""),
    ("[bayeux]", 'broadcast_channels = news', ""),
    ("[bayeux]", 'broadcast_channels = /**', ""),
    ("[bayeux]", 'broadcast_channels = /news, /service/agent', ""),
    ("[bayeux]", 'broadcast_channels = /_genesys', ""),
    ("[server]", 'trusted_proxies = proxy.example.com', ""),
    ("[server]", 'trusted_proxies = 10.0.0.1/8', ""),
    ("[server]", 'trusted_proxies = 0.0.0.0/0', ""),
    # places
    ("[server]", 'host = 127.0.0.1:8080', ""),
    ("[server]", 'host = http://localhost:8080/', ""),
    ("[server]", 'host = [::1]:8080', ""),
    ("[server]", 'host = [::1]', ""),
    ("[server]", 'host = 256.0.0.1', ""),
    ("[server]", 'host = my host', ""),
    ("[server]", 'host =', ""),
    ("[server]", 'base_path = genesys/', ""),
    ("[server]", 'base_path = /', ""),
    ("[server]", 'base_path = /a/../b', ""),
    ("[server]", 'tls_cert = /nowhere/cert.pem', ""),
    ("[server]", 'tls_cert = /', ""),
    ("[server]", 'tls_cert =', ""),
    ("[auth]", 'customer_jwks = https://id.example.com/keys', ""),
    ("[store]", 'url = redis://user:hidden@cache/0', ""),
    ("[store]", 'url = redis+cluster://cache/0', ""),
    ("[store]", 'url = postgres://user:hidden@db/chat', ""),
    ("[store]", 'url = sqlite:///', ""),
    ("[store]", 'url = sqlite://data/chat.db', ""),
    ("[store]", 'url = data/chat.db', ""),
    ("[push]", 'customhttp.url = push.example.com', ""),
    ("[push]", 'customhttp.url = ftp://push.example.com', ""),
    ("[push]", 'customhttp.url = https://user:hidden@push.example.com:x', ""),
    ("[push]", 'customhttp.url = https://push.example.com/a b', ""),
    ("[push.provider.a]", 'debug.customhttp.url = nowhere', ""),
    # texts that look like something else
    ("[service.a]", '_client_timeout_notification_message = "Hello"', ""),
    ("[service.a]", "_client_timeout_notification_message = Hello ; goodbye", ""),
    ("[push]", "fcm.apiKey = " + "k" * 30, ""),
    ("[push]", "android.ssl_trust_all = true", ""),
    # secrets
    ("[agents]", "secret =", ""),
    ("[agents]", 'secret = "' + "hidden" * 9 + '"', ""),
    ("[agents]", "secret = hidden", ""),
    ("[auth]", "customer_secret = hidden", ""),
    ("[agents]", "secret_file = /nowhere/hidden", ""),
    ("[agents]", "secret_file =", ""),
    # names
    ("[service.a]", "_client_timout_notification = 90", ""),
    ("[server]", "Prot = 1", ""),
    ("[server]", "qqqqqq = hidden", ""),
    ("[agents]", "aGlkZGVu==", ""),
    ("[server]", "pushEnabled = fcm", ""),
    ("[chat.a]", "enable_notification_mode = on", ""),
    ("[files]", "max_size = 1", ""),
    ("[server]", "port 8080", ""),
    ("[server]", "port: 8080", ""),
    ("[server]", "what is this", ""),
    ("[agents]", "hidden", ""),
    ("[server]", "= 8080", ""),
    ("[server]", "port = 8080\nPORT = 8081", ""),
    ("[server]", "port = 8080\nport = 8080", ""),
    ("[server]", "host = ::1\n  port = 8080", ""),
    ("[server]", "host = ::1\n\tport = 8080", ""),
    ("[server]", "host = ::1\n  [bayeux]\ntimeout = 1s", ""),
    ("[server]", "host = localhost\n  and others", ""),
    ("[agents]", "secret = hidden\n  hidden", ""),
    ("[agents]", "secret = " + "x" * 40 + "\nsecret_file = /nowhere", ""),
    # sections
    ("[serverr]", "port = 1", ""),
    ("[Server]", "port = 1", ""),
    ("[ server ]", "port = 1", ""),
    ("[services.a]", "_ttl = 1", ""),
    ("[provider.main]", "fcm.title = x", ""),
    ("[service]", "_ttl = 1", ""),
    ("[push.provider]", "fcm.title = x", ""),
    ("[push.provider.event]", "fcm.title = x", ""),
    ("[push.provider.a.b]", "fcm.title = x", ""),
    ("[qqqq]", "port = 1", ""),
    ("[DEFAULT]", "port = 1", ""),
    ("[server", "port = 8080", ""),
    ("[server] port = 8080", "", ""),
    ("[]", "port = 8080", ""),
    ("[server]", "[server]", ""),
    ("port = 8080", "", ""),
    ("what = 8080", "", ""),
    ("[server]\nport = 1\n[log]\n[server]", "port = 2", ""),
    # providers
    ("[push]", "defaultProvider = main", ""),
    ("[push.provider.mian]\n[service.a]", "_provider_name = main", ""),
    ("[push]", "pushEnabled = customhttp", ""),
]
BYTES=[
 ("latin-1", b"[chat]\ndefault_chat_endpoint = caf\xe9\n", ""),
 ("utf-16", "[server]\n".encode("utf-16"), ""),
 ("nul", b"[server]\nhost = a\x00b\n", ""),
 ("bom inside", "[server]\n\ufeffport = 1\n".encode(), ""),
 ("several", b"[server]\r\nport = x\r\nhots = a\r\n[auth]\r\ngms_user = signed\r\n[lgo]\r\n", ""),
]
