"""Which ticks fire: every one once, except those that the policy drops, whatever nodes and clocks do."""

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast._kernel.cron import Cron
from outlast._kernel.schedules import (
    CATCH_UPS,
    NAME_MAX,
    OVERLAPS,
    CatchUp,
    Overlap,
    Plan,
    Policy,
    admit,
    checked_schedule_name,
    jitter,
    plan,
    start_at,
    tick_key,
)
from outlast.errors import ConfigError

DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOURLY = Cron("0 * * * *")
BERLIN, NEW_YORK, LORD_HOWE, CASABLANCA = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
)
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, CASABLANCA]


def looked(
    policy: Policy, *, after: timedelta, cron: Cron = HOURLY, decided: datetime = NOON, live: int = 0, limit: int = 100
) -> Plan:
    return plan("report", cron, policy, decided=decided, now=decided + after, live=live, limit=limit)


def hours(instants: list[datetime]) -> list[float]:
    """Instants as hours since noon."""
    return [(instant - NOON) / HOUR for instant in instants]


def fired(found: Plan) -> list[float]:
    return hours([firing.tick for firing in found.firings])


def test_before_the_next_tick_nothing_is_decided() -> None:
    found = looked(Policy(), after=59 * MINUTE)

    assert found == Plan((), (), None, NOON, NOON + HOUR)


def test_a_tick_on_time_fires_whatever_is_caught_up() -> None:
    for catch_up in CATCH_UPS:
        found = looked(Policy(catch_up, window_s=0), after=HOUR + MINUTE)

        assert fired(found) == [1]
        assert (found.missed_from, found.decided, found.next_tick) == (None, NOON + HOUR, NOON + 2 * HOUR)


@pytest.mark.parametrize(
    ("catch_up", "window", "ticks", "missed"),
    [
        ("none", 24, [], 1),
        ("last", 24, [5], 1),
        ("last", 0.5, [5], 1),
        ("last", 0.4, [], 1),
        ("all", 24, [1, 2, 3, 4, 5], None),
        ("all", 2.5, [3, 4, 5], 1),
        ("all", 0.4, [], 1),
    ],
)
def test_after_an_outage_the_policy_says_what_fires(
    catch_up: CatchUp, window: float, ticks: list[float], missed: float | None
) -> None:
    found = looked(Policy(catch_up, window_s=window * 3600), after=5 * HOUR + 30 * MINUTE)

    assert fired(found) == ticks
    assert found.missed_from == (None if missed is None else NOON + missed * HOUR)
    assert (found.decided, found.next_tick) == (NOON + 5 * HOUR, NOON + 6 * HOUR)


def test_the_last_is_not_caught_up_where_a_later_one_is_on_time() -> None:
    found = looked(Policy("last"), after=5 * HOUR + SECOND)

    assert fired(found) == [5]
    assert found.missed_from == NOON + HOUR


def test_many_ticks_are_decided_in_several_looks_and_none_is_left_out() -> None:
    decided, now, ticks = NOON, NOON + 250 * HOUR, []
    while True:
        found = plan("report", HOURLY, Policy("all", window_s=30 * 86_400), decided=decided, now=now)
        assert len(found.firings) <= 100
        ticks += fired(found)
        decided = found.decided
        if found.next_tick is None or found.next_tick > now:
            break

    assert ticks == list(range(1, 251))


def test_a_clock_that_goes_back_decides_nothing_again() -> None:
    for catch_up in CATCH_UPS:
        found = plan("report", HOURLY, Policy(catch_up), decided=NOON, now=NOON - 5 * HOUR)

        assert found == Plan((), (), None, NOON, NOON + HOUR)


def test_a_clock_that_jumps_ahead_and_comes_back_costs_only_the_ticks_it_passed() -> None:
    ahead = looked(Policy("none"), after=2.5 * HOUR)

    back = plan("report", HOURLY, Policy("none"), decided=ahead.decided, now=NOON + 3 * HOUR)

    assert fired(back) == [3]


