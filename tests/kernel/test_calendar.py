"""Days and hours as people name them, where clocks change and where they do not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import calendar
from outlast.calendar import end_of_day, instant_at, next_business_day, next_weekday, time_zone
from outlast.errors import ConfigError

BERLIN = "Europe/Berlin"
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def local(moment: datetime) -> str:
    return f"{moment:%a %d %H:%M:%S%z}"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-05-04T08:00", "Tue 05 09:00:00+0000"),  # A Monday: never today.
        ("2026-05-07T23:59", "Fri 08 09:00:00+0000"),
        ("2026-05-08T08:00", "Mon 11 09:00:00+0000"),
        ("2026-05-09T08:00", "Mon 11 09:00:00+0000"),
        ("2026-05-10T23:59", "Mon 11 09:00:00+0000"),
    ],
)
def test_a_business_day_is_the_next_from_monday_to_friday(after: str, expected: str) -> None:
    assert local(next_business_day(after=at(after))) == expected


def test_the_zone_decides_which_day_it_is() -> None:
    evening = at("2026-05-07T22:30")  # Already Friday in Berlin.

    assert local(next_business_day(10, zone=BERLIN, after=evening)) == "Mon 11 10:00:00+0200"
    assert local(next_weekday("fri", zone=BERLIN, after=evening)) == "Fri 15 09:00:00+0200"
    assert local(end_of_day(BERLIN, after=evening)) == "Fri 08 23:59:59+0200"
    assert local(end_of_day(after=evening)) == "Thu 07 23:59:59+0000"


def test_a_weekday_is_the_next_one_and_never_today() -> None:
    monday = at("2026-05-04T06:00")

    days = [f"{next_weekday(day, hour=6, after=monday):%d}" for day in DAYS]

    assert days == ["11", "05", "06", "07", "08", "09", "10"]
    assert next_weekday(" Mon ", after=monday) == next_weekday("MONDAY", after=monday)


def test_an_hour_that_is_skipped_is_the_first_instant_after_the_gap() -> None:
    saturday = at("2026-03-28T12:00", BERLIN)

    assert local(next_weekday("sunday", hour=2, zone=BERLIN, after=saturday)) == "Sun 29 03:00:00+0200"


def test_an_hour_that_comes_twice_is_the_first() -> None:
    saturday = at("2026-10-24T12:00", BERLIN)

    assert local(next_weekday("sunday", hour=2, zone=BERLIN, after=saturday)) == "Sun 25 02:00:00+0200"


@pytest.mark.parametrize(
    ("zone", "after", "expected"),
    [
        (BERLIN, "2026-03-29T12:00", "Sun 29 23:59:59+0200"),
        ("America/Sao_Paulo", "2018-11-03T12:00", "Sat 03 23:59:59-0300"),  # The next day begins at 01:00.
        ("America/Sao_Paulo", "2018-02-17T23:30", "Sat 17 23:59:59-0300"),  # 23:59:59 comes twice.
        ("America/Havana", "2026-10-31T12:00", "Sat 31 23:59:59-0400"),  # The next day has midnight twice.
        ("Pacific/Apia", "2011-12-29T12:00", "Thu 29 23:59:59-1000"),  # The next day is left out.
    ],
)
def test_a_day_ends_one_second_before_the_next_begins(zone: str, after: str, expected: str) -> None:
    end = end_of_day(zone, after=at(after, zone))

    assert local(end) == expected
    assert (end.astimezone(UTC) + timedelta(seconds=1)).astimezone(end.tzinfo).date() > end.date()


def test_without_an_instant_it_is_now() -> None:
    before = datetime.now(UTC)
    ends = end_of_day(), next_business_day(zone=BERLIN), next_weekday("wed")
    after = datetime.now(UTC)

    assert ends in [
        (end_of_day(after=now), next_business_day(zone=BERLIN, after=now), next_weekday("wed", after=now))
        for now in (before, after)
    ]


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001
    st.sampled_from(
        [BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "UTC"]
    ),
    st.integers(0, 23),
)
def test_what_it_names_is_later_and_reads_as_asked(moment: datetime, zone: str, hour: int) -> None:
    after = moment.replace(tzinfo=UTC)
    today = after.astimezone(ZoneInfo(zone)).date()

    business, monday, end = (
        next_business_day(hour, zone=zone, after=after),
        next_weekday("monday", hour=hour, zone=zone, after=after),
        end_of_day(zone, after=after),
    )

    assert business > after
    assert business.weekday() < 5
    assert 1 <= (business.date() - today).days <= 3
    assert monday.weekday() == 0
    assert 1 <= (monday.date() - today).days <= 7
    assert business.hour in (hour, hour + 1)
    assert end > after - timedelta(seconds=1)
    assert end.date() == today


@given(st.datetimes(datetime(1980, 1, 1), datetime(2037, 1, 1)), st.sampled_from([BERLIN, "Australia/Lord_Howe"]))  # noqa: DTZ001
def test_what_clocks_show_leads_back_to_the_instant(moment: datetime, zone: str) -> None:
    place = ZoneInfo(zone)
    instant = moment.replace(tzinfo=UTC)
    shown = instant.astimezone(place)

    assert instant_at(shown.replace(tzinfo=None, fold=0), place, again=bool(shown.fold)) == instant


NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: next_business_day(24, after=NOW), "hour must be a whole number from 0 to 23, not 24"),
        (lambda: next_weekday("mon", hour=-1), "hour must be a whole number"),
        (
            lambda: next_weekday("fryday"),
            "day of the week, such as \"monday\" or \"mon\", not 'fryday'; did you mean 'friday'",
        ),
        (lambda: next_weekday(1), "day of the week"),  # type: ignore[arg-type]
        (lambda: end_of_day("Berlin"), "not 'Berlin'; did you mean 'Europe/Berlin'?"),
        (lambda: end_of_day("localtime"), "name of a time zone, such as \"Europe/Berlin\", not 'localtime'"),
        (lambda: end_of_day("../../etc/passwd"), "name of a time zone"),
        (lambda: end_of_day(after=datetime(2026, 5, 4)), "after must be an aware datetime"),  # noqa: DTZ001
        (lambda: end_of_day(after="2026-05-04"), "after must be an aware datetime"),  # type: ignore[arg-type]
        (lambda: end_of_day(after=datetime.max.replace(tzinfo=UTC)), "years 1900 to 9000"),
    ],
)
def test_bad_arguments_are_refused_with_what_was_expected(call: Callable[[], datetime], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()

    assert told in str(caught.value)


def test_a_machine_without_time_zones_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "available_timezones", set)

    with pytest.raises(ConfigError, match="pip install tzdata"):
        time_zone("Europe/Nowhere")
    assert time_zone("UTC") is UTC
