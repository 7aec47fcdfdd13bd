"""When cron expressions fire: what is refused, and what becomes of them where clocks change."""

from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from outlast._kernel.cron import DST_RULES, NICKNAMES, Cron, Dst
from outlast.errors import ConfigError

MINUTE = timedelta(minutes=1)

# A local time before a change of clocks, and what fires from then on: the contract with whoever enumerates.
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
SAO_PAULO, HAVANA, APIA = "America/Sao_Paulo", "America/Havana", "Pacific/Apia"
CASES: list[tuple[str, str, Dst, str, list[str]]] = [
    # Berlin, 29 March 2026: 02:00 becomes 03:00.
    (BERLIN, "30 2 * * *", "auto", "2026-03-28T00:00", ["28 02:30+01", "29 03:00+02", "30 02:30+02"]),
    (BERLIN, "0 30 2 * * *", "auto", "2026-03-28T00:00", ["28 02:30+01", "29 03:00+02", "30 02:30+02"]),
    (BERLIN, "0 2,3 * * *", "auto", "2026-03-29T00:00", ["29 03:00+02", "30 02:00+02"]),
    (BERLIN, "10,40 2 * * *", "auto", "2026-03-29T00:00", ["29 03:00+02", "30 02:10+02"]),
    (BERLIN, "*/30 2 * * *", "auto", "2026-03-29T00:00", ["29 03:00+02", "30 02:00+02", "30 02:30+02"]),
    (BERLIN, "*/30 * * * *", "auto", "2026-03-29T01:00", ["29 01:30+01", "29 03:00+02", "29 03:30+02"]),
    (BERLIN, "5 * * * *", "auto", "2026-03-29T01:00", ["29 01:05+01", "29 03:05+02", "29 04:05+02"]),
    (BERLIN, "5 0-23 * * *", "auto", "2026-03-29T01:00", ["29 01:05+01", "29 03:05+02", "29 04:05+02"]),
    (BERLIN, "0 */2 * * *", "auto", "2026-03-28T23:00", ["29 00:00+01", "29 03:00+02", "29 04:00+02"]),
    (BERLIN, "30 2 * * *", "once", "2026-03-29T00:00", ["29 03:00+02", "30 02:30+02"]),
    (BERLIN, "30 2 * * *", "last", "2026-03-29T00:00", ["29 03:00+02", "30 02:30+02"]),
    (BERLIN, "30 2 * * *", "both", "2026-03-29T00:00", ["29 03:00+02", "30 02:30+02"]),
    (BERLIN, "30 2 * * *", "skip", "2026-03-29T00:00", ["30 02:30+02", "31 02:30+02"]),
    (BERLIN, "5 * * * *", "once", "2026-03-29T01:00", ["29 01:05+01", "29 03:00+02", "29 03:05+02"]),
    # Berlin, 25 October 2026: 03:00 becomes 02:00.
    (BERLIN, "30 2 * * *", "auto", "2026-10-24T12:00", ["25 02:30+02", "26 02:30+01"]),
    (BERLIN, "0 30 2 * * *", "auto", "2026-10-24T12:00", ["25 02:30+02", "26 02:30+01"]),
    (BERLIN, "0 2,3 * * *", "auto", "2026-10-25T00:00", ["25 02:00+02", "25 03:00+01", "26 02:00+01"]),
    (BERLIN, "0 */2 * * *", "auto", "2026-10-25T01:00", ["25 02:00+02", "25 04:00+01"]),
    (BERLIN, "*/30 2 * * *", "auto", "2026-10-25T00:00", ["25 02:00+02", "25 02:30+02", "25 02:00+01", "25 02:30+01"]),
    (BERLIN, "*/30 * * * *", "auto", "2026-10-25T02:00", ["25 02:30+02", "25 02:00+01", "25 02:30+01", "25 03:00+01"]),
    (BERLIN, "5 * * * *", "auto", "2026-10-25T01:30", ["25 02:05+02", "25 02:05+01", "25 03:05+01"]),
    (BERLIN, "5 * * * *", "once", "2026-10-25T01:30", ["25 02:05+02", "25 03:05+01"]),
    (BERLIN, "30 2 * * *", "once", "2026-10-25T00:00", ["25 02:30+02", "26 02:30+01"]),
    (BERLIN, "30 2 * * *", "skip", "2026-10-25T00:00", ["25 02:30+02", "26 02:30+01"]),
    (BERLIN, "30 2 * * *", "last", "2026-10-25T00:00", ["25 02:30+01", "26 02:30+01"]),
    (BERLIN, "30 2 * * *", "both", "2026-10-25T00:00", ["25 02:30+02", "25 02:30+01", "26 02:30+01"]),
    # New York, 8 March and 1 November 2026, at 02:00.
    (NEW_YORK, "30 2 * * *", "auto", "2026-03-08T00:00", ["08 03:00-04", "09 02:30-04"]),
    (NEW_YORK, "*/30 * * * *", "auto", "2026-03-08T01:00", ["08 01:30-05", "08 03:00-04"]),
    (NEW_YORK, "30 1 * * *", "auto", "2026-11-01T00:00", ["01 01:30-04", "02 01:30-05"]),
    (NEW_YORK, "0 1 * * *", "auto", "2026-11-01T00:00", ["01 01:00-04", "02 01:00-05"]),
    (
        NEW_YORK,
        "*/30 * * * *",
        "auto",
        "2026-11-01T01:00",
        ["01 01:30-04", "01 01:00-05", "01 01:30-05", "01 02:00-05"],
    ),
    # Lord Howe shifts by half an hour: 5 April 2026 from 02:00 to 01:30, 4 October from 02:00 to 02:30.
    (LORD_HOWE, "15 2 * * *", "auto", "2026-10-04T00:00", ["04 02:30+11", "05 02:15+11"]),
    (LORD_HOWE, "45 2 * * *", "auto", "2026-10-04T00:00", ["04 02:45+11", "05 02:45+11"]),
    (LORD_HOWE, "*/15 * * * *", "auto", "2026-10-04T01:30", ["04 01:45+10:30", "04 02:30+11", "04 02:45+11"]),
    (LORD_HOWE, "*/15 2 * * *", "auto", "2026-10-04T00:00", ["04 02:30+11", "04 02:45+11", "05 02:00+11"]),
    (LORD_HOWE, "0 * * * *", "auto", "2026-10-04T00:30", ["04 01:00+10:30", "04 03:00+11"]),
    (LORD_HOWE, "45 1 * * *", "auto", "2026-04-05T00:00", ["05 01:45+11", "06 01:45+10:30"]),
    (LORD_HOWE, "45 1 * * *", "both", "2026-04-05T00:00", ["05 01:45+11", "05 01:45+10:30", "06 01:45+10:30"]),
    (LORD_HOWE, "*/15 * * * *", "auto", "2026-04-05T01:30", ["05 01:45+11", "05 01:30+10:30", "05 01:45+10:30"]),
    (LORD_HOWE, "*/15 2 * * *", "auto", "2026-04-05T00:00", ["05 02:00+10:30", "05 02:15+10:30"]),
    # Sao Paulo changed at midnight: 4 November 2018 began at 01:00, 17 February 2018 had 23:00 twice.
    (SAO_PAULO, "0 0 * * *", "auto", "2018-11-03T12:00", ["04 01:00-02", "05 00:00-02"]),
    (SAO_PAULO, "0 0 4 11 *", "auto", "2018-01-01T00:00", ["04 01:00-02", "04 00:00-03"]),
    (SAO_PAULO, "*/30 0 4 11 *", "auto", "2018-01-01T00:00", ["04 01:00-02", "04 00:00-03"]),
    (SAO_PAULO, "0 0 * * *", "skip", "2018-11-03T12:00", ["05 00:00-02"]),
    (SAO_PAULO, "30 23 * * *", "auto", "2018-02-17T12:00", ["17 23:30-02", "18 23:30-03"]),
    (SAO_PAULO, "0 0 * * *", "both", "2018-02-17T12:00", ["18 00:00-03", "19 00:00-03"]),
    # Havana has midnight twice on 1 November 2026. Apia left out 30 December 2011. UTC never changes.
    (HAVANA, "0 0 * * *", "auto", "2026-10-31T12:00", ["01 00:00-04", "02 00:00-05"]),
    (HAVANA, "0 0 * * *", "last", "2026-10-31T12:00", ["01 00:00-05", "02 00:00-05"]),
    (APIA, "0 12 * * *", "auto", "2011-12-29T00:00", ["29 12:00-10", "31 00:00+14", "31 12:00+14"]),
    ("UTC", "30 2 * * *", "auto", "2026-03-28T12:00", ["29 02:30+00", "30 02:30+00"]),
    ("UTC", "*/15 * * * *", "auto", "2026-10-25T00:50", ["25 01:00+00", "25 01:15+00"]),
]


