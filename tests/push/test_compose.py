"""What a push says: texts and options by provider, event, language and device."""

import json
from pathlib import Path

import msgspec
import pytest

from cometd_chat.config import Config, loads
from cometd_chat.model import (
    Device,
    Entry,
    EntryKind,
    NewJob,
    Participant,
    Profile,
    PushOverride,
    Role,
    Session,
)
from cometd_chat.push import Line, Notification
from cometd_chat.push.compose import (
    LIFE,
    LIFE_OF_BADGE,
    Occasion,
    corrections,
    jobs,
    receivers,
)
from cometd_chat.push.lines import MOST_TEXT
from cometd_chat.push.payloads import apns_message
from cometd_chat.push.texts import TextsError, load_texts
from cometd_chat.push.wording import Texts

NOW = 1_700_000_000.0

CONFIG = """\
[push]
pushEnabled = comet, ios, fcm, customhttp, webpush
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
    position: int,
    kind: EntryKind = EntryKind.MESSAGE,
    text: str = "hi",
    push: PushOverride | None = None,
) -> Entry:
    return Entry(
        push=push,
        kind=kind,
        role=Role.AGENT,
        participant=2,
        nickname="Ann",
        at=NOW,
        text=text,
        notable=True,
        position=position,
    )


TOLD = (entry(4), entry(7, EntryKind.PUSH_URL, "https://example.com/"))


def made(
    *devices: Device,
    service: str = "sales",
    texts: Texts | None = None,
    text: str = CONFIG,
    told: tuple[Entry, ...] = TOLD,
    agents: int = 1,
) -> list[NewJob]:
    session = Session(
        id="chat",
        key="secret",
        service=service,
        created_at=1.0,
        devices=devices,
        profile=Profile(subject="Bike"),
        participants=tuple(
            Participant(number=n, role=Role.AGENT, nickname="Ann", id=f"a{n}")
            for n in range(2, 2 + agents)
        ),
    )
    occasion = Occasion(session=session, entries=told, badge=5, now=NOW)
    known = config(text)
    return jobs(known, texts or {}, occasion, receivers(known, session))


def one(
    kind: str,
    service: str = "sales",
    texts: Texts | None = None,
    text: str = CONFIG,
    told: tuple[Entry, ...] = TOLD,
    agents: int = 1,
    **facts: object,
) -> Notification:
    """Return the notification of the only device."""
    device = Device(id="phone", type=kind, **facts)  # type: ignore[arg-type]  # facts of a test
    (job,) = made(
        device, service=service, texts=texts, text=text, told=told, agents=agents
    )
    return msgspec.json.decode(job.content, type=Notification)


def test_a_push_tells_the_name_of_a_file() -> None:
    told = (entry(4), entry(5, EntryKind.FILE_UPLOADED, "terms.pdf"))
    push = one("ios", told=told, text=with_options("form = conversation"))
    assert (push.title, push.body) == ("Ann", "terms.pdf")
    assert push.lines[-1].text == "terms.pdf"


def test_a_push_says_of_events_without_a_text_what_the_transcript_says() -> None:
    told = (entry(4, EntryKind.JOINED, ""), entry(5, EntryKind.LEFT, ""))
    assert one("customhttp", told=told).lines == (
        Line(event="Notice.Joined", text="has joined the session"),
        Line(event="Notice.Left", text="has left the session"),
    )


def test_a_push_names_chat_position_and_lines() -> None:
    push = one("customhttp")
    assert (push.chat, push.position, push.badge) == ("secret", 7, 5)
    assert push.body == "of the service"
    assert push.lines == (
        Line(event="Message.Text", text="hi"),
        Line(event="Notice.PushUrl", text="https://example.com/"),
    )
    assert push.expires_at == NOW + LIFE


def test_of_long_entries_a_push_tells_the_newest() -> None:
    """However long the absence, a push is no longer than a payload may be."""
    told = tuple(entry(n, text=str(n % 10) * 6_000) for n in range(1, 9))
    assert [line.text[0] for line in one("customhttp", told=told).lines] == [
        "6",
        "7",
        "8",
    ]
    told = (*told, entry(9, text="x" * (MOST_TEXT + 1)))
    push = one("customhttp", told=told)
    assert (push.lines, push.position) == ((), 9)


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
    texts = {"de": {"message": "Neue Nachricht"}, "pt-br": {"title": "Mensagem"}}
    assert one("fcm", texts=texts, language="de").body == "Neue Nachricht"
    assert one("fcm", texts=texts, language="de-AT").body == "Neue Nachricht"
    assert one("fcm", texts=texts, language="pt-BR").title == "Mensagem"
    assert one("fcm", texts=texts, language="pt-BR").body == "of the event"
    assert one("fcm", texts=texts, language="PT_br").title == "Mensagem"
    assert one("fcm", texts=texts, language="fr").title == "of main"
    assert one("fcm", texts=texts).title == "of main"


WISH = PushOverride(
    title="Order 9",
    body="It is ready",
    ext="order-9",
    sound="bell",
    collapse="order",
    apns={"aps": {"category": "ORDER"}},
    android={"notification": {"icon": "bike"}},
    webpush={"icon": "/bike.png"},
)


def with_options(*lines: str) -> str:
    """Return the configuration with further options of the provider `main`."""
    return CONFIG.replace("apple.title", "\n".join((*lines, "apple.title")))


@pytest.mark.parametrize("kind", ["ios", "fcm", "customhttp"])
def test_what_the_agent_wants_wins(kind: str) -> None:
    texts = {"de": {"message": "Neue Nachricht", "title": "Titel"}}
    told = (entry(4, push=WISH), entry(5))
    push = one(kind, told=told, texts=texts, language="de")
    assert (push.title, push.body, push.ext) == ("Order 9", "It is ready", "order-9")
    assert (push.sound, push.collapse) == ("bell", "order")
    assert push.apns == {"aps": {"category": "ORDER"}}
    assert push.android == {"notification": {"icon": "bike"}}
    assert push.webpush == {"icon": "/bike.png"}


def test_of_several_wishes_the_newest_is_heard_as_a_whole() -> None:
    newer = PushOverride(title="Order 10")
    push = one("fcm", told=(entry(4, push=WISH), entry(5, push=newer), entry(6)))
    assert (push.title, push.body, push.ext) == ("Order 10", "of the event", "")


def test_what_the_agent_wants_joins_what_the_options_say_to_iphones() -> None:
    text = with_options("apple.alertMessage.launch-image = bike.png")
    push = one("ios", text=text, told=(entry(4, push=WISH),))
    assert push.apns["aps"] == {
        "alert": {"launch-image": "bike.png"},
        "category": "ORDER",
    }


def test_words_of_somebodys_own_replace_those_that_the_phone_would_find() -> None:
    text = with_options("apple.alertMessage.loc-key = NEW")
    assert one("ios", text=text).loc_key == "NEW"
    assert one("ios", text=text, told=(entry(4, push=WISH),)).loc_key == ""
    only_title = (entry(4, push=PushOverride(title="Order 9")),)
    assert one("ios", text=text, told=only_title).loc_key == "NEW"


def test_one_to_one_and_group_forms() -> None:
    text = with_options("form = conversation")
    push = one("ios", text=text)
    assert (push.title, push.body) == ("Ann", "https://example.com/")
    push = one("ios", text=text, agents=2)
    assert (push.title, push.body) == ("Bike", "Ann: https://example.com/")
    wish = (entry(4, push=PushOverride(body="Look")),)
    assert one("ios", text=text, told=wish).title == "Ann"
    assert one("ios", text=text, told=wish).body == "Look"
    joined = (entry(4), entry(5, EntryKind.CUSTOM_NOTICE, "internal"))
    assert one("ios", text=text, told=joined).body == "hi"
    nothing = (entry(5, EntryKind.JOINED, ""),)
    assert one("ios", text=text, told=nothing).body == "of the service"
    assert one("ios", text=text, told=nothing).title == "Chat"


def test_generic_pushes_tell_nothing_of_the_chat() -> None:
    text = with_options("privacy = generic", "form = conversation")
    push = one("ios", text=text, told=(entry(4, push=WISH),))
    assert (push.title, push.body) == ("Chat", "of the service")
    assert (push.lines, push.ext, push.apns) == ((), "", {})
    assert (push.badge, push.chat, push.bare) == (5, "chat", False)


def test_pushes_of_ids_have_words_only_where_nothing_is_shown_without() -> None:
    text = with_options("privacy = id-only")
    push = one("ios", text=text, told=(entry(4, push=WISH),))
    assert apns_message(push) == {
        "aps": {
            "alert": {"body": "of the service"},
            "badge": 5,
            "sound": "ping",
            "thread-id": "chat",
            "mutable-content": 1,
        },
        "cometd-chat": {
            "v": 1,
            "id": push.id,
            "chat": "chat",
            "position": 4,
            "badge": 5,
        },
    }


def test_options_of_apple_and_android() -> None:
    text = with_options(
        "apple.category = CHAT",
        "apple.thread-id = support",
        "apple.mutable-content = yes",
        "apple.interruption-level = time-sensitive",
        "android.channel_id = chats",
    )
    push = one("ios", text=text)
    assert (push.category, push.thread, push.mutable) == ("CHAT", "support", True)
    assert (push.interruption, push.android_channel) == ("time-sensitive", "chats")
    plain = one("ios")
    assert (plain.category, plain.thread, plain.mutable) == ("", "chat", False)
    assert (plain.interruption, plain.android_channel) == ("", "")


def test_the_title_of_a_service_is_for_providers_that_have_none() -> None:
    text = CONFIG + "_client_timeout_notification_title = of the service\n"
    assert one("ios", service="second", text=text).title == "of the service"
    assert one("fcm", service="second", text=text).title == "of all"


def test_a_service_without_pushes_has_no_receivers() -> None:
    text = CONFIG.replace("[service.sales]\n", "[service.sales]\npush = off\n")
    phone = Device(id="1", type="ios")
    assert made(phone, text=text) == []
    assert len(made(phone, text=text, service="second")) == 1


def lowered(text: str = CONFIG, **facts: object) -> list[NewJob]:
    devices = (
        Device(id="1", type="ios"),
        Device(id="2", type="ios", muted=True),
        Device(id="3", type="fcm"),
        Device(id="4", type="customhttp"),
        Device(id="5", type="gcm"),
    )
    session = Session(
        id="chat",
        key="secret",
        service="sales",
        created_at=1.0,
        devices=devices,
        announced=7,
    )
    return corrections(config(text), session, 2, NOW)


def test_a_lower_badge_is_told_silently_also_to_the_muted() -> None:
    sent = lowered()
    assert [job.device.id for job in sent] == ["1", "2"]
    assert all(job.silent and job.position == 7 for job in sent)
    assert {job.expires_at for job in sent} == {NOW + LIFE_OF_BADGE}
    push = msgspec.json.decode(sent[0].content, type=Notification)
    assert apns_message(push)["aps"] == {"badge": 2}
    assert len({job.id for job in sent}) == 2


def test_which_devices_hear_of_lower_badges_is_an_option() -> None:
    more = "badge_update = fcm, customhttp\n"
    text = CONFIG.replace("[push]\n", f"[push]\n{more}")
    assert [job.device.id for job in lowered(text)] == ["3", "5"]
    signed = text.replace("apple.sound", f"customhttp.secret = {'A' * 32}\napple.sound")
    assert [job.device.id for job in lowered(signed)] == ["3", "4", "5"]
    off = signed.replace("[service.sales]\n", "[service.sales]\npush = off\n")
    assert lowered(off) == []
    fixed = signed.replace("apple.sound", "apple.badge = 1\napple.sound")
    assert lowered(fixed) == []


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
            Device(id="4", type="httpcb"),  # not in pushEnabled
            Device(id="5", type="orscb"),  # no way to send it
            Device(id="6", type="ios", provider="invented"),
            Device(id="7", type="ios", muted=True),
        )
    ] == ["apns:main", "fcm:second", "customhttp:main:debug"]


@pytest.mark.parametrize("enabled", ["fcm", "gcm", "android"])
@pytest.mark.parametrize("kind", ["fcm", "gcm", "android"])
def test_the_names_of_one_type_mean_the_same(kind: str, enabled: str) -> None:
    text = CONFIG.replace("fcm, customhttp", f"{enabled}, customhttp")
    (job,) = made(Device(id="1", type=kind), text=text)
    assert job.provider == "fcm:main"
    assert made(Device(id="1", type=kind), text=text.replace(enabled, "orscb")) == []


@pytest.mark.parametrize(
    ("endpoint", "sender"),
    [
        ("https://fcm.googleapis.com/x", "webpush/*.googleapis.com:main"),
        ("https://A.Push.Apple.com/x", "webpush/*.push.apple.com:main"),
        ("https://push.example.com/x", "webpush/push.example.com:main"),
        ("https://evil-push.example.com/x", "webpush:main"),
        ("https://[::1", "webpush:main"),
        (None, "webpush:main"),
    ],
)
def test_each_push_service_of_browsers_has_a_queue_of_its_own(
    endpoint: str | None, sender: str
) -> None:
    text = with_options("webpush.hosts = push.example.com")
    name = json.dumps({"endpoint": endpoint, "keys": {}})
    (job,) = made(Device(id=name, type="webpush"), text=text)
    assert job.provider == sender


@pytest.mark.parametrize("depth", [900, 200_000])
def test_a_subscription_of_any_depth_costs_no_other_device_its_push(depth: int) -> None:
    name = f'{{"endpoint": "https://fcm.googleapis.com/x", "a": {"[" * depth}'
    found = made(Device(id=name, type="webpush"), Device(id="1", type="ios"))
    assert [job.provider for job in found] == ["webpush:main", "apns:main"]


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
        "pt-br": {"title": "Olá"},
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