def test_overlapping_runs_are_skipped_queued_or_allowed() -> None:
    late = 3 * HOUR + 30 * MINUTE
    allowed = looked(Policy("all"), after=late, live=1)
    queued = looked(Policy("all", overlap="queue", queued_max=2), after=late, live=1)
    skipped = looked(Policy("all", overlap="skip"), after=late, live=1)
    alone = looked(Policy("all", overlap="skip"), after=late)

    assert [(fired(one), hours(list(one.overlapped))) for one in (allowed, queued, skipped, alone)] == [
        ([1, 2, 3], []),
        ([1, 2], [3]),
        ([], [1, 2, 3]),
        ([1], [2, 3]),
    ]
    assert [firing.waits for firing in allowed.firings + queued.firings + alone.firings] == [False] * 3 + [True] * 2 + [
        False
    ]
    assert {one.decided for one in (allowed, queued, skipped, alone)} == {NOON + 3 * HOUR}


def test_with_nothing_live_a_tick_always_starts() -> None:
    assert {admit(Policy(overlap=overlap), 0) for overlap in ("skip", "queue", "allow")} == {"start"}


def test_jitter_is_the_same_everywhere_bounded_and_spread() -> None:
    offsets = [jitter(f"report-{number}", NOON, 600) for number in range(1_000)]

    assert offsets == [jitter(f"report-{number}", NOON, 600) for number in range(1_000)]
    assert all(timedelta() <= offset <= 600 * SECOND for offset in offsets)
    assert min(offsets) < 10 * SECOND
    assert max(offsets) > 590 * SECOND
    assert abs(sum(offsets, timedelta()) / 1_000 - 300 * SECOND) < 30 * SECOND
    assert jitter("report", NOON, 600) != jitter("report", NOON + HOUR, 600)
    assert jitter("report", NOON, 0) == timedelta()


def test_a_run_begins_with_its_jitter_after_its_tick_or_after_now_if_that_was_missed() -> None:
    policy = Policy(jitter_s=600)
    offset = jitter("report", NOON, 600)

    assert start_at("report", NOON, policy, now=NOON + MINUTE) == NOON + offset
    assert start_at("report", NOON, policy, now=NOON + HOUR) == NOON + HOUR + offset
    assert looked(policy, after=HOUR).firings[0].start_at == NOON + HOUR + jitter("report", NOON + HOUR, 600)


def test_a_key_names_the_schedule_and_the_instant() -> None:
    tick = datetime(2026, 3, 29, 3, tzinfo=ZoneInfo(BERLIN))

    assert tick_key("report", tick) == "report@2026-03-29T01:00:00Z"
    assert tick_key("report", tick) == tick_key("report", tick.astimezone(UTC))
    assert len(tick_key("x" * NAME_MAX, tick)) <= 200


def test_both_passes_of_a_repeated_time_have_keys_of_their_own() -> None:
    ticks = Cron("30 2 * * *", BERLIN, "both").upcoming(datetime(2026, 10, 25, tzinfo=UTC) - HOUR, 2)

    assert [tick_key("r", tick) for tick in ticks] == ["r@2026-10-25T00:30:00Z", "r@2026-10-25T01:30:00Z"]


def test_what_a_policy_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"catch_up must be one of 'none', 'last', 'all', not 'every'"):
        Policy("every")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"overlap must be one of 'skip', 'queue', 'allow'"):
        Policy(overlap="block")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="window must be between 0 and"):
        Policy(window_s=-1)
    with pytest.raises(ConfigError, match="jitter must be between"):
        Policy(jitter_s=1e9)
    with pytest.raises(ConfigError, match="grace must be between 1 and"):
        Policy(grace_s=0)
    with pytest.raises(ConfigError, match="queued_max must be a whole number"):
        Policy(queued_max=0)
    with pytest.raises(ConfigError, match="at most 150 characters"):
        checked_schedule_name("x" * 151)
    assert checked_schedule_name("nightly report") == "nightly report"
    assert Policy(window_s=DAY).window_s == 86_400.0  # type: ignore[arg-type]  # The face may hand timedeltas on.