def shown(tick: datetime, zone: str) -> str:
    """Day, time and distance from UTC: "29 03:00+02"."""
    return tick.astimezone(ZoneInfo(zone)).isoformat(" ", "minutes")[8:].removesuffix(":00")


@pytest.mark.parametrize(("zone", "expression", "dst", "after", "expected"), CASES)
def test_what_fires_where_clocks_change(zone: str, expression: str, dst: Dst, after: str, expected: list[str]) -> None:
    start = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))

    ticks = Cron(expression, zone, dst).upcoming(start, len(expected))

    assert [shown(tick, zone) for tick in ticks] == expected


# The zones, and for each the days around which its clocks change.
CHANGES = [
    (BERLIN, datetime(2026, 3, 29, tzinfo=UTC)),
    (BERLIN, datetime(2026, 10, 25, tzinfo=UTC)),
    (NEW_YORK, datetime(2026, 3, 8, tzinfo=UTC)),
    (NEW_YORK, datetime(2026, 11, 1, tzinfo=UTC)),
    (LORD_HOWE, datetime(2026, 4, 5, tzinfo=UTC)),
    (LORD_HOWE, datetime(2026, 10, 4, tzinfo=UTC)),
    (SAO_PAULO, datetime(2018, 2, 18, tzinfo=UTC)),
    (SAO_PAULO, datetime(2018, 11, 4, tzinfo=UTC)),
    (HAVANA, datetime(2026, 11, 1, tzinfo=UTC)),
]
MINUTES = st.one_of(
    st.sampled_from(["*", "*/7", "*/20", "*/60"]),
    st.sets(st.integers(0, 59), min_size=1, max_size=4).map(lambda some: ",".join(map(str, sorted(some)))),
)
HOURS = st.one_of(
    st.sampled_from(["*", "0-23", "*/2", "1-5"]),
    st.sets(st.sampled_from([0, 1, 2, 3, 23]), min_size=1).map(lambda some: ",".join(map(str, sorted(some)))),
)


