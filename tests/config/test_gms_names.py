"""Whoever brings the configuration of a GMS finds all of its options known."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cometd_chat.cli import main

# By the pages of GMS and of its Chat Server, with values as these give them.
SERVICE = """\
_client_timeout_notification = 90
_client_timeout_notification_message = New message from Agent
_agent_timeout_notification_message = customer is not online
_filtering_chat_events = Notice.TypingStarted, Notice.TypingStopped
_chat_400_response_on_disconnected = false
_chat_endpoint = gms_builtin
_provider_name = company
_ttl = 86400
"""
CHAT = """\
default_chat_endpoint = Environment:default
enable-fast-chat-transcript-refresh = false
push_notification_include_payload = false
push_notification_to_active_client = false
flex-disconnect-timeout = 45
timeout-alert = 255
timeout-alert2 = 0
timeout-close = 45
message-alert = Chat session will be closed soon due to inactivity.
message-close = Chat session closed due to inactivity.
flex-push-enabled = true
flex-push-timeout = 45
flex-push-on-join = false
flex-push-content = app-dbid, secure-key, session-id, user-id
flex-push-resend-delay = 15
"""
PROVIDER = """\
customhttp.url = https://push.example.com/
customhttp.message = New message
debug.customhttp.url = https://push.example.com/debug
debug.customhttp.message = New message
fcm.apiKey = key
debug.fcm.apiKey = key
fcm.title = Shop
fcm.body = New message
apple.title = Shop
apple.alertMessage.body = New message
apple.keystore = {keystore}
apple.keystorePassword = word
debug.apple.keystore = {keystore}
debug.apple.keystorePassword = word
apple.alert = New message
apple.badge = 1
apple.sound = default
apple.content-available = 1
apple.alertMessage.action-loc-key = key
apple.alertMessage.loc-key = key
apple.alertMessage.loc-args = name
apple.alertMessage.loc-argument-names = name
apple.alertMessage.launch-image = image.png
android.gcm.apiKey = key
android.gcm.retryNumber = 2
android.collapseKey = chat
android.delayWhileIdle = false
android.ssl_trust_all = false
android.unavailability_retry_timeout = 120
"""
PUSH = """\
pushEnabled = android, gcm, ios, httpcb, orscb, customhttp, fcm, comet
defaultSubscriptionExpiration = 30
filtering_chat_events = Notice.TypingStarted, Notice.TypingStopped
defaultProvider = company
localizationFileLocation = {texts}
"""


@pytest.fixture
def sections(tmp_path: Path) -> str:
    """All of them, in each section where GMS takes them."""
    texts, keystore = tmp_path / "texts.json", tmp_path / "keys.p12"
    for file in (texts, keystore):
        file.write_text("{}", encoding="utf-8")
    provider = PROVIDER.format(keystore=keystore)
    return "".join(
        [
            f"[chat]\nenable_notification_mode = true\n{CHAT}",
            f"[chat.support]\n{CHAT}",
            f"[service.support]\n{SERVICE}",
            f"[push]\n{PUSH.format(texts=texts)}{provider}",
            f"[push.provider.company]\n{provider}",
            f"[push.provider.event.chat.newagentmessage]\n{provider}",
            f"[push.provider.company.event.chat.newagentmessage]\n{provider}",
        ]
    )


def test_all_options_of_gms_are_known(sections: str, tmp_path: Path) -> None:
    """Some have no effect, which is said; but none is unknown, and none is refused."""
    file = tmp_path / "chat.ini"
    file.write_text(sections, encoding="utf-8")
    result = CliRunner().invoke(main, ["check-config", str(file)])
    assert [line for line in result.stderr.splitlines() if "unknown" in line] == []
    assert result.exit_code == 0