# Simulated years. What must fire is found here by other means: days, hours, and trying each distance from UTC.
COUNT = max(1, int(os.environ.get("OUTLAST_TEST_YEARS", "3")))
YEARS = (date(2026, 1, 1), date(2026 + COUNT, 1, 1))


@cache
def all_ticks(zone: str, minutes: tuple[int, ...], hours: tuple[int, ...], twice: bool) -> list[datetime]:
    """All firings of a schedule in these years: a gap fires once right after it, unless `twice`: then never."""
    place = ZoneInfo(zone)
    distances = {
        (datetime.combine(YEARS[0], time(), UTC) + days * DAY).astimezone(place).utcoffset() or timedelta()
        for days in range(800)
    }
    found: set[datetime] = set()
    for number in range((YEARS[1] - YEARS[0]).days):
        for hour in hours:
            for minute in minutes:
                wall = datetime.combine(YEARS[0] + number * DAY, time(hour, minute))
                found.update(_firings(wall, place, distances, twice))
    return sorted(found)


def _firings(wall: datetime, place: ZoneInfo, distances: set[timedelta], twice: bool) -> Iterator[datetime]:
    instants = sorted(
        instant
        for distance in distances
        if (instant := (wall - distance).replace(tzinfo=UTC)).astimezone(place).replace(tzinfo=None) == wall
    )
    if instants:
        yield from instants if twice else instants[:1]
    elif not twice:
        moment = (wall - max(distances)).replace(tzinfo=UTC)
        while moment.astimezone(place).replace(tzinfo=None) < wall:
            moment += MINUTE
        yield moment


SCHEDULES = {
    "30 2 * * *": ((30,), (2,), False),
    "15 1 * * *": ((15,), (1,), False),
    "0 */6 * * *": ((0,), (0, 6, 12, 18), False),
    "*/20 1-3 * * *": ((0, 20, 40), (1, 2, 3), None),
    "45 * * * *": ((45,), tuple(range(24)), True),
}
OFTEN = {"45 * * * *", "*/20 1-3 * * *"}  # In one zone alone: the hardest one.


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("catch_up", CATCH_UPS)
@pytest.mark.parametrize(
    ("zone", "minute", "hour"), [(BERLIN, 30, 2), (NEW_YORK, 30, 1), (LORD_HOWE, 15, 2), (CASABLANCA, 30, 2)]
)
def test_in_years_no_tick_is_missed_and_none_fires_twice(
    zone: str, minute: int, hour: int, catch_up: CatchUp, overlap: Overlap
) -> None:
    cron = Cron(f"{minute} {hour} * * *", zone)
    policy = Policy(catch_up, window_s=36 * 3600, overlap=overlap, queued_max=1)

    live_through(cron, policy, all_ticks(zone, (minute,), (hour,), False))


