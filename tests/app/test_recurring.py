"""What happens with each request is not logged with each."""

import logging
from collections.abc import Iterator

import pytest

from cometd_chat.recurring import CALM, REMINDER, Outage, Sparing

log = logging.getLogger("tests.recurring")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def test_a_line_comes_at_once_and_later_with_how_many_were_left_out(
    said: pytest.LogCaptureFixture,
) -> None:
    often = Sparing(log, clock := Clock())
    for _ in range(1000):
        often.warning("%s is away", "it")
    often.warning("another")
    assert said.messages == ["it is away", "another"]
    clock.now += REMINDER
    for _ in range(10):
        often.warning("%s is away", "it")
    assert said.messages[2:] == ["it is away (999 more since the last time)"]


def test_an_outage_is_told_when_it_begins_lasts_and_is_over(
    said: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(log, "the disk", clock := Clock())
    for _ in range(1000):
        outage.failed("full")
    clock.now += REMINDER
    for _ in range(1000):
        outage.failed("full")
    clock.now += CALM
    for _ in range(10):
        outage.worked()
    assert said.messages == [
        "the disk fails: full",
        "the disk still fails, 1001 times in 60 s: full",
        "the disk works again: it failed 2000 times in 60 s",
    ]
    assert not outage.lasts


def test_an_outage_of_a_part_is_not_over_while_others_work(
    said: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(log, "the cluster", clock := Clock())
    for _ in range(50):
        outage.failed("no connection")
        clock.now += CALM / 2
        outage.worked()
    assert said.messages[0] == "the cluster fails: no connection"
    assert len(said.messages) == 1 + int(50 * CALM / 2 / REMINDER)
    assert outage.lasts
