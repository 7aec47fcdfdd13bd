"""When a cron expression fires, in a time zone whose clocks change.

The expression says what clocks show; cronsim enumerates that. Which instants those are where clocks change is decided
here, after Debian's cron (cron(8): "local time changes of less than three hours ..."): a job at a fixed time runs once
on each day, right after a gap and the first time in an overlap, and a job that runs all the time follows real time.
Three things differ from it:

- A job counts as running all the time if it runs in every hour, or several times an hour from a minute field that
  begins with `*`. To Debian each `*` counts, so that `0 */2 * * *` is lost in a gap and doubled in an overlap.
- A gap loses nothing: `*/15 2 * * *` fires right after it, once. Only what runs in every hour has nothing to make up.
- A field for seconds changes none of this. To cronsim it makes every job one that runs all the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Final, Literal, NamedTuple

from cronsim import CronSim, CronSimError

from outlast.calendar import aware, instant_at, offsets, time_zone
from outlast.config.values import one_of, shown, whole
from outlast.errors import ConfigError, did_you_mean

Dst = Literal["auto", "once", "last", "skip", "both"]
"""What a schedule does where clocks change; see `Cron`."""

DST_RULES: Final = ("auto", "once", "last", "skip", "both")
NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LENGTH_MAX: Final = 200
_UPCOMING_MAX: Final = 10_000
# The longest pause between two firings is 40 years: 29 February on a certain weekday, around a year such as 2100.
_PAUSE_YEARS_MAX: Final = 60
_SECOND: Final = timedelta(seconds=1)
_ANY_INSTANT: Final = datetime(2025, 1, 1, tzinfo=UTC)
_EXAMPLE: Final = '"30 2 * * MON-FRI" is 02:30 on weekdays'


class _Field(NamedTuple):
    name: str
    expected: str


_FIELDS: Final = (
    _Field("second", "0-59"),
    _Field("minute", "0-59"),
    _Field("hour", "0-23"),
    _Field("day of month", "1-31, L (the last) or LW (the last weekday)"),
    _Field("month", "1-12 or JAN-DEC"),
    _Field("day of week", "0-7 (0 and 7 are Sunday) or SUN-SAT, also FRI#2 (the second) and 5L (the last Friday)"),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, read by the clocks of a time zone.

    Fields are minute, hour, day of month, month and day of week; six fields begin with the second. Each is `*`, a
    number, a name (JAN, MON), a range (`9-17`), a list (`0,30`) or a step (`*/15`). If both day fields are given, one
    that fits is enough, unless one begins with `*` (`0 0 13 * FRI` is every 13th and every Friday).

    `dst` says what becomes of times that a change of clocks skips or repeats:

    - "auto" (default): what runs in every hour follows real time: nothing is made up, and both passes of a repeated
      hour count. What runs at fixed hours fires once: skipped times right after the gap, repeated times at the first
      pass; with a minute field such as `*` or `*/15` at both.
    - "once": skipped times fire once, right after the gap; repeated ones at the first pass.
    - "last": as "once", but at the second pass.
    - "skip": skipped times do not fire; repeated ones at the first pass.
    - "both": skipped times fire once, right after the gap; repeated ones at both passes.

    Attributes:
        expression: Five fields, six with seconds first, or @hourly @daily @midnight @weekly @monthly @yearly @annually.
        zone: Name of a time zone, such as "Europe/Berlin"; default "UTC".
        dst: See above.

    Raises: ConfigError: it cannot be read, or would never fire.
    """

    expression: str
    zone: str = "UTC"
    dst: Dst = "auto"
    _fields: str = field(init=False, repr=False, compare=False)
    _place: tzinfo = field(init=False, repr=False, compare=False)
    _makes_up: bool = field(init=False, repr=False, compare=False)
    _passes: Literal["first", "last", "both"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields = _readable(self.expression)
        sim = _sim(fields, _ANY_INSTANT)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_place", time_zone(self.zone))
        one_of("dst", self.dst, DST_RULES)
        hourly = len(sim.hours) == 24
        often = hourly or (len(sim.minutes) > 1 and fields.split()[-5].startswith("*"))
        passes = {"auto": "both" if often else "first", "last": "last", "both": "both"}.get(self.dst, "first")
        object.__setattr__(self, "_passes", passes)
        object.__setattr__(self, "_makes_up", self.dst != "skip" and not (self.dst == "auto" and hourly))
        self.next_after(_ANY_INSTANT)

    def next_after(self, instant: datetime) -> datetime:
        """The first firing after an aware instant, in UTC."""
        for tick in self.ticks(instant):
            return tick
        raise ConfigError(
            f"cron expression {shown(self.expression)} never fires in {self.zone}: {_why_never(self.dst)}"
        )

    def upcoming(self, after: datetime, count: int = 5) -> list[datetime]:
        """The next `count` firings (default 5, at most 10,000) after an aware instant, in UTC."""
        whole("count", count, 0, _UPCOMING_MAX)
        return list(islice(self.ticks(after), count))

    def latest(self, instant: datetime) -> datetime | None:
        """The last firing at or before an aware instant, in UTC; None if there was none in fifty years."""
        moment = aware("instant", instant)
        start = self._shown_at(moment, again=True) + _SECOND
        found: datetime | None = None
        for wall in CronSim(self._fields, start, reverse=True):
            ticks = self._ticks_of(wall)
            for tick in ticks:
                if tick <= moment and (found is None or tick > found):
                    found = tick
            # Of times that come twice, an earlier one may have a later second pass.
            if (found is not None and len(ticks) == 1) or start.year - wall.year > _PAUSE_YEARS_MAX:
                break
        return found

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """All firings after an aware instant, in UTC, each later than the one before."""
        latest = aware("instant", after)
        year = latest.year
        seconds: list[datetime] = []  # Second passes, which come when the first pass is over.
        for wall in CronSim(self._fields, self._shown_at(latest, again=False)):
            ticks = self._ticks_of(wall)
            if len(ticks) == 2:
                seconds.append(ticks.pop())
            elif seconds:
                ticks, seconds = [*seconds, *ticks], []
            for tick in ticks:
                if tick > latest:
                    latest, year = tick, wall.year
                    yield tick
            if wall.year - year > _PAUSE_YEARS_MAX:
                return

    def explain(self) -> str:
        """What it means, as a sentence: "At 02:30 every day, by the clocks of Europe/Berlin"."""
        sentence = _sim(self._fields, _ANY_INSTANT).explain()
        return f"{sentence}, UTC" if self.zone == "UTC" else f"{sentence}, by the clocks of {self.zone}"

    def explain_dst(self) -> str:
        """What it does where clocks change, as a sentence."""
        gap = "fire once, right after the gap" if self._makes_up else "do not fire"
        passes = {"first": "the first time only", "last": "the second time only", "both": "both times"}[self._passes]
        return f"Times that a change of clocks skips {gap}; times that it repeats fire {passes}"

    def _ticks_of(self, wall: datetime) -> list[datetime]:
        """The instants at which it fires for what clocks show: none, one or two."""
        if self._place is UTC:
            return [wall.replace(tzinfo=UTC)]
        before, after = offsets(wall, self._place)
        if before < after:
            return [instant_at(wall, self._place)] if self._makes_up else []
        if before == after or self._passes == "first":
            return [(wall - before).replace(tzinfo=UTC)]
        second = (wall - after).replace(tzinfo=UTC)
        return [second] if self._passes == "last" else [(wall - before).replace(tzinfo=UTC), second]

    def _shown_at(self, moment: datetime, *, again: bool) -> datetime:
        """What clocks show then, to the second, and where to begin to search.

        In the first pass of a repeated hour, times that clocks have already shown are still to come; in the second,
        times that they will show have already been.
        """
        local = moment.astimezone(self._place)
        wall = local.replace(tzinfo=None, microsecond=0, fold=0)
        before, after = offsets(wall, self._place)
        if before > after and again == bool(local.fold):
            return wall + (before - after) if again else wall - (before - after)
        return wall


def as_cron(value: object) -> Cron:
    """A cron expression, or a `Cron` as it is. Raises: ConfigError."""
    return value if isinstance(value, Cron) else Cron(value)  # type: ignore[arg-type]  # it says what is wrong.


def _readable(expression: object) -> str:
    """The fields of an expression, checked one by one. Raises: ConfigError."""
    if not isinstance(expression, str) or not expression.strip():
        raise ConfigError(f"a cron expression must be text ({_EXAMPLE}), not {shown(expression)}")
    if len(expression) > _LENGTH_MAX:
        raise ConfigError(f"a cron expression is at most {_LENGTH_MAX} characters long, not {len(expression):,}")
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in NICKNAMES:
            hint = did_you_mean(text.lower(), NICKNAMES)
            raise ConfigError(f"cron expression {shown(expression)} is no known nickname{hint}")
        return NICKNAMES[text.lower()]
    parts = text.split()
    if len(parts) not in (5, 6):
        raise ConfigError(
            f"cron expression {shown(expression)}: expected five fields (minute hour day-of-month month day-of-week), "
            f"or six with seconds first, not {len(parts)} (example: {_EXAMPLE})"
        )
    for number, part in enumerate(parts, 6 - len(parts)):
        _check_field(number, part, expression)
    fields = " ".join(parts)
    if next(_sim(fields, _ANY_INSTANT, expression), None) is None:
        raise ConfigError(_never(expression))
    return fields


def _check_field(number: int, part: str, expression: str) -> None:
    fields = ["*"] * 6
    fields[number] = part
    try:
        CronSim(" ".join(fields), _ANY_INSTANT)
    except CronSimError:
        name, expected = _FIELDS[number]
        hint = ""
        if "?" in part:
            hint = "; write * instead of ?"
        elif "-" in part.strip("-"):
            hint = "; a range goes upwards: 1-5"
        raise ConfigError(
            f"cron expression {shown(expression)}: {name} {part!r} cannot be read; expected {expected}, "
            f"with * , - / for all, lists, ranges and steps{hint} (example: {_EXAMPLE})"
        ) from None


def _sim(fields: str, start: datetime, expression: str | None = None) -> CronSim:
    try:
        return CronSim(fields, start.replace(tzinfo=None))
    except CronSimError:  # Each field alone is sound, so it is the dates that are not.
        raise ConfigError(_never(expression or fields)) from None


def _never(expression: str) -> str:
    return (
        f"cron expression {shown(expression)} never fires: no date fits its fields for day of month, month and "
        f"day of week (example: {_EXAMPLE})"
    )


def _why_never(dst: str) -> str:
    return 'clocks always skip it; take another time, or dst="once"' if dst == "skip" else "no such time is left"
