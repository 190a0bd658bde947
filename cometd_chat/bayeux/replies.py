"""Answers to messages."""

from typing import Final

from msgspec import UNSET

from . import channels
from .messages import ABSENT, STOP, Message, Reply

_ABOUT_SUBSCRIPTIONS: Final = {channels.SUBSCRIBE, channels.UNSUBSCRIBE}


def reply(message: Message, *, successful: bool = True) -> Reply:
    """Begin the answer to a message: its channel, its id untouched.

    A subscription comes back in the form it was asked for; clients look for it.
    """
    channel, number, named = message.channel, message.id, message.subscription
    # A copy, or a held reply would keep the whole body of its request.
    echo = UNSET if number is ABSENT else number.copy()
    answer = Reply(channel=channel, id=echo, successful=successful)
    if named is not None and channel in _ABOUT_SUBSCRIPTIONS:
        answer.subscription = named
    return answer


def refusal(message: Message, problem: str) -> Reply:
    """Return the unsuccessful answer to a message."""
    answer = reply(message, successful=False)
    answer.error = problem
    return answer


def stopped(answer: Reply) -> Reply:
    """Add the advice to give up where a client must not go on without any.

    A client whose connect is malformed would send the same again at once, for ever:
    some reconnect without any pause when no advice tells them otherwise.
    """
    if answer.channel in {channels.HANDSHAKE, channels.CONNECT}:
        answer.advice = STOP
    return answer