def by_the_minute(minutes: str, hours: str, dst: Dst, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """All firings after `start` and before `end`, found by looking at the clock in every minute."""
    wanted_minutes, wanted_hours = numbers(minutes, 60), numbers(hours, 24)
    hourly = len(wanted_hours) == 24
    often = hourly or (minutes[0] == "*" and len(wanted_minutes) > 1)
    makes_up = dst in ("once", "last", "both") or (dst == "auto" and not hourly)
    both = dst == "both" or (dst == "auto" and often)
    place = ZoneInfo(zone)
    found = []
    previous = start.astimezone(place).replace(tzinfo=None)
    moment = start + MINUTE
    while moment < end:
        local = moment.astimezone(place)
        wall = local.replace(tzinfo=None)
        passed = [previous + count * MINUTE for count in range(1, (wall - previous) // MINUTE)]
        skipped = any(one.minute in wanted_minutes and one.hour in wanted_hours for one in passed)
        twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        counts = not twice or both or local.fold == (dst == "last")
        if (wall.minute in wanted_minutes and wall.hour in wanted_hours and counts) or (skipped and makes_up):
            found.append(moment)
        previous, moment = wall, moment + MINUTE
    return found


def numbers(text: str, size: int) -> set[int]:
    if text.startswith("*"):
        return set(range(0, size, int(text[2:] or 1)))
    if "-" in text:
        first, last = text.split("-")
        return set(range(int(first), int(last) + 1))
    return {int(part) for part in text.split(",")}


@given(MINUTES, HOURS, st.sampled_from(DST_RULES), st.sampled_from(CHANGES), st.data())
def test_it_fires_when_a_look_at_the_clock_in_every_minute_says_so(
    minutes: str, hours: str, dst: Dst, change: tuple[str, datetime], data: st.DataObject
) -> None:
    zone, day = change
    start, end = day - timedelta(hours=30), day + timedelta(hours=54)
    cron = Cron(f"{minutes} {hours} * * *", zone, dst)
    expected = by_the_minute(minutes, hours, dst, zone, start, end)

    ticks = cron.upcoming(start, len(expected) + 1)

    assert ticks[:-1] == expected
    assert ticks[-1] >= end
    moment = start + timedelta(seconds=data.draw(st.integers(30 * 3600 - 7200, 30 * 3600 + 8 * 3600)))
    assert cron.next_after(moment) == min(tick for tick in ticks if tick > moment)
    assert (cron.latest(moment) or start) >= max([start, *(tick for tick in expected if tick <= moment)])
    if earlier := [tick for tick in expected if tick <= moment]:
        assert cron.latest(moment) == earlier[-1]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize(
    "expression",
    ["30 2 * * *", "0 1 * * *", "30 1 * * 0", "*/30 * * * *", "0 9 * * MON-FRI", "0 0 L * *", "0 0 13 * FRI"],
)
def test_it_agrees_with_debian_where_we_mean_to(zone: str, expression: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    debian = CronSim(expression, start)

    ticks = Cron(expression, zone).upcoming(start, 1_000)

    assert ticks == [next(debian).astimezone(UTC) for _ in ticks]


def test_a_start_within_the_second_pass_finds_what_comes_after_it() -> None:
    second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 in Berlin, for the second time.

    assert Cron("30 2 * * *", BERLIN).next_after(second_pass) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert Cron("30 2 * * *", BERLIN, "both").next_after(second_pass) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_the_latest_firing_within_a_second_pass_may_have_an_earlier_name() -> None:
    second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 in Berlin, for the second time.

    assert Cron("*/30 * * * *", BERLIN).latest(second_pass) == datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    assert Cron("30 2 * * *", BERLIN).latest(second_pass) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_the_next_firing_is_later_than_the_instant_given_and_to_the_second() -> None:
    cron = Cron("0 12 * * *")
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)

    assert cron.next_after(noon - timedelta(microseconds=1)) == noon
    assert cron.next_after(noon) == noon + timedelta(days=1)
    assert cron.next_after(noon + timedelta(microseconds=1)) == noon + timedelta(days=1)
    assert cron.latest(noon - timedelta(microseconds=1)) == noon - timedelta(days=1)
    assert cron.latest(noon) == noon
    assert cron.next_after(noon).tzinfo is UTC


def test_six_fields_begin_with_the_second() -> None:
    start = datetime(2026, 5, 1, tzinfo=UTC)

    ticks = Cron("*/20 0 12 * * *").upcoming(start, 4)

    assert [f"{tick:%d %H:%M:%S}" for tick in ticks] == ["01 12:00:00", "01 12:00:20", "01 12:00:40", "02 12:00:00"]


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_nicknames_stand_for_their_fields(nickname: str) -> None:
    start = datetime(2026, 5, 1, 0, 30, tzinfo=UTC)

    assert Cron(nickname.upper()).upcoming(start) == Cron(NICKNAMES[nickname]).upcoming(start)


def test_days_are_named_and_counted() -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)  # A Friday.
    days = {
        expression: f"{Cron(expression).next_after(start):%m-%d}"
        for expression in ["0 0 * * mon-fri", "0 0 * * 7", "0 0 * * FRI#3", "0 0 * * 5L", "0 0 L * *", "0 0 LW * *"]
    }

    assert list(days.values()) == ["05-04", "05-03", "05-15", "05-29", "05-31", "05-29"]


def test_rare_days_are_found() -> None:
    assert Cron("0 0 29 2 *").next_after(datetime(2096, 3, 1, tzinfo=UTC)).year == 2104
    assert Cron("0 0 */28 2 TUE#5").next_after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("61 * * * *", "minute '61' cannot be read; expected 0-59"),
        ("0 24 * * *", "hour '24' cannot be read; expected 0-23"),
        ("90 0 2 * * *", "second '90' cannot be read"),
        ("0 0 32 * *", "day of month '32' cannot be read; expected 1-31, L"),
        ("0 0 * XII *", "month 'XII' cannot be read; expected 1-12 or JAN-DEC"),
        ("0 0 * * SAT-SUN", "a range goes upwards"),
        ("0 0 ? * MON", "write * instead of ?"),
        ("*/0 * * * *", "minute '*/0'"),
        (
            "0 0 * *",
            "expected five fields (minute hour day-of-month month day-of-week), or six with seconds first, not 4",
        ),
        ("0 0 * * * * 2026", "not 7"),
        ("@dialy", "did you mean '@daily'?"),
        ("@reboot", "no known nickname"),
        ("0 0 30 2 *", "'0 0 30 2 *' never fires"),
        ("0 0 31 4,6 *", "never fires"),
        ("0 0 */29 2 MON#5", "never fires"),
        (" ", "must be text"),
        ("*" * 300, "at most 200 characters"),
        (None, "must be text"),
    ],
)
def test_what_cannot_be_read_or_never_fires_is_refused_with_what_was_expected(expression: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Cron(expression)

    assert told in str(caught.value)


def test_what_clocks_always_skip_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"never fires in Europe/Berlin: clocks always skip it; .* dst=\"once\""):
        Cron("30 2 * 3 7L", BERLIN, "skip")

    assert Cron("30 2 * 3 7L", BERLIN).next_after(datetime(2026, 1, 1, tzinfo=UTC)).month == 3


