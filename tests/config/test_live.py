"""A configuration that changes while it is in use."""

from cometd_chat.config import Config, LiveConfig, Reload, changes, loads

KEY = "k" * 40


def config(text: str) -> Config:
    loaded = loads(text)
    assert loaded.config
    return loaded.config


def test_readers_see_the_new_configuration_at_once() -> None:
    live = LiveConfig(Config())
    new = config("[chat]\n_client_timeout_notification = 1\n")
    live.replace(new)
    assert live.current is new
    assert live.current.service("a").client_timeout_notification == 1


def test_changes_tell_when_they_take_effect() -> None:
    old = config("[server]\nport = 1\n[bayeux]\ntimeout = 20s\n")
    new = config("[server]\nport = 2\n[bayeux]\ntimeout = 1m\n[service.a]\n_ttl = 5\n")
    assert [(str(change), change.reload) for change in changes(old, new)] == [
        ("[server] port: 1 -> 2", Reload.RESTART),
        ("[bayeux] timeout: 20s -> 1m", Reload.LIVE),
        ("[service.a] _ttl: 86400 -> 5", Reload.NEW_SESSIONS),
    ]


def test_a_default_that_changes_changes_what_lies_over_it() -> None:
    old = config("[service.a]\n[push.provider.p]\n")
    new = config(
        "[service.a]\n[push.provider.p]\n"
        "[chat]\n_ttl = 5\n[push]\ncustomhttp.url = http://a\n"
    )
    assert list(map(str, changes(old, new))) == [
        "[chat] _ttl: 86400 -> 5",
        "[push] customhttp.url: none -> http://a",
        "[service.a] _ttl: 86400 -> 5",
        "[push.provider.p] customhttp.url: none -> http://a",
    ]


def test_a_section_that_goes_changes_back_to_what_it_lay_over() -> None:
    old = config(
        "[chat]\nflex-disconnect-timeout = 7\n[chat.a]\nflex-disconnect-timeout=8"
    )
    new = config("[chat]\nflex-disconnect-timeout = 7\n")
    assert list(map(str, changes(old, new))) == [
        "[chat.a] flex-disconnect-timeout: 8 -> 7"
    ]


def test_a_provider_s_event_lies_over_three_sections() -> None:
    title = "push.provider.p.event.chat.x"
    old = config(f"[{title}]\n")
    new = config(f"[{title}]\n[push.provider.event.chat.x]\nfcm.title = a\n")
    assert list(map(str, changes(old, new))) == [
        f"[{title}] fcm.title: none -> a",
        "[push.provider.event.chat.x] fcm.title: none -> a",
    ]


def test_a_new_secret_is_a_change_that_shows_nothing() -> None:
    old = config(f"[agents]\nsecret = {KEY}a\n")
    new = config(f"[agents]\nsecret = {KEY}b\n")
    (change,) = changes(old, new)
    assert str(change) == "[agents] secret: *** -> ***"
    assert KEY not in repr(change)


def test_nothing_changed_is_no_change() -> None:
    text = "[service.a]\n_ttl = 5\n[agents]\nsecret = " + KEY
    assert changes(config(text), config(text)) == []
