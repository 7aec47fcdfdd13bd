"""Schedules under a clock that jumps: what is due fires, over changes of clocks and years."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outlast import Cron, Engine, Retry, days, hours, job, minutes, wait_for_signal, workflow
from outlast.errors import EngineStateError
from outlast.testing import assert_status, by_hand, clock_of, drain, fire_schedules
from tests.engine.given import Ear

SEEN: list[str] = []


@job(name="kit.schedules.note")
async def note(ctx: Any) -> None:
    SEEN.append((ctx.key or "by hand").rpartition("@")[2])


@workflow(name="kit.schedules.slow")
async def slow() -> None:
    await wait_for_signal("go")


@job(name="kit.schedules.moody", max_attempts=1)
async def moody(ctx: Any) -> Any:
    SEEN.append("try")
    if len(SEEN) != 4:
        raise ValueError(f"mood {len(SEEN)}")


@job(name="kit.schedules.stubborn", max_attempts=5)
async def stubborn(ctx: Any) -> Any:
    SEEN.append(f"{ctx.key[-9:-4]} {ctx.attempt}")
    return Retry(hours(3)) if ctx.attempt == 0 else None


PROGRAMS = [note, slow, moody, stubborn]


@pytest.fixture
async def engine(store_url: str) -> AsyncIterator[Engine]:
    SEEN.clear()
    async with by_hand(url=store_url, programs=PROGRAMS) as engine:
        yield engine


async def at(engine: Engine, moment: datetime | timedelta | str) -> int:
    """Goes there and drains. How many steps ran."""
    clock = clock_of(engine)
    if isinstance(moment, timedelta):
        clock.jump(moment)
    else:
        clock.jump_to(datetime.fromisoformat(moment).astimezone(UTC) if isinstance(moment, str) else moment)
    return (await drain(engine, with_scheduled=False)).steps


async def test_what_is_due_fires_in_a_drain(engine: Engine) -> None:
    await at(engine, "2040-01-01T08:00Z")
    await engine.schedule(note.new(), "0 9 * * MON-FRI")  # the first was a Sunday.

    assert await at(engine, "2040-01-02T08:59:59Z") == 0
    assert await at(engine, "2040-01-02T09:00Z") == 1
    assert (await drain(engine)).steps == 0

    assert SEEN == ["2040-01-02T09:00:00Z"]
    found = await engine.get_schedule("kit.schedules.note")
    assert found.next_run_at == datetime(2040, 1, 3, 9, tzinfo=UTC)
    run = await engine.find("kit.schedules.note@2040-01-02T09:00:00Z")
    assert run is not None
    assert (run.id, run.due_at) == (found.last_instance, datetime(2040, 1, 2, 9, tzinfo=UTC))


async def test_firing_alone_runs_nothing(engine: Engine) -> None:
    await engine.schedule(note.new(), "* * * * *")
    assert await fire_schedules(engine) == 0

    clock_of(engine).jump(60)

    assert await fire_schedules(engine) == 1
    assert await fire_schedules(engine) == 0
    assert SEEN == []
    assert (await drain(engine)).done == 1


async def test_clocks_that_change(engine: Engine) -> None:
    await at(engine, "2040-03-24T12:00Z")  # Berlin goes from 02:00 to 03:00 on the 25th,
    await engine.schedule(note.new(), "30 2 * * *", name="s", zone="Europe/Berlin")
    for day in ("2040-03-25T00:59Z", "2040-03-25T01:00Z", "2040-03-26T00:30Z"):
        await at(engine, day)
    assert SEEN == ["2040-03-25T01:00:00Z", "2040-03-26T00:30:00Z"]
    SEEN.clear()

    await at(engine, "2040-10-27T12:00Z")  # and back from 03:00 to 02:00 on 28 October.
    SEEN.clear()
    for day in ("2040-10-28T00:30Z", "2040-10-28T01:30Z", "2040-10-29T01:30Z"):
        await at(engine, day)
    assert SEEN == ["2040-10-28T00:30:00Z", "2040-10-29T01:30:00Z"]


async def test_years_pass(engine: Engine) -> None:
    await at(engine, "2040-02-01T00:00Z")
    await engine.schedule(note.new(), "0 0 29 2 *", name="leap", catch_up="all", window=days(366))
    for year in range(2041, 2053):
        await at(engine, f"{year}-01-01T00:00Z")

    assert SEEN == ["2040-02-29T00:00:00Z", "2044-02-29T00:00:00Z", "2048-02-29T00:00:00Z"]


@pytest.mark.parametrize(
    ("catch_up", "ran"),
    [
        ("none", []),
        ("last", ["2040-01-02T05:00:00Z"]),
        ("all", [f"2040-01-02T0{hour}:00:00Z" for hour in (3, 4, 5)]),
    ],
)
async def test_what_was_missed(engine: Engine, catch_up: Any, ran: list[str]) -> None:
    ear = Ear(engine)
    await at(engine, "2040-01-01T00:30Z")
    await engine.schedule(note.new(), "0 * * * *", name="s", catch_up=catch_up, window=hours(3))

    await at(engine, "2040-01-02T05:30Z")

    assert SEEN == ran
    assert [said["tick"] for said in ear.all("schedule.missed", reason="late")] == ["2040-01-01T01:00:00+00:00"]
    assert len(ear.all("schedule.fired")) == len(ran)


async def test_a_long_outage_is_made_up_for_in_several_looks(engine: Engine) -> None:
    await at(engine, "2040-01-01T00:00Z")
    await engine.schedule(note.new(), "* * * * *", name="s", catch_up="all")

    assert await at(engine, "2040-01-01T05:00Z") == 300

    assert len(set(SEEN)) == 300


async def test_disabled_it_makes_up_for_nothing(engine: Engine) -> None:
    await engine.schedule(note.new(), "0 0 * * *", name="s", catch_up="all")
    await engine.disable_schedule("s")
    await at(engine, days(3))
    await engine.enable_schedule("s")

    assert (await drain(engine)).steps == 0
    assert await at(engine, days(1)) == 1


async def test_runs_beside_each_other(engine: Engine) -> None:
    await engine.schedule(slow.new(), "0 0 * * *", name="s")

    for _ in range(3):
        await at(engine, days(1))

    found = await engine.get_schedule("s")
    assert len(found.running) == 3
    assert found.queued == ()


async def test_a_tick_is_skipped_while_a_run_lasts(engine: Engine) -> None:
    ear = Ear(engine)
    await engine.schedule(slow.new(), "0 0 * * *", name="s", overlap="skip")
    for _ in range(3):
        await at(engine, days(1))
    assert await engine.totals() == {"waiting": 1}
    assert len(ear.all("schedule.missed", schedule="s", reason="overlap")) == 2

    await engine.signal((await engine.get_schedule("s")).running[0], "go")
    await drain(engine)
    await at(engine, days(1))

    assert await engine.totals() == {"done": 1, "waiting": 1}


async def test_ticks_queue_until_the_run_before_has_ended(engine: Engine) -> None:
    await engine.schedule(slow.new(), "0 0 * * *", name="s", overlap="queue")
    for _ in range(3):
        await at(engine, days(1))
    found = await engine.get_schedule("s")
    assert (len(found.running), len(found.queued)) == (1, 2)
    assert await engine.totals() == {"waiting": 1}

    for number in (1, 2, 3):
        (running,) = (await engine.get_schedule("s")).running
        await engine.signal(running, "go")
        await drain(engine)
        assert (await engine.totals()).get("done") == number
    assert (await engine.get_schedule("s")).queued == ()
    keys = [each.correlation_key or "" for each in await engine.list()]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == 3


async def test_a_run_that_waits_to_be_tried_again_has_not_ended(engine: Engine) -> None:
    await at(engine, "2040-01-01T00:30Z")
    await engine.schedule(stubborn.new(), "0 * * * *", name="s", overlap="queue")
    for _ in range(5):
        await at(engine, hours(1))

    assert SEEN == ["01:00 0", "01:00 1", "02:00 0"]


async def test_a_disabled_schedule_drops_what_queues(engine: Engine) -> None:
    await engine.schedule(slow.new(), "0 0 * * *", name="s", overlap="queue")
    for _ in range(3):
        await at(engine, days(1))

    assert (await engine.disable_schedule("s")).queued == ()
    await engine.signal((await engine.get_schedule("s")).running[0], "go")
    await drain(engine)

    assert await engine.totals() == {"done": 1}
    assert (await engine.get_schedule("s")).running == ()


async def test_a_triggered_run_counts_as_one_that_lasts(engine: Engine) -> None:
    await engine.schedule(slow.new(), "0 0 * * *", name="s", overlap="skip")
    handle = await engine.trigger_schedule("s")

    await at(engine, days(1))

    assert (await engine.get_schedule("s")).running == (handle.id,)
    await assert_status(engine, handle, "waiting")


async def test_failures_in_a_row_switch_it_off(engine: Engine) -> None:
    """A run that is done begins the count anew."""
    ear = Ear(engine)
    await engine.schedule(moody.new(), "0 0 * * *", name="s")
    counts = []
    for _ in range(11):
        await at(engine, days(1))
        counts.append((await engine.get_schedule("s")).consecutive_failures)

    assert counts == [1, 2, 3, 0, 1, 2, 3, 4, 5, 5, 5]
    assert len(SEEN) == 9
    found = await engine.get_schedule("s")
    assert not found.enabled
    assert found.auto_disabled_at is not None
    assert found.last_error is not None
    assert found.last_error["message"] == "mood 9"
    assert [said["failures"] for said in ear.all("schedule.disabled", schedule="s")] == [5]


async def test_runs_start_later_by_their_jitter(engine: Engine) -> None:
    await at(engine, "2040-01-01T00:30Z")
    await engine.schedule(note.new(), "0 * * * *", name="s", jitter=minutes(20))

    assert await at(engine, "2040-01-01T01:00Z") == 0
    (run,) = await engine.list()
    assert run.status == "scheduled"
    assert datetime(2040, 1, 1, 1, tzinfo=UTC) < run.due_at < datetime(2040, 1, 1, 1, 20, tzinfo=UTC)
    assert await at(engine, "2040-01-01T01:20Z") == 1


async def test_a_change_counts_from_now_on(engine: Engine) -> None:
    await at(engine, "2040-01-01T00:30Z")
    await engine.schedule(note.new(), "0 * * * *", name="s", catch_up="all")
    clock_of(engine).jump(hours(2))

    await engine.update_schedule("s", cron="15 * * * *")

    assert await at(engine, hours(1)) == 1
    assert SEEN == ["2040-01-01T03:15:00Z"]


async def test_another_argument_leaves_what_was_missed(engine: Engine) -> None:
    await at(engine, "2040-01-01T00:30Z")
    await engine.schedule(note.new(), "0 * * * *", name="s", catch_up="all")
    clock_of(engine).jump(hours(2))

    await engine.schedule(note.new(), "0 * * * *", name="s", catch_up="all", priority=5)

    assert (await drain(engine)).steps == 2


async def test_one_that_cannot_be_read_here_keeps_nobody_else(engine: Engine) -> None:
    """It was stored by a release, or on a machine, that knows more."""
    ear = Ear(engine)
    await engine.schedule(note.new(), "0 * * * *", name="a")
    await engine.schedule(note.new(), "0 * * * *", name="b")
    row = await engine._store.schedules.get("a")
    assert row is not None
    row = type(row)(**{name: getattr(row, name) for name in row.__struct_fields__} | {"zone": "Mars/Base"})
    assert await engine._store.schedules.change(row)

    assert await at(engine, hours(1)) == 1

    assert [said["schedule"] for said in ear.all("schedule.fired")] == ["b"]
    assert "Mars/Base" in ear.all("schedule.broken", schedule="a")[0]["error"]
    assert "Mars/Base" in (await engine.get_schedule("a")).explanation
    assert (await engine.update_schedule("a", zone="UTC")).zone == "UTC"
    assert await at(engine, hours(1)) == 2


async def test_declared_schedules_are_there(store_url: str) -> None:
    SEEN.clear()

    @job(name="kit.schedules.declared", schedule=Cron("@daily", "Asia/Tokyo"))
    async def declared() -> None:
        SEEN.append("declared")

    async with by_hand(url=store_url, programs=[declared]) as engine:
        assert await at(engine, days(1)) == 1

    assert SEEN == ["declared"]


async def test_an_engine_that_works_by_itself_fires_by_itself() -> None:
    async with Engine("sqlite://", programs=PROGRAMS) as engine:
        with pytest.raises(EngineStateError, match="by_hand"):
            await fire_schedules(engine)
