"""Quiet hours by the clock on the wall, whatever that clock does."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cometd_chat.push.quiet import is_quiet_hours, is_zone, quiet_until
from tests.push.facts import at

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Nuuk",
    "Africa/Casablanca",
    "Asia/Kathmandu",
)


def until(hours: str, now: float, zone: str = "Europe/Berlin") -> str:
    """Return the time on the wall until which it is quiet."""
    end = datetime.fromtimestamp(quiet_until(hours, zone, now), ZoneInfo(zone))
    return end.isoformat()


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        ("22:00-07:00", "2024-06-01T21:59:59", "2024-06-01T21:59:59+02:00"),
        ("22:00-07:00", "2024-06-01T22:00:00", "2024-06-02T07:00:00+02:00"),
        ("22:00-07:00", "2024-06-02T06:59:59", "2024-06-02T07:00:00+02:00"),
        ("22:00-07:00", "2024-06-02T07:00:00", "2024-06-02T07:00:00+02:00"),
        ("12:00-13:30", "2024-06-02T12:10:00", "2024-06-02T13:30:00+02:00"),
        ("12:00-12:00", "2024-06-02T12:00:00", "2024-06-02T12:00:00+02:00"),
        ("22:00-07:00", "2024-03-30T23:00:00", "2024-03-31T07:00:00+02:00"),
        ("22:00-07:00", "2024-10-26T23:00:00", "2024-10-27T07:00:00+01:00"),
        # 02:30 does not exist: when it is skipped, it is over.
        ("22:00-02:30", "2024-03-30T23:00:00", "2024-03-31T03:00:00+02:00"),
        ("22:00-02:30", "2024-10-26T23:00:00", "2024-10-27T02:30:00+02:00"),
    ],
)
def test_it_is_quiet_until(hours: str, now: str, end: str) -> None:
    assert until(hours, at(now)) == end


def test_an_hour_that_comes_twice_may_be_quiet_twice() -> None:
    again = at("2024-10-27T02:10:00", fold=1)
    assert until("22:00-02:30", again) == "2024-10-27T02:30:00+01:00"


def test_a_clock_that_is_put_back_to_before_the_hours_ends_them() -> None:
    """For a minute, from 02:00 to 02:01, that comes again."""
    now = at("2024-03-10T02:01:00", "Africa/Casablanca")
    assert until("02:01-00:00", now, "Africa/Casablanca") == "2024-03-10T02:00:00+00:00"


def test_hours_whose_end_is_skipped_go_on_to_the_next_one() -> None:
    """Of 02:00 to 03:00, which is not quiet, nothing is left on that day."""
    now = at("2024-03-30T16:00:00")
    assert until("03:00-02:00", now) == "2024-04-01T02:00:00+02:00"


def test_without_a_zone_it_is_utc_and_without_hours_it_is_never_quiet() -> None:
    now = at("2024-06-01T23:00:00", "UTC")
    assert quiet_until("22:00-23:30", "", now) == now + 1800
    assert quiet_until("", "Europe/Berlin", now) == now


MINUTES = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02}:{m % 60:02}")
NEAR_A_CHANGE = st.sampled_from(
    [
        datetime(2024, month, day, tzinfo=UTC).timestamp()
        for month, day in [(3, 10), (3, 31), (4, 7), (10, 6), (10, 27), (11, 3)]
    ]
)


@example("02:01", "00:00", "Africa/Casablanca", 1710028800.0, 61)
@example("23:01", "23:00", "America/Nuuk", 1711843200.0, -755)
@given(
    MINUTES, MINUTES, st.sampled_from(ZONES), NEAR_A_CHANGE, st.integers(-1440, 2880)
)
def test_it_is_quiet_to_the_end_and_not_after_it(
    begin: str, end: str, zone: str, day: float, minutes: int
) -> None:
    """By looking at the wall each minute, which is slow and plain."""
    now = day + 60 * minutes
    moment = now
    while _quiet(begin, end, moment, zone):
        moment += 60
    assert quiet_until(f"{begin}-{end}", zone, now) == moment


def _quiet(begin: str, end: str, moment: float, zone: str) -> bool:
    wall = datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%H:%M")
    if begin <= end:
        return begin <= wall < end
    return wall >= begin or wall < end


@pytest.mark.parametrize("text", ["", "22-7", "24:00-07:00", "22:00 - 07:00", "late"])
def test_these_are_no_hours(text: str) -> None:
    assert not is_quiet_hours(text)


def test_zones_are_those_of_the_system() -> None:
    assert is_zone("Europe/Berlin")
    for wrong in ("Moon/Base", "../etc/passwd", "", "Europe", "a\0b"):
        assert not is_zone(wrong), wrong
