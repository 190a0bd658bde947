"""`push`: is it set up so that pushes arrive?"""

import asyncio
import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

import click

from cometd_chat.clock import SystemClock
from cometd_chat.config import Config, LiveConfig
from cometd_chat.config.push_options import PROVIDERS
from cometd_chat.model import Device, Entry, EntryKind, Role, SentPush, Session
from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Dropped,
    Misconfigured,
    Notification,
    Outcome,
    Retry,
)
from cometd_chat.push.compose import (
    Occasion,
    Receiver,
    compose,
    receivers,
    why_unserved,
)
from cometd_chat.push.payloads import PayloadTooLargeError, preview
from cometd_chat.push.providers import Providers
from cometd_chat.push.texts import TextsError, load_texts
from cometd_chat.store import StoreError
from cometd_chat.store.opening import is_shared, open_store

from .common import config_option, load_or_exit

TEXT = "This is a test."


@click.group()
def push() -> None:
    """Try a push, or look at those that were sent."""


@push.command()
@config_option
@click.option("--type", "kind", required=True, type=click.Choice(PROVIDERS))
@click.option("--device", required=True, help="Token, or what names the device.")
@click.option(
    "--provider",
    default="",
    help="Name of a provider; that of the section push.provider.<name>.",
)
@click.option("--service", default="", help="Service whose options count.")
@click.option("--language", default="", help="Language of the device.")
@click.option("--debug", is_flag=True, help="Use the options with debug. in front.")
@click.option("--dry-run", is_flag=True, help="Print the push, send nothing.")
def test(path: Path | None, service: str, **facts: str | bool) -> None:
    """Send one push to a device, and say what became of it.

    Example: cometd-chat push test --config cometd-chat.ini --type ios --device 9af2
    """
    config, _ = load_or_exit(path, os.environ)
    device = Device(
        id=str(facts["device"]),
        type=str(facts["kind"]),
        provider=str(facts["provider"]),
        language=str(facts["language"]),
        debug=bool(facts["debug"]),
    )
    session = Session(
        id=uuid.uuid4().hex,
        key="test",
        service=service,
        created_at=0,
        devices=(device,),
    )
    to = receivers(config, session)
    if not to:
        why = why_unserved(config, device) or "push is off for the service"
        raise click.ClickException(f"nobody serves this device: {why}")
    try:
        notification = _composed(config, session, to[0])
    except TextsError as exc:
        raise click.ClickException(str(exc)) from None
    if facts["dry_run"]:
        click.echo(_shown(to[0], notification))
        return
    if device.type == "comet":
        raise click.ClickException("a client of CometD is reached by its server alone")
    sender = _called(to[0].sender)
    outcome = asyncio.run(_sent(config, to[0], notification))
    if not isinstance(outcome, Delivered):
        raise click.ClickException(f"{sender}: {_told(outcome)} ({outcome.reason})")
    click.echo(f"{sender} has taken the push")


def _told(outcome: Retry | DeadDevice | Dropped | Misconfigured) -> str:
    match outcome:
        case Retry():
            return "it cannot take the push now, and would be tried again"
        case DeadDevice():
            return "it knows no such device, which would get nothing any more"
        case Dropped():
            return "it does not take this push, which would not be tried again"
        case Misconfigured():
            return "nothing can be sent until its options or account are corrected"
    assert_never(outcome)


@push.command()
@config_option
@click.option("--chat", required=True, help="Its chatId, as agents see it.")
def sent(path: Path | None, chat: str) -> None:
    """Show the pushes of a chat, and what the app says of each.

    Example: cometd-chat push sent --config cometd-chat.ini --chat f4a5
    """
    config, _ = load_or_exit(path, os.environ)
    file = config.store.url.removeprefix("sqlite:///")
    if not is_shared(config.store) and not Path(file).exists():
        raise click.ClickException(
            f"{file} does not exist: is this the configuration in use?"
        )
    try:
        found = asyncio.run(_found(config, chat))
    except StoreError as exc:
        raise click.ClickException(str(exc)) from None
    for one in found:
        told = {"sent": one.sent_at, "shown": one.shown_at, "opened": one.opened_at}
        when = [f"{word} {_moment(at)}" for word, at in told.items() if at is not None]
        told_up_to = f"up to position {one.position}"
        click.echo(
            f"{one.id}  {_called(one.provider)}  {told_up_to}  {', '.join(when)}"
        )
    if not found:
        click.echo("nothing was sent of this chat")


def _called(sender: str) -> str:
    """Return the sender without the empty name of [push] itself."""
    return sender.removesuffix(":")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


async def _found(config: Config, chat: str) -> list[SentPush]:
    store = await open_store(config.store)
    try:
        return await store.sent_pushes(chat)
    finally:
        await store.close()


def _composed(config: Config, session: Session, to: Receiver) -> Notification:
    texts = load_texts(config.push.localization_file_location)
    now = time.time()
    entry = Entry(
        kind=EntryKind.MESSAGE,
        role=Role.AGENT,
        participant=0,
        nickname="",
        at=now,
        text=TEXT,
        position=1,
    )
    occasion = Occasion(session=session, entries=[entry], badge=1, now=now)
    return compose(config, texts, occasion, to)


def _shown(to: Receiver, notification: Notification) -> str:
    family = to.sender.partition(":")[0].partition("/")[0]
    signed = bool(to.options.customhttp_secret)
    try:
        body = preview(family, to.device, notification, now=time.time(), signed=signed)
    except PayloadTooLargeError as exc:
        raise click.ClickException(str(exc)) from None
    return body.decode()


async def _sent(config: Config, to: Receiver, notification: Notification) -> Outcome:
    providers = Providers(SystemClock(), LiveConfig(config))
    try:
        return await providers.send(to.sender, to.device, notification)
    finally:
        await providers.close()


COMMANDS = (push,)