def live_through(cron: Cron, policy: Policy, ticks: list[datetime]) -> None:
    """Nodes look late, die before their commit or look twice; clocks go back; runs are long."""
    dice = Random(f"{cron} {policy}")
    decided = ticks[0] - SECOND
    when: datetime | None = ticks[0]
    runs: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    wanted: set[str] = set()
    ends: list[datetime] = []
    seen = twins = 0
    while when is not None and seen < len(ticks):
        now = max(when, decided) + SECOND * dice.choice([0, 0, 0.2, 1, 5, 30, 60])
        if dice.random() < 0.02:  # An outage.
            now = min(ticks[-1], now + SECOND * dice.randrange(4 * 86_400))
        if dice.random() < 0.02:  # The clock goes back for a while.
            assert not plan("s", cron, policy, decided=decided, now=decided - DAY).firings
        ends = [end for end in ends if end > now]
        found = plan("s", cron, policy, decided=decided, now=now, live=len(ends))
        if dice.random() < 0.02:  # Its node dies before the commit.
            continue
        if dice.random() < 0.02:  # Another node has looked at the same row, a little later.
            again = plan("s", cron, policy, decided=decided, now=now + SECOND / 10, live=len(ends))
            twins += len({run.key for run in found.firings} & {run.key for run in again.firings})
        for run in found.firings:
            assert run.waits == (policy.overlap == "queue" and bool(ends))
            begins = max([*ends, run.start_at]) if run.waits else run.start_at
            ends.append(begins + HOUR * dice.choice([0.1, 1, 23, 30, 60]))
        runs.update(run.key for run in found.firings)
        dropped.update(tick_key("s", tick) for tick in found.overlapped)
        assert policy.overlap == "allow" or len(ends) <= 1 + (policy.overlap == "queue") * policy.queued_max
        upto = bisect_right(ticks, now)
        wanted.update(tick_key("s", tick) for tick in counting(policy, ticks[seen:upto], now))
        assert ticks[upto - 1] == found.decided
        seen, decided, when = upto, found.decided, found.next_tick

    assert set(runs) | set(dropped) == wanted
    assert set((runs + dropped).values()) == {1}
    assert (policy.overlap == "allow") == (not dropped)
    assert twins > COUNT  # Which the store refuses, by their keys.


def counting(policy: Policy, ticks: list[datetime], now: datetime) -> list[datetime]:
    """Of the ticks that a look decides, those that count."""
    fresh = [tick for tick in ticks if now - tick <= policy.grace_s * SECOND]
    valid = [tick for tick in ticks if now - tick <= policy.window_s * SECOND]
    return {"none": fresh, "last": fresh or valid[-1:], "all": valid}[policy.catch_up]


@pytest.mark.parametrize(
    ("expression", "zone"),
    [(expression, zone) for expression in SCHEDULES for zone in ZONES if zone == LORD_HOWE or expression not in OFTEN],
)
def test_the_ticks_of_years_are_those_found_by_other_means(zone: str, expression: str) -> None:
    minutes, hours_of_day, twice = SCHEDULES[expression]
    if twice is None:  # Several times in fixed hours: made up after a gap, and at both passes of a repeated hour.
        expected = sorted(
            {*all_ticks(zone, minutes, hours_of_day, False), *all_ticks(zone, minutes, hours_of_day, True)}
        )
    else:
        expected = all_ticks(zone, minutes, hours_of_day, twice)

    ticks = Cron(expression, zone).ticks(expected[0] - SECOND)

    assert [next(ticks) for _ in expected] == expected


@given(
    st.lists(st.integers(0, 40 * 3600), min_size=1, max_size=30),
    st.sampled_from(CATCH_UPS),
    st.integers(0, 86_400),
    st.integers(1, 7),
    st.sampled_from(["0 * * * *", "*/20 2 * * *", "30 2 * * *", "*/30 * * * * *"]),
)
def test_every_tick_is_decided_once_in_whatever_looks(
    waits: list[int], catch_up: CatchUp, window_s: int, limit: int, expression: str
) -> None:
    cron, policy = Cron(expression, BERLIN), Policy(catch_up, window_s=window_s)
    start = decided = now = datetime(2026, 3, 28, tzinfo=UTC)
    fired: list[datetime] = []
    for wait in waits[: 3 if "/30" in expression else 30]:
        now += wait * SECOND
        found = plan("s", cron, policy, decided=decided, now=now, limit=limit)
        new = [firing.tick for firing in found.firings]
        assert len(new) <= limit
        assert all(decided < tick <= found.decided for tick in new)
        assert found.next_tick == cron.next_after(found.decided)
        first = cron.next_after(decided)
        assert found.missed_from == (None if first > now or first in new else first)
        fired += new
        decided = found.decided

    assert fired == sorted(set(fired))
    assert all(cron.latest(tick) == tick for tick in fired)
    assert start <= decided <= now
