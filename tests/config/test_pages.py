"""The pages about options are made from the table, and the samples are true."""

import re
from pathlib import Path

import pytest

from cometd_chat.config import (
    Config,
    load,
    loads,
    render_doc,
    render_push_options,
    render_sample,
    render_show,
)
from cometd_chat.config.sections import SECTIONS, Section
from cometd_chat.config.table import Option

ROOT = Path(__file__).parents[2]
OPTIONS = {o.name: o for s in SECTIONS for o in s.options if not o.twin}


def test_the_reference_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert page == render_doc()


def test_the_options_of_pushes_are_up_to_date() -> None:
    page = (ROOT / "docs" / "push.md").read_text("utf-8")
    shown = page.partition("<!-- options -->\n")[2].partition("<!-- /options -->")[0]
    assert shown.strip() == render_push_options()


def test_the_sample_is_up_to_date() -> None:
    sample = (ROOT / "config" / "chat.ini").read_text("utf-8")
    assert sample == render_sample()


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_reference_and_sample_name_every_option_once(option: Option) -> None:
    row = re.findall(rf"^\| `{re.escape(option.name)}` \|", render_doc(), re.MULTILINE)
    line = re.findall(rf"^#{re.escape(option.name)} =", render_sample(), re.MULTILINE)
    assert (len(row), len(line)) == (1, 1)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_the_reference_has_every_section(section: Section) -> None:
    assert f"\n## [{section.title}]\n" in render_doc()


@pytest.mark.parametrize("name", ["chat", "demo", "minimal"])
def test_the_samples_load_without_problems(name: str) -> None:
    loaded = load(ROOT / "config" / f"{name}.ini", {})
    assert loaded.problems == ()
    assert loaded.config


def test_the_sample_changes_nothing_when_its_comment_signs_go() -> None:
    lines = render_sample().splitlines()
    text = "\n".join(
        line if line.startswith("# ") else line.removeprefix("#")
        for line in lines
        if not line.endswith(" =")
    )
    loaded = loads(text)
    useless = {option.name for option in OPTIONS.values() if option.useless}
    assert {p.severity for p in loaded.problems} == {"warning"}
    assert all(any(u in p.message for u in useless) for p in loaded.problems)
    assert loaded.config
    assert loaded.config.server == Config().server
    assert loaded.config.limits == Config().limits
    assert loaded.config.push == Config().push
    assert loaded.config.service("support") == Config().service("support")
    assert loaded.config.provider("main") == Config().provider("main")


def test_the_demo_waits_three_seconds_and_trusts_this_machine() -> None:
    config = load(ROOT / "config" / "demo.ini", {}).config
    assert config
    assert config.service("any").client_timeout_notification == 3
    assert (config.auth.gms_user, config.server.host) == ("trusted", "127.0.0.1")


def test_values_in_force_are_shown_with_their_origin_and_without_secrets() -> None:
    key = "k" * 40
    loaded = loads(
        f"[agents]\nsecret = {key}\n"
        "[chat]\n_ttl = 5\n"
        "[service.a]\n_client_timeout_notification = 7\n"
        "[push.provider.p]\ncustomhttp.url = https://user:word@h/x\n"
        "debug.customhttp.url = https://t\n",
        {"COMETD_CHAT_SERVER__PORT": "9"},
    )
    assert loaded.config
    page = render_show(loaded.config, loaded.origins)
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert "port = 9 (COMETD_CHAT_SERVER__PORT)" in lines
    assert "host = 127.0.0.1 (default)" in lines
    assert "secret = *** (<text>:2)" in lines
    service = lines[lines.index("[service.a]") :]
    assert service[1] == "_client_timeout_notification = 7 (<text>:6)"
    assert "_ttl = 5 (<text>:4)" in service
    assert lines[lines.index("[push.provider.p]") :] == [
        "[push.provider.p]",
        "customhttp.url = https://***@h/x (<text>:8)",
        "debug.customhttp.url = https://t (<text>:9)",
    ]
    assert key not in page


def test_values_are_shown_without_origins_too() -> None:
    assert "[server]\nhost = 127.0.0.1" in render_show(Config())
