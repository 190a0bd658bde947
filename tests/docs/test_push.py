"""`docs/push.md`: its requests, payloads, limits, and the check of signatures."""

import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from cometd_chat.app import Node
from cometd_chat.config import ServiceOptions, loads
from cometd_chat.config.kinds import SECRET
from cometd_chat.config.places import FILE, URL
from cometd_chat.config.push_options import ProviderOptions, PushOptions
from cometd_chat.config.table import Option, rows
from cometd_chat.gms import v2
from cometd_chat.model import Device, Entry, EntryKind, Role, Session
from cometd_chat.push import Line, Notification, lanes, worker
from cometd_chat.push.compose import Occasion, compose, receivers
from cometd_chat.push.payloads import (
    apns_payload,
    fcm_message,
    gms_webhook_body,
    preview,
    signed_webhook_body,
    web_push_body,
)
from cometd_chat.push.webhook import CustomHttpProvider
from tests.clients.raw import V1App
from tests.push.fake_webhook import hook

from .pages import ROOT, blocks, steps

PAGE = ROOT / "docs" / "push.md"
PHONE = Device(id="phone-1", type="customhttp")
PUSH = Notification(
    id="7c0f3a52-5d0f-5e43-9a37-2d6bb3f0a9ce",
    chat="5b7c19",
    position=6,
    title="Chat",
    body="New message from Agent",
    lines=(
        Line(event="Message.Text", text="I have found your bike."),
        Line(event="Message.Text", text="When can you fetch it?"),
    ),
    badge=2,
    sound="default",
    thread="f4a5",
    expires_at=1767312000.0,
)


def fcm_data() -> Any:
    return fcm_message(PUSH, {"token": "t"}, now=0.0)["data"]["message"]


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("customhttp", gms_webhook_body(PHONE, PUSH)),
        ("signed", signed_webhook_body(PHONE, PUSH)),
        ("apns", apns_payload(PUSH)),
        ("webpush", web_push_body(PUSH)),
        ("fcm", fcm_data()),
    ],
)
def test_payloads_are_as_shown(name: str, payload: bytes | str) -> None:
    (shown,) = [step.text for step in steps(PAGE) if step.info == f"json {name}"]
    assert json.loads(shown) == json.loads(payload)


async def test_the_requests_about_devices_do_what_is_said(node: Node) -> None:
    async with (
        V1App(f"{node.url}/genesys", user="cleo") as app,
        ClientSession() as http,
    ):
        await app.start(userDisplayName="Cleo")
        found = []
        for step in (step for step in steps(PAGE) if step.info == "http"):
            text = step.text.replace("5b7c…", app.service_id)
            text = text.replace("00f3…", app.session_id)
            head, _, body = text.partition("\n\n")
            first, *lines = head.splitlines()
            method, path = first.split(" ")
            headers = dict(line.split(": ") for line in lines)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            async with http.request(
                method, node.url + path, headers=headers, data=body.strip()
            ) as response:
                assert response.status == 204, await response.text()
            found.append((await node.store.get(app.session_id)).devices)
    (registered,), removed, (again,) = found
    assert (registered.id, registered.type) == ("phone-1", "customhttp")
    assert (registered.quiet, registered.zone) == ("22:00-07:00", "Europe/Berlin")
    assert removed == ()
    assert (again.id, again.type) == ("phone-1", "customhttp")


class Now:
    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


async def test_the_python_of_the_page_accepts_our_posts_and_no_others() -> None:
    (source,) = blocks(PAGE, "python")
    page: dict[str, Any] = {}
    exec(source, page)  # noqa: S102 - it is what the page offers
    old, new = (f"whsec_{secrets.token_hex(24)}" for _ in range(2))
    async with hook() as fake:
        provider = CustomHttpProvider(fake.url(), secret=f"{old} {new}", clock=Now())
        await provider.send(PHONE, PUSH)
        await provider.close()
    (post,) = fake.arrived
    headers = {name.lower(): value for name, value in post.headers.items()}
    for secret in (old, new):
        assert page["is_ours"](headers, post.body, secret)
    assert not page["is_ours"](headers, post.body + b" ", new)
    assert not page["is_ours"](headers, post.body, f"whsec_{secrets.token_hex(24)}")
    late = headers | {"webhook-timestamp": str(int(time.time()) - 1000)}
    assert not page["is_ours"](late, post.body, new)


