"""Instants as people name them: the next business day, next Monday at nine, the end of today, in any time zone.

```python
from outlast import calendar

await engine.start(remind.new(order), schedule_at=calendar.next_business_day(9, zone="Europe/Berlin"))
```

Where clocks change: a local time that is skipped means the first instant after the gap, one that comes twice means the
first of the two. Holidays are unknown here.
"""

from __future__ import annotations

import difflib
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from outlast._world import SystemWorld, instant
from outlast.config.values import checked_name, shown, whole
from outlast.errors import ConfigError, did_you_mean

__all__ = ["end_of_day", "next_business_day", "next_weekday"]

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_YEARS: Final = range(1900, 9001)
# What these mean differs between machines, or counts leap seconds.
_LOCAL_ZONES: Final = ("localtime", "posixrules", "posix/", "right/")


def next_business_day(hour: int = 9, *, zone: str = "UTC", after: datetime | None = None) -> datetime:
    """The next day from Monday to Friday, at a full hour. Today is never meant, however early it is.

    Args:
        hour: Local hour, 0 to 23.
        zone: Name of a time zone, such as "Europe/Berlin".
        after: Aware instant whose local date counts as today; None (default) means now. A workflow passes an instant
            that it recorded: when it runs again, now is later.

    Returns: An aware datetime in that zone.
    Raises: ConfigError.
    """
    whole("hour", hour, 0, 23)
    place = time_zone(zone)
    day = _today(place, after) + _DAY
    while day.weekday() >= _SATURDAY:
        day += _DAY
    return _local(day, hour, place)


def next_weekday(day: str, *, hour: int = 9, zone: str = "UTC", after: datetime | None = None) -> datetime:
    """The next such day of the week, at a full hour. On a Monday, "monday" is the one in a week.

    Args:
        day: "monday" to "sunday", or "mon" to "sun", in any case.
        hour: Local hour, 0 to 23.
        zone: Name of a time zone, such as "Europe/Berlin".
        after: Aware instant whose local date counts as today; None (default) means now.

    Returns: An aware datetime in that zone.
    Raises: ConfigError.
    """
    wanted = _weekday(day)
    whole("hour", hour, 0, 23)
    place = time_zone(zone)
    today = _today(place, after)
    return _local(today + ((wanted - today.weekday() - 1) % 7 + 1) * _DAY, hour, place)


def end_of_day(zone: str = "UTC", *, after: datetime | None = None) -> datetime:
    """The last second of the local day: 23:59:59 on nearly all of them, always one second before the next day begins.

    Args:
        zone: Name of a time zone, such as "Europe/Berlin".
        after: Aware instant within the day that is meant; None (default) means now.

    Returns: An aware datetime in that zone.
    Raises: ConfigError.
    """
    place = time_zone(zone)
    tomorrow = instant_at(datetime.combine(_today(place, after) + _DAY, time()), place)
    return (tomorrow - _SECOND).astimezone(place)


def time_zone(name: object, *, what: str = "zone") -> tzinfo:
    """The time zone of that name in the IANA database; "UTC" needs no database.

    Raises: ConfigError: there is none, or its meaning depends on the machine.
    """
    if name == "UTC":
        return UTC
    text = checked_name(name, what=what)
    try:
        if text.lower().startswith(_LOCAL_ZONES):
            raise ZoneInfoNotFoundError
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = {known.lower(): known for known in available_timezones() if not known.startswith(_LOCAL_ZONES)}
    if not known:
        raise ConfigError(f"{what} {text!r} cannot be read: no time zones are installed here; pip install tzdata")
    near = difflib.get_close_matches(text.lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]!r}?" if near else ""
    raise ConfigError(f'{what} must be the name of a time zone, such as "Europe/Berlin", not {shown(text)}{hint}')


def instant_at(wall: datetime, zone: tzinfo, *, again: bool = False) -> datetime:
    """The instant, in UTC, at which the clocks of a zone show `wall`.

    Args:
        wall: What they show, without a zone.
        zone: Where.
        again: Of a time that comes twice, take the second; False (default) takes the first.

    Returns: For a time that is skipped, the first instant after the gap.
    """
    before, after = offsets(wall, zone)
    if before >= after:
        return (wall - (after if again else before)).replace(tzinfo=UTC)
    # The gap lies between these two. The database does not tell where; a dozen looks at it do.
    wall = wall.replace(microsecond=0)
    early, late = (wall - after).replace(tzinfo=UTC), (wall - before).replace(tzinfo=UTC)
    while late - early > _SECOND:
        middle = early + (late - early) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late


def offsets(wall: datetime, zone: tzinfo) -> tuple[timedelta, timedelta]:
    """The zone's distance from UTC if `wall` is read as before, and as after, a change of its clocks.

    They differ only near a change: the first is smaller where `wall` is skipped, larger where it comes twice.
    """
    before = zone.utcoffset(wall.replace(tzinfo=zone, fold=0))
    after = zone.utcoffset(wall.replace(tzinfo=zone, fold=1))
    return before or timedelta(), after or timedelta()


def aware(name: str, moment: object) -> datetime:
    """An aware datetime of the years 1900 to 9000, in UTC. Raises: ConfigError."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None or moment.year not in _YEARS:
        raise ConfigError(
            f"{name} must be an aware datetime (datetime.now(UTC)) of the years 1900 to 9000, not {shown(moment)}"
        )
    return moment.astimezone(UTC)


def _today(zone: tzinfo, after: datetime | None) -> date:
    now = instant(SystemWorld().wall_us()) if after is None else aware("after", after)
    return now.astimezone(zone).date()


def _local(day: date, hour: int, zone: tzinfo) -> datetime:
    return instant_at(datetime.combine(day, time(hour)), zone).astimezone(zone)


def _weekday(day: object) -> int:
    word = day.strip().lower() if isinstance(day, str) else ""
    for number, name in enumerate(_DAYS):
        if word in (name, name[:3]):
            return number
    hint = did_you_mean(word, _DAYS).partition(" (known:")[0]
    raise ConfigError(f'day must be a day of the week, such as "monday" or "mon", not {shown(day)}{hint}')
