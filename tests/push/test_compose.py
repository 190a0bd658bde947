"""What a push says: texts and options by provider, event, language and device."""

from pathlib import Path

import msgspec
import pytest

from cometd_chat.config import Config, loads
from cometd_chat.model import Device, Entry, EntryKind, NewJob, Role, Session
from cometd_chat.push import Line, Notification
from cometd_chat.push.compose import LIFE, Occasion, Texts, jobs, receivers
from cometd_chat.push.payloads import apns_message
from cometd_chat.push.texts import TextsError, load_texts

NOW = 1_700_000_000.0

CONFIG = """\
[push]
pushEnabled = comet, ios, fcm, customhttp
defaultProvider = main
fcm.title = of all
[push.provider.main]
fcm.title = of main
apple.title = Chat
apple.sound = ping
[push.provider.event.chat.newagentmessage]
fcm.body = of the event
[push.provider.second]
apple.badge = 1
customhttp.message = Go and look
debug.customhttp.message = Go and test
[service.sales]
_client_timeout_notification_message = of the service
[service.second]
_provider_name = second
"""


def config(text: str = CONFIG) -> Config:
    loaded = loads(text)
    assert loaded.config is not None, loaded.problems
    return loaded.config


def entry(
    position: int, kind: EntryKind = EntryKind.MESSAGE, text: str = "hi"
) -> Entry:
    return Entry(
        kind=kind,
        role=Role.AGENT,
        participant=2,
        nickname="Ann",
        at=NOW,
        text=text,
        notable=True,
        position=position,
    )


def made(
    *devices: Device,
    service: str = "sales",
    texts: Texts | None = None,
    text: str = CONFIG,
) -> list[NewJob]:
    session = Session(
        id="chat", key="secret", service=service, created_at=1.0, devices=devices
    )
    told = (entry(4), entry(7, EntryKind.PUSH_URL, "https://example.com/"))
    occasion = Occasion(session=session, entries=told, badge=5, now=NOW)
    known = config(text)
    return jobs(known, texts or {}, occasion, receivers(known, session))


def one(
    kind: str,
    service: str = "sales",
    texts: Texts | None = None,
    text: str = CONFIG,
    **facts: object,
) -> Notification:
    """Return the notification of the only device."""
    device = Device(id="phone", type=kind, **facts)  # type: ignore[arg-type]  # facts of a test
    (job,) = made(device, service=service, texts=texts, text=text)
    return msgspec.json.decode(job.content, type=Notification)


def test_a_push_names_chat_position_and_lines() -> None:
    push = one("customhttp")
    assert (push.chat, push.position, push.badge) == ("secret", 7, 5)
    assert push.body == "of the service"
    assert push.lines == (
        Line(event="Message.Text", text="hi"),
        Line(event="Notice.PushUrl", text="https://example.com/"),
    )
    assert push.expires_at == NOW + LIFE


def test_options_are_those_of_provider_and_event() -> None:
    assert (one("fcm").title, one("fcm").body) == ("of main", "of the event")
    assert (one("ios").title, one("ios").sound) == ("Chat", "ping")
    second = one("ios", provider="second")
    assert (second.title, second.sound, second.badge) == ("", "", 1)
    assert one("fcm", service="second").title == "of all"


def test_what_only_iphones_know_reaches_apns_and_nobody_else() -> None:
    text = CONFIG.replace(
        "apple.sound = ping\n",
        "apple.content-available = true\napple.alertMessage.launch-image = bike.png\n",
    )
    push = one("ios", text=text)
    aps = apns_message(push)["aps"]
    assert aps["content-available"] == 1
    assert aps["alert"] == {
        "title": "Chat",
        "body": "of the service",
        "launch-image": "bike.png",
    }
    assert one("fcm", text=text).apns == {}


def test_a_device_under_test_gets_the_options_for_it() -> None:
    assert one("customhttp", provider="second").body == "Go and look"
    assert one("customhttp", provider="second", debug=True).body == "Go and test"


def test_texts_are_in_the_language_of_the_device() -> None:
    texts = {"de": {"message": "Neue Nachricht"}, "pt-BR": {"title": "Mensagem"}}
    assert one("fcm", texts=texts, language="de").body == "Neue Nachricht"
    assert one("fcm", texts=texts, language="de-AT").body == "Neue Nachricht"
    assert one("fcm", texts=texts, language="pt-BR").title == "Mensagem"
    assert one("fcm", texts=texts, language="pt-BR").body == "of the event"
    assert one("fcm", texts=texts, language="fr").title == "of main"
    assert one("fcm", texts=texts).title == "of main"


def test_a_push_has_the_same_id_on_each_try_and_another_on_each_device() -> None:
    phone, tablet = Device(id="a", type="ios"), Device(id="b", type="ios")
    first, again = made(phone, tablet), made(phone, tablet)
    assert [job.id for job in first] == [job.id for job in again]
    assert first[0].id != first[1].id


def test_senders_are_named_by_family_provider_and_debug() -> None:
    assert [
        job.provider
        for job in made(
            Device(id="1", type="ios"),
            Device(id="2", type="fcm", provider="second"),
            Device(id="3", type="customhttp", debug=True),
            Device(id="4", type="gcm"),  # not in pushEnabled
            Device(id="5", type="orscb"),  # no way to send it
            Device(id="6", type="ios", provider="invented"),
            Device(id="7", type="ios", muted=True),
        )
    ] == ["apns:main", "fcm:second", "customhttp:main:debug"]


def test_a_push_that_waits_for_the_morning_lives_a_day_from_then() -> None:
    """However long the quiet hours are."""
    (job,) = made(Device(id="1", type="ios", quiet="22:13-22:12"))
    assert job.not_before > NOW
    assert job.expires_at == job.not_before + LIFE


def test_texts_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "texts.ini"
    file.write_text("[de]\nmessage = 100 % neu = gut\n[pt-BR]\ntitle = Olá\n")
    assert load_texts(file) == {
        "de": {"message": "100 % neu = gut"},
        "pt-BR": {"title": "Olá"},
    }
    assert load_texts(None) == {}


@pytest.mark.parametrize("content", [b"message = x\n", b"\xff\xfe[", b"[de]\n[de]\n"])
def test_a_file_of_texts_may_be_wrong(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "texts.ini"
    file.write_bytes(content)
    with pytest.raises(TextsError):
        load_texts(file)
    with pytest.raises(TextsError):
        load_texts(tmp_path / "missing.ini")