def test_zones_rules_instants_and_counts_are_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'Europe/Berlin'"):
        Cron("@daily", "europe/berlin")
    with pytest.raises(ConfigError, match=r"dst must be one of 'auto', .*, not 'skip_gap'; did you mean 'skip'"):
        Cron("@daily", "UTC", "skip_gap")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be an aware datetime"):
        Cron("@daily").next_after(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ConfigError, match="count must be a whole number"):
        Cron("@daily").upcoming(datetime(2026, 1, 1, tzinfo=UTC), -1)


@given(
    st.text(alphabet="0123456789*/,-#LWMONFRIJANSU? @\n²é", max_size=40)
    | st.lists(st.text(alphabet="0123456*/,-#LW", min_size=1, max_size=5), min_size=5, max_size=6).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        cron = Cron(text, BERLIN)
    except ConfigError:
        return

    start = datetime(2026, 3, 28, tzinfo=UTC)
    assert start < cron.next_after(start)
    assert cron.explain()


def test_it_is_explained() -> None:
    assert Cron("30 2 * * MON-FRI").explain() == "At 02:30 on Monday through Friday, UTC"
    assert Cron("@daily", BERLIN).explain() == "At 00:00 every day, by the clocks of Europe/Berlin"
    assert Cron("30 2 * * *", BERLIN).explain_dst() == (
        "Times that a change of clocks skips fire once, right after the gap; "
        "times that it repeats fire the first time only"
    )
    assert Cron("* * * * *", BERLIN).explain_dst().endswith("skips do not fire; times that it repeats fire both times")


def test_equal_schedules_are_equal_and_nothing_else_counts() -> None:
    assert Cron("@daily", BERLIN) == Cron("@daily", BERLIN)
    assert len({Cron("@daily"), Cron("@daily"), Cron("@daily", dst="once")}) == 2
    assert repr(Cron("@daily")) == "Cron(expression='@daily', zone='UTC', dst='auto')"
    assert get_args(Dst) == DST_RULES
