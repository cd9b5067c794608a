"""Google's quota day: it ends at midnight Pacific time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def _pacific() -> tzinfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        # A machine without a time zone database: standard time, an hour off in summer.
        return timezone(timedelta(hours=-8), "PST")


PACIFIC: Final = _pacific()


def next_midnight(now: datetime) -> datetime:
    """The next midnight Pacific time after ``now``, in UTC."""
    day = now.astimezone(PACIFIC).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=PACIFIC).astimezone(UTC)
