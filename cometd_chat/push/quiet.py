"""Quiet hours of a device: times of the day in its own zone. Pure."""

import math
import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)").fullmatch


def is_quiet_hours(text: str) -> bool:
    """Tell whether this is a range such as `22:00-07:00`."""
    return _HOURS(text) is not None


def is_zone(name: str) -> bool:
    """Tell whether this is the name of a time zone, such as `Europe/Berlin`."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def quiet_until(hours: str, zone: str, now: float) -> float:
    """Return when (wall seconds) a push may be sent: `now`, or the end of the hours.

    The hours are those of the clock on the wall there: on days when it is put
    forward or back, they are shorter or longer.
    """
    found = _HOURS(hours)
    if found is None:
        return now
    begin, end = (time(int(found[i]), int(found[i + 1])) for i in (1, 3))
    there = ZoneInfo(zone or "UTC")
    while _within((here := datetime.fromtimestamp(now, there)).time(), begin, end):
        over = datetime.combine(here.date(), end)
        left = (over - here.replace(tzinfo=None)) % timedelta(days=1)
        # Unless the clock is put forward or back before: then it is to be read anew.
        now = _turn(there, now, now + left.total_seconds())
    return now


def _turn(there: ZoneInfo, begin: float, end: float) -> float:
    """Return when the clock there is put forward or back, `end` if it is not."""

    def offset(at: float) -> timedelta | None:
        return datetime.fromtimestamp(at, there).utcoffset()

    before, after, former = math.floor(begin), math.ceil(end), offset(begin)
    if offset(end) == former:
        return end
    while after - before > 1:
        middle = (before + after) // 2
        if offset(middle) == former:
            before = middle
        else:
            after = middle
    return float(after)


def _within(moment: time, begin: time, end: time) -> bool:
    if begin <= end:
        return begin <= moment < end
    return moment >= begin or moment < end
