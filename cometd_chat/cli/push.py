"""`push`: is it set up so that pushes arrive?"""

import asyncio
import os
import time
import uuid
from pathlib import Path

import click

from cometd_chat.clock import SystemClock
from cometd_chat.config import Config, LiveConfig
from cometd_chat.config.options import PROVIDERS
from cometd_chat.model import Device, Entry, EntryKind, Role, Session
from cometd_chat.push import Delivered, Outcome
from cometd_chat.push.compose import Occasion, Receiver, compose, receivers
from cometd_chat.push.providers import Providers
from cometd_chat.push.texts import TextsError, load_texts

from .common import config_option, load_or_exit

TEXT = "This is a test."


@click.group()
def push() -> None:
    """Look after pushes."""


@push.command()
@config_option
@click.option("--type", "kind", required=True, type=click.Choice(PROVIDERS))
@click.option("--device", required=True, help="Token, or what names the device.")
@click.option("--provider", default="", help="Section push.provider.<name>.")
@click.option("--service", default="", help="Service whose options count.")
@click.option("--language", default="", help="Language of the device.")
@click.option("--debug", is_flag=True, help="Use the options with debug. in front.")
def test(path: Path | None, service: str, **facts: str | bool) -> None:
    """Send one push to a device, and say what became of it.

    Example: cometd-chat push test --config chat.ini --type customhttp --device d-1
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
        raise click.ClickException(
            "nobody serves this device: its type is not in pushEnabled of [push], or "
            "its provider has no section"
        )
    try:
        outcome = asyncio.run(_sent(config, session, to[0]))
    except TextsError as exc:
        raise click.ClickException(str(exc)) from None
    if isinstance(outcome, Delivered):
        click.echo(f"{to[0].sender} has taken the push")
        return
    raise click.ClickException(
        f"{to[0].sender}: {type(outcome).__name__}: {outcome.reason}"
    )


async def _sent(config: Config, session: Session, to: Receiver) -> Outcome:
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
    providers = Providers(SystemClock(), LiveConfig(config))
    try:
        notification = compose(config, texts, occasion, to)
        return await providers.send(to.sender, to.device, notification)
    finally:
        await providers.close()


COMMANDS = (push,)