def test_the_numbers_are_those_of_the_worker() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    first = worker.FIRST_PAUSE
    assert f"after {first / 2:.0f} to {first:.0f} s" in text
    assert f"up to {worker.LONGEST_PAUSE / 3600:.0f} h" in text
    assert f"room for {lanes.AT_ONCE} pushes" in text
    assert f"after {lanes.FAILING} failures in a row" in text
    assert f"under way after {worker.LEASE:.0f} s" in text
    assert worker.BREAK == 60
    assert re.search("alone for a minute", text)


SERVICE = tuple(option for option in rows(ServiceOptions) if option.example)
ROWS = (*rows(PushOptions), *SERVICE, *rows(ProviderOptions))


@pytest.mark.parametrize("option", ROWS, ids=lambda option: option.name)
def test_every_option_of_pushes_has_an_example_that_is_allowed(
    option: Option, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if option.kind is FILE:
        Path(option.example).touch()
    value = option.kind.parse(option.example)
    assert option.example
    assert value != option.default


SHOWN = [
    option
    for option in rows(ProviderOptions)
    if option.name.split(".")[0] in {"apple", "android", "fcm", "customhttp"}
    and option.kind not in {FILE, SECRET, URL}
    and not option.useless
]
"""Options that change what a device gets."""

USERS = {
    "ios": "ios",
    "fcm": "fcm",
    "customhttp": "customhttp",
    "customhttp (signed)": "customhttp",
    "webpush": "webpush",
    "httpcb": "httpcb",
    "comet": "comet",
}
"""Types of devices by what the table calls them."""


def sent_with(options: str, user: str) -> tuple[bytes, str]:
    """Return what such a device gets with these options of its provider."""
    kind = USERS[user]
    loaded = loads(f"[push]\npushEnabled = {kind}\n{options}")
    assert loaded.config is not None
    session = Session(
        id="c",
        key="k",
        service="s",
        created_at=0.0,
        devices=(Device(id="d", type=kind),),
    )
    entry = Entry(
        kind=EntryKind.MESSAGE,
        role=Role.AGENT,
        participant=2,
        nickname="Ann",
        at=0.0,
        text="hi",
        position=3,
    )
    occasion = Occasion(session=session, entries=[entry], badge=2, now=0.0)
    (to,) = receivers(loaded.config, session)
    push = compose(loaded.config, {}, occasion, to)
    family = "apns" if kind == "ios" else kind
    signed = user.endswith("(signed)")
    body = preview(family, to.device, push, now=0.0, signed=signed)
    return body, push.collapse if kind == "ios" else ""


@pytest.mark.parametrize("option", SHOWN, ids=lambda option: option.name)
def test_the_table_says_who_uses_an_option(option: Option) -> None:
    (row,) = re.findall(rf"^\| `{option.name}` \|.*", PAGE.read_text("utf-8"), re.M)
    told = row.split(" | ")[4].replace(" (iPhones)", "").split(", ")
    key = "apple.alertMessage.loc-key = K\n" if "loc-args" in option.name else ""
    example = f"{key}{option.name} = {option.example}\n"
    used = [user for user in USERS if sent_with(example, user) != sent_with(key, user)]
    assert used == [
        u for u in USERS if u in told or u.removesuffix(" (signed)") in told
    ]


def test_those_who_come_from_gms_are_told_what_has_no_effect() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Coming from GMS")[2]
    assert [o.name for o in ROWS if o.useless and f"`{o.name}`" not in table] == []


def test_the_push_of_a_message_is_understood() -> None:
    (shown,) = [step.text for step in steps(PAGE) if step.info == "json push"]
    operation = v2.parse_operation(shown.encode())
    assert isinstance(operation, v2.SendMessage)
    assert operation.push is not None
    assert (operation.push.ext, operation.push.uncounted) == ("order-9", True)


async def test_the_receipt_of_the_page_is_understood(node: Node) -> None:
    (shown,) = [step.text for step in steps(PAGE) if step.info == "http receipt"]
    async with (
        V1App(f"{node.url}/genesys", user="cleo") as app,
        ClientSession() as http,
    ):
        await app.start(userDisplayName="Cleo")
        head, _, form = shown.replace("5b7c…", app.service_id).partition("\n\n")
        path = head.splitlines()[0].split(" ")[1]
        headers = {
            "gms_user": "cleo",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with http.post(
            node.url + path, headers=headers, data=form.strip()
        ) as response:
            assert response.status == 404  # understood, but no such push was sent
            assert (await response.json())["exception"] == "PushNotFoundException"
